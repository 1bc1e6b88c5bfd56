#include "lib/local_cache.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct local_cache cache;

static void open_lru(uint64_t entries)
{
    local_cache_open(&cache, &(struct local_cache_config){.entries = entries,
                                                          .policies = {NEARCACHE_POLICY_LRU}});
}

static void teardown(void) { local_cache_close(&cache); }

TestSuite(lru, .fini = teardown, .timeout = 60);

Test(lru, who_was_not_used_for_longest_goes_first)
{
    open_lru(160);
    for (uint64_t id = 0; id < 160; id++)
        local_cache_use(&cache, 0, id, 8);
    for (uint64_t id = 0; id < 80; id++)
        cr_assert(local_cache_use(&cache, 0, id, 8));
    for (uint64_t id = 1000; id < 1080; id++)
        local_cache_use(&cache, 0, id, 8);
    for (uint64_t id = 0; id < 80; id++)
        cr_assert_geq(local_cache_get(&cache, 0, id), 0, "%lu was used", (unsigned long)id);
    for (uint64_t id = 80; id < 160; id++)
        cr_assert_lt(local_cache_get(&cache, 0, id), 0, "%lu was not", (unsigned long)id);
}

Test(lru, writing_is_a_use)
{
    open_lru(64);
    for (uint64_t id = 0; id < 64; id++)
        local_cache_use(&cache, 0, id, 8);
    for (uint64_t id = 0; id < 32; id++)
        cr_assert(local_cache_set(&cache, 0, id, 16, 0));
    for (uint64_t id = 100; id < 132; id++)
        local_cache_use(&cache, 0, id, 8);
    for (uint64_t id = 0; id < 32; id++)
        cr_assert_eq(local_cache_get(&cache, 0, id), 16);
}

/* Exact LRU by the time of the last use; slow, and right. */
static uint64_t exact_misses(const uint32_t *ids, size_t count, uint32_t keys, uint32_t capacity)
{
    uint64_t *used = calloc(keys, sizeof *used), misses = 0;
    uint32_t here = 0;
    cr_assert(used);
    for (size_t i = 0; i < count; i++) {
        if (!used[ids[i]]) {
            misses++;
            if (here == capacity) {
                uint32_t oldest = UINT32_MAX;
                for (uint32_t k = 0; k < keys; k++)
                    if (used[k] && (oldest == UINT32_MAX || used[k] < used[oldest]))
                        oldest = k;
                used[oldest] = 0;
            } else {
                here++;
            }
        }
        used[ids[i]] = i + 1;
    }
    free(used);
    return misses;
}

Test(lru, misses_what_an_exact_one_misses_to_a_hundredth)
{
    enum { COUNT = 40000, KEYS = 2000, CAPACITY = 300 };
    uint32_t *ids = malloc(COUNT * sizeof *ids);
    uint64_t state = 9, misses = 0;
    cr_assert(ids);
    open_lru(CAPACITY);
    for (size_t i = 0; i < COUNT; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        double u = (double)(state >> 11) / (double)(UINT64_C(1) << 53);
        ids[i] = (uint32_t)(KEYS * u * u * u);
    }
    for (size_t i = 0; i < COUNT; i++)
        misses += !local_cache_use(&cache, 0, ids[i], 8);
    double exact = (double)exact_misses(ids, COUNT, KEYS, CAPACITY);
    cr_assert_leq((double)misses, 1.01 * exact, "%lu, exact %.0f", (unsigned long)misses, exact);
    free(ids);
}

/* Generations pass without anybody going: the oldest queues merge, and their numbers come round. */
Test(lru, who_rests_while_others_are_written_again_and_again_keeps_his_place)
{
    for (unsigned rounds = 1; rounds < 4; rounds++) {
        open_lru(160);
        for (uint64_t id = 0; id < 160; id++)
            local_cache_use(&cache, 0, id, 8);
        for (unsigned i = 0; i < rounds * 2570; i++) /* ten insertions are a generation */
            local_cache_set(&cache, 0, i % 80, 8, 0);
        for (uint64_t id = 80; id < 120; id++)
            cr_assert(local_cache_use(&cache, 0, id, 8));
        for (uint64_t id = 1000; id < 1040; id++)
            local_cache_use(&cache, 0, id, 8);
        for (uint64_t id = 0; id < 120; id++)
            cr_assert_geq(local_cache_get(&cache, 0, id), 0, "%lu was used", (unsigned long)id);
        for (uint64_t id = 120; id < 160; id++)
            cr_assert_lt(local_cache_get(&cache, 0, id), 0, "%lu was not", (unsigned long)id);
        local_cache_close(&cache);
    }
    open_lru(160);
}
