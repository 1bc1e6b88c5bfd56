#include "api/async_reads.h"

#include "api/async_threads.h"
#include "api/call.h"

#include <stddef.h>

/* So many wait for others at most: the server works on some while more are gathered. */
#define GATHER_MOST 16

static struct nc_async_op *op_of(struct nc_flight_watch *watch)
{
    return (struct nc_async_op *)((char *)watch - offsetof(struct nc_async_op, loop.watch));
}

/* On whatever thread ends the request. */
static void on_landed(struct nc_flight_watch *watch)
{
    struct nc_async_op *op = op_of(watch);
    struct nc_async *async = op->async;
    pthread_mutex_lock(&async->lock);
    op->landed = true;
    bool free_it = op->state == NC_ASYNC_CANCELLED && !op->departing;
    if (op->state == NC_ASYNC_FLYING && !op->departing)
        nc_async_end_locked(async, op);
    pthread_mutex_unlock(&async->lock);
    if (free_it)
        nc_async_op_destroy(op);
}

bool nc_async_reads_put_locked(struct nc_async *async, struct nc_async_op *op)
{
    op->state = NC_ASYNC_GATHERED;
    op->by_loop = true;
    op->loop.watch.landed = on_landed;
    op->loop.want.result = op->results;
    async->orders[op->order].reads++;
    nc_async_queue_put(&async->gathered, op);
    async->gathered_count++;
    if (async->gathered_count >= GATHER_MOST)
        return true;
    /* With others under way the dispatch comes soon, and inside of it more may follow. */
    return async->flying == 0 && !nc_async_dispatches(async);
}

/* The oldest ones of one tier. */
static size_t take_locked(struct nc_async *async, struct nc_loop_read **reads)
{
    struct nearcache_tier *tier = NULL;
    size_t count = 0;
    while (async->gathered.first && count < NC_FETCH_LOOP_MOST &&
           (!tier || async->gathered.first->tier == tier)) {
        struct nc_async_op *op = nc_async_queue_cut(&async->gathered, &async->gathered.first);
        tier = op->tier;
        op->state = NC_ASYNC_FLYING;
        op->departing = true;
        reads[count++] = &op->loop;
    }
    async->gathered_count -= (uint32_t)count;
    async->flying += (uint32_t)count;
    return count;
}

/* It has no flight: one of the threads sees to it. */
static void hand_over_locked(struct nc_async *async, struct nc_async_op *op)
{
    nc_async_uncount_locked(async, op);
    int outcome = nc_async_threads_put_locked(async, op);
    if (outcome == 0)
        return;
    op->outcome = outcome;
    op->by_loop = false;
    nc_async_end_locked(async, op);
}

static void settle_locked(struct nc_async *async, struct nc_async_op *op)
{
    op->departing = false;
    if (op->state == NC_ASYNC_CANCELLED) {
        if (!op->loop.want.flight || op->landed || nc_fetch_loop_leave(&op->loop))
            nc_async_op_destroy(op);
    } else if (!op->loop.want.flight) {
        hand_over_locked(async, op);
    } else if (op->landed) {
        nc_async_end_locked(async, op);
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
            const struct nc_async_op *op = op_of(&reads[i]->watch);
            deadline_ns = op->deadline_ns > deadline_ns ? op->deadline_ns : deadline_ns;
        }
        struct nc_cache_thread *self = nc_cache_self(reads[0]->want.key.tier->cache);
        if (self)
            nc_fetch_loop_depart(async->sync, self, reads, count, deadline_ns);
        pthread_mutex_lock(&async->lock);
        for (size_t i = 0; i < count; i++)
            settle_locked(async, op_of(&reads[i]->watch));
        pthread_mutex_unlock(&async->lock);
    }
}

void nc_async_reads_arrive(struct nc_async *async, struct nc_async_op *op)
{
    struct nc_call_context call;
    op->outcome = nc_call_begin_tier(&call, op->tier);
    if (op->outcome != 0)
        return;
    nc_fetch_loop_arrive(async->sync, call.self, &op->loop, &op->options, op->landed);
    op->outcome = op->loop.want.outcome;
    nc_call_count_read(&call, op->tier, op->outcome, op->results);
}

/* Its time is over, or an old copy is at hand and its owner would rather have that. */
static bool is_late(struct nc_async_op *op, uint64_t now_ns)
{
    if (op->wake_ns > now_ns)
        return false;
    if (op->deadline_ns <= now_ns)
        return true;
    struct nc_cache_thread *self = nc_cache_self(op->tier->cache);
    if (self && nc_fetch_loop_has_old(self, &op->loop, &op->options))
        return true;
    op->wake_ns = op->deadline_ns;
    return false;
}

void nc_async_reads_end_late_locked(struct nc_async *async, uint64_t now_ns, uint64_t *next_ns)
{
    struct nc_async_op *op, *after;
    HASH_ITER(hh, async->by_ticket, op, after)
    {
        if (op->state != NC_ASYNC_GATHERED && op->state != NC_ASYNC_FLYING)
            continue;
        bool late = is_late(op, now_ns);
        if (late && op->state == NC_ASYNC_GATHERED) {
            nc_async_queue_remove(&async->gathered, op);
            async->gathered_count--;
            async->flying++; /* as which it ends */
            nc_async_end_locked(async, op);
        } else if (late && !op->departing) {
            /* Else it is being told this moment. */
            if (nc_fetch_loop_leave(&op->loop))
                nc_async_end_locked(async, op);
        } else if (*next_ns == 0 || op->wake_ns < *next_ns) {
            *next_ns = op->wake_ns;
        }
    }
}

bool nc_async_reads_cancel_locked(struct nc_async *async, struct nc_async_op *op)
{
    if (op->state == NC_ASYNC_GATHERED) {
        nc_async_queue_remove(&async->gathered, op);
        async->gathered_count--;
        async->flying++;
        nc_async_uncount_locked(async, op);
        return true;
    }
    nc_async_uncount_locked(async, op);
    op->state = NC_ASYNC_CANCELLED;
    return !op->departing && nc_fetch_loop_leave(&op->loop);
}
