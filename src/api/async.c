#include "api/async.h"

#include "base/clock.h"
#include "base/hash.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* Gets that one thread takes at once. */
#define GROUP_MOST 32

/* ---- operations ---- */

static size_t names_bytes(const struct nearcache_name *names, size_t count)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += names[i].bytes;
    return bytes;
}

static bool make_room_for_results(struct nc_async_op *op, size_t row_bytes)
{
    op->results = calloc(op->count, sizeof *op->results);
    op->statuses = calloc(op->count, sizeof *op->statuses);
    if (!op->results || !op->statuses)
        return false;
    if (op->kind != NC_ASYNC_GET_VECTORS)
        return true;
    op->sources = calloc(op->count, sizeof *op->sources);
    op->matrix = aligned_alloc(64, (op->count * row_bytes + 63) / 64 * 64);
    return op->sources && op->matrix;
}

struct nc_async_op *nc_async_op_create(enum nc_async_kind kind, struct nearcache_tier *tier,
                                       const struct nearcache_name *names, size_t count,
                                       size_t value_bytes)
{
    if (count > SIZE_MAX / 256 || value_bytes > SIZE_MAX / 4)
        return NULL;
    size_t text_bytes = names_bytes(names, count);
    struct nc_async_op *op =
        calloc(1, sizeof *op + count * sizeof *op->names + text_bytes + value_bytes);
    if (!op)
        return NULL;
    op->kind = kind;
    op->tier = tier;
    op->count = count;
    op->names = (struct nearcache_name *)(op + 1);
    char *text = (char *)(op->names + count);
    for (size_t i = 0; i < count; i++) {
        if (names[i].bytes)
            memcpy(text, names[i].data, names[i].bytes);
        op->names[i] = (struct nearcache_name){text, names[i].bytes};
        text += names[i].bytes;
    }
    op->value = text;
    op->value_bytes = value_bytes;
    op->read.size = sizeof op->read;
    op->write.size = sizeof op->write;
    if (kind <= NC_ASYNC_GET_VECTORS &&
        !make_room_for_results(op, nearcache_tier_row_bytes(tier))) {
        nc_async_op_destroy(op);
        return NULL;
    }
    return op;
}

void nc_async_op_destroy(struct nc_async_op *op)
{
    if (!op)
        return;
    if (op->results)
        nearcache_release_many(op->results, op->count);
    free(op->results);
    free(op->statuses);
    free(op->sources);
    free(op->matrix);
    free(op);
}

/* ---- queues ---- */

static void queue_init(struct nc_async_queue *queue)
{
    queue->first = NULL;
    queue->last = &queue->first;
}

static void queue_put(struct nc_async_queue *queue, struct nc_async_op *op)
{
    op->next = NULL;
    *queue->last = op;
    queue->last = &op->next;
}

/* Takes out what *at points to. */
static struct nc_async_op *queue_cut(struct nc_async_queue *queue, struct nc_async_op **at)
{
    struct nc_async_op *op = *at;
    *at = op->next;
    if (!*at)
        queue->last = at;
    return op;
}

/* ---- running ---- */

static uint64_t time_left_us(const struct nc_async_op *op)
{
    uint64_t now_ns = nc_clock_io_ns();
    uint64_t left_us = op->deadline_ns > now_ns ? (op->deadline_ns - now_ns) / 1000 : 0;
    return left_us ? left_us : 1;
}

static void run_one(struct nc_async_op *op)
{
    op->read.timeout_us = op->write.timeout_us = time_left_us(op);
    const struct nearcache_name *name = op->names;
    switch (op->kind) {
    case NC_ASYNC_GET:
        op->outcome = nearcache_get(op->tier, name->data, name->bytes, &op->read, op->results);
        break;
    case NC_ASYNC_GET_MANY:
        op->outcome = nearcache_get_many(op->tier, op->names, op->count, &op->read, op->results,
                                         op->statuses);
        break;
    case NC_ASYNC_GET_VECTORS:
        op->outcome = nearcache_get_vectors(op->tier, op->names, op->count, &op->read, op->matrix,
                                            0, NULL, NULL, op->statuses, op->sources);
        break;
    case NC_ASYNC_SET:
        op->outcome = nearcache_set(op->tier, name->data, name->bytes, op->value, op->value_bytes,
                                    &op->write);
        break;
    case NC_ASYNC_DELETE:
        op->outcome = nearcache_delete(op->tier, name->data, name->bytes, &op->write);
        break;
    }
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
    how.timeout_us = time_left_us(ops[0]);
    nearcache_get_many(ops[0]->tier, names, count, &how, results, statuses);
    for (size_t i = 0; i < count; i++) {
        ops[i]->outcome = statuses[i];
        ops[i]->results[0] = results[i];
        /* The deadline was that of the first; one with more time goes on alone. */
        if (i > 0 && statuses[i] == NEARCACHE_ETIMEOUT && time_left_us(ops[i]) > 1000)
            run_one(ops[i]);
    }
}

static bool may_share(const struct nc_async_op *a, const struct nc_async_op *b)
{
    return b->kind == NC_ASYNC_GET && a->tier == b->tier &&
           a->read.soft_timeout_us == b->read.soft_timeout_us &&
           a->read.max_stale_ms == b->read.max_stale_ms && a->read.refresh == b->read.refresh;
}

static size_t take_locked(struct nc_async_worker *worker, struct nc_async_op **ops)
{
    struct nc_async_queue *queue = &worker->queue;
    size_t count = 0;
    ops[count++] = queue_cut(queue, &queue->first);
    /* Only neighbours: what comes behind a write of the same key must see it. */
    while (ops[0]->kind == NC_ASYNC_GET && count < GROUP_MOST && queue->first &&
           may_share(ops[0], queue->first))
        ops[count++] = queue_cut(queue, &queue->first);
    for (size_t i = 0; i < count; i++)
        ops[i]->state = NC_ASYNC_RUNNING;
    return count;
}

static void signal_loop(const struct nc_async *async)
{
    uint64_t one = 1;
    /* Cannot fail but for EINTR: the counter is nowhere near its end, and EAGAIN means readable. */
    while (write(async->event_fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

static void end_locked(struct nc_async *async, struct nc_async_op *op)
{
    if (op->state == NC_ASYNC_CANCELLED) {
        nc_async_op_destroy(op);
        return;
    }
    op->state = NC_ASYNC_ENDED;
    if (!async->ended.first)
        signal_loop(async);
    queue_put(&async->ended, op);
}

static void *work(void *arg)
{
    struct nc_async_worker *worker = arg;
    struct nc_async *async = worker->async;
    struct nc_async_op *ops[GROUP_MOST];
    pthread_mutex_lock(&async->lock);
    for (;;) {
        while (!worker->queue.first && !async->stopping)
            pthread_cond_wait(&worker->wake, &async->lock);
        if (async->stopping)
            break;
        size_t count = take_locked(worker, ops);
        pthread_mutex_unlock(&async->lock);
        if (count > 1)
            run_group(ops, count);
        else
            run_one(ops[0]);
        pthread_mutex_lock(&async->lock);
        for (size_t i = 0; i < count; i++)
            end_locked(async, ops[i]);
    }
    pthread_mutex_unlock(&async->lock);
    return NULL;
}

/* ---- open and close ---- */

static int open_descriptors(struct nc_async *async)
{
    struct epoll_event readable = {.events = EPOLLIN};
    async->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    async->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    async->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (async->event_fd < 0 || async->timer_fd < 0 || async->epoll_fd < 0 ||
        epoll_ctl(async->epoll_fd, EPOLL_CTL_ADD, async->event_fd, &readable) != 0 ||
        epoll_ctl(async->epoll_fd, EPOLL_CTL_ADD, async->timer_fd, &readable) != 0)
        return NEARCACHE_EIO;
    return 0;
}

static void close_descriptors(struct nc_async *async)
{
    const int fds[] = {async->epoll_fd, async->timer_fd, async->event_fd};
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

int nc_async_create(struct nc_async **out)
{
    struct nc_async *async = calloc(1, sizeof *async);
    if (!async)
        return NEARCACHE_ENOMEM;
    async->event_fd = async->timer_fd = async->epoll_fd = -1;
    int outcome = open_descriptors(async);
    if (outcome != 0) {
        close_descriptors(async);
        free(async);
        return outcome;
    }
    pthread_mutex_init(&async->lock, NULL);
    queue_init(&async->ended);
    for (size_t i = 0; i < NC_ASYNC_WORKERS; i++) {
        async->workers[i].async = async;
        queue_init(&async->workers[i].queue);
        pthread_cond_init(&async->workers[i].wake, NULL);
    }
    *out = async;
    return 0;
}

static void drop_all(struct nc_async *async)
{
    struct nc_async_op *op, *next;
    HASH_ITER(hh, async->by_ticket, op, next)
    {
        HASH_DEL(async->by_ticket, op);
        nc_async_op_destroy(op);
    }
}

void nc_async_destroy(struct nc_async *async)
{
    if (!async)
        return;
    pthread_mutex_lock(&async->lock);
    async->stopping = true;
    for (size_t i = 0; i < NC_ASYNC_WORKERS; i++)
        pthread_cond_signal(&async->workers[i].wake);
    pthread_mutex_unlock(&async->lock);
    for (size_t i = 0; i < NC_ASYNC_WORKERS; i++) {
        if (async->workers[i].started)
            pthread_join(async->workers[i].thread, NULL);
        pthread_cond_destroy(&async->workers[i].wake);
    }
    drop_all(async);
    close_descriptors(async);
    pthread_mutex_destroy(&async->lock);
    free(async);
}

/* ---- submitting, ending ---- */

static void set_timer_locked(struct nc_async *async, uint64_t at_ns)
{
    struct itimerspec when = {
        .it_value = {(time_t)(at_ns / NC_NS_PER_S), (long)(at_ns % NC_NS_PER_S)}};
    if (timerfd_settime(async->timer_fd, TFD_TIMER_ABSTIME, &when, NULL) == 0)
        async->timer_ns = at_ns;
}

static int start_locked(struct nc_async_worker *worker)
{
    if (worker->started)
        return 0;
    int rc = pthread_create(&worker->thread, NULL, work, worker);
    worker->started = rc == 0;
    return rc == 0 ? 0 : rc == ENOMEM ? NEARCACHE_ENOMEM : NEARCACHE_EIO;
}

static int enter_locked(struct nc_async *async, struct nc_async_op *op)
{
    op->ticket = ++async->tickets;
    uint64_t hash = op->ticket * UINT64_C(0x9E3779B97F4A7C15);
    HASH_ADD_BYHASHVALUE(hh, async->by_ticket, ticket, sizeof op->ticket, (unsigned)(hash >> 32),
                         op);
    return op->hh.tbl ? 0 : NEARCACHE_ENOMEM;
}

static struct nc_async_op *find_locked(struct nc_async *async, nearcache_ticket ticket)
{
    struct nc_async_op *op;
    uint64_t hash = ticket * UINT64_C(0x9E3779B97F4A7C15);
    HASH_FIND_BYHASHVALUE(hh, async->by_ticket, &ticket, sizeof ticket, (unsigned)(hash >> 32), op);
    return op;
}

int nc_async_submit(struct nc_async *async, struct nc_async_op *op, uint64_t hash,
                    nearcache_ticket *ticket)
{
    struct nc_async_worker *worker = &async->workers[hash % NC_ASYNC_WORKERS];
    pthread_mutex_lock(&async->lock);
    int outcome = start_locked(worker);
    if (outcome == 0)
        outcome = enter_locked(async, op);
    if (outcome == 0) {
        if (ticket)
            *ticket = op->ticket;
        queue_put(&worker->queue, op);
        pthread_cond_signal(&worker->wake);
        if (op->kind <= NC_ASYNC_GET_VECTORS &&
            (async->timer_ns == 0 || op->deadline_ns < async->timer_ns))
            set_timer_locked(async, op->deadline_ns);
    }
    pthread_mutex_unlock(&async->lock);
    return outcome;
}

/* Reads whose deadline passed in a queue are cut out of it; the next deadline is noted. */
static struct nc_async_op *cut_late_locked(struct nc_async *async, uint64_t now_ns,
                                           uint64_t *next_ns)
{
    for (size_t i = 0; i < NC_ASYNC_WORKERS; i++) {
        struct nc_async_queue *queue = &async->workers[i].queue;
        for (struct nc_async_op **at = &queue->first; *at; at = &(*at)->next) {
            if ((*at)->kind > NC_ASYNC_GET_VECTORS)
                continue;
            if ((*at)->deadline_ns <= now_ns)
                return queue_cut(queue, at);
            if (*next_ns == 0 || (*at)->deadline_ns < *next_ns)
                *next_ns = (*at)->deadline_ns;
        }
    }
    return NULL;
}

static void answer_late_locked(struct nc_async *async)
{
    uint64_t now_ns = nc_clock_io_ns();
    if (async->timer_ns == 0 || async->timer_ns > now_ns)
        return;
    async->timer_ns = 0;
    for (;;) {
        uint64_t next_ns = 0;
        struct nc_async_op *op = cut_late_locked(async, now_ns, &next_ns);
        if (!op) {
            if (next_ns)
                set_timer_locked(async, next_ns);
            return;
        }
        op->state = NC_ASYNC_RUNNING;
        pthread_mutex_unlock(&async->lock);
        run_one(op); /* its time is over: answers from what is here */
        pthread_mutex_lock(&async->lock);
        end_locked(async, op);
    }
}

struct nc_async_op *nc_async_take_ended(struct nc_async *async)
{
    uint64_t count;
    pthread_mutex_lock(&async->lock);
    if (read(async->timer_fd, &count, sizeof count) > 0 || async->timer_ns)
        answer_late_locked(async);
    struct nc_async_op *op = async->ended.first;
    if (op) {
        queue_cut(&async->ended, &async->ended.first);
        HASH_DEL(async->by_ticket, op);
    }
    if (!async->ended.first)
        while (read(async->event_fd, &count, sizeof count) < 0 && errno == EINTR)
            ;
    pthread_mutex_unlock(&async->lock);
    return op;
}

int nc_async_cancel(struct nc_async *async, nearcache_ticket ticket)
{
    pthread_mutex_lock(&async->lock);
    struct nc_async_op *op = find_locked(async, ticket);
    if (op) {
        HASH_DEL(async->by_ticket, op);
        if (op->state == NC_ASYNC_RUNNING) {
            op->state = NC_ASYNC_CANCELLED; /* the thread that runs it frees it */
        } else {
            struct nc_async_queue *queue = &async->ended;
            for (size_t i = 0; op->state == NC_ASYNC_QUEUED && i < NC_ASYNC_WORKERS; i++) {
                queue = &async->workers[i].queue;
                struct nc_async_op *at = queue->first;
                while (at && at != op)
                    at = at->next;
                if (at)
                    break;
            }
            for (struct nc_async_op **at = &queue->first; *at; at = &(*at)->next)
                if (*at == op) {
                    queue_cut(queue, at);
                    break;
                }
            nc_async_op_destroy(op);
        }
    }
    pthread_mutex_unlock(&async->lock);
    return op ? 0 : NEARCACHE_MISS;
}
