/*
 * sync/row: a place of the caller's that a value is written to while its reply is read, by whatever
 * thread reads it.
 *
 *       CLOSED <--close-- OPEN --begin--> BUSY --end--> FULL
 *                                           \         ^
 *                                            AWAITED -'     (futex of who closes)
 *
 * Who opened it closes it before its memory is gone: after that nobody writes there. One thread
 * at a time opens and closes, one thread begins and ends; a place is used once.
 */
#ifndef NC_SYNC_ROW_H
#define NC_SYNC_ROW_H

#include "base/futex.h"

enum { NC_ROW_CLOSED, NC_ROW_OPEN, NC_ROW_BUSY, NC_ROW_AWAITED, NC_ROW_FULL };

struct nc_row {
    _Atomic uint32_t state;
    void *at;
};

/* Before others know of it. */
static inline void nc_row_open(struct nc_row *row, void *at)
{
    row->at = at;
    atomic_store_explicit(&row->state, NC_ROW_OPEN, memory_order_relaxed);
}

/* True: it may be written until nc_row_end. */
static inline bool nc_row_begin(struct nc_row *row)
{
    uint32_t open = NC_ROW_OPEN;
    /* Relaxed load: most values have no row, and the exchange decides. Acquire: the writing comes
     * after it; pairs with the exchange in nc_row_close, of which only one succeeds. */
    return atomic_load_explicit(&row->state, memory_order_relaxed) == NC_ROW_OPEN &&
           atomic_compare_exchange_strong_explicit(&row->state, &open, NC_ROW_BUSY,
                                                   memory_order_acquire, memory_order_relaxed);
}

static inline void nc_row_end(struct nc_row *row)
{
    /* Release pairs with the acquires of closing: what was written is seen. */
    if (atomic_exchange_explicit(&row->state, NC_ROW_FULL, memory_order_release) == NC_ROW_AWAITED)
        nc_futex_wake(&row->state, 1);
}

static inline bool nc_row_is_full(const struct nc_row *row)
{
    return atomic_load_explicit(&((struct nc_row *)row)->state, memory_order_acquire) ==
           NC_ROW_FULL;
}

/* From here on nobody writes to it; waits for who does, one copy at most. True: it is full. */
static inline bool nc_row_close(struct nc_row *row)
{
    uint32_t state = NC_ROW_OPEN;
    if (nc_row_is_full(row) ||
        atomic_compare_exchange_strong_explicit(&row->state, &state, NC_ROW_CLOSED,
                                                memory_order_acquire, memory_order_acquire))
        return nc_row_is_full(row);
    while (state == NC_ROW_BUSY || state == NC_ROW_AWAITED) {
        if (state == NC_ROW_AWAITED ||
            atomic_compare_exchange_strong_explicit(&row->state, &state, NC_ROW_AWAITED,
                                                    memory_order_acquire, memory_order_acquire))
            nc_futex_wait(&row->state, NC_ROW_AWAITED, UINT64_MAX);
        state = atomic_load_explicit(&row->state, memory_order_acquire);
    }
    return state == NC_ROW_FULL;
}

#endif
