#include "lib/local_cache.h"

#include <criterion/criterion.h>

static struct local_cache cache;

static void open_as3(uint64_t entries, uint64_t budget_bytes)
{
    local_cache_open(&cache, &(struct local_cache_config){.entries = entries,
                                                          .budget_bytes = budget_bytes,
                                                          .policies = {NEARCACHE_POLICY_AS3}});
}

static void teardown(void) { local_cache_close(&cache); }

TestSuite(as3, .fini = teardown, .timeout = 60);

static uint32_t count_here(uint64_t first, uint64_t end)
{
    uint32_t here = 0;
    for (uint64_t id = first; id < end; id++)
        here += local_cache_get(&cache, 0, id) >= 0;
    return here;
}

static void use_all(uint64_t first, uint64_t end, size_t bytes)
{
    for (uint64_t id = first; id < end; id++)
        local_cache_use(&cache, 0, id, bytes);
}

Test(as3, a_scan_leaves_what_is_used)
{
    open_as3(1000, 0);
    for (int round = 0; round < 3; round++)
        use_all(0, 500, 8);
    use_all(10000, 30000, 8);
    cr_assert_gt(count_here(0, 500), 450);
}

Test(as3, a_scan_of_bytes_leaves_what_is_used)
{
    open_as3(0, 2 << 20);
    for (int round = 0; round < 3; round++)
        use_all(0, 2000, 200);
    use_all(10000, 60000, 300);
    cr_assert_gt(count_here(0, 2000), 1800);
}

Test(as3, what_came_twice_outlives_what_came_once)
{
    open_as3(1000, 0);
    use_all(0, 100, 8);
    use_all(0, 100, 8);
    use_all(100, 2000, 8);
    cr_assert_gt(count_here(0, 100), 90);
}

Test(as3, a_loop_larger_than_the_cache_hits_sometimes)
{
    uint64_t hits = 0;
    open_as3(1000, 0);
    for (int round = 0; round < 30; round++)
        for (uint64_t id = 0; id < 1500; id++)
            hits += local_cache_use(&cache, 0, id, 8);
    cr_assert_gt(hits, 30 * 1500 / 10, "%lu of 45000; lru has none", (unsigned long)hits);
}

Test(as3, new_favourites_take_the_place_of_old_ones)
{
    open_as3(1000, 0);
    for (int round = 0; round < 20; round++)
        use_all(0, 800, 8);
    for (int round = 0; round < 20; round++)
        use_all(5000, 5800, 8);
    cr_assert_gt(count_here(5000, 5800), 700, "%u", count_here(5000, 5800));
}

Test(as3, writing_again_keeps_the_place_and_counts_as_a_use)
{
    open_as3(1000, 0);
    use_all(0, 100, 8);
    for (uint64_t id = 0; id < 100; id++)
        cr_assert(local_cache_set(&cache, 0, id, 24, 0));
    use_all(1000, 3000, 8);
    cr_assert_gt(count_here(0, 100), 90);
}

Test(as3, what_expired_and_comes_back_is_remembered)
{
    open_as3(1000, 0);
    for (int round = 0; round < 4; round++) {
        for (uint64_t id = 0; id < 300; id++)
            if (local_cache_get(&cache, 0, id) < 0)
                cr_assert(local_cache_set(&cache, 0, id, 8, 10000));
        for (int again = 0; again < 2; again++)
            cr_assert_eq(count_here(0, 300), 300);
        use_all(10000 + round * 3000, 13000 + round * 3000, 8);
        cr_assert_gt(count_here(0, 300), 280, "round %d", round);
        fake_clock_advance_ms(&cache.clock, 11000);
    }
}

Test(as3, ghosts_are_inside_the_budget_and_hold_no_entry)
{
    open_as3(5000, 0);
    use_all(0, 5000, 8);
    uint64_t before = local_cache_usage(&cache).used_bytes;
    use_all(5000, 20000, 8);
    uint64_t after = local_cache_usage(&cache).used_bytes;
    cr_assert_eq(local_cache_entries(&cache), 5000);
    cr_assert_gt(after, before + 5000 * 10);
    cr_assert_lt(after, before + 5000 * 30);
}
