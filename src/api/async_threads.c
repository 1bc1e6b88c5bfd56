#include "api/async_threads.h"

#include "api/async_part.h"
#include "api/async_writes.h"
#include "api/call.h"
#include "base/futex.h"

#include <limits.h>

/* Reads that one thread takes at once. */
#define GROUP_MOST 32
/* What a read that ran with the shorter time of another one still runs again for. */
#define WORTH_NS NC_NS_PER_MS

/* ---- reads ---- */

/* What has come since it was looked for, by a write that it waited for. */
static bool is_here(struct nc_call_context *call, struct nc_async_part *part)
{
    struct nc_want *want = &part->loop.want;
    return !part->op->options.refresh &&
           nc_call_read_hit(call, &want->key, false, want->result, &want->outcome);
}

static void fetch(struct nc_call_context *call, struct nc_async_part *const *parts, size_t count,
                  const struct nc_fetch_options *options)
{
    struct nc_want wants[GROUP_MOST];
    for (size_t i = 0; i < count; i++) {
        wants[i] = parts[i]->loop.want;
        wants[i].row = NULL; /* may be gone at any time: only the dispatch writes there */
    }
    nc_fetch(call->cache->sync, call->self, wants, count, options);
    /* Not all of it: the key is what a dispatch looks for at a soft deadline, meanwhile. */
    for (size_t i = 0; i < count; i++)
        parts[i]->loop.want.outcome = wants[i].outcome;
}

/* The time of the one that has the least is that of all. */
static struct nc_fetch_options shared_options(struct nc_async_part *const *parts, size_t count)
{
    struct nc_fetch_options options = parts[0]->op->options;
    for (size_t i = 1; i < count; i++)
        if (parts[i]->op->options.deadline_ns < options.deadline_ns)
            options.deadline_ns = parts[i]->op->options.deadline_ns;
    return options;
}

/* Of one tier, asked for in the same way. Returns when those that have more time than others may
 * run again, if they were not answered. */
static uint64_t read_group(struct nc_async_part *const *parts, size_t count)
{
    struct nc_async_part *absent[GROUP_MOST];
    struct nc_call_context call;
    size_t n = 0;
    int outcome = nc_call_begin_tier(&call, parts[0]->op->tier);
    if (outcome != 0) {
        for (size_t i = 0; i < count; i++)
            parts[i]->loop.want.outcome = outcome;
        return UINT64_MAX;
    }
    for (size_t i = 0; i < count; i++)
        if (!is_here(&call, parts[i]))
            absent[n++] = parts[i];
    if (n == 0)
        return UINT64_MAX;
    const struct nc_fetch_options options = shared_options(absent, n);
    fetch(&call, absent, n, &options);
    return options.deadline_ns + WORTH_NS;
}

static bool may_share(const struct nc_async_part *a, const struct nc_async_part *b)
{
    const struct nc_fetch_options *x = &a->op->options, *y = &b->op->options;
    return !nc_async_op_writes(b->op) && a->op->tier == b->op->tier &&
           (x->soft_deadline_ns == y->soft_deadline_ns) && x->max_stale_ns == y->max_stale_ns &&
           x->refresh == y->refresh;
}

/* ---- the threads ---- */

static size_t take_locked(struct nc_async *async, struct nc_async_part **parts)
{
    struct nc_async_queue *queue = &async->threads.queue;
    size_t count = 0;
    parts[count++] = nc_async_queue_cut(queue);
    while (!nc_async_op_writes(parts[0]->op) && count < GROUP_MOST && queue->first &&
           may_share(parts[0], queue->first))
        parts[count++] = nc_async_queue_cut(queue);
    for (size_t i = 0; i < count; i++)
        parts[i]->state = NC_ASYNC_RUNNING;
    return count;
}

/* The others of its group do not wait for it. */
static bool runs_again(const struct nc_async_part *part, uint64_t again_ns)
{
    return again_ns != UINT64_MAX && !part->op->cancelled &&
           part->loop.want.outcome == NEARCACHE_ETIMEOUT &&
           part->op->options.deadline_ns > again_ns;
}

static void *work(void *arg)
{
    struct nc_async *async = arg;
    struct nc_async_part *parts[GROUP_MOST];
    pthread_mutex_lock(&async->lock);
    for (;;) {
        async->threads.idle++;
        while (!async->threads.queue.first && !async->stopping)
            pthread_cond_wait(&async->threads.wake, &async->lock);
        async->threads.idle--;
        if (async->stopping)
            break;
        size_t count = take_locked(async, parts);
        pthread_mutex_unlock(&async->lock);
        uint64_t again_ns = UINT64_MAX;
        if (nc_async_op_writes(parts[0]->op))
            nc_async_writes_run(async, parts[0]);
        else
            again_ns = read_group(parts, count);
        pthread_mutex_lock(&async->lock);
        for (size_t i = 0; i < count; i++) {
            if (runs_again(parts[i], again_ns)) {
                nc_async_part_queue_locked(async, parts[i]);
                continue;
            }
            parts[i]->has_outcome = true;
            nc_async_part_land_locked(async, parts[i]);
        }
        nc_async_loop_tell_locked(async);
    }
    pthread_mutex_unlock(&async->lock);
    return NULL;
}

void nc_async_threads_init(struct nc_async *async) { async->threads.work = work; }

void nc_async_threads_stop(struct nc_async *async)
{
    pthread_mutex_lock(&async->lock);
    pthread_cond_broadcast(&async->threads.wake);
    pthread_mutex_unlock(&async->lock);
    /* Relaxed: the futex looks at the word itself, and nothing else is told by it. */
    atomic_store_explicit(&async->threads.over, 1, memory_order_relaxed);
    nc_futex_wake(&async->threads.over, INT_MAX);
    for (unsigned i = 0; i < async->threads.count; i++)
        pthread_join(async->threads.all[i], NULL);
}
