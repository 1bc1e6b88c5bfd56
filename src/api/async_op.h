/*
 * api/async_op: one asynchronous call: what was asked, in copies of its own, and what was found.
 */
#ifndef NC_API_ASYNC_OP_H
#define NC_API_ASYNC_OP_H

#include "base/table.h"
#include "nearcache/async.h"
#include "sync/fetch_loop.h"

#include <stdbool.h>

enum nc_async_kind {
    NC_ASYNC_GET,
    NC_ASYNC_GET_MANY,
    NC_ASYNC_GET_VECTORS,
    NC_ASYNC_SET,
    NC_ASYNC_DELETE
};

/*
 *     for a thread    QUEUED -> RUNNING -> ENDED
 *     for the loop    GATHERED -> FLYING -> ENDED      (one that cannot fly after all: -> QUEUED)
 *
 * CANCELLED is one that somebody still works on: he frees it.
 */
enum nc_async_state {
    NC_ASYNC_QUEUED,
    NC_ASYNC_RUNNING,
    NC_ASYNC_GATHERED,
    NC_ASYNC_FLYING,
    NC_ASYNC_ENDED,
    NC_ASYNC_CANCELLED
};

/* Where the caller wants what a batch finds; written by the dispatch only. */
struct nc_async_out {
    struct nearcache_result *results;
    void *matrix;
    size_t row_stride_bytes;
    int *statuses;
    enum nearcache_source *sources;
};

struct nc_async;

/* Guarded by the lock of its nc_async, but for what who works on it needs: that is his while the
 * state is RUNNING, or while it departs. */
struct nc_async_op {
    struct nc_async_op *next;
    UT_hash_handle hh;
    struct nc_async *async;
    nearcache_ticket ticket;
    enum nc_async_kind kind;
    enum nc_async_state state;
    bool departing; /* FLYING or CANCELLED: its request is being made */
    bool landed;    /* FLYING: it was told */
    bool by_loop;   /* it was read so */
    uint32_t order; /* index, see nc_async_order */
    struct nearcache_tier *tier;
    uint64_t deadline_ns, wake_ns; /* wake_ns: when to look at it if nothing has come */
    struct nearcache_read read;
    struct nearcache_write write;
    struct nc_fetch_options options; /* the same as `read`, for a GET by the loop */
    struct nc_loop_read loop;
    size_t count;
    struct nearcache_name *names; /* with their bytes, behind this struct */
    void *value;
    size_t value_bytes;
    /* What was found: the operation's own until the dispatch hands it over. */
    struct nearcache_result *results;
    int *statuses;
    enum nearcache_source *sources;
    void *matrix;
    struct nearcache_result one; /* of a GET */
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

/* With copies of the names and room for a value. NULL: out of memory. */
struct nc_async_op *nc_async_op_create(enum nc_async_kind kind, struct nearcache_tier *tier,
                                       const struct nearcache_name *names, size_t count,
                                       size_t value_bytes);
void nc_async_op_destroy(struct nc_async_op *op);
static inline bool nc_async_op_writes(const struct nc_async_op *op)
{
    return op->kind > NC_ASYNC_GET_VECTORS;
}
/* Runs it as the synchronous call, within what is left of its time. */
void nc_async_op_run(struct nc_async_op *op);
uint64_t nc_async_op_left_us(const struct nc_async_op *op);

void nc_async_queue_init(struct nc_async_queue *queue);
void nc_async_queue_put(struct nc_async_queue *queue, struct nc_async_op *op);
/* Takes out what *at points to, the first or the `next` of another one. */
struct nc_async_op *nc_async_queue_cut(struct nc_async_queue *queue, struct nc_async_op **at);
/* Takes this one out. False: it is not there. */
bool nc_async_queue_remove(struct nc_async_queue *queue, const struct nc_async_op *op);

#endif
