/*
 * A clock that moves only when a test says so, for a configuration:
 *
 *     struct fake_clock clock = FAKE_CLOCK_INIT;
 *     config.clock = fake_clock_now;  config.clock_arg = &clock;
 *     fake_clock_advance_ms(&clock, 1500);
 */
#ifndef LIB_FAKE_CLOCK_H
#define LIB_FAKE_CLOCK_H

#include <stdatomic.h>
#include <stdint.h>

/* Thread-safe: read by every thread of the cache, moved by the test. */
struct fake_clock {
    _Atomic uint64_t now_ns;
};

/* Not zero: a time of zero often means none. */
#define FAKE_CLOCK_START_NS UINT64_C(1000000000000)
#define FAKE_CLOCK_INIT                                                                            \
    {                                                                                              \
        FAKE_CLOCK_START_NS                                                                        \
    }

/* arg: the struct fake_clock. */
uint64_t fake_clock_now(void *arg);
void fake_clock_advance(struct fake_clock *clock, uint64_t ns);
void fake_clock_advance_ms(struct fake_clock *clock, uint64_t ms);

#endif
