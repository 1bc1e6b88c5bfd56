#include "base/lock.h"

#include "base/barrier.h"
#include "base/clock.h"
#include "base/futex.h"

/* Some microseconds: longer than a section, shorter than a sleep and a wake. */
#define SPINS 512
/* Sleeps without a barrier, and how long each lasts at most. */
#define UNSURE_SLEEPS 2
#define UNSURE_NS (100 * NC_NS_PER_US)

static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static bool try(struct nc_lock *lock)
{
    uint32_t open = 0;
    return atomic_load_explicit(&lock->word, memory_order_relaxed) == 0 &&
           atomic_compare_exchange_strong_explicit(&lock->word, &open, 1, memory_order_acquire,
                                                   memory_order_relaxed);
}

void nc_lock_wait(struct nc_lock *lock)
{
    for (int i = 0; i < SPINS; i++) {
        if (try(lock))
            return;
        relax();
    }
    atomic_fetch_add(&lock->sleepers, 1);
    for (int sleeps = 0; !try(lock); sleeps++) {
        /* See nc_lock_drop. Without the barrier a wake may be missed, but seldom: a short sleep
         * costs less than the barrier, which interrupts all threads, also the lock's holder. */
        bool sure = sleeps >= UNSURE_SLEEPS && nc_barrier_all();
        if (sure && try(lock))
            break;
        nc_futex_wait(&lock->word, 1, sure ? UINT64_MAX : nc_clock_io_ns() + UNSURE_NS);
    }
    atomic_fetch_sub(&lock->sleepers, 1);
}

void nc_lock_wake(struct nc_lock *lock) { nc_futex_wake(&lock->word, 1); }
