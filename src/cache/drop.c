#include "cache/drop.h"

#include "cache/removals.h"
#include "cache/ticket.h"

#include <string.h>

/* ---- one key ---- */

void nc_cache_observe(struct nc_cache_thread *self, const struct nc_key *key, uint64_t version,
                      enum nearcache_cause cause)
{
    struct nearcache_tier *tier = key->tier;
    struct nc_cache *cache = tier->cache;
    struct nc_bucket *bucket = nc_cache_bucket(cache, key);
    struct nc_shard *shard = nc_store_shard(&cache->store, key->hash);
    struct nc_removed removed = {NULL, NULL};
    nc_shard_lock(shard);
    uint32_t link_epoch =
        atomic_load_explicit(&cache->lanes[key->lane].link_epoch, memory_order_acquire);
    if (bucket->epoch != link_epoch || bucket->version < version) {
        bucket->epoch = link_epoch;
        bucket->version = version;
    }
    /* Release pairs with the acquire in nc_cache_ticket. */
    atomic_fetch_add_explicit(&bucket->changes, 1, memory_order_release);
    struct nc_entry *entry =
        nc_shard_find_locked(shard, key->hash, tier->id, key->name, key->name_bytes);
    if (entry && nc_entry_version(entry) < version)
        nc_shard_remove_locked(shard, entry, cause, &removed);
    nc_shard_unlock(shard);
    nc_removals_settle(cache, self, &removed);
}

static void drop(struct nc_cache_thread *self, const struct nc_key *key, enum nearcache_cause cause,
                 uint32_t step)
{
    struct nearcache_tier *tier = key->tier;
    struct nc_cache *cache = tier->cache;
    struct nc_shard *shard = nc_store_shard(&cache->store, key->hash);
    struct nc_removed removed = {NULL, NULL};
    nc_shard_lock(shard);
    atomic_fetch_add_explicit(&nc_cache_bucket(cache, key)->changes, step, memory_order_release);
    struct nc_entry *entry =
        nc_shard_find_locked(shard, key->hash, tier->id, key->name, key->name_bytes);
    if (entry)
        nc_shard_remove_locked(shard, entry, cause, &removed);
    nc_shard_unlock(shard);
    nc_removals_settle(cache, self, &removed);
}

void nc_cache_drop(struct nc_cache_thread *self, const struct nc_key *key,
                   enum nearcache_cause cause)
{
    drop(self, key, cause, 1);
}

void nc_cache_supersede(struct nc_cache_thread *self, const struct nc_key *key,
                        enum nearcache_cause cause)
{
    drop(self, key, cause, NC_BUCKET_SUPERSEDED);
}

/* The live local copy of a key, under its shard's lock. */
static struct nc_entry *live_locked(struct nc_shard *shard, const struct nc_key *key)
{
    struct nearcache_tier *tier = key->tier;
    struct nc_entry *entry =
        nc_shard_find_locked(shard, key->hash, tier->id, key->name, key->name_bytes);
    if (entry &&
        nc_entry_is_of(entry,
                       atomic_load_explicit(&tier->epochs[key->lane], memory_order_acquire)) &&
        !nc_entry_is(entry, NC_ENTRY_NEGATIVE))
        return entry;
    return NULL;
}

bool nc_cache_expire(struct nc_cache_thread *self, const struct nc_key *key)
{
    struct nc_shard *shard = nc_store_shard(&key->tier->cache->store, key->hash);
    nc_tick now = nc_tick_of(nc_clock_now_ns(&key->tier->cache->clock));
    (void)self;
    nc_shard_lock(shard);
    struct nc_entry *entry = live_locked(shard, key);
    bool here = entry && !nc_entry_has_ended(entry, now);
    if (here)
        nc_entry_set(entry, NC_ENTRY_OLD);
    nc_shard_unlock(shard);
    return here;
}

bool nc_cache_touch(struct nc_cache_thread *self, const struct nc_key *key, uint64_t ttl_ns,
                    uint64_t version)
{
    struct nearcache_tier *tier = key->tier;
    struct nc_cache *cache = tier->cache;
    struct nc_shard *shard = nc_store_shard(&cache->store, key->hash);
    uint64_t now_ns = nc_clock_now_ns(&cache->clock);
    if (ttl_ns > tier->local_ttl_ns)
        ttl_ns = tier->local_ttl_ns;
    nc_shard_lock(shard);
    struct nc_entry *entry = live_locked(shard, key);
    bool here = entry && !nc_entry_has_ended(entry, nc_tick_of(now_ns));
    if (here) {
        if (ttl_ns >= nc_tier_endless_ns(tier)) {
            nc_entry_clear(entry, NC_ENTRY_EXPIRES);
        } else {
            ttl_ns = nc_tier_local_ttl_ns(tier, ttl_ns, nc_hash_step(&self->random));
            atomic_store_explicit(&entry->expiry_tick, nc_tick_of(now_ns + ttl_ns),
                                  memory_order_relaxed);
            nc_entry_set(entry, NC_ENTRY_EXPIRES);
            nc_shard_touched_locked(shard, entry, nc_tick_of(now_ns));
        }
        if (version) {
            struct nc_bucket *bucket = nc_cache_bucket(cache, key);
            bucket->epoch =
                atomic_load_explicit(&cache->lanes[key->lane].link_epoch, memory_order_acquire);
            bucket->version = version > bucket->version ? version : bucket->version;
            nc_entry_set_version(entry, version);
        }
    }
    nc_shard_unlock(shard);
    return here;
}

/* ---- many ---- */

void nc_cache_tier_lane_epoch(struct nearcache_tier *tier, uint32_t lane)
{
    /* Release pairs with the acquires of hits and tickets. */
    atomic_fetch_add_explicit(&tier->epochs[lane], 1, memory_order_release);
}

void nc_cache_tier_epoch(struct nearcache_tier *tier)
{
    for (uint32_t lane = 0; lane < tier->cache->lane_count; lane++)
        nc_cache_tier_lane_epoch(tier, lane);
}

void nc_cache_link_epoch(struct nc_cache *cache, uint32_t lane)
{
    struct nearcache_tier *tier;
    atomic_fetch_add_explicit(&cache->lanes[lane].link_epoch, 1, memory_order_release);
    for (uint32_t i = 0; (tier = nc_cache_tier_at(cache, i)); i++)
        if (tier->proven)
            nc_cache_tier_lane_epoch(tier, lane);
}

struct prefix {
    const struct nearcache_tier *tier;
    const void *bytes;
    size_t count;
};

static bool has_prefix(void *arg, const struct nc_entry *entry)
{
    const struct prefix *prefix = arg;
    return nc_entry_tier(entry) == prefix->tier->id && entry->name_bytes >= prefix->count &&
           memcmp(entry->name, prefix->bytes, prefix->count) == 0;
}

bool nc_cache_drop_prefix(struct nearcache_tier *tier, const void *prefix, size_t prefix_bytes,
                          uint64_t deadline_ns, uint64_t *values)
{
    struct prefix match = {tier, prefix_bytes ? prefix : "", prefix_bytes};
    return nc_store_remove_if(&tier->cache->store, has_prefix, &match, NEARCACHE_CAUSE_CLEARED,
                              deadline_ns, values);
}

bool nc_cache_clear(struct nearcache_tier *tier, const void *prefix, size_t prefix_bytes,
                    uint64_t deadline_ns, uint64_t *values)
{
    /* Release pairs with the acquire of may_keep_locked: who keeps something by an older ticket has
     * done so before the shard is looked through. Loaders of other keys begin again, too. */
    for (uint32_t lane = 0; lane < tier->cache->lane_count; lane++)
        atomic_fetch_add_explicit(&tier->cache->lanes[lane].link_generation, 1,
                                  memory_order_release);
    return nc_cache_drop_prefix(tier, prefix, prefix_bytes, deadline_ns, values);
}
