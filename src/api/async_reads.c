#include "api/async_reads.h"

#include "api/async_part.h"
#include "api/call.h"

#include <stddef.h>

/* So many wait for others at most: the server works on some while more are gathered. */
#define GATHER_MOST 16
/* What batches have under way at a time, and what is left for one request: as on the connection for
 * batches of synchronous callers. */
#define ROWS_BYTES (512u * 1024)
#define REQUEST_BYTES (128u * 1024)
/* What a key under way takes beyond its name and value: its flight, its share of the request and of
 * the cache's entry. So small values are bounded too. */
#define KEY_BYTES 256u
/* What a value is taken to have before one has been seen. */
#define GUESS_BYTES 1024u

void nc_async_reads_init(struct nc_async *async) { atomic_init(&async->usual_bytes, GUESS_BYTES); }

static size_t usual_bytes(struct nc_async *async)
{
    /* Relaxed, also below: a guide for how much to ask for at a time. */
    return atomic_load_explicit(&async->usual_bytes, memory_order_relaxed);
}

/* Dispatch. */
static void learn_bytes(struct nc_async *async, size_t bytes)
{
    size_t usual = usual_bytes(async);
    atomic_store_explicit(&async->usual_bytes, usual - usual / 8 + bytes / 8, memory_order_relaxed);
}

static struct nc_async_part *part_of(struct nc_loop_read *read)
{
    return (struct nc_async_part *)((char *)read - offsetof(struct nc_async_part, loop));
}

/* On whatever thread ends the request. */
static void on_landed(struct nc_flight_watch *watch)
{
    struct nc_async_part *part =
        part_of((struct nc_loop_read *)((char *)watch - offsetof(struct nc_loop_read, watch)));
    struct nc_async *async = part->op->async;
    pthread_mutex_lock(&async->lock);
    part->told = true;
    if (!part->departing)
        nc_async_part_land_locked(async, part);
    nc_async_loop_tell_locked(async);
    pthread_mutex_unlock(&async->lock);
}

/* ---- departing ---- */

static bool rows_have_room_locked(const struct nc_async *async)
{
    return async->rows.first && async->row_bytes < ROWS_BYTES;
}

bool nc_async_reads_are_due_locked(struct nc_async *async)
{
    bool rows = rows_have_room_locked(async);
    if (async->singles.count >= GATHER_MOST || (rows && async->rows.count >= GATHER_MOST))
        return true;
    /* With others under way the dispatch comes soon, and inside of it more may follow. */
    return (async->singles.first || rows) && async->flying == 0 && !nc_async_loop_dispatches(async);
}

static void count_locked(struct nc_async *async, struct nc_async_part *part)
{
    part->state = NC_ASYNC_FLYING;
    part->departing = true;
    part->told = false;
    part->loop.watch.landed = on_landed;
    async->flying++;
    if (part->op->kind == NC_ASYNC_GET)
        return;
    size_t bytes = part->op->tier->row_bytes ? part->op->tier->row_bytes : usual_bytes(async);
    bytes += KEY_BYTES + part->loop.want.key.name_bytes;
    part->bytes = bytes < ROWS_BYTES ? (uint32_t)bytes : ROWS_BYTES;
    async->row_bytes += part->bytes;
}

/* The oldest ones of one tier, gets before batches. */
static size_t take_locked(struct nc_async *async, struct nc_loop_read **reads)
{
    struct nc_async_queue *queue = async->singles.first ? &async->singles : &async->rows;
    const struct nearcache_tier *tier = queue->first ? queue->first->op->tier : NULL;
    size_t count = 0, before = async->row_bytes;
    while (queue->first && count < NC_FETCH_LOOP_MOST && queue->first->op->tier == tier &&
           async->row_bytes - before < REQUEST_BYTES &&
           (queue == &async->singles || rows_have_room_locked(async))) {
        struct nc_async_part *part = nc_async_queue_cut(queue);
        count_locked(async, part);
        reads[count++] = &part->loop;
    }
    return count;
}

/* It has no flight: one of the threads sees to it. */
static void settle_locked(struct nc_async *async, struct nc_async_part *part)
{
    bool flies = part->loop.want.flight != NULL;
    part->departing = false;
    if (!flies && !part->op->cancelled) {
        nc_async_part_pass_on_locked(async, part);
    } else if (!flies || part->told || (part->op->cancelled && nc_fetch_loop_leave(&part->loop))) {
        nc_async_part_land_locked(async, part);
    }
}

void nc_async_reads_depart(struct nc_async *async)
{
    struct nc_loop_read *reads[NC_FETCH_LOOP_MOST];
    for (;;) {
        uint64_t deadline_ns = 0;
        pthread_mutex_lock(&async->lock);
        size_t count = take_locked(async, reads);
        pthread_mutex_unlock(&async->lock);
        if (count == 0)
            return;
        for (size_t i = 0; i < count; i++) {
            const struct nc_async_op *op = part_of(reads[i])->op;
            deadline_ns = op->deadline_ns > deadline_ns ? op->deadline_ns : deadline_ns;
        }
        struct nc_cache_thread *self = nc_cache_self(reads[0]->want.key.tier->cache);
        if (self)
            nc_fetch_loop_depart(async->sync, self, reads, count, deadline_ns);
        pthread_mutex_lock(&async->lock);
        for (size_t i = 0; i < count; i++)
            settle_locked(async, part_of(reads[i]));
        nc_async_loop_tell_locked(async);
        pthread_mutex_unlock(&async->lock);
    }
}

/* ---- the end ---- */

bool nc_async_reads_has_old(const struct nc_async_part *part)
{
    struct nc_cache_thread *self = nc_cache_self(part->op->tier->cache);
    return self && nc_fetch_loop_has_old(self, &part->loop, &part->op->options);
}

static void take_row(struct nc_async_part *part)
{
    struct nc_async_op *op = part->op;
    struct nearcache_result *result = part->loop.want.result;
    size_t row_bytes = op->tier->row_bytes;
    op->out.statuses[part->row] = part->loop.want.outcome;
    if (op->out.sources)
        op->out.sources[part->row] = result->source;
    if (!op->out.matrix)
        return;
    if (part->loop.want.outcome == 0 && result->data) /* else it stands there already */
        memcpy(op->out.matrix + part->row * op->out.row_stride_bytes, result->data, row_bytes);
    nc_cache_release(result); /* a matrix may be larger than what may be pinned */
}

void nc_async_reads_arrive(struct nc_async *async, struct nc_async_part *part)
{
    struct nc_call_context call;
    struct nc_async_op *op = part->op;
    struct nc_want *want = &part->loop.want;
    if (op->cancelled)
        return;
    int outcome = nc_call_begin_tier(&call, op->tier);
    if (outcome != 0) {
        nc_fetch_loop_close(&part->loop);
        want->outcome = outcome;
    } else {
        if (!part->has_outcome) {
            /* What was not answered in time is one expired deadline, however many keys it has. */
            part->loop.counted = op->expired;
            nc_fetch_loop_arrive(async->sync, call.self, &part->loop, &op->options, part->told);
            op->expired = part->loop.counted;
        }
        nc_call_count_read(&call, op->tier, want->outcome, want->result);
        if (want->outcome == 0 && !op->tier->row_bytes)
            learn_bytes(async, want->result->bytes);
    }
    if (op->kind == NC_ASYNC_GET)
        op->outcome = want->outcome;
    else if (!op->cancelled) /* by what was called back meanwhile: the arrays are gone */
        take_row(part);
}
