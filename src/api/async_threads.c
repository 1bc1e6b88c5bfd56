#include "api/async_threads.h"

#include <errno.h>

/* Gets that one thread takes at once. */
#define GROUP_MOST 32

static struct nc_async_worker *worker_of(struct nc_async *async, uint32_t order)
{
    return &async->workers[order % NC_ASYNC_WORKERS];
}

/* Gets of one tier, asked for in the same way, as one batch. */
static void run_group(struct nc_async_op *const *ops, size_t count)
{
    struct nearcache_name names[GROUP_MOST];
    struct nearcache_result results[GROUP_MOST];
    int statuses[GROUP_MOST];
    struct nearcache_read how = ops[0]->read;
    for (size_t i = 0; i < count; i++)
        names[i] = ops[i]->names[0];
    how.timeout_us = nc_async_op_left_us(ops[0]);
    nearcache_get_many(ops[0]->tier, names, count, &how, results, statuses);
    for (size_t i = 0; i < count; i++) {
        ops[i]->outcome = statuses[i];
        ops[i]->results[0] = results[i];
        /* The deadline was that of the first; one with more time goes on alone. */
        if (i > 0 && statuses[i] == NEARCACHE_ETIMEOUT && nc_async_op_left_us(ops[i]) > 1000)
            nc_async_op_run(ops[i]);
    }
}

static bool may_share(const struct nc_async_op *a, const struct nc_async_op *b)
{
    return b->kind == NC_ASYNC_GET && a->tier == b->tier &&
           a->read.soft_timeout_us == b->read.soft_timeout_us &&
           a->read.max_stale_ms == b->read.max_stale_ms && a->read.refresh == b->read.refresh;
}

/* The first one may be begun. */
static bool is_runnable_locked(const struct nc_async_worker *worker)
{
    const struct nc_async_op *first = worker->queue.first;
    return first && !(nc_async_op_writes(first) && worker->async->orders[first->order].reads > 0);
}

static size_t take_locked(struct nc_async_worker *worker, struct nc_async_op **ops)
{
    struct nc_async_queue *queue = &worker->queue;
    size_t count = 0;
    ops[count++] = nc_async_queue_cut(queue, &queue->first);
    /* Only neighbours: what comes behind a write of the same key must see it. */
    while (ops[0]->kind == NC_ASYNC_GET && count < GROUP_MOST && queue->first &&
           may_share(ops[0], queue->first))
        ops[count++] = nc_async_queue_cut(queue, &queue->first);
    for (size_t i = 0; i < count; i++)
        ops[i]->state = NC_ASYNC_RUNNING;
    return count;
}

static void *work(void *arg)
{
    struct nc_async_worker *worker = arg;
    struct nc_async *async = worker->async;
    struct nc_async_op *ops[GROUP_MOST];
    pthread_mutex_lock(&async->lock);
    for (;;) {
        while (!is_runnable_locked(worker) && !async->stopping)
            pthread_cond_wait(&worker->wake, &async->lock);
        if (async->stopping)
            break;
        size_t count = take_locked(worker, ops);
        pthread_mutex_unlock(&async->lock);
        if (count > 1)
            run_group(ops, count);
        else
            nc_async_op_run(ops[0]);
        pthread_mutex_lock(&async->lock);
        for (size_t i = 0; i < count; i++)
            nc_async_end_locked(async, ops[i]);
    }
    pthread_mutex_unlock(&async->lock);
    return NULL;
}

void nc_async_threads_init(struct nc_async *async)
{
    for (size_t i = 0; i < NC_ASYNC_WORKERS; i++) {
        async->workers[i].async = async;
        nc_async_queue_init(&async->workers[i].queue);
        pthread_cond_init(&async->workers[i].wake, NULL);
    }
}

int nc_async_threads_put_locked(struct nc_async *async, struct nc_async_op *op)
{
    struct nc_async_worker *worker = worker_of(async, op->order);
    if (!worker->started) {
        int rc = pthread_create(&worker->thread, NULL, work, worker);
        if (rc != 0)
            return rc == ENOMEM ? NEARCACHE_ENOMEM : NEARCACHE_EIO;
        worker->started = true;
    }
    op->state = NC_ASYNC_QUEUED;
    op->by_loop = false;
    async->orders[op->order].writes += nc_async_op_writes(op);
    nc_async_queue_put(&worker->queue, op);
    pthread_cond_signal(&worker->wake);
    return 0;
}

void nc_async_threads_wake_locked(struct nc_async *async, uint32_t order)
{
    struct nc_async_worker *worker = worker_of(async, order);
    if (worker->queue.first)
        pthread_cond_signal(&worker->wake);
}

void nc_async_threads_remove_locked(struct nc_async *async, const struct nc_async_op *op)
{
    nc_async_queue_remove(&worker_of(async, op->order)->queue, op);
}

void nc_async_threads_stop(struct nc_async *async)
{
    pthread_mutex_lock(&async->lock);
    for (size_t i = 0; i < NC_ASYNC_WORKERS; i++)
        pthread_cond_signal(&async->workers[i].wake);
    pthread_mutex_unlock(&async->lock);
    for (size_t i = 0; i < NC_ASYNC_WORKERS; i++) {
        if (async->workers[i].started)
            pthread_join(async->workers[i].thread, NULL);
        pthread_cond_destroy(&async->workers[i].wake);
    }
}
