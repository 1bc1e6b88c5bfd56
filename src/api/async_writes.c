#include "api/async_writes.h"

#include "api/async_part.h"
#include "api/call.h"
#include "base/futex.h"
#include "sync/write.h"

/* So many wait for others at most: the server works on some while more are gathered. */
#define GATHER_MOST 32

static enum nc_write_loop_state state_of(const struct nc_async_part *part)
{
    /* Relaxed: the lock orders what goes with it. */
    return (enum nc_write_loop_state)atomic_load_explicit(&part->op->write->state,
                                                          memory_order_relaxed);
}

/* It was told, with the lock: ended, or for a thread to end. */
static void take_told_locked(struct nc_async *async, struct nc_async_part *part)
{
    nc_write_loop_told(part->op->write);
    /* At the end of the cache there is no thread any more, and nobody to be told. */
    if (async->stopping && nc_async_writes_in_doubt(part))
        nc_async_writes_give_up(async, part);
    if (async->stopping || state_of(part) == NC_WRITE_LOOP_ENDED) {
        nc_async_part_land_locked(async, part);
        return;
    }
    nc_async_part_pass_on_locked(async, part);
}

/* On whatever thread ends the request. */
static void on_landed(struct nc_loop_write *write)
{
    struct nc_async_part *part = write->owner;
    struct nc_async *async = part->op->async;
    pthread_mutex_lock(&async->lock);
    part->told = true;
    if (!part->departing)
        take_told_locked(async, part);
    nc_async_loop_tell_locked(async);
    pthread_mutex_unlock(&async->lock);
}

void nc_async_writes_init(struct nc_async_op *op, const struct nc_write_options *options,
                          size_t value_bytes)
{
    struct nc_loop_write *write = op->write;
    op->deadline_ns = op->wake_ns = options->deadline_ns;
    write->item.key = op->parts[0].loop.want.key;
    write->item.op = op->kind == NC_ASYNC_SET ? NC_WRITE_SET : NC_WRITE_DELETE;
    write->item.value = op->value;
    write->item.value_bytes = value_bytes;
    write->item.ttl_ms = options->ttl_ms;
    write->deadline_ns = options->deadline_ns;
    write->item.taken_ns = nc_clock_io_ns();
    write->landed = on_landed;
    write->owner = &op->parts[0];
}

bool nc_async_writes_are_due_locked(struct nc_async *async)
{
    /* With others under way the dispatch comes soon, and inside of it more may follow. */
    return async->writes_due.count >= GATHER_MOST ||
           (async->writes_due.first && async->flying == 0 && !nc_async_loop_dispatches(async));
}

/* The oldest ones of one tier. */
static size_t take_locked(struct nc_async *async, struct nc_loop_write **writes)
{
    struct nc_async_queue *queue = &async->writes_due;
    const struct nearcache_tier *tier = queue->first ? queue->first->op->tier : NULL;
    size_t count = 0;
    while (queue->first && count < NC_WRITE_LOOP_MOST && queue->first->op->tier == tier) {
        struct nc_async_part *part = nc_async_queue_cut(queue);
        part->state = NC_ASYNC_FLYING;
        part->departing = true;
        part->told = false;
        async->flying++;
        writes[count++] = part->op->write;
    }
    return count;
}

static void settle_locked(struct nc_async *async, struct nc_async_part *part)
{
    part->departing = false;
    if (part->told) {
        take_told_locked(async, part);
    } else if (state_of(part) == NC_WRITE_LOOP_IDLE) {
        nc_async_part_pass_on_locked(async, part);
    }
}

void nc_async_writes_depart(struct nc_async *async)
{
    struct nc_loop_write *writes[NC_WRITE_LOOP_MOST];
    for (;;) {
        pthread_mutex_lock(&async->lock);
        size_t count = take_locked(async, writes);
        pthread_mutex_unlock(&async->lock);
        if (count == 0)
            return;
        struct nc_cache_thread *self = nc_cache_self(writes[0]->item.key.tier->cache);
        if (self)
            nc_write_loop_depart(async->sync, self, writes, count);
        pthread_mutex_lock(&async->lock);
        for (size_t i = 0; i < count; i++)
            settle_locked(async, writes[i]->owner);
        nc_async_loop_tell_locked(async);
        pthread_mutex_unlock(&async->lock);
    }
}

/* ---- the end ---- */

bool nc_async_writes_in_doubt(const struct nc_async_part *part)
{
    return state_of(part) == NC_WRITE_LOOP_DOUBT;
}

void nc_async_writes_give_up(struct nc_async *async, struct nc_async_part *part)
{
    nc_write_loop_give_up(async->sync, nc_cache_self(part->op->tier->cache), part->op->write);
}

void nc_async_writes_run(struct nc_async *async, struct nc_async_part *part)
{
    struct nc_call_context call;
    struct nc_loop_write *write = part->op->write;
    if (nc_async_writes_in_doubt(part)) {
        /* Until its not_after has passed (R11), or the cache closes. Relaxed: as it is set. */
        while (atomic_load_explicit(&async->threads.over, memory_order_relaxed) == 0 &&
               nc_futex_wait(&async->threads.over, 0, write->deadline_ns))
            ;
        nc_async_writes_give_up(async, part);
        return;
    }
    write->item.outcome = nc_call_begin_tier(&call, part->op->tier);
    if (write->item.outcome == 0)
        nc_write(async->sync, call.self, &write->item, 1, write->deadline_ns);
}

void nc_async_writes_arrive(struct nc_async *async, struct nc_async_part *part)
{
    struct nc_call_context call;
    struct nc_async_op *op = part->op;
    op->outcome = op->write->item.outcome;
    if (op->write->unanswered)
        nc_link_expired(nc_sync_for(async->sync, &op->write->item.key)->link);
    if (nc_call_begin_tier(&call, op->tier) != 0)
        return;
    nc_write_loop_arrive(call.self, op->write);
    nc_call_count_write(&call, op->tier, op->outcome, op->kind == NC_ASYNC_DELETE);
}
