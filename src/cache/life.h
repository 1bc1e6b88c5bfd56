/*
 * cache/life: one word that says whether a cache may be used: alive, closing, or the copy of a
 * forked child. It lives in a page that the kernel wipes on fork (MADV_WIPEONFORK, Linux 4.14), so
 * the check is one load of a line that nobody writes. Where the page cannot be had that way,
 * nc_life_init fails: a cache that would corrupt itself in a child is not opened.
 */
#ifndef NC_CACHE_LIFE_H
#define NC_CACHE_LIFE_H

#include "nearcache.h"

#include <stdatomic.h>

enum { NC_LIFE_FORKED = 0, NC_LIFE_ALIVE = 1, NC_LIFE_CLOSING = 2 };

struct nc_life {
    _Atomic uint32_t *word; /* thread-safe */
};

/* 0 or NEARCACHE_ENOMEM, NEARCACHE_EIO. */
int nc_life_init(struct nc_life *life);
void nc_life_deinit(struct nc_life *life);

/* 0, NEARCACHE_EFORK or NEARCACHE_ECLOSED. */
static inline int nc_life_check(const _Atomic uint32_t *word)
{
    /* Relaxed: the word guards no data; who closes waits for its callers by other means. */
    uint32_t state = atomic_load_explicit(word, memory_order_relaxed);
    if (__builtin_expect(state == NC_LIFE_ALIVE, 1))
        return 0;
    return state == NC_LIFE_FORKED ? NEARCACHE_EFORK : NEARCACHE_ECLOSED;
}

#endif
