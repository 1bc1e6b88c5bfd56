/*
 * base/hash_name: the hash of a name, inline: the hit path has no call to spare, others use
 * nc_hash_key. Apart from base/hash.h because xxHash's header is long.
 */
#ifndef NC_BASE_HASH_NAME_H
#define NC_BASE_HASH_NAME_H

#ifndef XXH_INLINE_ALL
#define XXH_INLINE_ALL
#endif
#include <xxhash.h>

/* nc_hash_key(seed, tier, ...) with nc_hash_tier_seed(seed, tier). */
static inline uint64_t nc_hash_name(uint64_t tier_seed, const void *name, size_t name_bytes)
{
    return XXH3_64bits_withSeed(name, name_bytes, tier_seed);
}

#endif
