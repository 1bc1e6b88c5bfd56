# Tests: make check. Each list holds programs of one kind; tests/unit/test_x is made of
# tests/unit/test_x.c alone and linked with $(LDADD) below, so a new test is one line in its list.
# build-aux/run-test runs every one of them.

LOG_DRIVER = bash $(top_srcdir)/build-aux/run-test
SH_LOG_DRIVER = $(LOG_DRIVER)
TEST_EXTENSIONS = .sh
AM_TESTS_ENVIRONMENT = CC='$(CC)'; export CC;

# Criterion programs, one for each source file.
unit_tests = \
	tests/unit/test_alloc_fail \
	tests/unit/test_arena \
	tests/unit/test_args \
	tests/unit/test_as3 \
	tests/unit/test_async_loop \
	tests/unit/test_backoff \
	tests/unit/test_breaker \
	tests/unit/test_chain \
	tests/unit/test_civil \
	tests/unit/test_command \
	tests/unit/test_config_file \
	tests/unit/test_cron \
	tests/unit/test_expiry \
	tests/unit/test_fake_clock \
	tests/unit/test_ghost \
	tests/unit/test_ids \
	tests/unit/test_index \
	tests/unit/test_job_line \
	tests/unit/test_job_options \
	tests/unit/test_flight \
	tests/unit/test_journal \
	tests/unit/test_json \
	tests/unit/test_json_writer \
	tests/unit/test_latency \
	tests/unit/test_lru \
	tests/unit/test_npy \
	tests/unit/test_options \
	tests/unit/test_outbox \
	tests/unit/test_proc \
	tests/unit/test_publish \
	tests/unit/test_redis_server \
	tests/unit/test_reply \
	tests/unit/test_resolve \
	tests/unit/test_resume \
	tests/unit/test_row \
	tests/unit/test_scripts \
	tests/unit/test_settings \
	tests/unit/test_sketch \
	tests/unit/test_slot \
	tests/unit/test_spread \
	tests/unit/test_store \
	tests/unit/test_target \
	tests/unit/test_text \
	tests/unit/test_topology \
	tests/unit/test_trace \
	tests/unit/test_value \
	tests/unit/test_wait_until \
	tests/unit/test_zone

# Those of src/base, src/metrics, src/cache, src/sync and src/api.
unit_tests += \
	tests/unit/test_api_batch \
	tests/unit/test_api_expiry \
	tests/unit/test_api_keys \
	tests/unit/test_api_loader \
	tests/unit/test_api_metrics \
	tests/unit/test_api_open \
	tests/unit/test_api_removal \
	tests/unit/test_clock \
	tests/unit/test_counter \
	tests/unit/test_entry \
	tests/unit/test_epoch \
	tests/unit/test_error \
	tests/unit/test_hash \
	tests/unit/test_histogram \
	tests/unit/test_local_edges \
	tests/unit/test_lock \
	tests/unit/test_log \
	tests/unit/test_message \
	tests/unit/test_offset \
	tests/unit/test_prometheus \
	tests/unit/test_registry \
	tests/unit/test_sha1 \
	tests/unit/test_table \
	tests/unit/test_thread

# Criterion programs: random operations against a simple model.
model_tests = \
	tests/model/cache_model \
	tests/model/store_policies

# Criterion programs with a redis-server of their own (tests/lib/redis_server.h).
redis_tests = \
	tests/redis/test_black_hole \
	tests/redis/test_async \
	tests/redis/test_async_batches \
	tests/redis/test_async_rows \
	tests/redis/test_async_writes \
	tests/redis/test_cluster \
	tests/redis/test_cluster_cache \
	tests/redis/test_close \
	tests/redis/test_coherence_clear \
	tests/redis/test_coherence_commit \
	tests/redis/test_coherence_lease \
	tests/redis/test_coherence_observed \
	tests/redis/test_coherence_order \
	tests/redis/test_coherence_outage \
	tests/redis/test_link \
	tests/redis/test_link_callback \
	tests/redis/test_link_faults \
	tests/redis/test_queue \
	tests/redis/test_queue_order \
	tests/redis/test_queue_schedule \
	tests/redis/test_queue_trouble \
	tests/redis/test_queue_worker \
	tests/redis/test_read_order \
	tests/redis/test_removal \
	tests/redis/test_sentinel \
	tests/redis/test_server_trouble

if WITH_TLS
tls_tests = tests/redis/test_tls tests/redis/test_cluster_tls
endif

# Criterion programs in which allocations, sockets or disks fail. Where allocations fail, one more
# line: tests_fault_test_x_LDFLAGS = $(AM_LDFLAGS) $(wrap_alloc)
fault_tests = \
	tests/fault/hostile_redis \
	tests/fault/redis_alloc \
	tests/fault/test_alloc_api \
	tests/fault/test_alloc_chunk \
	tests/fault/test_queue_alloc
tests_fault_test_alloc_api_LDFLAGS = $(AM_LDFLAGS) $(wrap_alloc)
tests_fault_test_alloc_chunk_LDFLAGS = $(AM_LDFLAGS) $(wrap_alloc)
tests_fault_redis_alloc_LDFLAGS = $(AM_LDFLAGS) $(wrap_alloc)
tests_fault_test_queue_alloc_LDFLAGS = $(AM_LDFLAGS) $(wrap_alloc)

# Plain programs with main(threads, seconds), made for ThreadSanitizer.
stress_tests = \
	tests/stress/async_loop \
	tests/stress/cluster_redirects \
	tests/stress/coherence_writers \
	tests/stress/load_look \
	tests/stress/local_loader \
	tests/stress/queue_kill \
	tests/stress/queue_memory \
	tests/stress/redis_link \
	tests/stress/slot_again \
	tests/stress/store_mixed \
	tests/stress/vector_rows

# LLVMFuzzerTestOneInput; without --enable-fuzzing run over tests/fuzz/NAME_corpus. A new one is a
# line here and tests_fuzz_NAME_fuzzer_LDADD = $(fuzz_ldadd).
fuzzers = \
	tests/fuzz/npy_fuzzer \
	tests/fuzz/reply_fuzzer
tests_fuzz_npy_fuzzer_LDADD = $(fuzz_ldadd)
tests_fuzz_reply_fuzzer_LDADD = $(fuzz_ldadd)

# Scripts that drive the command and the examples.
script_tests = \
	tests/cli/check.sh \
	tests/cli/npy.sh \
	tests/cli/queue.sh \
	tests/cli/queue_signals.sh \
	tests/cli/replay.sh \
	tests/cli/shell.sh \
	tests/cli/stats.sh \
	tests/cli/usage.sh \
	tests/interop/bullmq_v5.sh \
	tests/interop/bullmq_v6.sh \
	tests/lint/circles.sh \
	tests/lint/docs.sh \
	tests/lint/format.sh \
	tests/lint/headers.sh \
	tests/lint/layers.sh \
	tests/lint/symbols.sh \
	tests/lint/text.sh \
	tests/examples/test_embedding_worker.sh \
	tests/examples/test_product_service.sh \
	tests/fault/harness/check.sh

# One source for the three adapters.
adapter_tests = \
	tests/redis/adapter_libev \
	tests/redis/adapter_libevent \
	tests/redis/adapter_libuv
tests_redis_adapter_libev_SOURCES = tests/redis/adapter_loop.c
tests_redis_adapter_libev_CPPFLAGS = $(AM_CPPFLAGS) -DUSE_LIBEV
tests_redis_adapter_libev_LDADD = $(LDADD) $(LIBEV_LIBS)
tests_redis_adapter_libevent_SOURCES = tests/redis/adapter_loop.c
tests_redis_adapter_libevent_CPPFLAGS = $(AM_CPPFLAGS) -DUSE_LIBEVENT $(LIBEVENT_CFLAGS)
tests_redis_adapter_libevent_LDADD = $(LDADD) $(LIBEVENT_LIBS)
tests_redis_adapter_libuv_SOURCES = tests/redis/adapter_loop.c
tests_redis_adapter_libuv_CPPFLAGS = $(AM_CPPFLAGS) -DUSE_LIBUV $(LIBUV_CFLAGS)
tests_redis_adapter_libuv_LDADD = $(LDADD) $(LIBUV_LIBS)

# Programs that scripts drive; linked with the installed library.
test_helpers = \
	tests/interop/queue_peer
tests_interop_queue_peer_LDADD = libnearcache.la

# ---- what tests are linked with ------------------------------------------------------------------

check_LIBRARIES += tests/libtest.a tests/libfuzzmain.a
tests_libtest_a_SOURCES = \
	tests/lib/alloc_fail.c tests/lib/alloc_fail.h \
	tests/lib/async_fixture.c tests/lib/async_fixture.h \
	tests/lib/authority.c tests/lib/authority.h \
	tests/lib/child.c tests/lib/child.h \
	tests/lib/fake_clock.c tests/lib/fake_clock.h \
	tests/lib/local_cache.c tests/lib/local_cache.h \
	tests/lib/link_fixture.c tests/lib/link_fixture.h \
	tests/lib/logged.h \
	tests/lib/loop_is_up.c tests/lib/loop_is_up.h \
	tests/lib/proc.c tests/lib/proc.h \
	tests/lib/redis_cluster.c tests/lib/redis_cluster.h \
	tests/lib/redis_server.c tests/lib/redis_server.h \
	tests/lib/relay.c tests/lib/relay.h \
	tests/lib/wait_until.h \
	tests/redis/coherence.h
tests_libfuzzmain_a_SOURCES = tests/lib/fuzz_main.c

# The parts of the command, and the library with every internal function.
core_ldadd = libnearcache_cli.la libnearcache_core.la \
	$(HIREDIS_LIBS) $(XXHASH_LIBS) $(ZLIB_LIBS) $(OPENSSL_LIBS) -lm
LDADD = tests/libtest.a $(core_ldadd) $(CRITERION_LIBS)

wrap_alloc = -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=aligned_alloc \
	-Wl,--wrap=posix_memalign,--wrap=strdup,--wrap=strndup,--wrap=mmap,--wrap=mmap64
tests_redis_test_link_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=getaddrinfo
tests_unit_test_alloc_fail_LDFLAGS = $(AM_LDFLAGS) $(wrap_alloc)
tests_unit_test_flight_LDFLAGS = $(AM_LDFLAGS) $(wrap_alloc)
tests_unit_test_journal_LDFLAGS = $(AM_LDFLAGS) $(wrap_alloc)
tests_unit_test_thread_LDFLAGS = $(AM_LDFLAGS) $(wrap_alloc)
tests_unit_test_table_LDFLAGS = $(AM_LDFLAGS) $(wrap_alloc)

if FUZZING
fuzz_ldadd = $(core_ldadd) $(NC_FUZZER_LDFLAGS)
else
fuzz_ldadd = tests/libfuzzmain.a $(core_ldadd)
endif

# ---- which of them run ---------------------------------------------------------------------------

# Criterion's runner does not start under ThreadSanitizer: there only plain programs run.
plain_tests = $(stress_tests) $(fuzzers) $(adapter_tests)
criterion_tests = $(unit_tests) $(model_tests) $(redis_tests) $(tls_tests) $(fault_tests)

if SANITIZE_THREAD
check_PROGRAMS += $(stress_tests)
TESTS += $(stress_tests)
else
check_PROGRAMS += $(plain_tests) $(test_helpers)
TESTS += $(plain_tests) $(script_tests)
if HAVE_CRITERION
check_PROGRAMS += $(criterion_tests)
TESTS += $(criterion_tests)
else
EXTRA_PROGRAMS += $(criterion_tests)
check-local:
	@echo 'make check: Criterion is missing; on Debian: apt-get install libcriterion-dev' >&2; \
	exit 1
endif
endif
if SANITIZE_THREAD
EXTRA_PROGRAMS += $(criterion_tests) $(fuzzers) $(adapter_tests) $(test_helpers)
endif

# ---- the fault harness (python3 and redis-server) ------------------------------------------------

# check-fault: what make check runs of it. fault: all faults, both modes, FAULT_SEEDS seeds each,
# FAULT_JOBS at a time; FAULT_FLAGS reach tests/fault/harness/run.py.
FAULT_SEEDS = 20
FAULT_JOBS = 4
FAULT_FLAGS =
fault_harness = PYTHONDONTWRITEBYTECODE=1 python3 $(srcdir)/tests/fault/harness/run.py \
	--program ./nearcache --jobs $(FAULT_JOBS)
.PHONY: check-fault fault fault-mutants
check-fault: nearcache$(EXEEXT)
	srcdir=$(srcdir) $(srcdir)/tests/fault/harness/check.sh
fault: nearcache$(EXEEXT)
	$(fault_harness) --seeds $(FAULT_SEEDS) $(FAULT_FLAGS)

# Shows that the harness can fail: each switched-off rule must be noticed.
if MUTANTS
fault-mutants: nearcache$(EXEEXT)
	$(fault_harness) --mutants --seeds $(FAULT_SEEDS) $(FAULT_FLAGS)
else
fault-mutants:
	@echo 'make fault-mutants: needs a build with configure --enable-mutants' >&2; exit 1
endif

EXTRA_DIST += \
	tests/fault/harness/applied.py \
	tests/fault/harness/checker.py \
	tests/fault/harness/clock.c \
	tests/fault/harness/faults.py \
	tests/fault/harness/figures.py \
	tests/fault/harness/history.py \
	tests/fault/harness/noise.py \
	tests/fault/harness/proxy.py \
	tests/fault/harness/resp.py \
	tests/fault/harness/run.py \
	tests/fault/harness/scenario.py \
	tests/fault/harness/server.py \
	tests/fault/harness/shell.py \
	tests/fault/harness/workload.py

EXTRA_DIST += \
	$(script_tests) \
	tests/redis/test_cluster_tls.c \
	tests/redis/test_tls.c \
	tests/cli/lib.sh \
	tests/data/cron_vectors.txt \
	tests/data/make_cron_vectors.mjs \
	tests/examples/service_mix.lua \
	tests/examples/wrk_outage.sh \
	tests/fuzz/npy_corpus \
	tests/fuzz/reply_corpus \
	tests/interop/interop.mjs \
	tests/interop/lib.sh \
	tests/redis/queue_fixture.h \
	tests/unit/api_fixture.h

# The queue against BullMQ with ten times the jobs.
.PHONY: interop-long
interop-long: tests/interop/queue_peer
	NC_INTEROP_JOBS=10000 NC_TEST_TIMEOUT=3600 $(MAKE) $(AM_MAKEFLAGS) check \
		TESTS='tests/interop/bullmq_v5.sh tests/interop/bullmq_v6.sh'

# ---- long runs, not part of `make check` -----------------------------------------------------------

# make soak TRACE=FILE.u64.gz [SOAK_SECONDS=3600]
SOAK_SECONDS = 3600
soak: nearcache
	@test -n "$(TRACE)" || { echo 'make soak TRACE=FILE.u64.gz [SOAK_SECONDS=3600]' >&2; exit 2; }
	bash $(top_srcdir)/tests/soak/replay_soak.sh ./nearcache "$(TRACE)" $(SOAK_SECONDS) soak

# make model [MODEL=full]
model:
	bash $(top_srcdir)/tests/model/run_model.sh $(top_srcdir)/tests/model/coherence.pml $(MODEL)

# make installcheck: what is installed can be embedded.
installcheck-local:
	CC="$(CC)" PKG_CONFIG="$(PKG_CONFIG)" PKG_CONFIG_SYSROOT_DIR="$(DESTDIR)" \
		bash $(top_srcdir)/tests/install/embed.sh \
		"$(DESTDIR)$(libdir)" $(top_srcdir)/examples/embed20.c

EXTRA_DIST += tests/install/embed.sh

.PHONY: soak model

EXTRA_DIST += \
	tests/model/coherence.pml \
	tests/model/run_model.sh \
	tests/soak/replay_soak.sh

# 100 workers for an hour: memory must stay flat.
.PHONY: soak-queue
soak-queue: tests/stress/queue_memory
	tests/stress/queue_memory 100 3600 200
