#include "base/futex.h"

#include "base/clock.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

bool nc_futex_wait_as(const _Atomic uint32_t *word, uint32_t expected, uint32_t bits,
                      uint64_t deadline_ns)
{
    struct timespec until, *limit = NULL;
    if (deadline_ns != UINT64_MAX) {
        until.tv_sec = (time_t)(deadline_ns / NC_NS_PER_S);
        until.tv_nsec = (long)(deadline_ns % NC_NS_PER_S);
        limit = &until;
    }
    /* WAIT_BITSET takes an absolute time; plain WAIT would take a relative one and drift. */
    long rc = syscall(SYS_futex, word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, expected, limit,
                      NULL, bits);
    return !(rc != 0 && errno == ETIMEDOUT);
}

bool nc_futex_wait(const _Atomic uint32_t *word, uint32_t expected, uint64_t deadline_ns)
{
    return nc_futex_wait_as(word, expected, FUTEX_BITSET_MATCH_ANY, deadline_ns);
}

void nc_futex_wake_some(const _Atomic uint32_t *word, uint32_t bits)
{
    syscall(SYS_futex, word, FUTEX_WAKE_BITSET | FUTEX_PRIVATE_FLAG, INT_MAX, NULL, NULL, bits);
}

void nc_futex_wake(const _Atomic uint32_t *word, int most)
{
    syscall(SYS_futex, word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, most, NULL, NULL, 0);
}
