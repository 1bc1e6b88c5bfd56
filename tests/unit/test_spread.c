/* A connection each or one for all: what was faster is kept, and looked at again. */
#include "redis/spread.h"

#include <criterion/criterion.h>

static struct nc_spread spread;
static uint64_t now_ns;

static void set_up(void)
{
    nc_spread_init(&spread);
    now_ns = 1;
}

TestSuite(spread, .init = set_up, .timeout = 60);

/* One call after the other, each of which takes so long in the way that is used now. How many of
 * them went together. */
static unsigned calls(unsigned count, uint64_t apart_ns, uint64_t together_ns)
{
    unsigned together = 0;
    for (unsigned i = 0; i < count; i++) {
        bool joins = nc_spread_is_together(&spread);
        uint64_t took_ns = joins ? together_ns : apart_ns;
        together += joins;
        now_ns += took_ns / 64; /* there are many callers */
        nc_spread_count(&spread, took_ns, now_ns);
    }
    return together;
}

Test(spread, begins_apart) { cr_expect_not(nc_spread_is_together(&spread)); }

Test(spread, goes_together_where_that_is_faster)
{
    calls(20000, 100000, 60000);
    cr_expect_gt(calls(100000, 100000, 60000), 90000);
}

Test(spread, stays_apart_where_that_is_faster_and_tries_the_other_seldom)
{
    calls(20000, 60000, 200000);
    cr_expect_lt(calls(200000, 60000, 200000), 2000);
}

Test(spread, a_small_difference_is_found_too)
{
    calls(20000, 60000, 57000);
    cr_expect_gt(calls(400000, 60000, 57000), 300000);
}

Test(spread, what_changes_is_noticed_although_it_was_kept_for_long)
{
    calls(1000000, 100000, 60000);
    cr_expect(nc_spread_is_together(&spread));
    cr_expect_lt(calls(20000, 60000, 240000), 5000);
    cr_expect_not(nc_spread_is_together(&spread));
}

Test(spread, one_slow_round_is_no_change)
{
    calls(1000000, 100000, 60000);
    /* Where a round begins: else it would spoil two. */
    while (spread.rounds_left < 10 || atomic_load(&spread.round) != 0)
        calls(1, 100000, 60000);
    uint32_t left = spread.rounds_left;
    calls(NC_SPREAD_CALLS, 100000, 600000);
    calls(2 * NC_SPREAD_CALLS, 100000, 60000);
    cr_expect_gt(spread.rounds_left, 0);
    cr_expect_geq(spread.rounds_left, left - 4);
    cr_expect(nc_spread_is_together(&spread));
}

Test(spread, few_calls_end_a_round_by_the_time)
{
    for (unsigned i = 0; i < 2 * NC_SPREAD_TRIED; i++) {
        now_ns += NC_SPREAD_ROUND_NS;
        calls(NC_SPREAD_CALLS_LEAST, 100000, 60000);
    }
    cr_expect(nc_spread_is_together(&spread), "with a hundred calls in all");
}

Test(spread, a_call_that_waited_for_ever_does_not_count_for_more_than_it_says)
{
    calls(20000, 100000, 60000);
    nc_spread_count(&spread, UINT64_MAX / 2, now_ns);
    cr_expect_gt(calls(100000, 100000, 60000), 80000);
}
