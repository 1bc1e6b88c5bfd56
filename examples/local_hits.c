/*
 * Local-only: no Redis, no network, no set-up. Fills a tier, reads it back at random, checks the
 * content of every value and says what a hit costs.
 *
 *     local_hits [entries [gets]]
 */
#include <nearcache.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { VALUE_BYTES = 256, BLOCK = 16 }; /* one look at the clock for so many gets */

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    return *state ^= *state << 17;
}

static int fill(struct nearcache_tier *tier, uint64_t entries)
{
    unsigned char value[VALUE_BYTES];

    for (uint64_t i = 0; i < entries; i++) {
        memset(value, (int)(i & 0xff), sizeof value);
        memcpy(value, &i, sizeof i);
        if (nearcache_set(tier, &i, sizeof i, value, sizeof value, NULL) != 0)
            return -1;
    }
    return 0;
}

/* Gets a block of names; returns how many were fresh local hits with the right content. */
static unsigned get_block(struct nearcache_tier *tier, const uint64_t names[BLOCK])
{
    unsigned good = 0;

    for (int i = 0; i < BLOCK; i++) {
        struct nearcache_result hit;
        const unsigned char *value;

        if (nearcache_get(tier, &names[i], sizeof names[i], NULL, &hit) != 0)
            continue;
        value = hit.data;
        good += hit.source == NEARCACHE_SOURCE_LOCAL && hit.bytes == VALUE_BYTES &&
                memcmp(value, &names[i], sizeof names[i]) == 0 &&
                value[VALUE_BYTES - 1] == (names[i] & 0xff);
        nearcache_release(&hit);
    }
    return good;
}

static int by_size(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

    return (a > b) - (a < b);
}

/* Returns how many gets were good, and the times of the blocks, sorted. */
static uint64_t measure(struct nearcache_tier *tier, uint64_t entries, uint64_t *block_ns,
                        uint64_t blocks)
{
    uint64_t state = 0x2545f4914f6cdd1du, good = 0;

    for (uint64_t block = 0; block < blocks; block++) {
        uint64_t names[BLOCK], start;

        for (int i = 0; i < BLOCK; i++)
            names[i] = next_random(&state) % entries;
        start = now_ns();
        good += get_block(tier, names);
        block_ns[block] = now_ns() - start;
    }
    qsort(block_ns, blocks, sizeof block_ns[0], by_size);
    return good;
}

int main(int argc, char **argv)
{
    uint64_t entries = argc > 1 ? strtoull(argv[1], NULL, 10) : 100000;
    uint64_t gets = argc > 2 ? strtoull(argv[2], NULL, 10) : 4000000;
    uint64_t blocks = gets / BLOCK, good;
    uint64_t *block_ns = malloc((blocks + 1) * sizeof *block_ns);
    struct nearcache *cache = NULL;
    struct nearcache_tier *tier;

    if (!block_ns || !entries || !blocks || nearcache_open(&cache, NULL) != 0 ||
        nearcache_tier_open_preset(cache, NEARCACHE_DEFAULT, &tier) != 0 ||
        fill(tier, entries) != 0) {
        fprintf(stderr, "local_hits: cannot set up\n");
        return 1;
    }
    measure(tier, entries, block_ns, blocks / 10 + 1); /* warm up */
    good = measure(tier, entries, block_ns, blocks);
    printf(
        "entries %llu  gets %llu  verified %llu  p50 %.1f ns  p99 %.1f ns  p99.9 %.1f ns a hit\n",
        (unsigned long long)entries, (unsigned long long)(blocks * BLOCK), (unsigned long long)good,
        (double)block_ns[blocks / 2] / BLOCK, (double)block_ns[blocks * 99 / 100] / BLOCK,
        (double)block_ns[blocks * 999 / 1000] / BLOCK);
    free(block_ns);
    if (nearcache_close(cache, 0) != 0 || good != blocks * BLOCK)
        return 1;
    return 0;
}
