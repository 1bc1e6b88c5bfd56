#include "lib/local_cache.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static uint32_t tier_index(const struct local_cache *local, const struct nearcache_tier *tier)
{
    uint32_t i = 0;
    while (i + 1 < LOCAL_CACHE_TIERS && local->tiers[i] != tier)
        i++;
    return i;
}

static void on_removal(void *arg, const struct nearcache_removal *removal)
{
    struct local_cache *local = arg;
    uint32_t tier = tier_index(local, removal->tier);
    uint64_t id;
    memcpy(&id, removal->name, sizeof id);
    local->removed[tier][removal->cause]++;
    local->bytes[tier] -= (int64_t)removal->value_bytes;
    local->here[tier]--;
    if (local->config.on_removal)
        local->config.on_removal(local->config.arg, tier, id, removal->cause);
}

void local_cache_open(struct local_cache *local, const struct local_cache_config *config)
{
    static const char *const names[LOCAL_CACHE_TIERS] = {"a", "b", "c", "d"};
    struct nearcache_config cache = NEARCACHE_CONFIG_INIT;
    memset(local, 0, sizeof *local);
    local->config = *config;
    atomic_store(&local->clock.now_ns, FAKE_CLOCK_START_NS);
    cache.capacity_entries = config->entries;
    cache.budget_bytes = config->budget_bytes ? config->budget_bytes : 64u << 20;
    cache.shards = config->shards ? config->shards : 1;
    cache.hash_seed = 1;
    cache.clock = fake_clock_now;
    cache.clock_arg = &local->clock;
    cache.on_removal = on_removal;
    cache.on_removal_arg = local;
    cr_assert_eq(nearcache_open(&local->cache, &cache), 0);
    for (uint32_t i = 0; i < (config->tiers ? config->tiers : 1); i++) {
        struct nearcache_tier_config tier = NEARCACHE_TIER_INIT;
        tier.name = names[i];
        tier.prefix = names[i];
        tier.redis_ttl_ms = NEARCACHE_NONE;
        tier.jitter_percent = NEARCACHE_NONE;
        tier.largest_local_bytes = UINT32_MAX;
        tier.policy = config->policies[i];
        tier.budget_share_percent = config->shares[i];
        cr_assert_eq(nearcache_tier_open(local->cache, &tier, &local->tiers[i]), 0);
    }
}

void local_cache_close(struct local_cache *local)
{
    cr_assert_eq(nearcache_close(local->cache, 0), 0);
    for (uint32_t i = 0; i < LOCAL_CACHE_TIERS; i++) {
        cr_assert_eq(local->here[i], 0, "tier %u: %ld left", i, (long)local->here[i]);
        cr_assert_eq(local->bytes[i], 0, "tier %u: %ld bytes left", i, (long)local->bytes[i]);
    }
}

static unsigned char byte_of(uint64_t id, size_t at) { return (unsigned char)(id * 31 + at); }

int local_cache_set(struct local_cache *local, uint32_t tier, uint64_t id, size_t bytes,
                    uint64_t ttl_ms)
{
    struct nearcache_write how = NEARCACHE_WRITE_INIT;
    unsigned char *value = malloc(bytes ? bytes : 1);
    cr_assert(value);
    for (size_t at = 0; at < bytes; at++)
        value[at] = byte_of(id, at);
    how.ttl_ms = ttl_ms;
    /* Before: it may be removed before the call returns. */
    local->bytes[tier] += (int64_t)bytes;
    local->here[tier]++;
    int outcome = nearcache_set(local->tiers[tier], &id, sizeof id, value, bytes, &how);
    if (outcome != 0) {
        local->bytes[tier] -= (int64_t)bytes;
        local->here[tier]--;
    }
    free(value);
    return outcome;
}

int64_t local_cache_get(struct local_cache *local, uint32_t tier, uint64_t id)
{
    struct nearcache_result result;
    int outcome = nearcache_get(local->tiers[tier], &id, sizeof id, NULL, &result);
    if (outcome == NEARCACHE_MISS)
        return -1;
    cr_assert_eq(outcome, 0);
    const unsigned char *value = result.data;
    int64_t bytes = (int64_t)result.bytes;
    for (size_t at = 0; at < result.bytes; at++)
        if (value[at] != byte_of(id, at))
            cr_assert_fail("byte %zu of key %lu", at, (unsigned long)id);
    nearcache_release(&result);
    return bytes;
}

bool local_cache_use(struct local_cache *local, uint32_t tier, uint64_t id, size_t bytes)
{
    if (local_cache_get(local, tier, id) >= 0)
        return true;
    cr_assert_eq(local_cache_set(local, tier, id, bytes, 0), 0);
    return false;
}

uint64_t local_cache_entries(struct local_cache *local)
{
    struct nearcache_metrics metrics = NEARCACHE_METRICS_INIT;
    cr_assert_eq(nearcache_metrics(local->cache, &metrics), 0);
    return metrics.entries;
}

uint64_t local_cache_removed(struct local_cache *local, enum nearcache_cause cause)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < LOCAL_CACHE_TIERS; i++)
        sum += local->removed[i][cause];
    return sum;
}
