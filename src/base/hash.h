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

/* What the names of a tier are hashed with: nobody who does not know it can choose names that fall
 * together. Constant once made. */
struct nc_hash_secret {
    uint64_t words[4];
    uint64_t seed;
};

/* `seed` is random per cache; equal names of two tiers have nothing in common. */
void nc_hash_secret(struct nc_hash_secret *secret, uint64_t seed, uint32_t tier);

/* The hash of a key, for who has no secret at hand; base/hash_name.h has it for the hit path. Here
 * it may be of no bytes, too. */
uint64_t nc_hash_key(uint64_t seed, uint32_t tier, const void *name, size_t name_bytes);

/* The same in all programs and for ever: XXH3 64 bit without a seed. What is not a secret. */
uint64_t nc_hash_common(const void *name, size_t name_bytes);

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

/* Odd, as 0 means an empty slot: one instruction, for a bit that nobody misses. */
static inline uint16_t nc_hash_tag(uint64_t hash) { return (uint16_t)hash | 1; }

/* A fast, well mixed step for random numbers (splitmix64; Steele, Lea, Flood 2014). */
static inline uint64_t nc_hash_step(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

#endif
