/*
 * base/clock: monotonic and wall time behind one replaceable source.
 *
 * Two kinds of time never mix: `now_ns` of a struct nc_clock decides TTLs, ages and leases and may
 * be replaced by the user (tests, replay); nc_clock_io_ns is the machine's CLOCK_MONOTONIC and
 * decides deadlines of calls and sockets. Both count nanoseconds from an arbitrary start.
 *
 * Entries keep times as 32-bit ticks of 16 ms (a span of 795 days, compared as signed difference).
 */
#ifndef NC_BASE_CLOCK_H
#define NC_BASE_CLOCK_H

#include "nearcache.h"

#include <stdbool.h>
#include <time.h>

#define NC_NS_PER_US UINT64_C(1000)
#define NC_NS_PER_MS UINT64_C(1000000)
#define NC_NS_PER_S UINT64_C(1000000000)

#define NC_TICK_SHIFT 24 /* 2^24 ns = 16.8 ms */

struct nc_clock {
    nearcache_clock_fn now; /* NULL: CLOCK_MONOTONIC_COARSE */
    void *arg;
};

/* Set once before use; read by all threads. */
void nc_clock_init(struct nc_clock *clock, nearcache_clock_fn now, void *arg);

/* The machine's monotonic time, exact (22 ns). */
uint64_t nc_clock_io_ns(void);
/* The wall clock in microseconds since 1970; only ever to talk to Redis about its own time. */
uint64_t nc_clock_wall_us(void);
/* Sleeps nothing; the deadline `timeout_us` from now, saturating. */
uint64_t nc_clock_deadline_ns(uint64_t timeout_us);

uint64_t nc_clock_coarse_ns(void);

/* TTL time: 6 ns with the system's coarse clock, whose resolution (up to 4 ms) counts as late. */
static inline uint64_t nc_clock_now_ns(const struct nc_clock *clock)
{
    return clock->now ? clock->now(clock->arg) : nc_clock_coarse_ns();
}

typedef uint32_t nc_tick;

static inline nc_tick nc_tick_of(uint64_t now_ns) { return (nc_tick)(now_ns >> NC_TICK_SHIFT); }

/* a is later than b, for ticks less than 397 days apart. */
static inline bool nc_tick_after(nc_tick a, nc_tick b) { return (int32_t)(a - b) > 0; }

/* From now_ns to the beginning of a later tick. */
static inline uint64_t nc_tick_left_ns(nc_tick end, uint64_t now_ns)
{
    return ((uint64_t)(end - nc_tick_of(now_ns)) << NC_TICK_SHIFT) -
           (now_ns & ((UINT64_C(1) << NC_TICK_SHIFT) - 1));
}

static inline uint64_t nc_tick_to_ms(nc_tick ticks)
{
    return ((uint64_t)ticks << NC_TICK_SHIFT) / NC_NS_PER_MS;
}

#endif
