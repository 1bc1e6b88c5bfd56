#include "api/async.h"

#include "api/async_reads.h"
#include "api/async_threads.h"
#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

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

int nc_async_create(struct nc_async **out, struct nc_sync *sync)
{
    struct nc_async *async = calloc(1, sizeof *async);
    if (!async)
        return NEARCACHE_ENOMEM;
    async->sync = sync;
    async->event_fd = async->timer_fd = async->epoll_fd = -1;
    int outcome = open_descriptors(async);
    if (outcome != 0) {
        close_descriptors(async);
        free(async);
        return outcome;
    }
    pthread_mutex_init(&async->lock, NULL);
    nc_async_queue_init(&async->gathered);
    nc_async_queue_init(&async->ended);
    nc_async_threads_init(async);
    *out = async;
    return 0;
}

/* Reads that are being told still are freed by who tells them. */
static void drop_all_locked(struct nc_async *async)
{
    struct nc_async_op *op, *next;
    HASH_ITER(hh, async->by_ticket, op, next)
    {
        HASH_DEL(async->by_ticket, op);
        if (op->state == NC_ASYNC_FLYING && !nc_async_reads_cancel_locked(async, op))
            continue;
        nc_async_op_destroy(op);
    }
}

void nc_async_stop(struct nc_async *async)
{
    if (!async)
        return;
    pthread_mutex_lock(&async->lock);
    async->stopping = true;
    pthread_mutex_unlock(&async->lock);
    nc_async_threads_stop(async);
    pthread_mutex_lock(&async->lock);
    drop_all_locked(async);
    pthread_mutex_unlock(&async->lock);
}

void nc_async_destroy(struct nc_async *async)
{
    if (!async)
        return;
    close_descriptors(async);
    pthread_mutex_destroy(&async->lock);
    free(async);
}

/* ---- the descriptor ---- */

static void set_timer_locked(struct nc_async *async, uint64_t at_ns)
{
    struct itimerspec when = {
        .it_value = {(time_t)(at_ns / NC_NS_PER_S), (long)(at_ns % NC_NS_PER_S)}};
    if (timerfd_settime(async->timer_fd, TFD_TIMER_ABSTIME, &when, NULL) == 0)
        async->timer_ns = at_ns;
}

static void signal_locked(struct nc_async *async)
{
    uint64_t one = 1;
    if (async->signalled)
        return;
    async->signalled = true;
    /* Cannot fail but for EINTR: the counter is nowhere near its end. */
    while (write(async->event_fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

static void unsignal_locked(struct nc_async *async)
{
    uint64_t count;
    if (!async->signalled)
        return;
    async->signalled = false;
    while (read(async->event_fd, &count, sizeof count) < 0 && errno == EINTR)
        ;
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

void nc_async_uncount_locked(struct nc_async *async, struct nc_async_op *op)
{
    struct nc_async_order *order = &async->orders[op->order];
    if (op->by_loop) {
        async->flying--;
        if (--order->reads == 0 && order->writes > 0)
            nc_async_threads_wake_locked(async, op->order);
    }
    order->writes -= nc_async_op_writes(op);
}

void nc_async_end_locked(struct nc_async *async, struct nc_async_op *op)
{
    nc_async_uncount_locked(async, op);
    if (op->state == NC_ASYNC_CANCELLED) {
        nc_async_op_destroy(op);
        return;
    }
    op->state = NC_ASYNC_ENDED;
    nc_async_queue_put(&async->ended, op);
    /* The dispatch looks by itself. */
    if (!nc_async_dispatches(async))
        signal_locked(async);
}

/* One that a thread would have to run behind others is not read by the loop. */
static bool may_fly_locked(const struct nc_async *async, const struct nc_async_op *op)
{
    return op->kind == NC_ASYNC_GET && async->orders[op->order].writes == 0;
}

int nc_async_submit(struct nc_async *async, struct nc_async_op *op, uint64_t hash,
                    nearcache_ticket *ticket)
{
    bool depart = false;
    bool taken = op->kind == NC_ASYNC_GET &&
                 nc_fetch_loop_takes(async->sync, &op->loop.want.key, async->epoll_fd);
    op->order = (uint32_t)(hash % NC_ASYNC_ORDERS);
    pthread_mutex_lock(&async->lock);
    int outcome = enter_locked(async, op);
    if (outcome == 0 && taken && may_fly_locked(async, op)) {
        depart = nc_async_reads_put_locked(async, op);
    } else if (outcome == 0) {
        outcome = nc_async_threads_put_locked(async, op);
        if (outcome != 0)
            HASH_DEL(async->by_ticket, op);
    }
    if (outcome == 0 && ticket)
        *ticket = op->ticket;
    if (outcome == 0 && !nc_async_op_writes(op) &&
        (async->timer_ns == 0 || op->wake_ns < async->timer_ns))
        set_timer_locked(async, op->wake_ns);
    pthread_mutex_unlock(&async->lock);
    if (depart)
        nc_async_reads_depart(async);
    return outcome;
}

int nc_async_cancel(struct nc_async *async, nearcache_ticket ticket)
{
    bool free_it = true;
    pthread_mutex_lock(&async->lock);
    struct nc_async_op *op = find_locked(async, ticket);
    if (op) {
        HASH_DEL(async->by_ticket, op);
        if (op->state == NC_ASYNC_RUNNING) {
            op->state = NC_ASYNC_CANCELLED;
            free_it = false;
        } else if (op->state == NC_ASYNC_QUEUED) {
            nc_async_threads_remove_locked(async, op);
            nc_async_uncount_locked(async, op);
        } else if (op->state == NC_ASYNC_ENDED) {
            nc_async_queue_remove(&async->ended, op);
        } else {
            free_it = nc_async_reads_cancel_locked(async, op);
        }
    }
    pthread_mutex_unlock(&async->lock);
    if (!op)
        return NEARCACHE_MISS;
    if (free_it)
        nc_async_op_destroy(op);
    return 0;
}

/* ---- dispatch ---- */

/* Reads whose deadline passed in a queue are cut out of it; the next deadline is noted. */
static struct nc_async_op *cut_late_locked(struct nc_async *async, uint64_t now_ns,
                                           uint64_t *next_ns)
{
    for (size_t i = 0; i < NC_ASYNC_WORKERS; i++) {
        struct nc_async_queue *queue = &async->workers[i].queue;
        for (struct nc_async_op **at = &queue->first; *at; at = &(*at)->next) {
            if (nc_async_op_writes(*at))
                continue;
            if ((*at)->deadline_ns <= now_ns)
                return nc_async_queue_cut(queue, at);
            if (*next_ns == 0 || (*at)->deadline_ns < *next_ns)
                *next_ns = (*at)->deadline_ns;
        }
    }
    return NULL;
}

static void answer_late_locked(struct nc_async *async)
{
    uint64_t now_ns = nc_clock_io_ns();
    struct nc_async_op *op;
    if (async->timer_ns == 0 || async->timer_ns > now_ns)
        return;
    uint64_t next_ns = 0, count;
    while ((op = cut_late_locked(async, now_ns, &next_ns))) {
        op->state = NC_ASYNC_RUNNING;
        pthread_mutex_unlock(&async->lock);
        nc_async_op_run(op); /* its time is over: answers from what is here */
        pthread_mutex_lock(&async->lock);
        nc_async_end_locked(async, op);
        next_ns = 0;
    }
    nc_async_reads_end_late_locked(async, now_ns, &next_ns);
    async->timer_ns = 0;
    if (next_ns)
        set_timer_locked(async, next_ns);
    else
        while (read(async->timer_fd, &count, sizeof count) < 0 && errno == EINTR)
            ;
}

void nc_async_begin_dispatch(struct nc_async *async)
{
    atomic_store_explicit(&async->dispatcher, (uintptr_t)pthread_self(), memory_order_relaxed);
    if (async->sync) {
        NC_EACH_LANE(async->sync, sync)
        nc_link_loop_serve(sync->link);
    }
    pthread_mutex_lock(&async->lock);
    answer_late_locked(async);
    pthread_mutex_unlock(&async->lock);
}

struct nc_async_op *nc_async_take_ended(struct nc_async *async)
{
    pthread_mutex_lock(&async->lock);
    struct nc_async_op *op = async->ended.first;
    if (op) {
        nc_async_queue_cut(&async->ended, &async->ended.first);
        HASH_DEL(async->by_ticket, op);
    }
    pthread_mutex_unlock(&async->lock);
    if (op && op->by_loop)
        nc_async_reads_arrive(async, op);
    return op;
}

void nc_async_end_dispatch(struct nc_async *async)
{
    if (async->sync)
        nc_async_reads_depart(async);
    pthread_mutex_lock(&async->lock);
    atomic_store_explicit(&async->dispatcher, 0, memory_order_relaxed);
    if (async->ended.first)
        signal_locked(async);
    else
        unsignal_locked(async);
    pthread_mutex_unlock(&async->lock);
}
