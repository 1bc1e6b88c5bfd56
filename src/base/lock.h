/*
 * base/lock: a lock of four bytes: a short spin, then a futex. For sections of some hundred
 * nanoseconds that are seldom contended; not recursive, not fair. A lock of zero bytes is open.
 * Thread-safe.
 */
#ifndef NC_BASE_LOCK_H
#define NC_BASE_LOCK_H

#include <stdatomic.h>
#include <stdint.h>

struct nc_lock {
    _Atomic uint32_t word; /* 0: open, 1: taken, 2: taken, and somebody may sleep */
};

/* Somebody else holds it: spins for a while, then sleeps. */
void nc_lock_wait(struct nc_lock *lock);
void nc_lock_wake(struct nc_lock *lock);

static inline void nc_lock_take(struct nc_lock *lock)
{
    uint32_t open = 0;
    /* Acquire pairs with the release in nc_lock_drop: what the last holder wrote is seen. */
    if (__builtin_expect(!atomic_compare_exchange_strong_explicit(
                             &lock->word, &open, 1, memory_order_acquire, memory_order_relaxed),
                         0))
        nc_lock_wait(lock);
}

static inline void nc_lock_drop(struct nc_lock *lock)
{
    /* Release pairs with the acquires of taking. */
    if (__builtin_expect(atomic_exchange_explicit(&lock->word, 0, memory_order_release) == 2, 0))
        nc_lock_wake(lock);
}

#endif
