/*
 * cache/key: from the bytes that a caller calls a key to a key on its way through one call.
 */
#ifndef NC_CACHE_KEY_H
#define NC_CACHE_KEY_H

#include "base/hash_name.h"
#include "cache/cache.h"

/* Checks the arguments that every call with a key has, and hashes it. 0, EINVAL or ETOOBIG. */
static inline __attribute__((always_inline)) int
nc_cache_key(struct nearcache_tier *tier, const void *name, size_t name_bytes, struct nc_key *key)
{
    if (__builtin_expect(!name || name_bytes == 0, 0))
        return NEARCACHE_EINVAL;
    if (__builtin_expect(name_bytes > tier->name_bytes_most, 0))
        return NEARCACHE_ETOOBIG;
    key->tier = tier;
    key->name = name;
    key->name_bytes = name_bytes;
    key->hash = nc_hash_name(tier->secret.words, tier->secret.seed, name, name_bytes);
    key->lane = nc_cache_lane_of(tier, name, name_bytes);
    return 0;
}

#endif
