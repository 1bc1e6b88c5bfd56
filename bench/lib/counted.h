/*
 * The reference count of a peer whose readers must leave the lock before they use the value, as
 * the user of a cache does: the table holds one reference, each handle another.
 */
#ifndef BENCH_COUNTED_H
#define BENCH_COUNTED_H

#include <stdlib.h>

/* First member of an entry from malloc. Thread-safe. */
struct counted {
    int references;
};

static inline void counted_init(struct counted *counted) { counted->references = 1; }

static inline struct counted *counted_take(struct counted *counted)
{
    /* Relaxed: the table's own reference, under the lock that the caller holds, keeps it alive. */
    __atomic_fetch_add(&counted->references, 1, __ATOMIC_RELAXED);
    return counted;
}

static inline void counted_drop(struct counted *counted)
{
    /* Pairs with itself: whoever frees has seen every other holder finish. */
    if (__atomic_fetch_sub(&counted->references, 1, __ATOMIC_ACQ_REL) == 1)
        free(counted);
}

#endif
