#include "redis/breaker.h"

#include "base/clock.h"

/* All relaxed: the breaker is a hint about time and guards no data. */

void nc_breaker_init(struct nc_breaker *breaker, uint64_t most)
{
    breaker->most = most;
    atomic_init(&breaker->expiries, 0);
    atomic_init(&breaker->probe_at_ns, 0);
}

bool nc_breaker_lets_through(struct nc_breaker *breaker)
{
    uint64_t at = atomic_load_explicit(&breaker->probe_at_ns, memory_order_relaxed);
    if (__builtin_expect(at == 0, 1))
        return true;
    uint64_t now = nc_clock_coarse_ns();
    return now >= at && atomic_compare_exchange_strong_explicit(
                            &breaker->probe_at_ns, &at, now + NC_BREAKER_PROBE_NS,
                            memory_order_relaxed, memory_order_relaxed);
}

bool nc_breaker_expired(struct nc_breaker *breaker)
{
    uint64_t closed = 0;
    uint64_t count = atomic_fetch_add_explicit(&breaker->expiries, 1, memory_order_relaxed) + 1;
    if (count < breaker->most)
        return false;
    return atomic_compare_exchange_strong_explicit(&breaker->probe_at_ns, &closed,
                                                   nc_clock_coarse_ns() + NC_BREAKER_PROBE_NS,
                                                   memory_order_relaxed, memory_order_relaxed);
}

void nc_breaker_answered(struct nc_breaker *breaker)
{
    /* Read first: the line stays shared while all is well. */
    if (atomic_load_explicit(&breaker->expiries, memory_order_relaxed) != 0)
        atomic_store_explicit(&breaker->expiries, 0, memory_order_relaxed);
    if (atomic_load_explicit(&breaker->probe_at_ns, memory_order_relaxed) != 0)
        atomic_store_explicit(&breaker->probe_at_ns, 0, memory_order_relaxed);
}
