/* The descriptor that an event loop watches. */
#include "api/async_loop.h"
#include "base/clock.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <sys/timerfd.h>
#include <unistd.h>

static struct nc_async async;

static void set_up(void) { cr_assert_eq(nc_async_loop_init(&async, NULL), 0); }
static void tear_down(void) { nc_async_loop_deinit(&async); }

TestSuite(async_loop, .init = set_up, .fini = tear_down, .timeout = 60);

static bool is_readable(int fd, int patience_ms)
{
    struct pollfd readable = {fd, POLLIN, 0};
    return poll(&readable, 1, patience_ms) == 1;
}

/* On the clock that the loop's own timer goes by. */
static void wait_until(uint64_t at_ns)
{
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    struct itimerspec when = {
        .it_value = {(time_t)(at_ns / NC_NS_PER_S), (long)(at_ns % NC_NS_PER_S)}};
    cr_assert_eq(timerfd_settime(fd, TFD_TIMER_ABSTIME, &when, NULL), 0);
    cr_assert(is_readable(fd, 20000));
    close(fd);
}

Test(async_loop, it_is_readable_when_its_timer_has_gone_off)
{
    uint64_t at_ns = nc_clock_io_ns() + 5 * NC_NS_PER_MS;
    nc_async_loop_set_timer_locked(&async, at_ns);
    cr_assert(is_readable(async.epoll_fd, 20000));
    cr_assert_geq(nc_clock_io_ns(), at_ns);
    nc_async_loop_set_timer_locked(&async, 0);
    cr_assert_not(is_readable(async.epoll_fd, 0));
}

/* A dispatch that looks at the clock before the kernel does: what is due has been done. */
Test(async_loop, a_timer_that_is_not_needed_does_not_go_off_any_more)
{
    uint64_t at_ns = nc_clock_io_ns() + 20 * NC_NS_PER_MS;
    nc_async_loop_set_timer_locked(&async, at_ns);
    nc_async_loop_set_timer_locked(&async, 0);
    cr_assert_eq(async.timer_ns, 0);
    wait_until(at_ns + 20 * NC_NS_PER_MS);
    cr_assert_not(is_readable(async.epoll_fd, 0), "and nobody would ever read it");
}
