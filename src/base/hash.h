/*
 * base/hash: the seeded hash of a key, and the only place that says which bits decide what.
 *
 *     63 ........ 32 | 31 ........ 16 | 15 ........ 0
 *       shard (top)     bucket of the     tag
 *                       shard's index
 *
 * An index of more than 65536 buckets takes bits of the tag too, which then tells a little less.
 * Invalidation buckets (tickets) take the bits from the top: they are per cache, not per shard.
 */
#ifndef NC_BASE_HASH_H
#define NC_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* What tells equal names of two tiers apart. `seed` is random per cache. */
static inline uint64_t nc_hash_tier_seed(uint64_t seed, uint32_t tier)
{
    return seed ^ ((uint64_t)(tier + 1) * UINT64_C(0x9e3779b97f4a7c15));
}

/* XXH3 64 bit with the seed of the tier; base/hash_name.h has the same inline, for the hit path. */
uint64_t nc_hash_key(uint64_t seed, uint32_t tier, const void *name, size_t name_bytes);

/* A random seed from the operating system; falls back to clock and address, never fails. */
uint64_t nc_hash_random(void);

/* 32 lower-case hex digits of XXH3 128 (seed 0) and a final zero. */
void nc_hash_hex128(const void *data, size_t bytes, char out[33]);

/* Which bits are the shard's: the highest. */
struct nc_hash_shards {
    uint32_t shift, mask;
};

static inline struct nc_hash_shards nc_hash_shards(unsigned bits)
{
    return (struct nc_hash_shards){bits ? 64 - bits : 0, (UINT32_C(1) << bits) - 1};
}

static inline uint32_t nc_hash_shard(uint64_t hash, struct nc_hash_shards shards)
{
    return (uint32_t)(hash >> shards.shift) & shards.mask;
}

/* Never 0: 0 means an empty slot. */
static inline uint16_t nc_hash_tag(uint64_t hash)
{
    uint16_t tag = (uint16_t)hash;
    return tag ? tag : 1;
}

/* A fast, well mixed step for random numbers (splitmix64; Steele, Lea, Flood 2014). */
static inline uint64_t nc_hash_step(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

#endif
