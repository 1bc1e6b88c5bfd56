/* Every allocation of the client fails once: an error, nothing half done, and the next call works.
 */
#include "base/clock.h"
#include "lib/alloc_fail.h"
#include "lib/link_fixture.h"
#include "lib/redis_server.h"
#include "lib/wait_until.h"
#include "redis/conn.h"

#include <criterion/criterion.h>
#include <string.h>

REDIS_SERVER_REQUIRED;

static struct redis_server server;
static const struct nc_log silent;

static void setup(void) { cr_assert(redis_server_start(&server, NULL)); }
static void teardown(void) { redis_server_stop(&server); }

TestSuite(redis_alloc, .init = setup, .fini = teardown);

static int make_settings(struct nc_redis_settings **settings)
{
    struct nearcache_redis given = NEARCACHE_REDIS_INIT;
    given.url = server.unix_url;
    given.username = "default";
    given.password = "any";
    given.client_name = "alloc";
    return nc_redis_settings_create(settings, &given, &silent);
}

Test(redis_alloc, settings_and_their_copy)
{
    for (unsigned long n = 0;; n++) {
        struct nc_redis_settings *settings = NULL, *copy = NULL;
        alloc_fail_at(n, ALLOC_FAIL_ONCE);
        int outcome = make_settings(&settings);
        if (outcome == 0)
            outcome = nc_redis_settings_copy(&copy, settings);
        bool failed = alloc_fail_end();
        nc_redis_settings_destroy(copy);
        nc_redis_settings_destroy(settings);
        cr_assert_eq(outcome, failed ? NEARCACHE_ENOMEM : 0, "allocation %lu", n);
        if (!failed)
            break;
    }
}

static void ignore_part(void *arg, const struct nc_reply_part *part)
{
    (void)arg;
    (void)part;
}
static void ignore_end(void *arg) { (void)arg; }

Test(redis_alloc, a_reader_that_has_to_keep_what_came)
{
    static const struct nc_reader_events events = {ignore_part, ignore_end, NULL};
    static char piece[5000];
    memset(piece, 'v', sizeof piece);
    for (unsigned long n = 0;; n++) {
        alloc_fail_at(n, ALLOC_FAIL_ONCE);
        struct nc_reader *reader = nc_reader_create(&events);
        int outcome = reader ? nc_reader_feed(reader, "$20000\r", 7) : NEARCACHE_ENOMEM;
        if (outcome == 0)
            outcome = nc_reader_feed(reader, "\n", 1);
        for (int i = 0; outcome == 0 && i < 4; i++)
            outcome = nc_reader_feed(reader, piece, sizeof piece);
        if (outcome == 0)
            outcome = nc_reader_feed(reader, "\r\n", 2);
        bool failed = alloc_fail_end();
        nc_reader_destroy(reader);
        cr_assert_eq(outcome, failed ? NEARCACHE_ENOMEM : 0, "allocation %lu", n);
        if (!failed)
            break;
    }
}

Test(redis_alloc, opening_a_connection)
{
    struct nc_redis_settings *settings;
    struct nc_link_stats stats = {0};
    cr_assert_eq(make_settings(&settings), 0);
    for (unsigned long n = 0;; n++) {
        struct nc_conn conn;
        nc_conn_init(&conn, &stats);
        alloc_fail_at(n, ALLOC_FAIL_ONCE);
        int outcome = nc_conn_open(&conn, settings, -1, nc_clock_deadline_ns(10000000));
        bool failed = alloc_fail_end();
        cr_assert_eq(conn.fd >= 0, outcome == 0);
        nc_conn_close(&conn);
        cr_assert_eq(outcome, failed ? NEARCACHE_ENOMEM : 0, "allocation %lu", n);
        if (!failed)
            break;
    }
    nc_redis_settings_destroy(settings);
}

/* A caller's own allocations: the call, a command that outgrows it, the connection's buffer. */
Test(redis_alloc, a_call_with_a_large_command)
{
    static char value[100000];
    struct nc_link *link = link_to(server.socket_path, 1, NULL);
    cr_assert(link_wait_up(link, 20000));
    for (unsigned long n = 0;; n++) {
        struct seen seen;
        int outcome = NEARCACHE_ENOMEM;
        seen_init(&seen);
        alloc_fail_at(n, ALLOC_FAIL_ONCE);
        struct nc_call *call = nc_call_create();
        if (call) {
            nc_command_begin(nc_call_command(call), 3);
            nc_command_arg(nc_call_command(call), "SET", 3);
            nc_command_arg(nc_call_command(call), "k", 1);
            nc_command_arg(nc_call_command(call), value, sizeof value);
            nc_call_expect(call, &seen.sink, NULL, NULL);
            outcome = nc_link_call(link, call, NC_CALL_SINGLE, nc_clock_deadline_ns(10000000));
            nc_call_release(call);
        }
        bool failed = alloc_fail_end();
        cr_assert_eq(outcome, failed ? NEARCACHE_ENOMEM : 0, "allocation %lu", n);
        cr_assert_eq(ask(link, &seen, 10000000, "PING", NULL), 0, "the link went with it");
        if (!failed)
            break;
    }
    nc_link_close(link, 0);
}

/* The link's thread runs out of memory while it connects: it tries again. */
Test(redis_alloc, connecting_goes_on_when_there_is_memory_again)
{
    for (unsigned long n = 0; n < 12; n++) {
        struct nc_link *link = link_to(server.socket_path, 1, NULL);
        cr_assert(link_wait_up(link, 20000));
        alloc_fail_at(n, ALLOC_FAIL_ONCE_OF_ALL);
        nc_link_fail(link, "the test wants it");
        uint64_t connects = atomic_load(&nc_link_stats(link)->connects);
        cr_expect(WAIT_UNTIL(atomic_load(&nc_link_stats(link)->connects) >= connects + 2, 20000));
        alloc_fail_end();
        cr_expect(link_wait_up(link, 20000));
        nc_link_close(link, 0);
    }
}
