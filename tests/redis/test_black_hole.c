/*
 * A network that swallows everything without a word: server and client stand in two network
 * namespaces joined by a pair of virtual devices, and the hole is a neighbour's address that nobody
 * has. Skipped where namespaces may not be made.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "base/clock.h"
#include "lib/child.h"
#include "lib/link_fixture.h"
#include "lib/redis_server.h"
#include "lib/wait_until.h"

#include <criterion/criterion.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>

REDIS_SERVER_REQUIRED;

static struct redis_server server;
static struct nc_link *link_;
static struct seen seen;
static _Atomic unsigned downs;

static void on_down(void *arg, uint64_t generation)
{
    (void)arg;
    (void)generation;
    atomic_fetch_add(&downs, 1);
}

static bool shell(const char *format, ...)
{
    char command[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(command, sizeof command, format, arguments);
    va_end(arguments);
    const char *const argv[] = {"/bin/sh", "-c", command, NULL};
    return child_wait(child_start(argv, -1, -1, -1), 20000) == 0;
}

static bool join_namespaces(void)
{
    int pid = (int)server.pid;
    return shell("ip link add nc0 type veth peer name nc1 netns %d && "
                 "ip addr add 10.77.0.1/24 dev nc0 && ip link set nc0 up && "
                 "nsenter -t %d -n ip addr add 10.77.0.2/24 dev nc1 && "
                 "nsenter -t %d -n ip link set nc1 up",
                 pid, pid, pid);
}

static void setup(void)
{
    static const char *const anywhere[] = {"--bind", "0.0.0.0", "--protected-mode", "no", NULL};
    static const struct nc_link_config config = {.breaker_expiries = UINT64_MAX,
                                                 .on_down = on_down};
    struct nearcache_redis redis = NEARCACHE_REDIS_INIT;
    if (!child_find("ip") || !child_find("nsenter") || unshare(CLONE_NEWNET) != 0)
        cr_skip_test("network namespaces cannot be made here");
    cr_assert(redis_server_start(&server, anywhere));
    if (unshare(CLONE_NEWNET) != 0 || !join_namespaces()) {
        redis_server_stop(&server);
        cr_skip_test("virtual network devices cannot be made here");
    }
    redis.host = "10.77.0.2";
    redis.port = (uint32_t)server.port;
    redis.connections = 2;
    link_ = link_with(&redis, &config);
    cr_assert(link_wait_up(link_, 20000));
}

static void teardown(void)
{
    if (link_)
        nc_link_close(link_, 0);
    redis_server_stop(&server);
}

TestSuite(black_hole, .init = setup, .fini = teardown);

static void open_hole(void)
{
    cr_assert(shell("ip neigh replace 10.77.0.2 lladdr 02:00:00:00:00:99 nud permanent dev nc0"));
}

static void close_hole(void) { cr_assert(shell("ip neigh del 10.77.0.2 dev nc0")); }

Test(black_hole, calls_end_at_their_deadlines_and_the_link_is_given_up)
{
    open_hole();
    uint64_t begun_ns = nc_clock_io_ns();
    cr_expect_eq(ask(link_, &seen, 50000, "PING", NULL), NEARCACHE_ETIMEOUT);
    cr_expect_lt(nc_clock_io_ns() - begun_ns, 5 * NC_NS_PER_S);
    cr_expect(WAIT_UNTIL(atomic_load(&downs) > 0, 30000), "nobody noticed");
    cr_expect_eq(ask(link_, &seen, 50000, "PING", NULL), NEARCACHE_EOFFLINK);
    close_hole();
    cr_expect(link_wait_up(link_, 30000));
}

Test(black_hole, an_idle_link_notices_by_its_keepalives)
{
    open_hole();
    cr_expect(WAIT_UNTIL(atomic_load(&downs) > 0, 60000), "nobody noticed");
    close_hole();
    cr_expect(link_wait_up(link_, 30000));
}
