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
#include "cache/key.h"

/* The compiler's own judgement would make calls of some of these. */
#define NC_INLINE static inline __attribute__((always_inline))

NC_INLINE void nc_hit_put_pin(struct nearcache_result *result, struct nc_pin pin, const void *value,
                              size_t value_bytes)
{
    result->data = value;
    result->bytes = value_bytes;
    result->internal[0] = (uintptr_t)pin.entry;
    result->internal[1] = pin.where;
}

NC_INLINE void nc_hit_put_times(struct nearcache_result *result, const struct nc_entry *entry,
                                uint8_t flags, uint64_t now_ns)
{
    nc_tick now = nc_tick_of(now_ns), birth = entry->birth_tick;
    result->age_ms = nc_tick_after(now, birth) ? nc_tick_to_ms(now - birth) : 0;
    result->ttl_ms = NEARCACHE_NONE;
    if (flags & NC_ENTRY_EXPIRES) {
        nc_tick end =
            atomic_load_explicit(&((struct nc_entry *)entry)->expiry_tick, memory_order_relaxed);
        result->ttl_ms = nc_tick_after(end, now) ? nc_tick_left_ns(end, now_ns) / NC_NS_PER_MS : 0;
    }
}

/* Inside an epoch: the entry was hit. At most one relaxed store, into the entry. */
NC_INLINE void nc_hit_mark(const struct nearcache_tier *tier, uint64_t hash, struct nc_entry *entry)
{
    if (__builtin_expect(tier->generations != NULL, 1))
        nc_lru_hit(&tier->generations[nc_hash_shard(hash, tier->sharding)], entry);
    else
        nc_as3_hit(entry);
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
NC_INLINE enum nc_found nc_hit_take(struct nc_cache_thread *self, const struct nc_key *key,
                                    struct nc_entry *entry, uint8_t flags, uint64_t now_ns,
                                    enum nc_found found, struct nearcache_result *result)
{
    const struct nearcache_tier *tier = key->tier;
    if (found == NC_FOUND_FRESH || found == NC_FOUND_OLD) {
        struct nc_pin pin = nc_epoch_pin(&tier->cache->store.epoch, &self->reader, entry);
        if (__builtin_expect(!pin.entry, 0))
            return NC_FOUND_NOTHING;
        nc_hit_put_pin(result, pin, nc_entry_value_of(entry, flags, key->name_bytes),
                       nc_entry_value_bytes(entry));
    } else {
        nc_hit_put_pin(result, (struct nc_pin){NULL, 0}, NULL, 0);
    }
    nc_hit_put_times(result, entry, flags, now_ns);
    nc_hit_mark(tier, key->hash, entry);
    return found;
}

/* What a look-up is judged by, loaded before the bucket (R2 of docs/coherence.md). */
struct nc_hit_view {
    uint64_t proof_ns;
    uint32_t tier_epoch;
};

NC_INLINE struct nc_hit_view nc_hit_view(const struct nc_key *key)
{
    struct nearcache_tier *tier = key->tier;
    struct nc_hit_view view = {0, 0};
    /* Acquire pairs with the releases of nc_proof and nc_cache_tier_epoch: what was dropped before
     * them is not found after. */
    if (tier->proven)
        view.proof_ns =
            atomic_load_explicit(&tier->cache->lanes[key->lane].proof_ns, memory_order_acquire);
    view.tier_epoch = nc_entry_tier_epoch(
        tier->id, atomic_load_explicit(&tier->epochs[key->lane], memory_order_acquire));
    return view;
}

static inline const struct nc_index_head *nc_hit_head(const struct nearcache_tier *tier,
                                                      uint64_t hash)
{
    return &tier->heads[nc_hash_shard(hash, tier->sharding)];
}

NC_INLINE struct nc_entry *nc_hit_lookup(const struct nc_key *key, uint32_t tier_epoch)
{
    return nc_index_find(nc_hit_head(key->tier, key->hash), key->hash, tier_epoch, UINT32_MAX,
                         key->name, key->name_bytes);
}

/* After the bucket was read. Where nothing depends on the time it is not asked for: the age that
 * is told is then off by what passes between two rounds of maintenance. */
NC_INLINE uint64_t nc_hit_now_ns(const struct nearcache_tier *tier, uint8_t flags)
{
    struct nc_cache *cache = tier->cache;
    if (tier->timed || flags & NC_ENTRY_EXPIRES)
        return nc_clock_now_ns(&cache->clock);
    /* Relaxed: an age, not an order. */
    return atomic_load_explicit(&cache->recent_ns, memory_order_relaxed);
}

/* Whether the time of an entry with these flags is over. */
static inline bool nc_hit_is_over(const struct nc_entry *entry, uint8_t flags, uint64_t now_ns)
{
    return flags & NC_ENTRY_OLD ||
           !nc_tick_after(
               atomic_load_explicit(&((struct nc_entry *)entry)->expiry_tick, memory_order_relaxed),
               nc_tick_of(now_ns));
}

static inline bool nc_hit_is_proven(const struct nc_key *key, uint64_t proof_ns, uint64_t now_ns)
{
    struct nearcache_tier *tier = key->tier;
    return (nc_hit_proof_age_ns(tier->cache, proof_ns, now_ns) <= tier->cache->lease_ns ||
            (NC_MUTANT(no_lease) && proof_ns)) &&
           /* Acquire: what was heard before it went deaf is not told from what was not. */
           (atomic_load_explicit(&tier->deaf, memory_order_acquire) >> key->lane & 1) == 0;
}

/* A fresh copy: NC_FOUND_FRESH or one of the fresh absences; else NC_FOUND_NOTHING. */
NC_INLINE enum nc_found nc_hit_judge(struct nc_cache_thread *self, const struct nc_key *key,
                                     struct nc_entry *entry, uint8_t flags, struct nc_hit_view view,
                                     uint64_t now_ns, struct nearcache_result *result)
{
    const struct nearcache_tier *tier = key->tier;
    enum nc_found found = NC_FOUND_FRESH;
    if (flags & ~NC_ENTRY_ALIGNED) {
        if (flags & (NC_ENTRY_OLD | NC_ENTRY_EXPIRES) && nc_hit_is_over(entry, flags, now_ns))
            return NC_FOUND_NOTHING;
        if (__builtin_expect(flags & NC_ENTRY_NEGATIVE, 0))
            found = flags & NC_ENTRY_VOUCHED ? NC_FOUND_FRESH_VOUCHED : NC_FOUND_FRESH_ABSENCE;
    }
    if (tier->proven && !nc_hit_is_proven(key, view.proof_ns, now_ns))
        return NC_FOUND_NOTHING;
    return nc_hit_take(self, key, entry, flags, now_ns, found, result);
}

NC_INLINE enum nc_found nc_hit_find(struct nc_cache_thread *self, const struct nc_key *key,
                                    struct nearcache_result *result)
{
    enum nc_found found = NC_FOUND_NOTHING;
    struct nc_hit_view view = nc_hit_view(key);
    nc_epoch_enter(&key->tier->cache->store.epoch, &self->reader);
    struct nc_entry *entry = nc_hit_lookup(key, view.tier_epoch);
    if (entry) {
        uint8_t flags = nc_entry_flags(entry);
        found =
            nc_hit_judge(self, key, entry, flags, view, nc_hit_now_ns(key->tier, flags), result);
    }
    nc_epoch_leave(&self->reader);
    return found;
}

/* ---- the usual hit: of a tier that is plain ---- */

/* Inside the epoch. False: there is more to judge or the slots are full, nothing was done. No call
 * in here or before it: what is alive across one is kept in memory from the first step on. */
NC_INLINE bool nc_hit_take_plain(struct nc_cache_thread *self, const struct nearcache_tier *tier,
                                 uint64_t hash, struct nc_entry *entry, size_t name_bytes,
                                 struct nearcache_result *result)
{
    uint8_t flags = nc_entry_flags(entry);
    if (__builtin_expect(flags & ~NC_ENTRY_ALIGNED, 0))
        return false;
    _Atomic(struct nc_entry *) *slot = nc_epoch_slot(&self->reader);
    if (__builtin_expect(!slot, 0))
        return false;
    nc_hit_put_pin(result, nc_epoch_pin_in(slot, entry),
                   nc_entry_value_of(entry, flags, name_bytes), nc_entry_value_bytes(entry));
    /* Relaxed: an age, not an order. */
    nc_hit_put_times(result, entry, 0,
                     atomic_load_explicit(&tier->cache->recent_ns, memory_order_relaxed));
    nc_hit_mark(tier, hash, entry);
    return true;
}

#define NC_HIT_WAVE 16

/* Up to NC_HIT_WAVE short names of a plain tier, their buckets under way: takes what is a usual hit
 * and the first of its tag. left[]: the numbers of the others, which it returns. */
NC_INLINE size_t nc_hit_take_wave(struct nc_cache_thread *self, const struct nearcache_tier *tier,
                                  const struct nearcache_name *names, const uint64_t *hashes,
                                  size_t count, struct nearcache_result *results, uint8_t *left)
{
    struct nc_entry *entries[NC_HIT_WAVE];
    size_t lefts = 0;
    /* As nc_hit_view. */
    uint32_t tier_epoch =
        nc_entry_tier_epoch(tier->id, atomic_load_explicit(&tier->epochs[0], memory_order_acquire));
    nc_epoch_enter(&tier->cache->store.epoch, &self->reader);
    for (size_t i = 0; i < count; i++)
        entries[i] = nc_index_guess(nc_hit_head(tier, hashes[i]), hashes[i]);
    for (size_t i = 0; i < count; i++)
        if (__builtin_expect(!entries[i], 0))
            entries[i] = nc_index_guess_other(nc_hit_head(tier, hashes[i]), hashes[i]);
    for (size_t i = 0; i < count; i++) {
        if (__builtin_expect(entries[i] &&
                                 nc_entry_has_name(entries[i], tier_epoch, UINT32_MAX,
                                                   names[i].data, names[i].bytes) &&
                                 nc_hit_take_plain(self, tier, hashes[i], entries[i],
                                                   names[i].bytes, &results[i]),
                             1))
            results[i].source = NEARCACHE_SOURCE_LOCAL;
        else
            left[lefts++] = (uint8_t)i;
    }
    nc_epoch_leave(&self->reader);
    return lefts;
}

/* A key of a wave has been made: its bucket comes while the others are. */
static inline void nc_hit_announce(const struct nc_key *key)
{
    nc_index_prefetch_bucket(nc_hit_head(key->tier, key->hash), key->hash);
}

/* The same for up to NC_HIT_WAVE keys of one tier, each announced: their buckets are waited for
 * together, then their entries, so that the misses of the wave overlap. found[i] and *results[i]
 * are of keys[i]. */
static inline void nc_hit_find_wave(struct nc_cache_thread *self, const struct nc_key *keys,
                                    size_t count, struct nearcache_result *const *results,
                                    enum nc_found *found)
{
    struct nc_entry *entries[NC_HIT_WAVE];
    struct nc_hit_view views[NC_HIT_WAVE];
    if (count == 0)
        return;
    struct nc_cache *cache = keys[0].tier->cache;
    bool lanes = cache->lane_count > 1; /* else one view serves all */
    for (size_t i = 0; i < (lanes ? count : 1); i++)
        views[i] = nc_hit_view(&keys[i]);
    nc_epoch_enter(&cache->store.epoch, &self->reader);
    for (size_t i = 0; i < count; i++)
        entries[i] = nc_index_guess(nc_hit_head(keys[i].tier, keys[i].hash), keys[i].hash);
    for (size_t i = 0; i < count; i++)
        if (!entries[i])
            entries[i] =
                nc_index_guess_other(nc_hit_head(keys[i].tier, keys[i].hash), keys[i].hash);
    for (size_t i = 0; i < count; i++) {
        uint32_t tier_epoch = views[lanes ? i : 0].tier_epoch;
        if (!entries[i] || !nc_entry_has_name(entries[i], tier_epoch, UINT32_MAX, keys[i].name,
                                              keys[i].name_bytes))
            entries[i] = nc_hit_lookup(&keys[i], tier_epoch);
    }
    uint64_t now_ns = nc_clock_now_ns(&cache->clock);
    for (size_t i = 0; i < count; i++)
        found[i] = entries[i] ? nc_hit_judge(self, &keys[i], entries[i], nc_entry_flags(entries[i]),
                                             views[lanes ? i : 0], now_ns, results[i])
                              : NC_FOUND_NOTHING;
    nc_epoch_leave(&self->reader);
}

#endif
