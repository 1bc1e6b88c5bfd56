#include "sync/offset.h"

#include "base/clock.h"

#include <criterion/criterion.h>

/* Redis' clock is this far ahead of ours. */
#define AHEAD_US UINT64_C(1700000000000000)

static uint64_t redis_us(uint64_t io_ns) { return io_ns / NC_NS_PER_US + AHEAD_US; }

static void sample(struct nc_offset *offset, uint64_t sent_ns, uint64_t served_ns,
                   uint64_t received_ns)
{
    nc_offset_sample(offset, sent_ns, received_ns, redis_us(served_ns), 0, false);
}

Test(offset, nothing_is_known_before_the_first_reply)
{
    struct nc_offset offset;
    nc_offset_init(&offset);
    cr_expect_not(nc_offset_known(&offset));
    sample(&offset, 1000 * NC_NS_PER_MS, 1001 * NC_NS_PER_MS, 1002 * NC_NS_PER_MS);
    cr_expect(nc_offset_known(&offset));
    nc_offset_reset(&offset);
    cr_expect_not(nc_offset_known(&offset));
    nc_offset_deinit(&offset);
}

typedef uint64_t moment_fn(const struct nc_offset *offset, uint64_t io_ns);

/* Wherever within the round trip the server read its clock. */
static void expect_never_later(moment_fn *moment)
{
    for (unsigned part = 0; part <= 10; part++) {
        struct nc_offset offset;
        nc_offset_init(&offset);
        sample(&offset, 1000 * NC_NS_PER_MS, (1000 + part) * NC_NS_PER_MS, 1010 * NC_NS_PER_MS);
        uint64_t at_ns = 5000 * NC_NS_PER_MS;
        cr_expect_leq(moment(&offset, at_ns), redis_us(at_ns));
        cr_expect_geq(moment(&offset, at_ns), redis_us(at_ns) - 10000);
        nc_offset_deinit(&offset);
    }
}

Test(offset, a_deadline_never_ends_later_in_redis_than_here)
{
    struct nc_offset offset;
    expect_never_later(nc_offset_not_after_us);
    nc_offset_init(&offset);
    cr_expect_eq(nc_offset_not_after_us(&offset, UINT64_MAX), UINT64_C(1) << 53, "no end");
    nc_offset_deinit(&offset);
}

/* Else a replay would go over a write that was made after its intent. */
Test(offset, a_stamp_is_never_later_than_what_it_stamps) { expect_never_later(nc_offset_stamp_us); }

Test(offset, the_best_guess_assumes_the_middle_of_the_round_trip)
{
    struct nc_offset offset;
    nc_offset_init(&offset);
    sample(&offset, 1000 * NC_NS_PER_MS, 1005 * NC_NS_PER_MS, 1010 * NC_NS_PER_MS);
    cr_expect_eq(nc_offset_redis_us(&offset, 2000 * NC_NS_PER_MS), redis_us(2000 * NC_NS_PER_MS));
    nc_offset_deinit(&offset);
}

Test(offset, the_shortest_round_trip_counts)
{
    struct nc_offset offset;
    nc_offset_init(&offset);
    sample(&offset, 1000 * NC_NS_PER_MS, 1001 * NC_NS_PER_MS, 1002 * NC_NS_PER_MS);
    uint64_t good = nc_offset_redis_us(&offset, 0);
    sample(&offset, 1100 * NC_NS_PER_MS, 1100 * NC_NS_PER_MS, 1200 * NC_NS_PER_MS);
    cr_expect_eq(nc_offset_redis_us(&offset, 0), good);
}

Test(offset, an_old_round_trip_is_replaced_by_a_longer_one)
{
    struct nc_offset offset;
    nc_offset_init(&offset);
    sample(&offset, 1000 * NC_NS_PER_MS, 1001 * NC_NS_PER_MS, 1002 * NC_NS_PER_MS);
    uint64_t old = nc_offset_not_after_us(&offset, 0);
    sample(&offset, 12000 * NC_NS_PER_MS, 12000 * NC_NS_PER_MS, 12100 * NC_NS_PER_MS);
    cr_expect_neq(nc_offset_not_after_us(&offset, 0), old);
}

Test(offset, what_has_proven_wrong_is_replaced_at_once)
{
    struct nc_offset offset;
    nc_offset_init(&offset);
    sample(&offset, 1000 * NC_NS_PER_MS, 1001 * NC_NS_PER_MS, 1002 * NC_NS_PER_MS);
    uint64_t io_ns = 1100 * NC_NS_PER_MS;
    nc_offset_sample(&offset, io_ns, io_ns + 20 * NC_NS_PER_MS, redis_us(io_ns) - 500000, 0, true);
    cr_expect_leq(nc_offset_not_after_us(&offset, io_ns), redis_us(io_ns) - 500000);
}

Test(offset, stamps_follow_versions_that_are_ahead_of_redis_clock)
{
    struct nc_offset offset;
    uint64_t io_ns = 1000 * NC_NS_PER_MS;
    nc_offset_init(&offset);
    nc_offset_sample(&offset, io_ns, io_ns, redis_us(io_ns), redis_us(io_ns) + 7000, false);
    cr_expect_eq(nc_offset_redis_us(&offset, io_ns), redis_us(io_ns) + 7000);
    cr_expect_leq(nc_offset_not_after_us(&offset, io_ns), redis_us(io_ns));
}
