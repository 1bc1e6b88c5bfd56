/*
 * api/async_op: one asynchronous call and its parts, one for each key that Redis has to be asked
 * about: what was asked, in copies of its own, and what was found.
 */
#ifndef NC_API_ASYNC_OP_H
#define NC_API_ASYNC_OP_H

#include "base/table.h"
#include "nearcache/async.h"
#include "sync/fetch_loop.h"
#include "sync/write_loop.h"

#include <stdbool.h>

enum nc_async_kind {
    NC_ASYNC_GET,
    NC_ASYNC_GET_MANY,
    NC_ASYNC_GET_VECTORS,
    NC_ASYNC_SET,
    NC_ASYNC_DELETE
};

/*
 *     HELD -> READY --loop---> GATHERED -> FLYING --> LANDED -> ARRIVING -> OVER
 *                   --thread-> QUEUED  -> RUNNING --> LANDED -> ARRIVING -> OVER
 *
 * HELD: behind another one of its key (async_order). LANDED: until the dispatch takes it. ARRIVING:
 * while the dispatch has it, without the lock. What the loop cannot carry after all goes from
 * FLYING to QUEUED.
 */
enum nc_async_state {
    NC_ASYNC_HELD,
    NC_ASYNC_READY,
    NC_ASYNC_GATHERED,
    NC_ASYNC_FLYING,
    NC_ASYNC_QUEUED,
    NC_ASYNC_RUNNING,
    NC_ASYNC_LANDED,
    NC_ASYNC_ARRIVING,
    NC_ASYNC_OVER
};

struct nc_async;
struct nc_async_op;

/* Guarded by the lock of its nc_async, but for what who works on it needs: that is his while it is
 * RUNNING or departs, and the dispatch's while it is ARRIVING. Its key is constant. */
struct nc_async_part {
    struct nc_async_part *next, *before; /* in the queue that its state says */
    struct nc_async_op *op;
    struct nc_loop_read loop; /* of a write only its key */
    size_t row;               /* of the caller's arrays */
    enum nc_async_state state;
    uint32_t order;   /* index, see async_order */
    uint32_t bytes;   /* what it is taken to cost, while it counts as under way */
    bool counted;     /* in its order */
    bool departing;   /* FLYING: its request is being made */
    bool told;        /* FLYING, LANDED: its flight has landed */
    bool has_outcome; /* LANDED: somebody else than the loop has found it */
};

/* Where the caller wants what a batch finds; written by the call and by the dispatch only, rows of
 * the matrix also by who reads a reply (sync/row). */
struct nc_async_out {
    struct nearcache_result *results;
    char *matrix;
    size_t row_stride_bytes;
    int *statuses;
    enum nearcache_source *sources;
};

/* Guarded as its parts are. */
struct nc_async_op {
    struct nc_async_op *next; /* among the ended ones */
    UT_hash_handle hh;
    struct nc_async *async;
    nearcache_ticket ticket;
    enum nc_async_kind kind;
    bool ended;     /* all parts are over: it waits for its callback */
    bool cancelled; /* who ends its last part frees it */
    bool expired;   /* the breaker knows that it was not answered in time */
    struct nearcache_tier *tier;
    uint64_t deadline_ns, wake_ns; /* wake_ns: when to look at it if nothing has come */
    struct nc_fetch_options options;
    struct nc_loop_write *write; /* NULL: a read */
    struct nc_async_part *parts;
    size_t part_count, parts_left; /* that are not over */
    /* The operation's own until the dispatch hands them over: of all rows of a GET_MANY, of each
     * part of other reads. */
    struct nearcache_result *results;
    size_t result_count;
    void *value; /* of a SET */
    size_t rows; /* of the caller's arrays */
    struct nc_async_out out;
    union {
        nearcache_get_fn get;
        nearcache_many_fn many;
        nearcache_set_fn set;
    } done;
    void *arg;
    int outcome;
};

/* With copies of the names and room for a value. A part for each name, or, where there are
 * statuses, for those that are NEARCACHE_PENDING. NULL: out of memory. */
struct nc_async_op *nc_async_op_create(enum nc_async_kind kind, struct nearcache_tier *tier,
                                       const struct nearcache_name *names, size_t count,
                                       const int *statuses, size_t value_bytes);
/* All its parts are over, or were never submitted. NULL is fine. */
void nc_async_op_destroy(struct nc_async_op *op);
static inline bool nc_async_op_writes(const struct nc_async_op *op) { return op->write != NULL; }

struct nc_async_queue {
    struct nc_async_part *first, *last;
    size_t count;
};

void nc_async_queue_put(struct nc_async_queue *queue, struct nc_async_part *part);
/* The first one; NULL: there is none. */
struct nc_async_part *nc_async_queue_cut(struct nc_async_queue *queue);
void nc_async_queue_remove(struct nc_async_queue *queue, struct nc_async_part *part);

#endif
