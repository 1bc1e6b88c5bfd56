/*
 * base/lock: a lock of eight bytes: a short spin, then a futex. For sections of some hundred
 * nanoseconds that are seldom contended; not recursive, not fair. A lock of zero bytes is open.
 * Thread-safe.
 *
 * Letting go is a plain store: a locked instruction would wait until all that was stored in the
 * section has left the processor, which costs more than the section. Who is about to sleep pays
 * for it instead: with a short sleep, and before a long one with a barrier in all threads.
 */
#ifndef NC_BASE_LOCK_H
#define NC_BASE_LOCK_H

#include <stdatomic.h>
#include <stdint.h>

struct nc_lock {
    _Atomic uint32_t word;     /* 0: open, 1: taken; futex */
    _Atomic uint32_t sleepers; /* threads that sleep or are about to */
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
    atomic_store_explicit(&lock->word, 0, memory_order_release);
    /* The store comes before the load: pairs with the barrier in nc_lock_wait, whose thread has
     * counted itself and then sees the open lock, or is seen here. Before that barrier it sleeps
     * for a short time only. */
    atomic_signal_fence(memory_order_seq_cst);
    if (__builtin_expect(atomic_load_explicit(&lock->sleepers, memory_order_relaxed) != 0, 0))
        nc_lock_wake(lock);
}

#endif
