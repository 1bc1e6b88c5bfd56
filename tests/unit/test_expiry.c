#include "store/expiry.h"

#include <criterion/criterion.h>

static struct nc_expiry expiry;

static void setup(void) { nc_expiry_init(&expiry); }

static void teardown(void)
{
    nc_expiry_deinit(&expiry);
    cr_assert_eq(expiry.bytes, 0);
}

TestSuite(expiry, .init = setup, .fini = teardown, .timeout = 20);

Test(expiry, nothing_is_due_before_its_end)
{
    struct nc_expired due;
    nc_expiry_file(&expiry, 1, 1500, 1000);
    cr_assert_not(nc_expiry_take(&expiry, 1000, &due));
    cr_assert_not(nc_expiry_take(&expiry, 1499, &due));
    cr_assert(nc_expiry_take(&expiry, 1500, &due));
    cr_assert_eq(due.hash, 1);
    cr_assert_eq(due.due, 1500);
    cr_assert_not(nc_expiry_take(&expiry, 9000, &due));
}

Test(expiry, what_ends_sooner_is_taken_sooner)
{
    struct nc_expired due;
    nc_expiry_file(&expiry, 3, 4000, 1000);
    nc_expiry_file(&expiry, 1, 1010, 1000);
    nc_expiry_file(&expiry, 2, 1200, 1000);
    for (uint32_t hash = 1; hash <= 3; hash++) {
        cr_assert(nc_expiry_take(&expiry, 5000, &due));
        cr_assert_eq(due.hash, hash);
    }
}

Test(expiry, what_is_over_when_filed_is_due_at_once)
{
    struct nc_expired due;
    nc_expiry_file(&expiry, 8, 990, 1000);
    cr_assert(nc_expiry_take(&expiry, 1000, &due));
    cr_assert_eq(due.hash, 8);
}

/* Everything comes out, each once, never early, and late by an eighth and a 16th of its time. */
static void check_all(nc_tick start, uint32_t least, uint32_t most)
{
    enum { COUNT = 3000 };
    static nc_tick ends[COUNT], begins[COUNT];
    static bool taken[COUNT];
    struct nc_expired due;
    uint64_t state = 5;
    uint32_t out = 0, in = 0;
    for (nc_tick now = start; out < COUNT && now - start < 3 * most + COUNT; now++) {
        if (in < COUNT) {
            begins[in] = now;
            state = state * 6364136223846793005u + 1442695040888963407u;
            ends[in] = now + least + (uint32_t)(state >> 33) % (most - least + 1);
            taken[in] = false;
            nc_expiry_file(&expiry, in, ends[in], now);
            in++;
        }
        while (nc_expiry_take(&expiry, now, &due)) {
            cr_assert_lt(due.hash, in);
            cr_assert_not(taken[due.hash]);
            cr_assert_not(nc_tick_after(ends[due.hash], now), "early");
            cr_assert_not(nc_tick_after(ends[due.hash], due.due));
            uint32_t ticks = ends[due.hash] - begins[due.hash];
            cr_assert_leq(now - ends[due.hash], ticks / 4 + 1, "of %u ticks %u late", ticks,
                          now - ends[due.hash]);
            taken[due.hash] = true;
            out++;
        }
    }
    cr_assert_eq(out, COUNT);
    cr_assert_eq(expiry.filed, 0);
}

Test(expiry, comes_out_once_and_hardly_late) { check_all(1000, 1, 400); }
Test(expiry, long_times_too) { check_all(1000, 20000, 30000); }
Test(expiry, equal_times_are_exact_to_a_16th) { check_all(77, 500, 500); }
Test(expiry, ticks_may_wrap) { check_all(UINT32_MAX - 2000, 1, 3000); }

Test(expiry, a_jump_of_the_clock_makes_all_due)
{
    struct nc_expired due;
    uint32_t out = 0;
    for (uint32_t i = 0; i < 1000; i++)
        nc_expiry_file(&expiry, i, 1000 + 10 * i, 1000);
    while (nc_expiry_take(&expiry, 1000 + (UINT32_C(1) << 30), &due))
        out++;
    cr_assert_eq(out, 1000);
}

Test(expiry, a_jump_back_makes_nothing_due_and_loses_nothing)
{
    struct nc_expired due;
    nc_expiry_file(&expiry, 1, 100500, 100000);
    cr_assert_not(nc_expiry_take(&expiry, 50000, &due));
    nc_expiry_file(&expiry, 2, 50100, 50000);
    cr_assert(nc_expiry_take(&expiry, 50200, &due));
    cr_assert_eq(due.hash, 2);
    cr_assert(nc_expiry_take(&expiry, 100600, &due));
    cr_assert_eq(due.hash, 1);
}

Test(expiry, weeding_takes_all_in_turn)
{
    static bool taken[1000];
    struct nc_expired weeded;
    for (uint32_t i = 0; i < 1000; i++)
        nc_expiry_file(&expiry, i, 1000 + i * i % 7919, 1000);
    for (uint32_t i = 0; i < 1000; i++) {
        cr_assert(nc_expiry_weed(&expiry, &weeded));
        cr_assert_not(taken[weeded.hash]);
        taken[weeded.hash] = true;
        cr_assert_eq(weeded.ends, (uint16_t)(1000 + weeded.hash * weeded.hash % 7919));
    }
    cr_assert_not(nc_expiry_weed(&expiry, &weeded));
}

Test(expiry, takes_little_more_than_6_bytes_a_key)
{
    for (uint32_t i = 0; i < 100000; i++)
        nc_expiry_file(&expiry, i, 225000 + i / 100, i / 100);
    cr_assert_leq(expiry.bytes, 100000 * 15 / 2, "%zu", expiry.bytes);
}
