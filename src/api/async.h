/*
 * api/async: calls that wait for Redis on behalf of an event loop.
 *
 * What the cache can answer at once is answered on the caller's thread (async_calls,
 * async_batches). The rest becomes an operation with a part for each key (async_op). The loop
 * itself carries them (async_reads, async_writes): they leave together, their replies are read by
 * the dispatch. What cannot be carried so at the moment is by a few threads of the cache
 * (async_threads). nearcache_dispatch takes what has landed and calls back for what is complete.
 * The timer behind nearcache_fd sees to deadlines. Parts of one key keep their order (async_order).
 *
 * Made by the first call that needs it. Thread-safe, but for the dispatch: one thread at a time.
 */
#ifndef NC_API_ASYNC_H
#define NC_API_ASYNC_H

#include "api/async_op.h"
#include "api/async_order.h"

#include <pthread.h>

#define NC_ASYNC_WORKERS 8

/* Guarded by the lock unless it says otherwise. */
struct nc_async {
    pthread_mutex_t lock;
    struct nc_sync *sync; /* constant */
    struct nc_async_order orders[NC_ASYNC_ORDERS];
    _Atomic uint32_t writes; /* operations; changed under the lock */
    /* Those whose turn it is, until their carrier has been found. */
    struct nc_async_queue ready;
    bool beginning;
    /* The loop's: gets, parts of batches, writes, and how much of it is under way. */
    struct nc_async_queue singles, rows, writes_due;
    size_t flying;
    size_t row_bytes;           /* under way for batches */
    _Atomic size_t usual_bytes; /* of a value, as learned; no lock */
    struct {
        pthread_t all[NC_ASYNC_WORKERS];
        unsigned count, idle;
        pthread_cond_t wake;
        struct nc_async_queue queue;
        _Atomic uint32_t over; /* futex of those that wait out a doubt. No lock. */
    } threads;
    struct nc_async_queue landed;
    struct nc_async_op *ended, **ended_last;
    struct nc_async_op *by_ticket; /* all but cancelled ones */
    nearcache_ticket tickets;
    uint64_t timer_ns; /* what the timer is set to; 0: not set */
    bool stopping;
    bool signalled;                   /* the event is set */
    _Atomic uintptr_t dispatcher;     /* the thread that dispatches; 0: none. No lock. */
    int epoll_fd, event_fd, timer_fd; /* constant */
};

/* 0, NEARCACHE_ENOMEM or NEARCACHE_EIO. */
int nc_async_create(struct nc_async **async, struct nc_sync *sync);
/* Ends the threads. Operations that have not been dispatched end without a callback. NULL is fine,
 * here and below. */
void nc_async_stop(struct nc_async *async);
/* After the links have been closed: nothing is told any more. */
void nc_async_destroy(struct nc_async *async);

/* Takes an operation over. 0, or NEARCACHE_ENOMEM and the operation is as before. */
int nc_async_submit(struct nc_async *async, struct nc_async_op *op, nearcache_ticket *ticket);
int nc_async_cancel(struct nc_async *async, nearcache_ticket ticket);
/* Whether a write of the key is under way, so that a copy here is older than what was asked for.
 * NULL: none is. */
bool nc_async_is_written(struct nc_async *async, const struct nc_key *key);

/* Brackets of a dispatch; between them: the oldest operation that has ended, taken out; NULL: none.
 */
void nc_async_begin_dispatch(struct nc_async *async);
struct nc_async_op *nc_async_take_ended(struct nc_async *async);
void nc_async_end_dispatch(struct nc_async *async);

/* ---- for the files of this part ---- */

/* Whether the caller is inside of nearcache_dispatch. */
static inline bool nc_async_dispatches(struct nc_async *async)
{
    /* Relaxed: only one's own store matters. */
    return atomic_load_explicit(&async->dispatcher, memory_order_relaxed) ==
           (uintptr_t)pthread_self();
}
/* The part is in no queue any more: it goes to the landed ones, or is over if nobody wants it; what
 * waited for it begins. The operation may be gone afterwards. */
void nc_async_land_locked(struct nc_async *async, struct nc_async_part *part);
/* One that flies does so no more. */
void nc_async_uncount_locked(struct nc_async *async, struct nc_async_part *part);
/* The same with an outcome, of one that could not be carried. */
void nc_async_fail_locked(struct nc_async *async, struct nc_async_part *part, int outcome);
/* Makes the descriptor readable if there is something for the dispatch to do. */
void nc_async_tell_locked(struct nc_async *async);

#endif
