#include "api/async_loop.h"

#include "base/clock.h"

#include <errno.h>
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

int nc_async_loop_init(struct nc_async *async, struct nc_sync *sync)
{
    async->sync = sync;
    async->event_fd = async->timer_fd = async->epoll_fd = -1;
    int outcome = open_descriptors(async);
    if (outcome != 0) {
        close_descriptors(async);
        return outcome;
    }
    pthread_mutex_init(&async->lock, NULL);
    pthread_cond_init(&async->threads.wake, NULL);
    async->ended_last = &async->ended;
    return 0;
}

void nc_async_loop_deinit(struct nc_async *async)
{
    close_descriptors(async);
    pthread_cond_destroy(&async->threads.wake);
    pthread_mutex_destroy(&async->lock);
}

/* ---- the descriptor ---- */

void nc_async_loop_tell_locked(struct nc_async *async)
{
    uint64_t one = 1;
    /* The dispatch looks by itself. */
    if (async->signalled || nc_async_loop_dispatches(async) ||
        !(async->landed.first || async->ended || async->singles.first || async->rows.first ||
          async->writes_due.first))
        return;
    async->signalled = true;
    /* Cannot fail but for EINTR: the counter is nowhere near its end. */
    while (write(async->event_fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

void nc_async_loop_untell_locked(struct nc_async *async)
{
    uint64_t count;
    if (!async->signalled)
        return;
    async->signalled = false;
    while (read(async->event_fd, &count, sizeof count) < 0 && errno == EINTR)
        ;
}

void nc_async_loop_set_timer_locked(struct nc_async *async, uint64_t at_ns)
{
    struct itimerspec when = {
        .it_value = {(time_t)(at_ns / NC_NS_PER_S), (long)(at_ns % NC_NS_PER_S)}};
    /* Also to zero, which takes back that it has gone off or will: its time may be over and the
     * kernel a moment late, and what goes off after a reading would never be read. */
    if (timerfd_settime(async->timer_fd, TFD_TIMER_ABSTIME, &when, NULL) == 0)
        async->timer_ns = at_ns;
}
