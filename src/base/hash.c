#include "base/hash.h"

#include "base/clock.h"
#include "base/hash_name.h"

#include <sys/random.h>

void nc_hash_secret(struct nc_hash_secret *secret, uint64_t seed, uint32_t tier)
{
    secret->seed = seed ^ ((uint64_t)(tier + 1) * UINT64_C(0x9e3779b97f4a7c15));
    uint64_t state = secret->seed;
    for (int i = 0; i < 4; i++)
        secret->words[i] = nc_hash_step(&state);
}

uint64_t nc_hash_key(uint64_t seed, uint32_t tier, const void *name, size_t name_bytes)
{
    struct nc_hash_secret secret;
    nc_hash_secret(&secret, seed, tier);
    if (name_bytes == 0) /* no name, but a value may be empty; nothing is read of it */
        return secret.words[0];
    return nc_hash_name(secret.words, secret.seed, name, name_bytes);
}

uint64_t nc_hash_common(const void *name, size_t name_bytes)
{
    return XXH3_64bits(name, name_bytes);
}

uint64_t nc_hash_random(void)
{
    uint64_t seed;
    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) == (ssize_t)sizeof seed)
        return seed;
    seed = nc_clock_io_ns() ^ (nc_clock_wall_us() << 20) ^ (uint64_t)(uintptr_t)&seed;
    return nc_hash_step(&seed);
}

void nc_hash_hex128(const void *data, size_t bytes, char out[33])
{
    static const char digits[] = "0123456789abcdef";
    XXH128_hash_t h = XXH3_128bits(data, bytes);
    for (int i = 0; i < 16; i++) {
        uint64_t half = i < 8 ? h.high64 : h.low64;
        unsigned byte = (unsigned)(half >> (56 - 8 * (i & 7))) & 0xff;
        out[2 * i] = digits[byte >> 4];
        out[2 * i + 1] = digits[byte & 15];
    }
    out[32] = 0;
}
