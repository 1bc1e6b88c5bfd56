/*
 * redis/breaker: after so many expired deadlines in a row nobody waits any more; now and then one
 * call is let through to see. Thread-safe, lock-free: an open breaker answers in nanoseconds.
 */
#ifndef NC_REDIS_BREAKER_H
#define NC_REDIS_BREAKER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define NC_BREAKER_PROBE_NS UINT64_C(100000000)

struct nc_breaker {
    uint64_t most; /* UINT64_MAX: never opens */
    _Atomic uint64_t expiries;
    _Atomic uint64_t probe_at_ns; /* 0: closed */
};

void nc_breaker_init(struct nc_breaker *breaker, uint64_t most);
static inline bool nc_breaker_is_open(const struct nc_breaker *breaker)
{
    return atomic_load_explicit(&((struct nc_breaker *)breaker)->probe_at_ns,
                                memory_order_relaxed) != 0;
}
/* Whether a call may go: closed, or this one is the probe. */
bool nc_breaker_lets_through(struct nc_breaker *breaker);
/* True: this expiry opened it. */
bool nc_breaker_expired(struct nc_breaker *breaker);
void nc_breaker_answered(struct nc_breaker *breaker);

#endif
