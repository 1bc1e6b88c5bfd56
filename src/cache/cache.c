#include "cache/cache.h"

#include "store/sweep.h"

#include <stdlib.h>
#include <string.h>

/* ---- init ---- */

static struct nearcache_tier *tier_of(struct nc_cache *cache, const struct nc_entry *entry)
{
    return nc_cache_tier_at(cache, nc_entry_tier(entry));
}

static void on_removal(void *arg, struct nc_entry *entry, enum nearcache_cause cause)
{
    struct nc_cache *cache = arg;
    struct nearcache_tier *tier = tier_of(cache, entry);
    struct nc_cache_thread *self = nc_cache_self(cache);
    static const enum nc_counter counter[] = {
        [NEARCACHE_CAUSE_EXPIRED] = NC_COUNT_removed_expired,
        [NEARCACHE_CAUSE_EVICTED] = NC_COUNT_removed_evicted,
        [NEARCACHE_CAUSE_REPLACED] = NC_COUNT_removed_replaced,
        [NEARCACHE_CAUSE_INVALIDATED] = NC_COUNT_removed_invalidated,
        [NEARCACHE_CAUSE_CLEARED] = NC_COUNT_removed_cleared,
    };
    nc_cache_count(self, tier, counter[cause], 1);
    if (!cache->on_removal)
        return;
    bool absent = nc_entry_is(entry, NC_ENTRY_NEGATIVE);
    struct nearcache_removal removal = {tier,
                                        nc_entry_name(entry),
                                        entry->name_bytes,
                                        absent ? NULL : nc_entry_value(entry),
                                        nc_entry_value_bytes(entry),
                                        cause};
    cache->on_removal(cache->on_removal_arg, &removal);
}

static bool is_dead(void *arg, const struct nc_entry *entry)
{
    struct nearcache_tier *tier = tier_of(arg, entry);
    uint32_t lane = nc_cache_lane_of(tier, nc_entry_name(entry), entry->name_bytes);
    return !nc_entry_is_of(entry, atomic_load_explicit(&tier->epochs[lane], memory_order_relaxed));
}

/* Copies of some tiers may stand in for a while after their time. */
static nc_tick lingers(void *arg, const struct nc_entry *entry)
{
    return nc_entry_is(entry, NC_ENTRY_NEGATIVE) ? 0 : tier_of(arg, entry)->linger_ticks;
}

/* Enough buckets that two keys seldom share one, and a 64th of the budget at most. */
static unsigned choose_bucket_bits(uint64_t budget_bytes, unsigned least)
{
    unsigned bits = least > 10 ? least : 10;
    while (bits < 20 && (sizeof(struct nc_bucket) << (bits + 1)) <= budget_bytes / 64)
        bits++;
    return bits;
}

static int init_lanes(struct nc_cache *cache, const struct nc_cache_config *config)
{
    cache->lane_count = config->lanes_most ? config->lanes_most : 1;
    cache->lane_of = config->lane_of;
    cache->lane_arg = config->lane_arg;
    while (1u << cache->lane_bits < cache->lane_count)
        cache->lane_bits++;
    cache->lanes = aligned_alloc(64, cache->lane_count * sizeof *cache->lanes);
    if (!cache->lanes)
        return NEARCACHE_ENOMEM;
    memset(cache->lanes, 0, cache->lane_count * sizeof *cache->lanes);
    for (uint32_t i = 0; i < cache->lane_count; i++) {
        atomic_init(&cache->lanes[i].link_generation, 1);
        atomic_init(&cache->lanes[i].link_epoch, 1);
    }
    return 0;
}

int nc_cache_init(struct nc_cache *cache, const struct nc_cache_config *config)
{
    memset(cache, 0, sizeof *cache);
    nc_clock_init(&cache->clock, config->clock, config->clock_arg);
    atomic_init(&cache->recent_ns, nc_clock_now_ns(&cache->clock));
    cache->hash_seed = config->hash_seed ? config->hash_seed : nc_hash_random();
    /* The coarse clock that hits are judged by is late by up to its resolution. */
    uint64_t late_ns = 8 * NC_NS_PER_MS;
    cache->lease_ns = config->lease_ns > late_ns ? config->lease_ns - late_ns : 0;
    cache->log = config->log;
    cache->audits = config->audits;
    cache->on_removal = config->on_removal;
    cache->on_removal_arg = config->on_removal_arg;
    int outcome = init_lanes(cache, config);
    if (outcome != 0)
        return outcome;
    if ((outcome = nc_life_init(&cache->life)) != 0)
        goto err_after_lanes;
    if ((outcome = nc_threads_init(&cache->threads, sizeof(struct nc_cache_thread))) != 0)
        goto err_after_life;
    struct nc_store_config store = {
        .budget_bytes = config->budget_bytes,
        .capacity_entries = config->capacity_entries,
        .shards = config->shards,
        .on_removal = on_removal,
        .is_dead = is_dead,
        .lingers = lingers,
        .arg = cache,
    };
    if ((outcome = nc_store_init(&cache->store, &store, &cache->threads)) != 0)
        goto err_after_threads;
    cache->bucket_bits =
        choose_bucket_bits(config->budget_bytes, cache->store.shard_bits + cache->lane_bits);
    cache->buckets = calloc((size_t)1 << cache->bucket_bits, sizeof *cache->buckets);
    if (!cache->buckets) {
        outcome = NEARCACHE_ENOMEM;
        goto err_after_store;
    }
    nc_budget_charge(&cache->store, NC_BYTES_FIXED,
                     (sizeof *cache->buckets << cache->bucket_bits) + sizeof *cache);
    pthread_mutex_init(&cache->tiers_lock, NULL);
    return 0;

err_after_store:
    nc_store_deinit(&cache->store);
err_after_threads:
    nc_threads_deinit(&cache->threads);
err_after_life:
    nc_life_deinit(&cache->life);
err_after_lanes:
    free(cache->lanes);
    return outcome;
}

bool nc_cache_deinit(struct nc_cache *cache)
{
    if (!nc_store_deinit(&cache->store))
        return false;
    for (struct nc_thread *t = nc_threads_first(&cache->threads); t; t = t->next)
        for (unsigned i = 0; i < NEARCACHE_MAX_TIERS; i++)
            free(atomic_load(&((struct nc_cache_thread *)t)->counters[i]));
    nc_threads_deinit(&cache->threads);
    for (uint32_t i = 0; i < NEARCACHE_MAX_TIERS; i++)
        free(atomic_load(&cache->tiers[i]));
    free(cache->buckets);
    free(cache->lanes);
    pthread_mutex_destroy(&cache->tiers_lock);
    nc_life_deinit(&cache->life);
    return true;
}

/* ---- tiers ---- */

static bool overlaps(const struct nearcache_tier *a, const struct nearcache_tier *b)
{
    size_t common = a->prefix_bytes < b->prefix_bytes ? a->prefix_bytes : b->prefix_bytes;
    return memcmp(a->prefix, b->prefix, common) == 0;
}

/* Redis refuses overlapping prefixes of BCAST tracking, and an empty one overlaps with all. */
static const char *conflict_locked(struct nc_cache *cache, const struct nearcache_tier *tier)
{
    bool tracks = tier->linked && tier->coherence == NEARCACHE_COHERENCE_TRACKING;
    if (tracks && tier->prefix_bytes == 0)
        return "a tier in tracking mode needs a prefix";
    for (uint32_t i = 0; nc_cache_tier_at(cache, i); i++) {
        const struct nearcache_tier *other = nc_cache_tier_at(cache, i);
        if (strcmp(other->name, tier->name) == 0)
            return "a tier of that name is open";
        if (tracks && other->coherence == NEARCACHE_COHERENCE_TRACKING && overlaps(other, tier))
            return "the prefixes of two tiers in tracking mode overlap";
    }
    return NULL;
}

static enum nearcache_policy policy_of(const struct nearcache_tier *tier)
{
    return tier->policy == NEARCACHE_POLICY_DEFAULT ? NEARCACHE_POLICY_LRU : tier->policy;
}

int nc_cache_tier_open(struct nc_cache *cache, const struct nearcache_tier_config *config,
                       void *owner, bool linked, struct nearcache_tier **out, const char **why)
{
    struct nearcache_tier *tier = aligned_alloc(64, (sizeof *tier + 63) / 64 * 64);
    *why = "out of memory";
    if (!tier)
        return NEARCACHE_ENOMEM;
    int outcome = nc_tier_init(tier, config, linked, why);
    if (outcome != 0) {
        free(tier);
        return outcome;
    }
    tier->cache = cache;
    tier->timed = tier->proven || cache->clock.now;
    tier->after_hit = tier->after_hit || (cache->audits && tier->proven);
    tier->plain = !tier->timed && !tier->after_hit && !cache->lane_of;
    tier->alive = cache->life.word;
    tier->owner = owner;
    pthread_mutex_lock(&cache->tiers_lock);
    const char *conflict = conflict_locked(cache, tier);
    uint32_t count = atomic_load(&cache->tier_count);
    if (conflict || count == NEARCACHE_MAX_TIERS) {
        *why = conflict ? conflict : "256 tiers are open";
        free(tier);
        outcome = NEARCACHE_ECONFIG;
    } else if (!(tier->partition = nc_store_tier_open(&cache->store, count, policy_of(tier),
                                                      (uint32_t)tier->budget_share_percent))) {
        free(tier);
        outcome = NEARCACHE_ENOMEM;
    } else {
        tier->id = count;
        nc_hash_secret(&tier->secret, cache->hash_seed, count);
        tier->heads = cache->store.heads;
        tier->sharding = cache->store.sharding;
        if (tier->partition->policy == NEARCACHE_POLICY_LRU)
            tier->generations = tier->partition->generations;
        /* Release pairs with the acquire in nc_cache_tier_at. */
        atomic_store_explicit(&cache->tiers[count], tier, memory_order_release);
        atomic_store(&cache->tier_count, count + 1);
        *out = tier;
    }
    pthread_mutex_unlock(&cache->tiers_lock);
    return outcome;
}

struct nearcache_tier *nc_cache_tier_find(struct nc_cache *cache, const char *name)
{
    struct nearcache_tier *tier;
    for (uint32_t i = 0; (tier = nc_cache_tier_at(cache, i)); i++)
        if (strcmp(tier->name, name) == 0)
            return tier;
    return NULL;
}

/* ---- counting ---- */

void nc_cache_count_first(struct nc_cache_thread *self, struct nearcache_tier *tier,
                          enum nc_counter which, uint64_t n)
{
    struct nc_counters *counters = self ? aligned_alloc(64, sizeof *counters) : NULL;
    if (!counters) {
        nc_counter_add_shared(&tier->shared, which, n);
        return;
    }
    memset(counters, 0, sizeof *counters);
    nc_counter_add(counters, which, n);
    /* Release pairs with the acquire of who sums: the block is filled in. */
    atomic_store_explicit(&self->counters[tier->id], counters, memory_order_release);
}

void nc_cache_counters(struct nearcache_tier *tier, uint64_t sum[NC_COUNTERS])
{
    struct nc_counters *counters;
    memset(sum, 0, NC_COUNTERS * sizeof sum[0]);
    nc_counters_sum(sum, &tier->shared);
    for (struct nc_thread *t = nc_threads_first(&tier->cache->threads); t; t = t->next) {
        counters = atomic_load_explicit(&((struct nc_cache_thread *)t)->counters[tier->id],
                                        memory_order_acquire);
        if (counters)
            nc_counters_sum(sum, counters);
    }
}

/* ---- maintenance ---- */

bool nc_cache_sweep(struct nc_cache *cache)
{
    struct nearcache_tier *tier;
    uint64_t epochs = 0;
    for (uint32_t i = 0; (tier = nc_cache_tier_at(cache, i)); i++)
        for (uint32_t lane = 0; lane < cache->lane_count; lane++)
            epochs += atomic_load_explicit(&tier->epochs[lane], memory_order_relaxed);
    uint64_t now_ns = nc_clock_now_ns(&cache->clock);
    atomic_store_explicit(&cache->recent_ns, now_ns, memory_order_relaxed);
    return nc_sweep(&cache->store, nc_tick_of(now_ns), epochs);
}
