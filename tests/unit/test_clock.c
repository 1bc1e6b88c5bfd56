#include "base/clock.h"

#include "lib/fake_clock.h"

#include <criterion/criterion.h>

Test(clock, a_replaced_clock_is_the_only_source_of_ttl_time)
{
    struct fake_clock fake = FAKE_CLOCK_INIT;
    struct nc_clock clock;
    nc_clock_init(&clock, fake_clock_now, &fake);
    cr_expect_eq(nc_clock_now_ns(&clock), FAKE_CLOCK_START_NS);
    fake_clock_advance_ms(&fake, 5);
    cr_expect_eq(nc_clock_now_ns(&clock), FAKE_CLOCK_START_NS + 5 * NC_NS_PER_MS);
}

Test(clock, without_a_replacement_ttl_time_follows_the_machine)
{
    struct nc_clock clock;
    nc_clock_init(&clock, NULL, NULL);
    uint64_t before = nc_clock_coarse_ns(), now = nc_clock_now_ns(&clock);
    cr_expect_geq(now, before);
    cr_expect_leq(now, nc_clock_io_ns());
}

Test(clock, neither_clock_runs_backwards)
{
    uint64_t io = 0, coarse = 0;
    for (int i = 0; i < 100000; i++) {
        uint64_t a = nc_clock_io_ns(), b = nc_clock_coarse_ns();
        cr_assert_geq(a, io);
        cr_assert_geq(b, coarse);
        io = a;
        coarse = b;
    }
}

Test(clock, wall_time_counts_microseconds_since_1970)
{
    uint64_t seconds = (uint64_t)time(NULL), now = nc_clock_wall_us() / 1000000;
    cr_expect_geq(now, seconds);
    cr_expect_leq(now, seconds + 60);
}

Test(clock, a_deadline_lies_its_timeout_ahead)
{
    uint64_t before = nc_clock_io_ns(), deadline = nc_clock_deadline_ns(250000);
    cr_expect_geq(deadline, before + 250 * NC_NS_PER_MS);
    cr_expect_leq(deadline, nc_clock_io_ns() + 250 * NC_NS_PER_MS);
}

Test(clock, a_deadline_saturates_instead_of_wrapping_around)
{
    cr_expect_eq(nc_clock_deadline_ns(UINT64_MAX), UINT64_MAX);
    cr_expect_eq(nc_clock_deadline_ns(UINT64_MAX - 1), UINT64_MAX);
    cr_expect_eq(nc_clock_deadline_ns(UINT64_MAX / NC_NS_PER_US), UINT64_MAX);
    cr_expect_gt(nc_clock_deadline_ns(UINT64_MAX / NC_NS_PER_US / 2), UINT64_MAX / 4);
}

Test(clock, ticks_are_compared_across_their_wrap_around)
{
    cr_expect(nc_tick_after(1, 0));
    cr_expect_not(nc_tick_after(0, 1));
    cr_expect_not(nc_tick_after(7, 7));
    cr_expect(nc_tick_after(3, UINT32_MAX - 3));
    cr_expect_not(nc_tick_after(UINT32_MAX - 3, 3));
}

Test(clock, what_is_left_of_a_tick_ends_at_its_beginning)
{
    const uint64_t tick_ns = UINT64_C(1) << NC_TICK_SHIFT;
    cr_expect_eq(nc_tick_of(tick_ns - 1), 0);
    cr_expect_eq(nc_tick_of(tick_ns), 1);
    cr_expect_eq(nc_tick_left_ns(3, tick_ns), 2 * tick_ns);
    cr_expect_eq(nc_tick_left_ns(3, tick_ns + 5), 2 * tick_ns - 5);
    cr_expect_eq(nc_tick_left_ns(2, UINT64_C(0xffffffff) << NC_TICK_SHIFT), 3 * tick_ns);
    cr_expect_eq(nc_tick_to_ms(1000), 1000 * tick_ns / NC_NS_PER_MS);
}
