#include "api/async.h"

#include "api/async_loop.h"
#include "api/async_part.h"
#include "api/async_reads.h"
#include "api/async_threads.h"
#include "api/async_writes.h"
#include "base/clock.h"
#include "cache/removals.h"

#include <stdlib.h>
#include <string.h>

/* ---- open and close ---- */

int nc_async_create(struct nc_async **out, struct nc_sync *sync)
{
    struct nc_async *async = calloc(1, sizeof *async);
    if (!async)
        return NEARCACHE_ENOMEM;
    int outcome = nc_async_loop_init(async, sync);
    if (outcome != 0) {
        free(async);
        return outcome;
    }
    nc_async_reads_init(async);
    nc_async_threads_init(async);
    *out = async;
    return 0;
}

void nc_async_destroy(struct nc_async *async)
{
    if (!async)
        return;
    nc_async_loop_deinit(async);
    free(async);
}

/* ---- tickets ---- */

static unsigned hash_of_ticket(nearcache_ticket ticket)
{
    return (unsigned)((ticket * UINT64_C(0x9E3779B97F4A7C15)) >> 32);
}

static int enter_locked(struct nc_async *async, struct nc_async_op *op)
{
    op->async = async;
    op->ticket = ++async->tickets;
    HASH_ADD_BYHASHVALUE(hh, async->by_ticket, ticket, sizeof op->ticket,
                         hash_of_ticket(op->ticket), op);
    return op->hh.tbl ? 0 : NEARCACHE_ENOMEM;
}

static struct nc_async_op *find_locked(struct nc_async *async, nearcache_ticket ticket)
{
    struct nc_async_op *op;
    HASH_FIND_BYHASHVALUE(hh, async->by_ticket, &ticket, sizeof ticket, hash_of_ticket(ticket), op);
    return op;
}

/* ---- begin and end of an operation ---- */

static void uncount_write_locked(struct nc_async *async, const struct nc_async_op *op)
{
    if (nc_async_op_writes(op))
        atomic_fetch_sub_explicit(&async->writes, 1,
                                  memory_order_relaxed); /* as where it is read */
}

static void depart_all(struct nc_async *async)
{
    nc_async_writes_depart(async);
    nc_async_reads_depart(async);
}

int nc_async_submit(struct nc_async *async, struct nc_async_op *op, nearcache_ticket *ticket)
{
    bool depart = false, writes = nc_async_op_writes(op);
    pthread_mutex_lock(&async->lock);
    int outcome = enter_locked(async, op);
    if (outcome == 0) {
        if (ticket)
            *ticket = op->ticket;
        if (writes)
            atomic_fetch_add_explicit(&async->writes, 1, memory_order_relaxed); /* see above */
        if (async->timer_ns == 0 || op->wake_ns < async->timer_ns)
            nc_async_loop_set_timer_locked(async, op->wake_ns);
        for (size_t i = 0; i < op->part_count; i++)
            if (nc_async_order_enter(async->orders, &op->parts[i]))
                nc_async_queue_put(&async->ready, &op->parts[i]);
        nc_async_part_begin_ready_locked(async);
        depart = nc_async_reads_are_due_locked(async) || nc_async_writes_are_due_locked(async);
        if (async->landed.first)
            nc_async_loop_tell_locked(async);
    }
    pthread_mutex_unlock(&async->lock);
    if (depart)
        depart_all(async);
    return outcome;
}

bool nc_async_is_written(struct nc_async *async, const struct nc_key *key)
{
    /* Relaxed: who knows of a write that was asked for has made it himself, or was told of it. */
    if (!async || atomic_load_explicit(&async->writes, memory_order_relaxed) == 0)
        return false;
    pthread_mutex_lock(&async->lock);
    bool written = nc_async_order_is_written(&async->orders[nc_async_order_of(key->hash)]);
    pthread_mutex_unlock(&async->lock);
    return written;
}

/* A part of one that was given up: over, or in the hands of somebody who ends it. */
static void drop_part_locked(struct nc_async *async, struct nc_async_part *part)
{
    bool writes = nc_async_op_writes(part->op);
    if (!writes)
        nc_fetch_loop_close(&part->loop);
    switch (part->state) {
    case NC_ASYNC_LANDED:
        nc_async_queue_remove(&async->landed, part);
        break;
    case NC_ASYNC_FLYING:
        /* A write may still happen: it is told in any case. */
        if (writes || part->departing || !nc_fetch_loop_leave(&part->loop))
            return;
        break;
    case NC_ASYNC_RUNNING:
    case NC_ASYNC_ARRIVING: /* by a callback, of a removal for one, inside of the dispatch */
    case NC_ASYNC_OVER:
        return;
    default:
        if (writes && nc_async_writes_in_doubt(part) && !async->stopping)
            return; /* a thread sees to it */
        nc_async_part_cut_locked(async, part);
        if (writes && nc_async_writes_in_doubt(part))
            nc_async_writes_give_up(async, part);
        break;
    }
    nc_async_part_land_locked(async, part);
}

static void drop_locked(struct nc_async *async, struct nc_async_op *op)
{
    HASH_DEL(async->by_ticket, op);
    uncount_write_locked(async, op);
    op->cancelled = true;
    if (op->ended) {
        struct nc_async_op **at = &async->ended;
        while (*at != op)
            at = &(*at)->next;
        if (!(*at = op->next))
            async->ended_last = at;
        nc_async_op_destroy(op);
        return;
    }
    /* Not before the last one was looked at. */
    op->parts_left++;
    for (size_t i = 0; i < op->part_count; i++)
        drop_part_locked(async, &op->parts[i]);
    if (--op->parts_left == 0)
        nc_async_op_destroy(op);
}

int nc_async_cancel(struct nc_async *async, nearcache_ticket ticket)
{
    pthread_mutex_lock(&async->lock);
    struct nc_async_op *op = find_locked(async, ticket);
    if (op)
        drop_locked(async, op);
    nc_async_loop_tell_locked(async);
    pthread_mutex_unlock(&async->lock);
    return op ? 0 : NEARCACHE_MISS;
}

/* Parts that somebody still has are ended by him. */
void nc_async_stop(struct nc_async *async)
{
    struct nc_async_op *op, *next;
    struct nc_async_part *part;
    if (!async)
        return;
    pthread_mutex_lock(&async->lock);
    async->stopping = true;
    pthread_mutex_unlock(&async->lock);
    nc_async_threads_stop(async);
    pthread_mutex_lock(&async->lock);
    HASH_ITER(hh, async->by_ticket, op, next)
    drop_locked(async, op);
    /* Cancelled before, and left to the threads. */
    while ((part = nc_async_queue_cut(&async->threads.queue))) {
        if (nc_async_op_writes(part->op) && nc_async_writes_in_doubt(part))
            nc_async_writes_give_up(async, part);
        nc_async_part_land_locked(async, part);
    }
    pthread_mutex_unlock(&async->lock);
}

/* ---- dispatch ---- */

/* When to look again at what could not be touched. */
#define SOON_NS NC_NS_PER_MS

/* Its time is over, or (not `hard`) an old copy is at hand and its owner would rather have that.
 * False: to be looked at again. */
static bool answer_late_part_locked(struct nc_async *async, struct nc_async_part *part, bool hard)
{
    bool writes = nc_async_op_writes(part->op);
    if (part->state >= NC_ASYNC_LANDED)
        return true;
    if (!hard && (writes || !nc_async_reads_has_old(part)))
        return false;
    if (part->state == NC_ASYNC_FLYING) {
        if (part->departing)
            return false;
        if (!(writes ? nc_write_loop_leave(part->op->write) : nc_fetch_loop_leave(&part->loop)))
            return true; /* it is being told this moment */
    } else if (!nc_async_part_cut_locked(async, part)) {
        return true; /* a thread that runs it keeps the deadline itself */
    }
    if (writes)
        nc_async_writes_give_up(async, part);
    nc_async_part_land_locked(async, part);
    return true;
}

static void answer_late_locked(struct nc_async *async)
{
    uint64_t now_ns = nc_clock_io_ns(), next_ns = 0;
    struct nc_async_op *op, *after;
    if (async->timer_ns == 0 || async->timer_ns > now_ns)
        return;
    HASH_ITER(hh, async->by_ticket, op, after)
    {
        bool hard = op->deadline_ns <= now_ns;
        if (op->ended)
            continue;
        bool again = op->wake_ns > now_ns;
        for (size_t i = 0; op->wake_ns <= now_ns && i < op->part_count; i++)
            again = !answer_late_part_locked(async, &op->parts[i], hard) || again;
        if (!hard && op->wake_ns <= now_ns)
            op->wake_ns = op->deadline_ns;
        uint64_t wake_ns = hard ? now_ns + SOON_NS : op->wake_ns;
        if (again && (next_ns == 0 || wake_ns < next_ns))
            next_ns = wake_ns;
    }
    nc_async_loop_set_timer_locked(async, next_ns);
}

void nc_async_begin_dispatch(struct nc_async *async)
{
    atomic_store_explicit(&async->dispatcher, (uintptr_t)pthread_self(), memory_order_relaxed);
    if (async->sync) {
        struct nc_cache *cache = async->sync->cache;
        struct nc_cache_thread *self = nc_cache_self(cache);
        nc_removals_hold(self); /* while this thread reads */
        NC_EACH_LANE(async->sync, sync)
        nc_link_loop_serve(sync->link);
        nc_removals_tell(cache, self);
    }
    pthread_mutex_lock(&async->lock);
    answer_late_locked(async);
    pthread_mutex_unlock(&async->lock);
}

/* What has landed is taken as one: a large batch lands bit by bit. */
static void take_landed_locked(struct nc_async *async)
{
    struct nc_async_part *first = async->landed.first, *part;
    if (!first)
        return;
    memset(&async->landed, 0, sizeof async->landed);
    for (part = first; part; part = part->next)
        part->state = NC_ASYNC_ARRIVING;
    pthread_mutex_unlock(&async->lock);
    for (part = first; part; part = part->next)
        if (nc_async_op_writes(part->op))
            nc_async_writes_arrive(async, part);
        else
            nc_async_reads_arrive(async, part);
    pthread_mutex_lock(&async->lock);
    for (part = first; part; part = first) {
        first = part->next;
        nc_async_part_end_locked(async, part);
    }
}

struct nc_async_op *nc_async_take_ended(struct nc_async *async)
{
    pthread_mutex_lock(&async->lock);
    take_landed_locked(async);
    struct nc_async_op *op = async->ended;
    if (op) {
        if (!(async->ended = op->next))
            async->ended_last = &async->ended;
        HASH_DEL(async->by_ticket, op);
        uncount_write_locked(async, op);
    }
    pthread_mutex_unlock(&async->lock);
    return op;
}

void nc_async_end_dispatch(struct nc_async *async)
{
    if (async->sync)
        depart_all(async);
    pthread_mutex_lock(&async->lock);
    atomic_store_explicit(&async->dispatcher, 0, memory_order_relaxed);
    /* What others made ready since the departure departs in the next dispatch. */
    if (async->ended || async->landed.first || async->singles.first || async->writes_due.first ||
        (async->rows.first && async->flying == 0))
        nc_async_loop_tell_locked(async);
    else
        nc_async_loop_untell_locked(async);
    pthread_mutex_unlock(&async->lock);
}
