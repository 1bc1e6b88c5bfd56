# The library, folder by folder in the order of the layers: nothing includes from a later group
# (tests/lint/layers). A new file is one line in its group.

noinst_LTLIBRARIES += libnearcache_core.la
libnearcache_core_la_LIBADD = $(HIREDIS_LIBS) $(XXHASH_LIBS) $(OPENSSL_LIBS) -lm
libnearcache_core_la_SOURCES =

# Public headers.
include_HEADERS = include/nearcache.h
nearcacheincludedir = $(includedir)/nearcache
nearcacheinclude_HEADERS = \
	include/nearcache/async.h \
	include/nearcache/metrics.h \
	include/nearcache/queue.h
nearcacheadaptersdir = $(includedir)/nearcache/adapters
nearcacheadapters_HEADERS = \
	include/nearcache/adapters/libev.h \
	include/nearcache/adapters/libevent.h \
	include/nearcache/adapters/libuv.h

# base: clock, hash, errors, log, threads. Knows nothing else.
libnearcache_core_la_SOURCES += \
	src/base/barrier.c src/base/barrier.h \
	src/base/clock.c src/base/clock.h \
	src/base/error.c src/base/error.h \
	src/base/futex.c src/base/futex.h \
	src/base/hash.c src/base/hash.h src/base/hash_name.h \
	src/base/lock.c src/base/lock.h \
	src/base/log.c src/base/log.h \
	src/base/mutant.h \
	src/base/name.h \
	src/base/poison.h \
	src/base/sha1.c src/base/sha1.h \
	src/base/table.h \
	src/base/thread.c src/base/thread.h

# metrics: counters, histograms, their text.
libnearcache_core_la_SOURCES += \
	src/metrics/counter.h \
	src/metrics/histogram.c src/metrics/histogram.h \
	src/metrics/prometheus.c src/metrics/prometheus.h \
	src/metrics/registry.c src/metrics/registry.h

# memory: the bytes of entries, delayed free.
libnearcache_core_la_SOURCES += \
	src/memory/arena.c src/memory/arena.h \
	src/memory/entry.c src/memory/entry.h \
	src/memory/epoch.c src/memory/epoch.h \
	src/memory/pages.c src/memory/pages.h

# store: shards: find, insert, evict, expire.
libnearcache_core_la_SOURCES += \
	src/store/as3.c src/store/as3.h \
	src/store/expiry.c src/store/expiry.h \
	src/store/ghost.c src/store/ghost.h \
	src/store/index.c src/store/index.h \
	src/store/lru.c src/store/lru.h \
	src/store/move.c src/store/move.h \
	src/store/partition.c src/store/partition.h \
	src/store/queue.h \
	src/store/segment.c src/store/segment.h \
	src/store/shard.c src/store/shard.h \
	src/store/sketch.c src/store/sketch.h \
	src/store/store.c src/store/store.h \
	src/store/sweep.c src/store/sweep.h

# cache: tiers and keys; a cache that knows no network.
libnearcache_core_la_SOURCES += \
	src/cache/cache.c src/cache/cache.h \
	src/cache/drop.c src/cache/drop.h \
	src/cache/fill.c src/cache/fill.h \
	src/cache/find.c src/cache/find.h \
	src/cache/hit.h \
	src/cache/key.h \
	src/cache/life.c src/cache/life.h \
	src/cache/removals.c src/cache/removals.h \
	src/cache/ticket.h \
	src/cache/tier.c src/cache/tier.h

# redis: connections; a client that knows no cache.
libnearcache_core_la_SOURCES += \
	src/redis/backoff.c src/redis/backoff.h \
	src/redis/beds.h \
	src/redis/breaker.c src/redis/breaker.h \
	src/redis/call.c src/redis/call.h \
	src/redis/cluster.c src/redis/cluster.h \
	src/redis/command.c src/redis/command.h \
	src/redis/conn.c src/redis/conn.h \
	src/redis/fleet.c src/redis/fleet.h \
	src/redis/guests.c src/redis/guests.h \
	src/redis/identity.c src/redis/identity.h \
	src/redis/link.c src/redis/link.h \
	src/redis/lookout.c src/redis/lookout.h \
	src/redis/mux.c src/redis/mux.h \
	src/redis/outbox.h \
	src/redis/primary.h \
	src/redis/redirect.c src/redis/redirect.h \
	src/redis/reply.c src/redis/reply.h \
	src/redis/resolve.c src/redis/resolve.h \
	src/redis/sentinel.c src/redis/sentinel.h \
	src/redis/settings.c src/redis/settings.h \
	src/redis/slot.c src/redis/slot.h \
	src/redis/spread.c src/redis/spread.h \
	src/redis/stats.h \
	src/redis/subscriber.c src/redis/subscriber.h \
	src/redis/tls.h \
	src/redis/topology.c src/redis/topology.h
if WITH_TLS
libnearcache_core_la_SOURCES += src/redis/tls.c
else
libnearcache_core_la_SOURCES += src/redis/tls_none.c
endif

# sync: reading, writing and invalidating through; knows cache and redis.
libnearcache_core_la_SOURCES += \
	src/sync/audit.c src/sync/audit.h \
	src/sync/chain.c src/sync/chain.h \
	src/sync/chunk.c src/sync/chunk.h \
	src/sync/clear.c src/sync/clear.h \
	src/sync/commit.c src/sync/commit.h \
	src/sync/fetch.c src/sync/fetch.h \
	src/sync/fetch_loop.c src/sync/fetch_loop.h \
	src/sync/flight.c src/sync/flight.h \
	src/sync/invalidate.c src/sync/invalidate.h \
	src/sync/journal.c src/sync/journal.h \
	src/sync/lane.c src/sync/lane.h \
	src/sync/lease.c src/sync/lease.h \
	src/sync/load.c src/sync/load.h \
	src/sync/message.c src/sync/message.h \
	src/sync/offset.c src/sync/offset.h \
	src/sync/proof.c src/sync/proof.h \
	src/sync/replay.c src/sync/replay.h \
	src/sync/row.h \
	src/sync/script.c src/sync/script.h \
	src/sync/state.c src/sync/state.h \
	src/sync/sync.c src/sync/sync.h \
	src/sync/write.c src/sync/write.h \
	src/sync/write_item.h \
	src/sync/write_loop.c src/sync/write_loop.h \
	src/sync/write_step.c src/sync/write_step.h

sync_lua = \
	src/sync/lua/clear-2.lua \
	src/sync/lua/common-2.lua \
	src/sync/lua/heartbeat-2.lua \
	src/sync/lua/lease-2.lua \
	src/sync/lua/plain-0.lua \
	src/sync/lua/replay-3.lua src/sync/lua/replay_tracked-1.lua \
	src/sync/lua/resume-2.lua \
	src/sync/lua/sweep-2.lua \
	src/sync/lua/touch-3.lua src/sync/lua/touch_tracked-1.lua \
	src/sync/lua/write-2.lua

# queue: jobs on redis; knows no cache.
libnearcache_core_la_SOURCES += \
	src/queue/add.c \
	src/queue/args.c src/queue/args.h \
	src/queue/civil.h \
	src/queue/cron.c src/queue/cron.h \
	src/queue/events.c \
	src/queue/exchange.c src/queue/exchange.h \
	src/queue/hand.c src/queue/hand.h \
	src/queue/job.c src/queue/job.h \
	src/queue/json.c src/queue/json.h \
	src/queue/look.c \
	src/queue/options.c src/queue/options.h \
	src/queue/order.c \
	src/queue/preset.c \
	src/queue/queue.c src/queue/queue.h \
	src/queue/remote.c src/queue/remote.h \
	src/queue/run.c src/queue/run.h \
	src/queue/schedule.c src/queue/schedule.h \
	src/queue/scripts.c src/queue/scripts.h \
	src/queue/text.c src/queue/text.h \
	src/queue/value.c src/queue/value.h \
	src/queue/worker.c \
	src/queue/zone.c src/queue/zone.h

queue_lua = \
	src/queue/lua/add-1.lua \
	src/queue/lua/clean-1.lua \
	src/queue/lua/common-1.lua \
	src/queue/lua/common_schedule-1.lua \
	src/queue/lua/counts-1.lua \
	src/queue/lua/exchange-1.lua \
	src/queue/lua/iterate-1.lua \
	src/queue/lua/list-1.lua \
	src/queue/lua/log-1.lua \
	src/queue/lua/obliterate-1.lua \
	src/queue/lua/pause-1.lua \
	src/queue/lua/progress-1.lua \
	src/queue/lua/promote-1.lua \
	src/queue/lua/remove-1.lua \
	src/queue/lua/renew-1.lua \
	src/queue/lua/retry-1.lua \
	src/queue/lua/schedule-1.lua \
	src/queue/lua/stalled-1.lua \
	src/queue/lua/state-1.lua \
	src/queue/lua/unschedule-1.lua

# api: the exported functions; start and stop.
libnearcache_core_la_SOURCES += \
	src/api/async.c src/api/async.h \
	src/api/async_batches.c src/api/async_batches.h \
	src/api/async_calls.c src/api/async_calls.h \
	src/api/async_dispatch.c \
	src/api/async_loop.c src/api/async_loop.h \
	src/api/async_op.c src/api/async_op.h \
	src/api/async_order.c src/api/async_order.h \
	src/api/async_part.c src/api/async_part.h \
	src/api/async_reads.c src/api/async_reads.h \
	src/api/async_threads.c src/api/async_threads.h \
	src/api/async_writes.c src/api/async_writes.h \
	src/api/batch.c \
	src/api/call.c src/api/call.h \
	src/api/config.c src/api/config.h \
	src/api/handle.h \
	src/api/lanes.c src/api/lanes.h \
	src/api/metrics.c \
	src/api/nearcache.c \
	src/api/publish.c src/api/publish.h \
	src/api/runtime.c \
	src/api/statuses.h \
	src/api/vectors.c

# ---- scripts for Redis: one header a folder, a string a script (build-aux/lua2c) -----------------

EXTRA_DIST += $(sync_lua) $(queue_lua)
CLEANFILES += src/sync/lua_scripts.h src/queue/lua_scripts.h
LUA2C = $(MKDIR_P) $(@D) && cd $(srcdir) && $(SHELL) build-aux/lua2c $(abs_builddir)/$@

src/sync/lua_scripts.h: $(sync_lua) build-aux/lua2c
	$(AM_V_GEN)$(LUA2C) $(sync_lua)
src/sync/script.lo: src/sync/lua_scripts.h

src/queue/lua_scripts.h: $(queue_lua) build-aux/lua2c
	$(AM_V_GEN)$(LUA2C) $(queue_lua)
src/queue/scripts.lo: src/queue/lua_scripts.h

# ---- the library that is installed: the same objects, exporting what src/nearcache.sym lists -----

lib_LTLIBRARIES += libnearcache.la
libnearcache_la_SOURCES =
libnearcache_la_LIBADD = libnearcache_core.la
libnearcache_la_LDFLAGS = $(AM_LDFLAGS) -version-info $(NC_VERSION_INFO) \
	-export-symbols $(srcdir)/src/nearcache.sym
libnearcache_la_DEPENDENCIES = libnearcache_core.la src/nearcache.sym
EXTRA_DIST += src/nearcache.sym

# ---- the command: a user of the public headers ---------------------------------------------------

dist_man_MANS += src/cli/nearcache.1

# All but main, for the unit tests of its parts.
noinst_LTLIBRARIES += libnearcache_cli.la
libnearcache_cli_la_CPPFLAGS = $(AM_CPPFLAGS) $(ZLIB_CFLAGS)
libnearcache_cli_la_LIBADD = $(HIREDIS_LIBS) $(ZLIB_LIBS) -lm
libnearcache_cli_la_SOURCES = \
	src/cli/check.h \
	src/cli/check_cache.c \
	src/cli/check_server.c \
	src/cli/cli.c src/cli/cli.h \
	src/cli/cmd_bench.c \
	src/cli/cmd_check.c \
	src/cli/cmd_export.c \
	src/cli/cmd_load.c \
	src/cli/cmd_queue.c \
	src/cli/cmd_queue_add.c \
	src/cli/cmd_queue_look.c \
	src/cli/cmd_queue_order.c \
	src/cli/cmd_queue_work.c \
	src/cli/cmd_replay.c \
	src/cli/cmd_shell.c \
	src/cli/cmd_stats.c \
	src/cli/config_file.c src/cli/config_file.h \
	src/cli/ids.c src/cli/ids.h \
	src/cli/job_line.c src/cli/job_line.h \
	src/cli/job_process.c src/cli/job_process.h \
	src/cli/json.c src/cli/json.h \
	src/cli/latency.c src/cli/latency.h \
	src/cli/npy.c src/cli/npy.h \
	src/cli/options.c src/cli/options.h \
	src/cli/progress.c src/cli/progress.h \
	src/cli/queue.h \
	src/cli/raw.c src/cli/raw.h \
	src/cli/replay.c src/cli/replay.h \
	src/cli/replay_job.h \
	src/cli/replay_report.c \
	src/cli/resume.c src/cli/resume.h \
	src/cli/settings.c src/cli/settings.h \
	src/cli/target.c src/cli/target.h \
	src/cli/trace.c src/cli/trace.h \
	src/cli/vectors.c src/cli/vectors.h

bin_PROGRAMS += nearcache
nearcache_SOURCES = src/cli/main.c
nearcache_LDADD = libnearcache_cli.la libnearcache.la
