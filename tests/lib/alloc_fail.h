/*
 * Allocations that fail on demand: malloc, calloc, realloc, aligned_alloc, posix_memalign, strdup,
 * strndup and mmap as called by the library and by the test itself (not inside of libc or hiredis).
 * By the linker's --wrap, so it works under every sanitizer. A program that uses it is linked with
 * $(wrap_alloc):
 *
 *     tests_fault_test_x_LDFLAGS = $(AM_LDFLAGS) $(wrap_alloc)
 *
 * A call that must survive every allocation's failure:
 *
 *     for (unsigned long n = 0;; n++) {
 *         alloc_fail_at(n, ALLOC_FAIL_ONCE);
 *         outcome = call();
 *         if (!alloc_fail_end())
 *             break;                            (no n-th allocation: the call did all it does)
 *         cr_assert_eq(outcome, NEARCACHE_ENOMEM);
 *     }
 */
#ifndef LIB_ALLOC_FAIL_H
#define LIB_ALLOC_FAIL_H

#include <stdbool.h>

enum alloc_fail_mode {
    ALLOC_FAIL_ONCE,        /* the n-th allocation of this thread */
    ALLOC_FAIL_ON,          /* the n-th of this thread and all later ones */
    ALLOC_FAIL_ONCE_OF_ALL, /* the n-th of all threads */
    ALLOC_FAIL_ON_OF_ALL
};

/* n counts from 0, from now on. */
void alloc_fail_at(unsigned long n, enum alloc_fail_mode mode);

/* All allocations work again; whether one has failed. */
bool alloc_fail_end(void);

/* How many allocations there were between alloc_fail_at and alloc_fail_end. */
unsigned long alloc_fail_count(void);

#endif
