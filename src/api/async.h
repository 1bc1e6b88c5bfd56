/*
 * api/async: calls that wait for Redis on behalf of an event loop.
 *
 * What the cache can answer at once is answered on the caller's thread (async_calls). The rest
 * becomes an operation: a few threads of the cache take operations and run them as synchronous
 * calls, gets of one tier that wait together as one batch; nearcache_dispatch takes what has ended.
 * The operations of a key go to the same thread, so the writes of a key keep their order. A read
 * whose deadline passes while it stands in a queue is answered by the dispatch, from what is here:
 * the timer behind nearcache_fd sees to that.
 *
 * Made by the first call that needs it. Thread-safe; nc_async_destroy when nobody calls any more.
 */
#ifndef NC_API_ASYNC_H
#define NC_API_ASYNC_H

#include "base/table.h"
#include "nearcache/async.h"

#include <pthread.h>
#include <stdbool.h>

enum nc_async_kind {
    NC_ASYNC_GET,
    NC_ASYNC_GET_MANY,
    NC_ASYNC_GET_VECTORS,
    NC_ASYNC_SET,
    NC_ASYNC_DELETE
};

enum nc_async_state { NC_ASYNC_QUEUED, NC_ASYNC_RUNNING, NC_ASYNC_ENDED, NC_ASYNC_CANCELLED };

/* Where the caller wants what a batch finds; written by the dispatch only. */
struct nc_async_out {
    struct nearcache_result *results;
    void *matrix;
    size_t row_stride_bytes;
    int *statuses;
    enum nearcache_source *sources;
};

/* Guarded by the lock of its nc_async, but for what the thread that runs it needs: that is the
 * thread's while the state is RUNNING. */
struct nc_async_op {
    struct nc_async_op *next;
    UT_hash_handle hh;
    nearcache_ticket ticket;
    enum nc_async_kind kind;
    enum nc_async_state state;
    struct nearcache_tier *tier;
    uint64_t deadline_ns;
    struct nearcache_read read;
    struct nearcache_write write;
    size_t count;
    struct nearcache_name *names; /* with their bytes, behind this struct */
    void *value;
    size_t value_bytes;
    /* What was found: the operation's own until the dispatch hands it over. */
    struct nearcache_result *results;
    int *statuses;
    enum nearcache_source *sources;
    void *matrix;
    struct nc_async_out out;
    union {
        nearcache_get_fn get;
        nearcache_many_fn many;
        nearcache_set_fn set;
    } done;
    void *arg;
    int outcome;
};

struct nc_async_queue {
    struct nc_async_op *first, **last;
};

struct nc_async;

struct nc_async_worker {
    struct nc_async *async;
    struct nc_async_queue queue;
    pthread_cond_t wake;
    pthread_t thread;
    bool started;
};

#define NC_ASYNC_WORKERS 8

struct nc_async {
    pthread_mutex_t lock;
    struct nc_async_worker workers[NC_ASYNC_WORKERS];
    struct nc_async_op *by_ticket; /* queued, running and ended ones */
    struct nc_async_queue ended;
    nearcache_ticket tickets;
    uint64_t timer_ns; /* what the timer is set to; 0: not set */
    bool stopping;
    int epoll_fd, event_fd, timer_fd;
};

/* 0, NEARCACHE_ENOMEM or NEARCACHE_EIO. */
int nc_async_create(struct nc_async **async);
/* Ends the threads. Operations that have not been dispatched end without a callback. NULL is fine.
 */
void nc_async_destroy(struct nc_async *async);

/* An operation with copies of the names. NULL: out of memory. */
struct nc_async_op *nc_async_op_create(enum nc_async_kind kind, struct nearcache_tier *tier,
                                       const struct nearcache_name *names, size_t count,
                                       size_t value_bytes);
void nc_async_op_destroy(struct nc_async_op *op);

/* Hands it to the threads; `hash` chooses which. 0, or an error and the operation is as before. */
int nc_async_submit(struct nc_async *async, struct nc_async_op *op, uint64_t hash,
                    nearcache_ticket *ticket);
/* The oldest operation that has ended, taken out; NULL: none. Reads that have waited too long in a
 * queue are run here first. */
struct nc_async_op *nc_async_take_ended(struct nc_async *async);
int nc_async_cancel(struct nc_async *async, nearcache_ticket ticket);

#endif
