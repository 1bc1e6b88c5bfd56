#include "store/ghost.h"

#include "base/hash.h"

#include <criterion/criterion.h>

static struct nc_ghost ghost;
static uint64_t state;

static uint32_t some_hash(void) { return (uint32_t)nc_hash_step(&state); }

static void setup(void)
{
    state = 7;
    nc_ghost_init(&ghost);
    cr_assert(nc_ghost_resize(&ghost, 1000));
}

static void teardown(void) { nc_ghost_deinit(&ghost); }

TestSuite(ghost, .init = setup, .fini = teardown, .timeout = 20);

Test(ghost, tells_the_queue_and_how_long_ago)
{
    uint32_t age = 99, small = some_hash(), main = some_hash();
    nc_ghost_add(&ghost, 0, small);
    for (int i = 0; i < 100; i++)
        nc_ghost_add(&ghost, 1, some_hash());
    nc_ghost_add(&ghost, 1, main);
    for (int i = 0; i < 200; i++)
        nc_ghost_add(&ghost, 1, some_hash());
    cr_assert_eq(nc_ghost_take(&ghost, small, 2000, &age), 0);
    cr_assert_leq(age, 4, "evictions of its own queue count: %u", age);
    cr_assert_eq(nc_ghost_take(&ghost, main, 2000, &age), 1);
    cr_assert(age >= 196 && age <= 205, "%u", age);
}

Test(ghost, what_was_taken_is_forgotten)
{
    uint32_t age, hash = some_hash();
    nc_ghost_add(&ghost, 0, hash);
    cr_assert_eq(nc_ghost_take(&ghost, hash, 2000, &age), 0);
    cr_assert_eq(nc_ghost_take(&ghost, hash, 2000, &age), -1);
}

Test(ghost, reaches_no_further_than_asked)
{
    uint32_t age, old = some_hash(), young = some_hash();
    nc_ghost_add(&ghost, 0, old);
    for (int i = 0; i < 1000; i++)
        nc_ghost_add(&ghost, 0, some_hash());
    nc_ghost_add(&ghost, 0, young);
    cr_assert_eq(nc_ghost_take(&ghost, old, 900, &age), -1);
    cr_assert_eq(nc_ghost_take(&ghost, young, 900, &age), 0);
}

Test(ghost, remembers_nearly_all_within_its_reach)
{
    enum { COUNT = 1800 };
    uint32_t age, hashes[2][COUNT], found = 0;
    for (int i = 0; i < 20000; i++)
        nc_ghost_add(&ghost, i % 2, some_hash());
    for (int i = 0; i < COUNT; i++)
        for (int queue = 0; queue < 2; queue++)
            nc_ghost_add(&ghost, queue, hashes[queue][i] = some_hash());
    for (int i = 0; i < COUNT; i++)
        for (int queue = 0; queue < 2; queue++)
            found += nc_ghost_take(&ghost, hashes[queue][i], 2000, &age) == queue;
    cr_assert_gt(found, 2 * COUNT * 9 / 10, "%u of %d", found, 2 * COUNT);
}

Test(ghost, takes_hardly_anybody_for_another)
{
    uint32_t age, wrong = 0;
    for (int i = 0; i < 4000; i++)
        nc_ghost_add(&ghost, 0, some_hash());
    for (int i = 0; i < 100000; i++)
        wrong += nc_ghost_take(&ghost, some_hash(), 2000, &age) >= 0;
    cr_assert_leq(wrong, 20, "%u", wrong);
}

Test(ghost, does_not_come_back_when_the_stamps_wrap)
{
    uint32_t age, hash = some_hash(), back = 0;
    /* One queue stands still while the other has many generations of stamps, and the reverse. */
    for (int round = 0; round < 40; round++) {
        nc_ghost_add(&ghost, round % 2, hash);
        for (int i = 0; i < 8000 + round * 16; i++)
            nc_ghost_add(&ghost, round % 2, some_hash());
        back += nc_ghost_take(&ghost, hash, 2000, &age) >= 0;
    }
    cr_assert_eq(back, 0);
}

Test(ghost, keeps_what_it_remembers_when_it_grows_and_shrinks)
{
    static const uint32_t capacities[] = {2000, 5000, 1500, 700};
    for (unsigned c = 0; c < sizeof capacities / sizeof *capacities; c++) {
        enum { COUNT = 300 };
        uint32_t age, hashes[COUNT], found = 0;
        for (int i = 0; i < COUNT; i++)
            nc_ghost_add(&ghost, i % 2, hashes[i] = some_hash());
        cr_assert(nc_ghost_resize(&ghost, capacities[c]));
        for (int i = 0; i < COUNT; i++)
            found += nc_ghost_take(&ghost, hashes[i], 600, &age) == i % 2;
        cr_assert_gt(found, COUNT * 9 / 10, "%u of %d at %u", found, COUNT, capacities[c]);
    }
}

Test(ghost, takes_16_bytes_an_entry)
{
    cr_assert(nc_ghost_resize(&ghost, 100000));
    cr_assert_leq(nc_ghost_bytes(&ghost), 17 * 100000);
}

Test(ghost, without_memory_knows_nobody)
{
    struct nc_ghost none;
    uint32_t age;
    nc_ghost_init(&none);
    nc_ghost_add(&none, 0, 5);
    cr_assert_eq(nc_ghost_take(&none, 5, 100, &age), -1);
    cr_assert_eq(nc_ghost_bytes(&none), 0);
    nc_ghost_deinit(&none);
}
