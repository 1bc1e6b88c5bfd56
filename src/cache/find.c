#include "cache/find.h"

#include "cache/hit.h"

/* For how long a copy may have been untrue: since the last proof, or since it was read. */
static uint64_t stale_age_ns(const struct nc_key *key, const struct nc_entry *entry,
                             uint64_t now_ns)
{
    const struct nearcache_tier *tier = key->tier;
    struct nc_cache *cache = tier->cache;
    uint64_t age_ns = nc_tick_to_ms(nc_tick_of(now_ns) - entry->birth_tick) * NC_NS_PER_MS;
    uint64_t last_ns =
        atomic_load_explicit(&cache->lanes[key->lane].last_proof_ns, memory_order_relaxed);
    /* While the link was proven the copy was true, however old it is. */
    if (tier->proven && last_ns) {
        uint64_t unproven_ns = nc_hit_proof_age_ns(cache, last_ns, now_ns);
        return unproven_ns < age_ns ? unproven_ns : age_ns;
    }
    return age_ns;
}

static enum nc_found find_old(struct nc_cache_thread *self, const struct nc_key *key,
                              uint64_t max_stale_ns, struct nearcache_result *result)
{
    struct nearcache_tier *tier = key->tier;
    struct nc_cache *cache = tier->cache;
    enum nc_found found = NC_FOUND_NOTHING;
    uint32_t epoch = atomic_load_explicit(&tier->epochs[key->lane], memory_order_acquire);

    nc_epoch_enter(&cache->store.epoch, &self->reader);
    struct nc_entry *entry = nc_hit_lookup(key, nc_entry_tier_epoch(tier->id, epoch));
    if (entry) {
        uint64_t now_ns = nc_clock_now_ns(&cache->clock);
        bool absent = nc_entry_is(entry, NC_ENTRY_NEGATIVE);
        if (max_stale_ns != 0 && stale_age_ns(key, entry, now_ns) <= max_stale_ns)
            found = nc_hit_take(self, key, entry, nc_entry_flags(entry), now_ns,
                                absent ? NC_FOUND_OLD_ABSENCE : NC_FOUND_OLD, result);
    }
    nc_epoch_leave(&self->reader);
    return found;
}

enum nc_found nc_cache_find(struct nc_cache_thread *self, const struct nc_key *key, bool stale,
                            uint64_t max_stale_ns, struct nearcache_result *result)
{
    enum nc_found found = nc_hit_find(self, key, result);
    return found == NC_FOUND_NOTHING && stale ? find_old(self, key, max_stale_ns, result) : found;
}

int nc_cache_hold(struct nc_cache_thread *self, struct nearcache_tier *tier, struct nc_entry *entry,
                  struct nearcache_result *result)
{
    struct nc_cache *cache = tier->cache;
    struct nc_pin pin = nc_epoch_pin_again(&cache->store.epoch, &self->reader, entry);
    if (!pin.entry)
        return NEARCACHE_ENOMEM;
    nc_hit_put_times(result, entry, nc_entry_flags(entry), nc_clock_now_ns(&cache->clock));
    nc_hit_put_pin(result, pin, nc_entry_value(entry), nc_entry_value_bytes(entry));
    return 0;
}

struct nc_entry *nc_cache_held_entry(const struct nearcache_result *result)
{
    return (struct nc_entry *)result->internal[0];
}
