# Tests. A Criterion test is one line in a list here: tests/unit/test_x is made of tests/unit/test_x.c
# and linked with what LDADD names. build-aux/run-test runs each of them.

LOG_DRIVER = $(SHELL) $(top_srcdir)/build-aux/run-test
SH_LOG_DRIVER = $(LOG_DRIVER)
TEST_EXTENSIONS = .sh
AM_TESTS_ENVIRONMENT = CC='$(CC)'; export CC;

# The library with every internal function, and the parts of the command.
LDADD = libnearcache_cli.la libnearcache_core.la $(CRITERION_LIBS) \
	$(HIREDIS_LIBS) $(XXHASH_LIBS) $(ZLIB_LIBS) -lm

# One for each module.
unit_tests = \
	tests/unit/test_config_file \
	tests/unit/test_cron \
	tests/unit/test_ids \
	tests/unit/test_json \
	tests/unit/test_json_writer \
	tests/unit/test_latency \
	tests/unit/test_npy \
	tests/unit/test_options \
	tests/unit/test_publish \
	tests/unit/test_resume \
	tests/unit/test_target \
	tests/unit/test_text \
	tests/unit/test_trace \
	tests/unit/test_zone

# Scripts that drive the command and the examples.
script_tests = \
	tests/cli/check.sh \
	tests/cli/npy.sh \
	tests/cli/replay.sh \
	tests/cli/shell.sh \
	tests/cli/stats.sh \
	tests/cli/usage.sh \
	tests/examples/test_product_service.sh

# Criterion's runner does not start under ThreadSanitizer.
if !SANITIZE_THREAD
if HAVE_CRITERION
check_PROGRAMS += $(unit_tests)
TESTS += $(unit_tests)
else
check-local:
	@echo 'make check: Criterion is missing; on Debian: apt-get install libcriterion-dev' >&2; exit 1
endif
TESTS += $(script_tests)
endif

EXTRA_DIST += \
	$(script_tests) \
	tests/cli/lib.sh \
	tests/data/cron_vectors.txt \
	tests/data/make_cron_vectors.mjs \
	tests/examples/service_mix.lua \
	tests/examples/wrk_outage.sh
