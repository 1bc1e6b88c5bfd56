#include "store/sketch.h"

#include "base/hash.h"

#include <criterion/criterion.h>

static struct nc_sketch sketch;
static uint64_t state;

static uint32_t some_hash(void) { return (uint32_t)nc_hash_step(&state); }

static void setup(void)
{
    state = 11;
    nc_sketch_init(&sketch);
    cr_assert(nc_sketch_resize(&sketch, 1000));
}

static void teardown(void) { nc_sketch_deinit(&sketch); }

TestSuite(sketch, .init = setup, .fini = teardown, .timeout = 20);

Test(sketch, is_never_too_low)
{
    uint32_t hashes[500];
    for (unsigned i = 0; i < 500; i++) {
        hashes[i] = some_hash();
        nc_sketch_add(&sketch, hashes[i], 1 + i % 5);
    }
    for (unsigned i = 0; i < 500; i++)
        cr_assert_geq(nc_sketch_count(&sketch, hashes[i]), 1 + i % 5);
}

Test(sketch, is_seldom_too_high)
{
    unsigned wrong = 0;
    for (int i = 0; i < 1000; i++)
        nc_sketch_add(&sketch, some_hash(), 1);
    for (int i = 0; i < 10000; i++)
        wrong += nc_sketch_count(&sketch, some_hash()) > 0;
    cr_assert_lt(wrong, 1200, "%u of 10000 unseen keys", wrong);
}

Test(sketch, counts_to_15_and_no_further)
{
    uint32_t hash = some_hash();
    for (int i = 0; i < 30; i++)
        nc_sketch_add(&sketch, hash, 4);
    cr_assert_eq(nc_sketch_count(&sketch, hash), NC_SKETCH_MOST);
}

Test(sketch, forgets_half_after_ten_times_its_capacity)
{
    uint32_t hash = some_hash();
    nc_sketch_add(&sketch, hash, 8);
    for (int i = 0; i < 9991; i++)
        nc_sketch_add(&sketch, hash + 1, 1);
    cr_assert_eq(nc_sketch_count(&sketch, hash), 8);
    nc_sketch_add(&sketch, hash + 1, 1);
    cr_assert_eq(nc_sketch_count(&sketch, hash), 4);
}

Test(sketch, keeps_its_counts_when_it_grows)
{
    uint32_t hashes[100];
    for (unsigned i = 0; i < 100; i++)
        nc_sketch_add(&sketch, hashes[i] = some_hash(), 3);
    cr_assert(nc_sketch_resize(&sketch, 3500));
    unsigned kept = 0;
    for (unsigned i = 0; i < 100; i++)
        kept += nc_sketch_count(&sketch, hashes[i]) >= 3;
    cr_assert_gt(kept, 50, "%u of 100", kept);
}

Test(sketch, takes_4_bytes_an_entry)
{
    cr_assert(nc_sketch_resize(&sketch, 100000));
    cr_assert_leq(nc_sketch_bytes(&sketch), 4 * 100000 + 64);
}

Test(sketch, without_memory_counts_nothing)
{
    struct nc_sketch none;
    nc_sketch_init(&none);
    nc_sketch_add(&none, 5, 1);
    cr_assert_eq(nc_sketch_count(&none, 5), 0);
    nc_sketch_deinit(&none);
}
