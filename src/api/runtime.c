/*
 * api/runtime: opening and closing a cache: the order of start and stop, and the thread that sees
 * to what nobody waits for.
 *
 *     start   life page, cache, metrics socket, sync, link (its thread), maintenance thread;
 *             threads for an event loop with the first call that needs one
 *     stop    the mirror of that
 *
 * Above all the other files: it starts and stops them, none of them calls it.
 */
#include "api/async.h"
#include "api/config.h"
#include "api/handle.h"
#include "api/lanes.h"
#include "api/publish.h"
#include "base/error.h"
#include "base/futex.h"
#include "nearcache/metrics.h"
#include "redis/settings.h"
#include "sync/state.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* How often expiry looks when nothing else happens, and how soon it goes on when it has work. */
#define SWEEP_MS 100
#define SWEEP_BUSY_MS 1

/* ---- maintenance ---- */

static int render(void *arg, enum nc_publish_form form, char *text, size_t capacity, size_t *bytes)
{
    return form == NC_PUBLISH_JSON ? nearcache_metrics_json(arg, text, capacity, bytes)
                                   : nearcache_metrics_prometheus(arg, text, capacity, bytes);
}

static void *maintain(void *arg)
{
    struct nearcache *cache = arg;
    struct pollfd fds[2] = {{cache->stop_fd, POLLIN, 0}, {-1, POLLIN, 0}};
    int wait_ms = SWEEP_MS;
    if (cache->publish)
        fds[1].fd = nc_publish_fd(cache->publish);
    for (;;) {
        poll(fds, 2, wait_ms);
        if (fds[0].revents)
            return NULL;
        if (cache->publish)
            nc_publish_serve(cache->publish, nc_clock_io_ns(), render, cache);
        wait_ms = nc_cache_sweep(&cache->cache) ? SWEEP_BUSY_MS : SWEEP_MS;
    }
}

static int start_maintenance(struct nearcache *cache)
{
    cache->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (cache->stop_fd < 0)
        return NEARCACHE_EIO;
    int rc = pthread_create(&cache->maintenance, NULL, maintain, cache);
    if (rc != 0) {
        close(cache->stop_fd);
        return rc == EAGAIN ? NEARCACHE_EIO : NEARCACHE_ENOMEM;
    }
    cache->maintenance_runs = true;
    return 0;
}

static void stop_maintenance(struct nearcache *cache)
{
    uint64_t one = 1;
    if (!cache->maintenance_runs)
        return;
    while (write(cache->stop_fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
    pthread_join(cache->maintenance, NULL);
    close(cache->stop_fd);
    cache->maintenance_runs = false;
}

/* ---- open and close ---- */

static int open_parts(struct nearcache *cache, const struct nearcache_config *config)
{
    struct nc_cache_config cache_config = {
        .budget_bytes = config->budget_bytes,
        .capacity_entries = config->capacity_entries,
        .hash_seed = config->hash_seed,
        .shards = config->shards,
        .lease_ns = config->lease_ms * NC_NS_PER_MS,
        .audits = config->audit_per_million != 0,
        .clock = config->clock,
        .clock_arg = config->clock_arg,
        .on_removal = config->on_removal,
        .on_removal_arg = config->on_removal_arg,
        .log = &cache->log,
    };
    int outcome = nc_lanes_prepare(cache, config, &cache_config);
    if (outcome != 0)
        return outcome;
    if ((outcome = nc_cache_init(&cache->cache, &cache_config)) != 0)
        goto err_after_settings;
    nc_flights_init(&cache->local_loads);
    if (config->metrics_socket &&
        (outcome = nc_publish_open(&cache->publish, config->metrics_socket, &cache->log)) != 0)
        goto err_after_cache;
    if (config->redis && (outcome = nc_lanes_open(cache, config)) != 0)
        goto err_after_publish;
    if ((outcome = start_maintenance(cache)) != 0)
        goto err_after_link;
    return 0;

err_after_link:
    if (cache->sync)
        nc_lanes_close(cache, nc_clock_io_ns());
err_after_publish:
    nc_publish_close(cache->publish);
err_after_cache:
    nc_cache_deinit(&cache->cache);
err_after_settings:
    nc_redis_settings_destroy(cache->redis);
    return outcome;
}

int nearcache_open(struct nearcache **out, const struct nearcache_config *given)
{
    struct nearcache_config config = NEARCACHE_CONFIG_INIT;
    const char *why = NULL;
    if (!out || nc_config_copy(&config, sizeof config, given) != 0)
        return NEARCACHE_EINVAL;
    struct nc_log log;
    nc_log_init(&log, config.log, config.log_arg, config.log_level);
    int outcome = nc_config_complete(&config, &why);
    if (outcome != 0) {
        nc_log_write(&log, NEARCACHE_LOG_ERROR, "nearcache_open: %s", why);
        return outcome;
    }
    struct nearcache *cache = aligned_alloc(64, (sizeof *cache + 63) / 64 * 64);
    if (!cache)
        return NEARCACHE_ENOMEM;
    memset(cache, 0, sizeof *cache);
    cache->log = log;
    cache->config = config;
    pthread_mutex_init(&cache->async_lock, NULL);
    outcome = open_parts(cache, &config);
    if (outcome != 0) {
        nc_log_write(&log, NEARCACHE_LOG_ERROR, "nearcache_open: %s", nc_error_text(outcome));
        pthread_mutex_destroy(&cache->async_lock);
        free(cache);
        return outcome;
    }
    cache->config.redis = NULL;
    cache->config.name_space = cache->config.metrics_socket = NULL;
    *out = cache;
    return 0;
}

/* A last chance for what the journal holds, while the link's thread still runs. The link may be on
 * its way: a program that ends soon has not waited for it. */
static void write_journal(struct nearcache *cache, uint64_t deadline_ns)
{
    if (nc_state_unwritten(cache->sync) == 0)
        return;
    nc_state_wait_live(cache->sync, deadline_ns);
    uint64_t left = nc_state_unwritten(cache->sync);
    if (left > 0)
        nc_log_write(&cache->log, NEARCACHE_LOG_WARNING,
                     "nearcache_close: writes that Redis did not take in time are lost: %" PRIu64,
                     left);
}

int nearcache_close(struct nearcache *cache, uint64_t timeout_us)
{
    if (timeout_us == NEARCACHE_NONE)
        return NEARCACHE_EINVAL;
    if (!cache)
        return 0;
    uint64_t deadline_ns =
        nc_clock_deadline_ns(timeout_us ? timeout_us : cache->config.deadline_us);
    if (!cache->stopped) {
        if (nc_life_check(cache->cache.life.word) == NEARCACHE_EFORK)
            return NEARCACHE_EFORK;
        if (cache->sync)
            write_journal(cache, deadline_ns);
        atomic_store(cache->cache.life.word, NC_LIFE_CLOSING);
        nc_futex_wake(cache->cache.life.word, INT_MAX); /* who waits out a doubt */
        nc_async_stop(atomic_load(&cache->async));
        stop_maintenance(cache);
        if (cache->sync)
            nc_lanes_close(cache, deadline_ns);
        nc_async_destroy(atomic_load(&cache->async));
        atomic_store(&cache->async, NULL);
        nc_publish_close(cache->publish);
        cache->publish = NULL;
        cache->stopped = true;
    }
    if (!nc_cache_deinit(&cache->cache))
        return NEARCACHE_EBUSY;
    pthread_mutex_destroy(&cache->async_lock);
    free(cache);
    return 0;
}
