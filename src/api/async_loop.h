/*
 * api/async_loop: what the calls of one event loop share: a lock, the queues that their parts stand
 * in, and the descriptor that the loop watches, with a timer behind it for deadlines.
 *
 * Which part goes into which queue is async_part's, who takes it out that of those who carry.
 */
#ifndef NC_API_ASYNC_LOOP_H
#define NC_API_ASYNC_LOOP_H

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
        void *(*work)(void *async); /* what each of them does; constant */
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

/* All zero before. 0, or NEARCACHE_EIO and there is nothing to take apart. */
int nc_async_loop_init(struct nc_async *async, struct nc_sync *sync);
void nc_async_loop_deinit(struct nc_async *async);

/* Whether the caller is inside of nearcache_dispatch. */
static inline bool nc_async_loop_dispatches(struct nc_async *async)
{
    /* Relaxed: only one's own store matters. */
    return atomic_load_explicit(&async->dispatcher, memory_order_relaxed) ==
           (uintptr_t)pthread_self();
}

/* Makes the descriptor readable if there is something for the dispatch to do. */
void nc_async_loop_tell_locked(struct nc_async *async);
/* There is nothing: it is readable no more, but for the timer. */
void nc_async_loop_untell_locked(struct nc_async *async);
/* 0: it is not needed, whether it has gone off or not. */
void nc_async_loop_set_timer_locked(struct nc_async *async, uint64_t at_ns);

#endif
