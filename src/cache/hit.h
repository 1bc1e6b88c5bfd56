/*
 * cache/hit: the hit path: key -> bucket -> entry -> pin, inlined into the exported calls.
 *
 * It takes no lock, makes no system call, allocates nothing and writes only the calling thread's
 * own lines; the entry's mark is written when it changes. Two lines are waited for, one after the
 * other: the bucket and the entry. What is judged by the clock is judged after the bucket was read,
 * so that reading the clock overlaps with waiting for the entry.
 */
#ifndef NC_CACHE_HIT_H
#define NC_CACHE_HIT_H

#include "base/mutant.h"
#include "cache/cache.h"

static inline void nc_hit_put_pin(struct nearcache_result *result, struct nc_pin pin)
{
    result->data = nc_entry_value(pin.entry);
    result->bytes = nc_entry_value_bytes(pin.entry);
    result->internal[0] = (uintptr_t)pin.entry;
    result->internal[1] = pin.where;
}

static inline void nc_hit_put_times(struct nearcache_result *result, const struct nc_entry *entry,
                                    uint64_t now_ns)
{
    nc_tick now = nc_tick_of(now_ns);
    result->age_ms = nc_tick_to_ms(now - entry->birth_tick);
    result->ttl_ms = NEARCACHE_NONE;
    if (nc_entry_is(entry, NC_ENTRY_EXPIRES)) {
        nc_tick end =
            atomic_load_explicit(&((struct nc_entry *)entry)->expiry_tick, memory_order_relaxed);
        result->ttl_ms = nc_tick_after(end, now) ? nc_tick_left_ns(end, now_ns) / NC_NS_PER_MS : 0;
    }
}

/* How far the proof has gone, judged by the reader's own clock. */
static inline uint64_t nc_hit_proof_age_ns(const struct nc_cache *cache, uint64_t proof_ns,
                                           uint64_t now_ns)
{
    uint64_t io_ns = cache->clock.now ? nc_clock_coarse_ns() : now_ns;
    if (proof_ns == 0)
        return UINT64_MAX;
    return io_ns > proof_ns ? io_ns - proof_ns : 0;
}

/* Inside the epoch: fills in the result and pins a value. NC_FOUND_NOTHING: no memory to note the
 * pin with. */
static inline enum nc_found nc_hit_take(struct nc_cache_thread *self, const struct nc_key *key,
                                        struct nc_entry *entry, uint64_t now_ns,
                                        enum nc_found found, struct nearcache_result *result)
{
    if (found == NC_FOUND_FRESH || found == NC_FOUND_OLD) {
        struct nc_pin pin = nc_epoch_pin(&key->tier->cache->store.epoch, &self->reader, entry);
        if (__builtin_expect(!pin.entry, 0))
            return NC_FOUND_NOTHING;
        nc_hit_put_pin(result, pin);
    }
    nc_hit_put_times(result, entry, now_ns);
    nc_partition_hit(key->tier->partition, key->hash, entry);
    return found;
}

/* Whether it is neither over nor unproven. */
static inline bool nc_hit_is_fresh(const struct nearcache_tier *tier, const struct nc_entry *entry,
                                   uint64_t proof_ns, uint64_t now_ns)
{
    if (nc_entry_is(entry, NC_ENTRY_OLD | NC_ENTRY_EXPIRES) &&
        (nc_entry_is(entry, NC_ENTRY_OLD) ||
         !nc_tick_after(
             atomic_load_explicit(&((struct nc_entry *)entry)->expiry_tick, memory_order_relaxed),
             nc_tick_of(now_ns))))
        return false;
    return !tier->proven ||
           ((nc_hit_proof_age_ns(tier->cache, proof_ns, now_ns) <= tier->cache->lease_ns ||
             (NC_MUTANT(no_lease) && proof_ns)) &&
            /* Acquire: what was heard before it went deaf is not told from what was not. */
            !atomic_load_explicit(&((struct nearcache_tier *)tier)->deaf, memory_order_acquire));
}

/* What a look-up is judged by, loaded before the bucket (R2 of docs/coherence.md). */
struct nc_hit_view {
    uint64_t proof_ns;
    uint32_t tier_epoch;
};

static inline struct nc_hit_view nc_hit_view(const struct nearcache_tier *tier)
{
    struct nc_hit_view view = {0, 0};
    /* Acquire pairs with the releases of nc_proof and nc_cache_tier_epoch: what was dropped before
     * them is not found after. */
    if (tier->proven)
        view.proof_ns = atomic_load_explicit(&tier->cache->proof_ns, memory_order_acquire);
    view.tier_epoch =
        nc_entry_tier_epoch(tier->id, atomic_load_explicit(&((struct nearcache_tier *)tier)->epoch,
                                                           memory_order_acquire));
    return view;
}

static inline struct nc_index *nc_hit_index(const struct nc_key *key)
{
    return &nc_store_shard(&key->tier->cache->store, key->hash)->index;
}

static inline struct nc_entry *nc_hit_lookup(const struct nc_key *key, struct nc_hit_view view)
{
    struct nc_entry *entry =
        nc_index_find(nc_hit_index(key), key->hash, key->tier->id, key->name, key->name_bytes);
    return entry && entry->tier_epoch == view.tier_epoch ? entry : NULL;
}

/* A fresh copy: NC_FOUND_FRESH or one of the fresh absences; else NC_FOUND_NOTHING. `now_ns` was
 * read after the bucket. */
static inline enum nc_found nc_hit_judge(struct nc_cache_thread *self, const struct nc_key *key,
                                         struct nc_entry *entry, struct nc_hit_view view,
                                         uint64_t now_ns, struct nearcache_result *result)
{
    if (__builtin_expect(!nc_hit_is_fresh(key->tier, entry, view.proof_ns, now_ns), 0))
        return NC_FOUND_NOTHING;
    enum nc_found found = NC_FOUND_FRESH;
    if (__builtin_expect(nc_entry_is(entry, NC_ENTRY_NEGATIVE), 0))
        found =
            nc_entry_is(entry, NC_ENTRY_VOUCHED) ? NC_FOUND_FRESH_VOUCHED : NC_FOUND_FRESH_ABSENCE;
    return nc_hit_take(self, key, entry, now_ns, found, result);
}

static inline enum nc_found nc_hit_find(struct nc_cache_thread *self, const struct nc_key *key,
                                        struct nearcache_result *result)
{
    struct nc_cache *cache = key->tier->cache;
    enum nc_found found = NC_FOUND_NOTHING;
    struct nc_hit_view view = nc_hit_view(key->tier);
    nc_epoch_enter(&cache->store.epoch, &self->reader);
    struct nc_entry *entry = nc_hit_lookup(key, view);
    if (entry)
        found = nc_hit_judge(self, key, entry, view, nc_clock_now_ns(&cache->clock), result);
    nc_epoch_leave(&self->reader);
    return found;
}

#define NC_HIT_WAVE 16

/* The same for up to NC_HIT_WAVE keys of one tier: their buckets are fetched together, then their
 * entries, so that the misses of the wave overlap. found[i] and *results[i] are of keys[i]. */
static inline void nc_hit_find_wave(struct nc_cache_thread *self, const struct nc_key *keys,
                                    size_t count, struct nearcache_result *const *results,
                                    enum nc_found *found)
{
    struct nc_entry *entries[NC_HIT_WAVE];
    if (count == 0)
        return;
    struct nc_cache *cache = keys[0].tier->cache;
    struct nc_hit_view view = nc_hit_view(keys[0].tier);
    nc_epoch_enter(&cache->store.epoch, &self->reader);
    for (size_t i = 0; i < count; i++)
        nc_index_prefetch_bucket(nc_hit_index(&keys[i]), keys[i].hash);
    for (size_t i = 0; i < count; i++)
        nc_index_prefetch_entry(nc_hit_index(&keys[i]), keys[i].hash);
    for (size_t i = 0; i < count; i++)
        entries[i] = nc_hit_lookup(&keys[i], view);
    uint64_t now_ns = nc_clock_now_ns(&cache->clock);
    for (size_t i = 0; i < count; i++)
        found[i] = entries[i] ? nc_hit_judge(self, &keys[i], entries[i], view, now_ns, results[i])
                              : NC_FOUND_NOTHING;
    nc_epoch_leave(&self->reader);
}

#endif
