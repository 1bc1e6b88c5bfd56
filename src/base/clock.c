#include "base/clock.h"

static uint64_t read_clock(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * NC_NS_PER_S + (uint64_t)t.tv_nsec;
}

void nc_clock_init(struct nc_clock *clock, nearcache_clock_fn now, void *arg)
{
    clock->now = now;
    clock->arg = arg;
}

uint64_t nc_clock_io_ns(void) { return read_clock(CLOCK_MONOTONIC); }

uint64_t nc_clock_coarse_ns(void) { return read_clock(CLOCK_MONOTONIC_COARSE); }

uint64_t nc_clock_wall_us(void) { return read_clock(CLOCK_REALTIME) / NC_NS_PER_US; }

uint64_t nc_clock_deadline_ns(uint64_t timeout_us)
{
    uint64_t now = nc_clock_io_ns();
    if (timeout_us > (UINT64_MAX - now) / NC_NS_PER_US)
        return UINT64_MAX;
    return now + timeout_us * NC_NS_PER_US;
}
