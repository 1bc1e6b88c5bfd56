#include "base/lock.h"

#include "base/futex.h"

/* About a microsecond: longer than a section, shorter than a sleep and a wake. */
#define SPINS 64

static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

void nc_lock_wait(struct nc_lock *lock)
{
    for (int i = 0; i < SPINS; i++) {
        uint32_t open = 0;
        if (atomic_load_explicit(&lock->word, memory_order_relaxed) == 0 &&
            atomic_compare_exchange_weak_explicit(&lock->word, &open, 1, memory_order_acquire,
                                                  memory_order_relaxed))
            return;
        relax();
    }
    /* Taken as 2 from here on: whether others still sleep is not known. */
    while (atomic_exchange_explicit(&lock->word, 2, memory_order_acquire) != 0)
        nc_futex_wait(&lock->word, 2, UINT64_MAX);
}

void nc_lock_wake(struct nc_lock *lock) { nc_futex_wake(&lock->word, 1); }
