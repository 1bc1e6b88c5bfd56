/*
 * base/futex: waiting for a 32-bit word to change, with an absolute deadline on the machine's
 * monotonic clock. Linux futexes, private to the process.
 */
#ifndef NC_BASE_FUTEX_H
#define NC_BASE_FUTEX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * Sleeps while *word == expected. False: the deadline (CLOCK_MONOTONIC ns, UINT64_MAX: none) has
 * passed. True otherwise, also for no reason: check the word again.
 */
bool nc_futex_wait(const _Atomic uint32_t *word, uint32_t expected, uint64_t deadline_ns);

/* The same for one of several kinds of sleepers on a word: who waits with some bits is woken by
 * nc_futex_wake and by nc_futex_wake_some with one of them. */
bool nc_futex_wait_as(const _Atomic uint32_t *word, uint32_t expected, uint32_t bits,
                      uint64_t deadline_ns);
void nc_futex_wake_some(const _Atomic uint32_t *word, uint32_t bits);

/* Wakes at most `most` waiters; INT_MAX for all. */
void nc_futex_wake(const _Atomic uint32_t *word, int most);

#endif
