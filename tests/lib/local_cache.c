#include "lib/local_cache.h"

#include "cache/drop.h"
#include "cache/fill.h"
#include "cache/find.h"
#include "cache/key.h"

#include <criterion/criterion.h>
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
    static struct nc_log quiet;
    const char *why = NULL;
    memset(local, 0, sizeof *local);
    nc_log_init(&quiet, NULL, NULL, NEARCACHE_LOG_ERROR);
    local->config = *config;
    atomic_store(&local->clock.now_ns, FAKE_CLOCK_START_NS);
    struct nc_cache_config cache = {
        .capacity_entries = config->entries,
        .budget_bytes = config->budget_bytes ? config->budget_bytes : 64u << 20,
        .shards = config->shards ? config->shards : 1,
        .hash_seed = 1,
        .clock = fake_clock_now,
        .clock_arg = &local->clock,
        .on_removal = on_removal,
        .on_removal_arg = local,
        .log = &quiet,
    };
    cr_assert_eq(nc_cache_init(&local->cache, &cache), 0);
    for (uint32_t i = 0; i < (config->tiers ? config->tiers : 1); i++) {
        struct nearcache_tier_config tier = NEARCACHE_TIER_INIT;
        tier.name = names[i];
        tier.redis_ttl_ms = NEARCACHE_NONE;
        tier.jitter_percent = NEARCACHE_NONE;
        tier.policy = config->policies[i];
        tier.budget_share_percent = config->shares[i];
        cr_assert_eq(nc_cache_tier_open(&local->cache, &tier, NULL, false, &local->tiers[i], &why),
                     0, "%s", why);
    }
}

void local_cache_close(struct local_cache *local)
{
    cr_assert(nc_cache_deinit(&local->cache));
    for (uint32_t i = 0; i < LOCAL_CACHE_TIERS; i++) {
        cr_assert_eq(local->here[i], 0, "tier %u: %ld left", i, (long)local->here[i]);
        cr_assert_eq(local->bytes[i], 0, "tier %u: %ld bytes left", i, (long)local->bytes[i]);
    }
}

static unsigned char byte_of(uint64_t id, size_t at) { return (unsigned char)(id * 31 + at); }

static struct nc_key key_of(struct local_cache *local, uint32_t tier, const uint64_t *id)
{
    struct nc_key key;
    cr_assert_eq(nc_cache_key(local->tiers[tier], id, sizeof *id, &key), 0);
    return key;
}

bool local_cache_set(struct local_cache *local, uint32_t tier, uint64_t id, size_t bytes,
                     uint64_t ttl_ms)
{
    struct nc_cache_thread *self = nc_cache_self(&local->cache);
    struct nc_key key = key_of(local, tier, &id);
    struct nc_ticket ticket = nc_cache_ticket(&key);
    struct nc_entry *entry = nc_cache_entry_create(self, &key, bytes, false);
    if (!entry)
        return false;
    unsigned char *value = nc_entry_value(entry);
    for (size_t at = 0; at < bytes; at++)
        value[at] = byte_of(id, at);
    nc_cache_entry_times(self, &key, entry, fake_clock_now(&local->clock),
                         ttl_ms ? ttl_ms * NC_NS_PER_MS : NEARCACHE_NONE);
    bool kept = nc_cache_fill(self, &key, &ticket, entry);
    local->bytes[tier] += kept ? (int64_t)bytes : 0;
    local->here[tier] += kept;
    return kept;
}

int64_t local_cache_get(struct local_cache *local, uint32_t tier, uint64_t id)
{
    struct nc_key key = key_of(local, tier, &id);
    struct nearcache_result result;
    memset(&result, 0, sizeof result);
    enum nc_found found = nc_cache_find(nc_cache_self(&local->cache), &key, false, 0, &result);
    if (found == NC_FOUND_NOTHING)
        return -1;
    cr_assert_eq(found, NC_FOUND_FRESH);
    const unsigned char *value = result.data;
    int64_t bytes = (int64_t)result.bytes;
    for (size_t at = 0; at < result.bytes; at++)
        if (value[at] != byte_of(id, at))
            cr_assert_fail("byte %zu of key %lu", at, (unsigned long)id);
    nc_cache_release(&result);
    return bytes;
}

bool local_cache_use(struct local_cache *local, uint32_t tier, uint64_t id, size_t bytes)
{
    if (local_cache_get(local, tier, id) >= 0)
        return true;
    cr_assert(local_cache_set(local, tier, id, bytes, 0));
    return false;
}

void local_cache_drop(struct local_cache *local, uint32_t tier, uint64_t id)
{
    struct nc_key key = key_of(local, tier, &id);
    nc_cache_drop(nc_cache_self(&local->cache), &key, NEARCACHE_CAUSE_INVALIDATED);
}

void local_cache_touch(struct local_cache *local, uint32_t tier, uint64_t id, uint64_t ttl_ms)
{
    struct nc_key key = key_of(local, tier, &id);
    cr_assert(nc_cache_touch(nc_cache_self(&local->cache), &key, ttl_ms * NC_NS_PER_MS, 0));
}

void local_cache_sweep(struct local_cache *local)
{
    while (nc_cache_sweep(&local->cache))
        continue;
    nc_cache_sweep(&local->cache);
}

struct nc_store_usage local_cache_usage(struct local_cache *local)
{
    struct nc_store_usage usage;
    nc_store_usage(&local->cache.store, &usage);
    return usage;
}

uint64_t local_cache_entries(struct local_cache *local) { return local_cache_usage(local).entries; }

uint64_t local_cache_removed(struct local_cache *local, enum nearcache_cause cause)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < LOCAL_CACHE_TIERS; i++)
        sum += local->removed[i][cause];
    return sum;
}
