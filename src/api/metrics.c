/* api/metrics: what a cache did; see nearcache/metrics.h. */
#include "nearcache/metrics.h"

#include "api/config.h"
#include "api/handle.h"
#include "metrics/prometheus.h"
#include "metrics/registry.h"

#include <stdlib.h>
#include <string.h>

static void add_counters(struct nearcache_tier *tier, struct nearcache_metrics *m)
{
    uint64_t sum[NC_COUNTERS];
    nc_cache_counters(tier, sum);
#define ADD(field) m->field += sum[NC_COUNT_##field];
    NC_TIER_COUNTERS(ADD)
#undef ADD
}

static uint64_t load(const _Atomic uint64_t *value)
{
    return atomic_load_explicit(value, memory_order_relaxed);
}

/* What is counted is added up; of the rest the worst is told. */
static void add_lane(struct nc_sync *sync, struct nearcache_metrics *m)
{
    struct nc_link_stats *stats = nc_link_stats(sync->link);
    uint64_t proof_ns = load(&sync->lane->last_proof_ns), now_ns = nc_clock_io_ns();
    uint64_t age_ms =
        proof_ns ? (now_ns > proof_ns ? (now_ns - proof_ns) / NC_NS_PER_MS : 0) : NEARCACHE_NONE;
#define MOST(field, value) m->field = (value) > m->field ? (value) : m->field
    m->gaps += load(&sync->gaps);
    m->repairs += load(&sync->repairs);
    m->epochs += load(&sync->epochs);
    MOST(staleness_max_us, load(&sync->staleness_max_us));
    m->audits += load(&sync->audit.checked);
    m->audit_differences += load(&sync->audit.differences);
    m->staleness_sum_us += load(&sync->staleness_sum_us);
    m->staleness_le_100us += nc_histogram_at_most(&sync->staleness_us, 100);
    m->staleness_le_1ms += nc_histogram_at_most(&sync->staleness_us, 1000);
    m->staleness_le_10ms += nc_histogram_at_most(&sync->staleness_us, 10000);
    m->staleness_le_100ms += nc_histogram_at_most(&sync->staleness_us, 100000);
    m->staleness_le_1s += nc_histogram_at_most(&sync->staleness_us, 1000000);
    m->staleness_count += nc_histogram_at_most(&sync->staleness_us, UINT64_MAX);
    MOST(heartbeat_age_ms, age_ms);
    m->journal_queued += nc_journal_entries(&sync->journal);
    m->redis_commands += load(&stats->commands);
    m->redis_batches += load(&stats->writes);
    m->redis_bytes_sent += load(&stats->bytes_sent);
    m->redis_bytes_received += load(&stats->bytes_received);
    m->redis_errors += load(&stats->errors);
    m->redis_timeouts += load(&stats->timeouts);
    m->redis_connects += load(&stats->connects);
    MOST(redis_round_trip_p50_us, nc_histogram_quantile(&stats->round_trip_us, 0.5));
    MOST(redis_round_trip_p99_us, nc_histogram_quantile(&stats->round_trip_us, 0.99));
    m->breaker_opens += load(&stats->breaker_opens);
    MOST(breaker_open, nc_link_breaker_is_open(sync->link));
#undef MOST
}

static int begin(struct nearcache *cache, struct nearcache_metrics *given,
                 struct nearcache_metrics *m)
{
    if (!cache || !given || given->size < sizeof given->size || given->size > 65536)
        return NEARCACHE_EINVAL;
    memset(m, 0, sizeof *m);
    return nc_life_check(cache->cache.life.word);
}

/* Writes as much of ours as the caller's header knows of. */
static void give(struct nearcache_metrics *given, struct nearcache_metrics *m)
{
    size_t size = given->size;
    memcpy(given, m, size < sizeof *m ? size : sizeof *m);
    given->size = size;
}

static void collect(struct nearcache *cache, struct nearcache_metrics *m)
{
    struct nc_store_usage usage;
    struct nearcache_tier *tier;
    nc_store_usage(&cache->cache.store, &usage);
    for (uint32_t i = 0; (tier = nc_cache_tier_at(&cache->cache, i)); i++)
        add_counters(tier, m);
    m->entries = usage.entries;
    m->bytes_used = usage.used_bytes;
    m->bytes_budget = usage.budget_bytes;
    m->bytes_index = usage.index_bytes;
    m->bytes_entries = usage.entry_bytes;
    m->bytes_journal = usage.journal_bytes;
    m->pinned = nc_store_pinned(&cache->cache.store);
    m->link_state = nearcache_link_state(cache);
    m->heartbeat_age_ms = cache->sync ? 0 : NEARCACHE_NONE;
    if (cache->sync) {
        NC_EACH_LANE(cache->sync, sync)
        add_lane(sync, m);
    }
}

int nearcache_metrics(struct nearcache *cache, struct nearcache_metrics *metrics)
{
    struct nearcache_metrics m;
    int outcome = begin(cache, metrics, &m);
    if (outcome == 0) {
        collect(cache, &m);
        give(metrics, &m);
    }
    return outcome;
}

int nearcache_metrics_tier(struct nearcache_tier *tier, struct nearcache_metrics *metrics)
{
    struct nearcache_metrics m;
    int outcome = begin(tier ? tier->owner : NULL, metrics, &m);
    if (outcome == 0) {
        add_counters(tier, &m);
        give(metrics, &m);
    }
    return outcome;
}

typedef size_t (*format_fn)(char *, size_t, const struct nearcache_metrics *,
                            const struct nc_metrics_tier *, size_t);

static int format(struct nearcache *cache, format_fn write, char *text, size_t capacity,
                  size_t *bytes)
{
    struct nearcache_metrics m;
    struct nearcache_tier *tier;
    uint32_t count = 0;
    if (!cache || !bytes || (!text && capacity))
        return NEARCACHE_EINVAL;
    int outcome = nc_life_check(cache->cache.life.word);
    if (outcome != 0)
        return outcome;
    struct nc_metrics_tier *tiers = calloc(NEARCACHE_MAX_TIERS, sizeof *tiers);
    if (!tiers)
        return NEARCACHE_ENOMEM;
    for (; (tier = nc_cache_tier_at(&cache->cache, count)); count++) {
        tiers[count].name = tier->name;
        add_counters(tier, &tiers[count].metrics);
    }
    memset(&m, 0, sizeof m);
    collect(cache, &m);
    *bytes = write(text, capacity, &m, tiers, count);
    free(tiers);
    return *bytes < capacity ? 0 : NEARCACHE_ETOOBIG;
}

int nearcache_metrics_prometheus(struct nearcache *cache, char *text, size_t capacity,
                                 size_t *bytes)
{
    return format(cache, nc_metrics_prometheus, text, capacity, bytes);
}

int nearcache_metrics_json(struct nearcache *cache, char *text, size_t capacity, size_t *bytes)
{
    return format(cache, nc_metrics_json, text, capacity, bytes);
}
