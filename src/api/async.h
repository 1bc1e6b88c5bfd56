/*
 * api/async: calls that wait for Redis on behalf of an event loop.
 *
 * What the cache can answer at once is answered on the caller's thread (async_calls). The rest
 * becomes an operation (async_op). Reads of one key are carried by the loop itself (async_reads):
 * they leave together, their replies are read by the dispatch. Batches and writes, and reads while
 * that is not possible, are carried by a few threads of the cache (async_threads), which run them
 * as synchronous calls. nearcache_dispatch takes what has ended. The timer behind nearcache_fd sees
 * to deadlines.
 *
 * The operations of a key keep their order: those of the threads go to the same one; a read by the
 * loop is not begun behind a write that a thread still has, and a write waits for the reads by the
 * loop that were there before it.
 *
 * Made by the first call that needs it. Thread-safe, but for the dispatch: one thread at a time.
 */
#ifndef NC_API_ASYNC_H
#define NC_API_ASYNC_H

#include "api/async_op.h"

#include <pthread.h>

struct nc_async_worker {
    struct nc_async *async;
    struct nc_async_queue queue;
    pthread_cond_t wake;
    pthread_t thread;
    bool started;
};

#define NC_ASYNC_WORKERS 8
#define NC_ASYNC_ORDERS 64

/* Operations of the keys that share it. */
struct nc_async_order {
    uint32_t reads;  /* by the loop, not ended */
    uint32_t writes; /* by the threads, not ended */
};

/* Guarded by the lock unless it says otherwise. */
struct nc_async {
    pthread_mutex_t lock;
    struct nc_sync *sync; /* constant */
    struct nc_async_worker workers[NC_ASYNC_WORKERS];
    struct nc_async_order orders[NC_ASYNC_ORDERS];
    struct nc_async_queue gathered;
    uint32_t gathered_count, flying;
    struct nc_async_op *by_ticket; /* all but cancelled ones */
    struct nc_async_queue ended;
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

/* Takes an operation over; `hash` is its key's. 0, or an error and the operation is as before. */
int nc_async_submit(struct nc_async *async, struct nc_async_op *op, uint64_t hash,
                    nearcache_ticket *ticket);
int nc_async_cancel(struct nc_async *async, nearcache_ticket ticket);

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
/* To the ended ones; its counts fall. A cancelled one is freed instead. */
void nc_async_end_locked(struct nc_async *async, struct nc_async_op *op);
/* Its counts fall. */
void nc_async_uncount_locked(struct nc_async *async, struct nc_async_op *op);

#endif
