#include "base/clock.h"
#include "redis/backoff.h"

#include <criterion/criterion.h>

/* The n-th wait lies between three quarters of its step and the step. */
static void expect_step(struct nc_backoff *backoff, uint64_t step_ms)
{
    uint64_t wait_ns = nc_backoff_next_ns(backoff);
    cr_expect_leq(wait_ns, step_ms * NC_NS_PER_MS);
    cr_expect_gt(wait_ns, step_ms * NC_NS_PER_MS * 3 / 4);
}

Test(backoff, waits_double_from_50_ms_to_2_s)
{
    static const uint64_t steps_ms[] = {50, 100, 200, 400, 800, 1600, 2000, 2000, 2000};
    struct nc_backoff backoff = {.random = 42};
    for (size_t i = 0; i < sizeof steps_ms / sizeof *steps_ms; i++)
        expect_step(&backoff, steps_ms[i]);
}

Test(backoff, a_reset_begins_with_short_waits_again)
{
    struct nc_backoff backoff = {.random = 7};
    for (int i = 0; i < 10; i++)
        nc_backoff_next_ns(&backoff);
    nc_backoff_reset(&backoff);
    expect_step(&backoff, 50);
}

Test(backoff, thousands_of_failures_stay_within_2_s)
{
    struct nc_backoff backoff = {.random = 1};
    for (int i = 0; i < 100000; i++)
        cr_assert_leq(nc_backoff_next_ns(&backoff), 2 * NC_NS_PER_S);
}

Test(backoff, two_processes_do_not_wait_the_same)
{
    struct nc_backoff one = {.random = 1}, two = {.random = 2};
    int same = 0;
    for (int i = 0; i < 100; i++)
        same += nc_backoff_next_ns(&one) == nc_backoff_next_ns(&two);
    cr_expect_lt(same, 3);
}
