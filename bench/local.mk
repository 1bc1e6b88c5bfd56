# Benches: built by `make bench`, not by `make`.

BENCHES =
EXTRA_PROGRAMS += $(BENCHES)

.PHONY: bench
bench: $(BENCHES)
