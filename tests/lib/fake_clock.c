#include "lib/fake_clock.h"

uint64_t fake_clock_now(void *arg)
{
    const struct fake_clock *clock = arg;

    return atomic_load(&clock->now_ns);
}

void fake_clock_advance(struct fake_clock *clock, uint64_t ns)
{
    atomic_fetch_add(&clock->now_ns, ns);
}

void fake_clock_advance_ms(struct fake_clock *clock, uint64_t ms)
{
    fake_clock_advance(clock, ms * 1000000u);
}
