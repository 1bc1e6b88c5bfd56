/*
 * base/hash_name: the hash of a name, inline: the hit path has no call to spare, others use
 * nc_hash_key. Apart from base/hash.h because xxHash's header is long.
 *
 * Names of up to 32 bytes take two multiplications one after the other, the shortest chain that
 * mixes well: words of the name meet secret words, and both halves of the products meet in the
 * last one (what wyhash does, its rounds side by side). Longer ones are XXH3's.
 */
#ifndef NC_BASE_HASH_NAME_H
#define NC_BASE_HASH_NAME_H

#ifndef XXH_INLINE_ALL
#define XXH_INLINE_ALL
#endif
#include "base/name.h"

#include <xxhash.h>

/* `words` and `seed`: of a struct nc_hash_secret. A name has at least one byte. */
static inline uint64_t nc_hash_name(const uint64_t words[4], uint64_t seed, const void *name,
                                    size_t name_bytes)
{
    XXH128_hash_t a, b = {0, 0};
    if (__builtin_expect(name_bytes > NC_NAME_SHORT, 0))
        return XXH3_64bits_withSeed(name, name_bytes, seed);
    if (name_bytes >= 16) {
        a = XXH_mult64to128(nc_name_word(name, 0) ^ words[0], nc_name_word(name, 8) ^ words[1]);
        b = XXH_mult64to128(nc_name_word(name, name_bytes - 16) ^ words[2],
                            nc_name_word(name, name_bytes - 8) ^ words[3]);
    } else if (name_bytes >= 8) {
        a = XXH_mult64to128(nc_name_word(name, 0) ^ words[0],
                            nc_name_word(name, name_bytes - 8) ^ words[1]);
    } else {
        uint64_t word = nc_name_tiny(name, name_bytes);
        a = XXH_mult64to128(word ^ words[0], (word << 32 | word >> 32) ^ words[1]);
    }
    /* The length: names of which the words are the same, as pieces overlap. */
    a = XXH_mult64to128(a.low64 ^ (b.low64 ^ name_bytes), a.high64 ^ b.high64);
    return a.low64 ^ a.high64;
}

#endif
