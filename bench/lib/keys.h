/*
 * Which key comes next: uniform or Zipf 0.99 over the ids 0 .. count-1, drawn before the clock
 * starts, so that a generator's cost is in no figure. Hot ids are spread by a permutation: an id
 * says nothing about its rank, as keys of a real service do not.
 */
#ifndef BENCH_KEYS_H
#define BENCH_KEYS_H

#include <stdint.h>
#include <string.h>

#define BENCH_KEY_BYTES 24u
#define BENCH_ZIPF_EXPONENT 0.99

enum bench_distribution { BENCH_UNIFORM, BENCH_ZIPF };

/* One thread. xorshift64*. */
static inline uint64_t bench_random(uint64_t *state)
{
    uint64_t x = *state;

    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * 0x2545F4914F6CDD1Dull;
}

/* Read-only once drawn; threads may share it. `mask` + 1 is its length, a power of two. */
struct bench_sequence {
    uint64_t mask;
    uint32_t *ids;
};

/* Exact Zipf by an alias table (Vose). Read-only once made. */
struct bench_zipf {
    uint32_t count;
    double *keep;
    uint32_t *alias;
    uint32_t *ids; /* rank to id */
};

/* Both end the program with a message when memory runs out: a bench has nothing better to do. */
void bench_zipf_init(struct bench_zipf *zipf, uint32_t count, double exponent);
void bench_zipf_deinit(struct bench_zipf *zipf);
uint32_t bench_zipf_draw(const struct bench_zipf *zipf, uint64_t *random);

/* `zipf` NULL: uniform over `count`. */
void bench_sequence_init(struct bench_sequence *sequence, const struct bench_zipf *zipf,
                         uint32_t count, unsigned length_log2, uint64_t seed);
void bench_sequence_deinit(struct bench_sequence *sequence);

/* The 24-byte key of an id. */
static inline void bench_key(char key[BENCH_KEY_BYTES], uint64_t id)
{
    uint64_t words[3] = {0x3a79656b68636e62ull, id * 0x9E3779B97F4A7C15ull, id};

    memcpy(key, words, sizeof words);
}

#endif
