#include "cache/fill.h"

#include "base/mutant.h"
#include "cache/hit.h"
#include "cache/removals.h"
#include "store/move.h"
#include "store/sweep.h"

#include <string.h>

/* ---- loaders ---- */

enum nc_found nc_cache_load_begin(struct nc_cache_thread *self, const struct nc_key *key, bool look,
                                  struct nc_ticket *ticket, struct nearcache_result *result)
{
    struct nc_shard *shard = nc_store_shard(&key->tier->cache->store, key->hash);
    nc_shard_lock(shard);
    *ticket = nc_cache_ticket(key);
    enum nc_found found = look ? nc_hit_find(self, key, result) : NC_FOUND_NOTHING;
    if (found != NC_FOUND_FRESH)
        shard->loads++;
    nc_shard_unlock(shard);
    return found;
}

void nc_cache_load_end(const struct nc_key *key)
{
    struct nc_shard *shard = nc_store_shard(&key->tier->cache->store, key->hash);
    nc_shard_lock(shard);
    shard->loads--;
    nc_shard_unlock(shard);
}

/* ---- private entries ---- */

struct nc_entry *nc_cache_entry_create(struct nc_cache_thread *self, const struct nc_key *key,
                                       size_t value_bytes, bool absent)
{
    struct nc_store *store = &key->tier->cache->store;
    nc_cache_announce(key);
    uint8_t flags =
        (uint8_t)((absent ? NC_ENTRY_NEGATIVE : 0) | (key->tier->row_bytes ? NC_ENTRY_ALIGNED : 0));
    size_t bytes = nc_entry_bytes(key->name_bytes, value_bytes, flags);
    void *block = bytes ? nc_epoch_alloc(&store->epoch, &self->reader, bytes) : NULL;
    return block ? nc_entry_init(block, key->hash, key->tier->id, key->name, key->name_bytes,
                                 value_bytes, flags)
                 : NULL;
}

void nc_cache_entry_destroy(struct nearcache_tier *tier, struct nc_entry *entry)
{
    nc_entry_destroy(&tier->cache->store.arena, entry);
}

void nc_cache_entry_times(struct nc_cache_thread *self, const struct nc_key *key,
                          struct nc_entry *entry, uint64_t now_ns, uint64_t ttl_ns)
{
    entry->birth_tick = nc_tick_of(now_ns);
    if (ttl_ns >= nc_tier_endless_ns(key->tier))
        return;
    ttl_ns = nc_tier_local_ttl_ns(key->tier, ttl_ns, nc_hash_step(&self->random));
    /* Rounded down: what is over is over by the reader's coarser clock too. */
    atomic_store_explicit(&entry->expiry_tick, nc_tick_of(now_ns + ttl_ns), memory_order_relaxed);
    nc_entry_set(entry, NC_ENTRY_EXPIRES);
}

void nc_cache_orphan(struct nc_cache_thread *self, struct nearcache_tier *tier,
                     struct nc_entry *entry)
{
    (void)self;
    nc_epoch_retire(&tier->cache->store.epoch, entry);
}

int nc_cache_hold_new(struct nc_cache_thread *self, struct nearcache_tier *tier,
                      struct nc_entry *entry, uint64_t now_ns, struct nearcache_result *result)
{
    struct nc_pin pin = nc_epoch_pin(&tier->cache->store.epoch, &self->reader, entry);
    if (!pin.entry)
        return NEARCACHE_ENOMEM;
    nc_hit_put_times(result, entry, nc_entry_flags(entry), now_ns);
    nc_hit_put_pin(result, pin, nc_entry_value(entry), nc_entry_value_bytes(entry));
    return 0;
}

int nc_cache_copy(struct nc_cache_thread *self, const struct nc_key *key, const void *value,
                  size_t value_bytes, struct nearcache_result *result)
{
    struct nc_entry *entry = nc_cache_entry_create(self, key, value_bytes, false);
    if (!entry)
        return NEARCACHE_ENOMEM;
    if (value_bytes)
        memcpy(nc_entry_value(entry), value, value_bytes);
    uint64_t now_ns = nc_clock_now_ns(&key->tier->cache->clock);
    entry->birth_tick = nc_tick_of(now_ns);
    int outcome = nc_cache_hold_new(self, key->tier, entry, now_ns, result);
    nc_cache_orphan(self, key->tier, entry);
    return outcome;
}

/* ---- hints ---- */

void nc_cache_announce(const struct nc_key *key)
{
    struct nc_cache *cache = key->tier->cache;
    if (key->tier->linked)
        __builtin_prefetch(nc_cache_bucket(cache, key), 1);
    nc_index_prefetch_both(nc_store_head(&cache->store, key->hash), key->hash);
    nc_shard_announce(&cache->store, key->hash, key->tier->partition);
}

void nc_cache_approach(struct nc_cache_thread *self, const struct nc_key *key)
{
    struct nc_store *store = &key->tier->cache->store;
    nc_epoch_enter(&store->epoch, &self->reader);
    nc_index_guess(nc_store_head(store, key->hash), key->hash);
    nc_epoch_leave(&self->reader);
}

/* ---- filling ---- */

/* R3, R4: whether what was read or written may still be kept. */
static bool may_keep_locked(const struct nc_key *key, const struct nc_ticket *ticket,
                            uint64_t version)
{
    struct nearcache_tier *tier = key->tier;
    struct nc_cache *cache = tier->cache;
    const struct nc_bucket *bucket = nc_cache_bucket(cache, key);
    if (NC_MUTANT(no_ticket))
        return true;
    if (ticket->epoch != atomic_load_explicit(&tier->epochs[key->lane], memory_order_acquire))
        return false;
    if (ticket->generation != 0 &&
        ticket->generation !=
            atomic_load_explicit(&cache->lanes[key->lane].link_generation, memory_order_acquire))
        return false;
    uint32_t changes = atomic_load_explicit(&bucket->changes, memory_order_relaxed);
    if (version == 0)
        return ticket->changes == changes;
    if (ticket->changes / NC_BUCKET_SUPERSEDED != changes / NC_BUCKET_SUPERSEDED)
        return false;
    return bucket->epoch !=
               atomic_load_explicit(&cache->lanes[key->lane].link_epoch, memory_order_acquire) ||
           bucket->version <= version;
}

/* An absence does not take the place of a value that was not deleted but ended: if a loader fails
 * to make a new one, that value is what there is. */
static bool stands_in(const struct nearcache_tier *tier, const struct nc_entry *old,
                      const struct nc_entry *entry, nc_tick now)
{
    if (!old || old->tier_epoch != entry->tier_epoch || nc_entry_is(old, NC_ENTRY_NEGATIVE) ||
        !nc_entry_is(entry, NC_ENTRY_NEGATIVE))
        return false;
    return nc_entry_is(old, NC_ENTRY_OLD) ||
           (tier->linger_ticks != 0 && nc_entry_has_ended(old, now));
}

bool nc_cache_fill(struct nc_cache_thread *self, const struct nc_key *key,
                   const struct nc_ticket *ticket, struct nc_entry *entry)
{
    struct nearcache_tier *tier = key->tier;
    struct nc_store *store = &tier->cache->store;
    struct nc_shard *shard = nc_store_shard(store, key->hash);
    struct nc_removed removed = {NULL, NULL}, moved = {NULL, NULL};
    bool raced = false, kept = false;
    nc_cache_approach(self, key); /* the entry that it may replace */
    nc_shard_lock(shard);
    uint32_t epoch = ticket ? ticket->epoch
                            : atomic_load_explicit(&tier->epochs[key->lane], memory_order_acquire);
    entry->tier_epoch = nc_entry_tier_epoch(tier->id, epoch);
    /* A line of memory that only loaders look at. Release pairs with the acquire in
     * nc_cache_ticket. */
    if (!ticket && shard->loads != 0)
        atomic_fetch_add_explicit(&nc_cache_bucket(tier->cache, key)->changes, 1,
                                  memory_order_release);
    if (ticket && !may_keep_locked(key, ticket, nc_entry_version(entry))) {
        raced = true;
    } else {
        nc_tick now = 0;
        struct nc_entry *old =
            nc_shard_find_locked(shard, key->hash, tier->id, key->name, key->name_bytes);
        if (old) {
            __builtin_prefetch(nc_entry_newer(old), 1);
            __builtin_prefetch(nc_entry_older(old), 1);
        }
        if (nc_shard_needs_time_locked(shard, entry) || (old && tier->linger_ticks != 0))
            now = nc_tick_of(nc_clock_now_ns(&tier->cache->clock));
        /* An insert never replaces an entry of a higher version. */
        if (old && old->tier_epoch == entry->tier_epoch &&
            nc_entry_version(old) > nc_entry_version(entry))
            raced = true;
        else if (!stands_in(tier, old, entry, now))
            kept = nc_shard_insert_locked(shard, entry, old, now, &removed);
    }
    if (__builtin_expect(nc_sweep_needs_help(store), 0))
        nc_sweep_help_locked(shard, entry, nc_tick_of(nc_clock_now_ns(&tier->cache->clock)),
                             &removed, &moved);
    nc_shard_unlock(shard);
    nc_move_settle(store, &moved);
    nc_removals_settle(tier->cache, self, &removed);
    if (raced)
        nc_cache_count(self, tier, NC_COUNT_race_discards, 1);
    if (!kept)
        nc_cache_orphan(self, tier, entry);
    return kept;
}
