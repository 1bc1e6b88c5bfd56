# Benches: built by `make bench`, `make bench-goals` and `make soak-rss`, not by `make`.
# A new bench is a line in BENCHES and its sources below; a goal is a line in bench/goals.txt.

# In the order in which they run.
BENCHES = \
	bench/bench_hit \
	bench/bench_evict \
	bench/bench_mixed \
	bench/bench_memory \
	bench/bench_traces \
	bench/bench_redis_parse \
	bench/bench_redis_miss \
	bench/bench_redis_threads \
	bench/bench_redis_async \
	bench/bench_redis_deadline \
	bench/bench_redis_batch \
	bench/bench_redis_hit \
	bench/bench_redis_churn \
	bench/bench_queue \
	bench/bench_coherence \
	bench/soak_rss

# Programs of any language that print GOAL and SKIP lines (see bench/README.md); called with the
# arguments that the benches get. Absolute, or relative to the top of the source.
bench_extra =

bench_tools = bench/report bench/machine
EXTRA_PROGRAMS += $(BENCHES) $(bench_tools)
EXTRA_LTLIBRARIES = bench/libbench.la bench/libstores.la
EXTRA_DIST += bench/README.md bench/goals.txt bench/goals.awk bench/run bench/ioredis_get.cjs \
	bench/bullmq_queue.cjs

bench_cppflags = -I$(top_srcdir)/bench $(AM_CPPFLAGS)

bench_libbench_la_CPPFLAGS = $(bench_cppflags)
bench_libbench_la_SOURCES = \
	bench/lib/histogram.c bench/lib/histogram.h \
	bench/lib/keys.c bench/lib/keys.h \
	bench/lib/machine.c bench/lib/machine.h \
	bench/lib/output.c bench/lib/output.h \
	bench/lib/redis_server.c bench/lib/redis_server.h \
	bench/lib/stats.c bench/lib/stats.h \
	bench/lib/threads.c bench/lib/threads.h \
	bench/lib/timer.c bench/lib/timer.h

# The peers, and nearcache among them.
bench_libstores_la_CPPFLAGS = $(bench_cppflags) $(CK_CFLAGS) $(URCU_CFLAGS) $(GLIB_CFLAGS)
bench_libstores_la_SOURCES = \
	bench/lib/candidates.c bench/lib/candidates.h \
	bench/lib/clock_ring.h \
	bench/lib/counted.h \
	bench/lib/nearcache_loops.h \
	bench/lib/sets.c bench/lib/sets.h \
	bench/lib/store.h \
	bench/lib/store_ck.c \
	bench/lib/store_floor.c \
	bench/lib/store_glib.c \
	bench/lib/store_lfht.c \
	bench/lib/store_loops.h \
	bench/lib/store_nearcache.c \
	bench/lib/store_nearcache_peek.c \
	bench/lib/store_uthash.h \
	bench/lib/store_uthash_mutex.c \
	bench/lib/store_uthash_spin.c \
	bench/lib/stores.c

# The static library: a call costs what it costs inside of one program.
bench_ldflags = $(AM_LDFLAGS) -static
bench_ldadd = bench/libbench.la libnearcache.la -lm
bench_stores_ldadd = bench/libstores.la $(bench_ldadd) $(CK_LIBS) $(URCU_LIBS) $(GLIB_LIBS)

bench_bench_hit_SOURCES = bench/bench_hit.c
bench_bench_hit_CPPFLAGS = $(bench_cppflags)
bench_bench_hit_LDFLAGS = $(bench_ldflags)
bench_bench_hit_LDADD = $(bench_stores_ldadd)

bench_bench_evict_SOURCES = bench/bench_evict.c
bench_bench_evict_CPPFLAGS = $(bench_cppflags)
bench_bench_evict_LDFLAGS = $(bench_ldflags)
bench_bench_evict_LDADD = $(bench_stores_ldadd)

bench_bench_mixed_SOURCES = bench/bench_mixed.c
bench_bench_mixed_CPPFLAGS = $(bench_cppflags)
bench_bench_mixed_LDFLAGS = $(bench_ldflags)
bench_bench_mixed_LDADD = $(bench_stores_ldadd)

bench_bench_memory_SOURCES = bench/bench_memory.c
bench_bench_memory_CPPFLAGS = $(bench_cppflags)
bench_bench_memory_LDFLAGS = $(bench_ldflags)
bench_bench_memory_LDADD = $(bench_stores_ldadd)

bench_bench_traces_SOURCES = bench/bench_traces.c
bench_bench_traces_CPPFLAGS = $(bench_cppflags) $(ZLIB_CFLAGS)
bench_bench_traces_LDADD = bench/libbench.la $(ZLIB_LIBS) -lm

bench_bench_redis_miss_SOURCES = bench/bench_redis_miss.c
bench_bench_redis_miss_CPPFLAGS = $(bench_cppflags)
bench_bench_redis_miss_LDFLAGS = $(bench_ldflags)
bench_bench_redis_miss_LDADD = $(bench_ldadd) $(HIREDIS_LIBS)

bench_bench_redis_parse_SOURCES = bench/bench_redis_parse.c
bench_bench_redis_parse_CPPFLAGS = $(bench_cppflags)
bench_bench_redis_parse_LDFLAGS = $(bench_ldflags)
bench_bench_redis_parse_LDADD = $(bench_ldadd) $(HIREDIS_LIBS)

bench_bench_redis_threads_SOURCES = bench/bench_redis_threads.c
bench_bench_redis_threads_CPPFLAGS = $(bench_cppflags)
bench_bench_redis_threads_LDFLAGS = $(bench_ldflags)
bench_bench_redis_threads_LDADD = $(bench_ldadd) $(HIREDIS_LIBS)

bench_bench_redis_async_SOURCES = bench/bench_redis_async.c
bench_bench_redis_async_CPPFLAGS = $(bench_cppflags)
bench_bench_redis_async_LDFLAGS = $(bench_ldflags)
bench_bench_redis_async_LDADD = $(bench_ldadd) $(HIREDIS_LIBS) $(LIBEV_LIBS)

bench_bench_redis_deadline_SOURCES = bench/bench_redis_deadline.c
bench_bench_redis_deadline_CPPFLAGS = $(bench_cppflags)
bench_bench_redis_deadline_LDFLAGS = $(bench_ldflags)
bench_bench_redis_deadline_LDADD = $(bench_ldadd) $(HIREDIS_LIBS)

bench_bench_redis_batch_SOURCES = bench/bench_redis_batch.c
bench_bench_redis_batch_CPPFLAGS = $(bench_cppflags)
bench_bench_redis_batch_LDFLAGS = $(bench_ldflags)
bench_bench_redis_batch_LDADD = $(bench_ldadd) $(HIREDIS_LIBS)

bench_bench_redis_hit_SOURCES = bench/bench_redis_hit.c
bench_bench_redis_hit_CPPFLAGS = $(bench_cppflags)
bench_bench_redis_hit_LDFLAGS = $(bench_ldflags)
bench_bench_redis_hit_LDADD = $(bench_ldadd) $(HIREDIS_LIBS)

bench_bench_redis_churn_SOURCES = bench/bench_redis_churn.c
bench_bench_redis_churn_CPPFLAGS = $(bench_cppflags)
bench_bench_redis_churn_LDFLAGS = $(bench_ldflags)
bench_bench_redis_churn_LDADD = $(bench_ldadd) $(HIREDIS_LIBS)

bench_bench_coherence_SOURCES = bench/bench_coherence.c
bench_bench_coherence_CPPFLAGS = $(bench_cppflags)
bench_bench_coherence_LDFLAGS = $(bench_ldflags)
bench_bench_coherence_LDADD = $(bench_ldadd) $(HIREDIS_LIBS)

bench_bench_queue_SOURCES = bench/bench_queue.c
bench_bench_queue_CPPFLAGS = $(bench_cppflags)
bench_bench_queue_LDFLAGS = $(bench_ldflags)
bench_bench_queue_LDADD = $(bench_ldadd) $(HIREDIS_LIBS)

bench_soak_rss_SOURCES = bench/soak_rss.c
bench_soak_rss_CPPFLAGS = $(bench_cppflags)
bench_soak_rss_LDFLAGS = $(bench_ldflags)
bench_soak_rss_LDADD = $(bench_ldadd)

bench_report_SOURCES = bench/report.c
bench_report_CPPFLAGS = $(bench_cppflags)
bench_report_LDADD = -lm

bench_machine_SOURCES = bench/machine.c
bench_machine_CPPFLAGS = $(bench_cppflags)
bench_machine_LDADD = bench/libbench.la -lm

# Variables of the caller: QUICK=1 (a look), TRACES=DIR (the open traces), NODE_MODULES=DIR (with
# ioredis and bullmq; default what the interop tests installed), ONLY="bench_hit bench_evict" (some of them), BENCH_OUT=DIR (results; default bench/out).
bench_run = NEARCACHE=$(abs_builddir)/nearcache NODE_MODULES='$(NODE_MODULES)' TRACES='$(TRACES)' \
	QUICK='$(QUICK)' ONLY='$(ONLY)' BENCH_OUT='$(BENCH_OUT)' SCRIPTS='$(bench_extra)' \
	AWK='$(AWK)' $(SHELL) $(top_srcdir)/bench/run
.PHONY: bench bench-goals soak-rss
bench: $(BENCHES) $(bench_tools) nearcache
	$(bench_run) table $(abs_top_srcdir) $(abs_builddir) $(BENCHES)
bench-goals: $(BENCHES) $(bench_tools) nearcache
	$(bench_run) goals $(abs_top_srcdir) $(abs_builddir) $(BENCHES)
soak-rss: bench/soak_rss
	bench/soak_rss

clean-local: clean-bench
.PHONY: clean-bench
clean-bench:
	rm -rf bench/out
