/* What production does to a link: servers that end idle connections, answer late, cannot save or
 * refuse one key; children of fork(). */
#include "coherence.h"

#include "lib/async_fixture.h"
#include "lib/link_fixture.h"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

REDIS_SERVER_REQUIRED;

TestSuite(server_trouble, .timeout = 60);

static long asked(const char *field)
{
    char *info = redis_server_ask(&server, "INFO commandstats");
    char *at = strstr(info, field);
    long calls = at ? atol(strchr(at, '=') + 1) : 0;
    free(info);
    return calls;
}

/* ---- idle connections ---- */

Test(server_trouble, no_connection_is_idle_for_longer_than_a_server_allows)
{
    cr_assert(redis_server_start(&server, NULL));
    struct nearcache *c = coherence_open(&server, coherence_config());
    cr_assert_eq(nearcache_wait(c, PATIENT_US), 0);
    long before = asked("cmdstat_ping:");
    cr_assert(WAIT_UNTIL(asked("cmdstat_ping:") >= before + 9, 12000),
              "eight for single requests and one for batches ask for something now and then");
    cr_assert_eq(nearcache_close(c, 0), 0);
    redis_server_stop(&server);
}

/* ---- the event loop's descriptor ---- */

static bool is_quiet(void)
{
    struct pollfd fd = {nearcache_fd(cache), POLLIN, 0};
    nearcache_dispatch(cache, 0);
    return poll(&fd, 1, 0) == 0;
}

Test(server_trouble, a_child_does_not_keep_the_descriptor_readable, .init = async_set_up,
     .fini = async_tear_down)
{
    pid_t child = fork();
    if (child == 0)
        for (;;)
            pause();
    long before = asked("cmdstat_subscribe:");
    free(redis_server_ask(&server, "CLIENT KILL TYPE normal SKIPME yes"));
    bool again = WAIT_UNTIL(asked("cmdstat_subscribe:") > before, PATIENT_MS);
    bool quiet = WAIT_UNTIL(is_quiet(), 2000);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    cr_assert(again);
    cr_assert(quiet, "a connection that is gone is still in the set");
}

/* ---- the journal ---- */

static bool is_there(const char *key)
{
    char *there = redis_server_ask(&server, "EXISTS %s", key);
    bool is = strcmp(there, "1") == 0;
    free(there);
    return is;
}

Test(server_trouble, a_write_that_redis_refuses_does_not_hold_up_the_others)
{
    struct nearcache_redis redis = NEARCACHE_REDIS_INIT;
    struct nearcache_config config = coherence_config();
    struct nearcache_tier_config bad = coherence_tier_config(), good = coherence_tier_config();
    struct nearcache_tier *bad_tier, *good_tier;
    struct nearcache *c;
    cr_assert(redis_server_start(&server, NULL));
    free(redis_server_ask(&server, "ACL SETUSER u on >p +@all ~good:* ~nc:* &*"));
    redis.url = server.unix_url;
    redis.username = "u";
    redis.password = "p";
    config.redis = &redis;
    cr_assert_eq(nearcache_open(&c, &config), 0);
    bad.name = "bad";
    bad.prefix = "bad:";
    good.name = "good";
    good.prefix = "good:";
    cr_assert_eq(nearcache_tier_open(c, &bad, &bad_tier), 0);
    cr_assert_eq(nearcache_tier_open(c, &good, &good_tier), 0);
    cr_assert_eq(nearcache_wait(c, PATIENT_US), 0);
    redis_server_kill(&server);
    cr_assert(WAIT_UNTIL(nearcache_link_state(c) <= NEARCACHE_LINK_CONNECTING, PATIENT_MS));
    cr_assert_eq(coherence_set(bad_tier, "x", "v"), NEARCACHE_LOCAL);
    cr_assert_eq(coherence_set(good_tier, "x", "v"), NEARCACHE_LOCAL);
    cr_assert(redis_server_restart(&server));
    free(redis_server_ask(&server, "ACL SETUSER u on >p +@all ~good:* ~nc:* &*"));
    cr_assert(WAIT_UNTIL(nearcache_link_state(c) == NEARCACHE_LINK_LIVE, PATIENT_MS));
    cr_assert(WAIT_UNTIL(is_there("good:x"), 5000));
    nearcache_close(c, 1000);
    redis_server_stop(&server);
}

/* ---- a server that cannot save ---- */

static bool cannot_save(void)
{
    char *info = redis_server_ask(&server, "INFO persistence");
    bool failed = strstr(info, "rdb_last_bgsave_status:err") != NULL;
    free(info);
    return failed;
}

Test(server_trouble, what_cannot_be_saved_can_be_read)
{
    char folder[] = "/tmp/nearcache-trouble.XXXXXX";
    cr_assert_not_null(mkdtemp(folder));
    const char *const extra[] = {"--dir", folder, "--save", "3600 1", NULL};
    cr_assert(redis_server_start(&server, extra));
    struct nearcache *c = coherence_open(&server, coherence_config());
    struct nearcache_tier *t = coherence_tier(c, coherence_tier_config());
    cr_assert_eq(coherence_set(t, "a", "one"), 0);
    cr_assert_eq(coherence_set(t, "b", "two"), 0);
    cr_assert_eq(nearcache_close(c, 0), 0);
    cr_assert_eq(rmdir(folder), 0);
    free(redis_server_ask(&server, "BGSAVE"));
    cr_assert(WAIT_UNTIL(cannot_save(), 10000));
    c = coherence_open(&server, coherence_config());
    t = coherence_tier(c, coherence_tier_config());
    cr_assert_eq(coherence_get(t, "a", "one", NULL), 0);
    /* It may be one that was left behind: what it says then proves nothing. */
    free(redis_server_ask(&server, "CONFIG SET min-replicas-to-write 1"));
    cr_expect(WAIT_UNTIL(nearcache_link_state(c) != NEARCACHE_LINK_LIVE, 10000));
    free(redis_server_ask(&server, "CONFIG SET min-replicas-to-write 0"));
    cr_expect_eq(nearcache_wait(c, PATIENT_US), 0);
    nearcache_close(c, 0);
    redis_server_stop(&server);
}

/* ---- late replies ---- */

Test(server_trouble, replies_that_come_too_late_do_not_close_the_breaker)
{
    struct nc_link_config config = {.breaker_expiries = 3};
    struct seen seen;
    cr_assert(redis_server_start(&server, NULL));
    struct nc_link *link = link_to(server.socket_path, 1, &config);
    cr_assert(link_wait_up(link, PATIENT_MS));
    for (int i = 0; i < 3; i++) {
        redis_server_pause(&server);
        cr_assert_eq(ask(link, &seen, 20000, "PING", NULL), NEARCACHE_ETIMEOUT);
        uint64_t before = atomic_load(&nc_link_stats(link)->bytes_received);
        redis_server_resume(&server);
        cr_assert(WAIT_UNTIL(atomic_load(&nc_link_stats(link)->bytes_received) > before, 5000));
    }
    cr_assert(nc_link_breaker_is_open(link));
    nc_link_close(link, 0);
    redis_server_stop(&server);
}

/* ---- out of memory ---- */

Test(server_trouble, what_gives_memory_back_is_taken_without_memory)
{
    cr_assert(redis_server_start(&server, NULL));
    struct nearcache *c = coherence_open(&server, coherence_config());
    struct nearcache_tier *t = coherence_tier(c, coherence_tier_config());
    uint64_t deleted;
    cr_assert_eq(coherence_set(t, "a", "one"), 0);
    cr_assert_eq(coherence_set(t, "b", "two"), 0);
    cr_assert_eq(coherence_set(t, "c", "three"), 0);
    free(redis_server_ask(&server, "CONFIG SET maxmemory 1"));
    cr_assert_eq(coherence_set(t, "d", "four"), NEARCACHE_EREMOTE);
    cr_expect_eq(nearcache_delete(t, "a", 1, NULL), 0);
    cr_expect_eq(nearcache_invalidate(t, "b", 1, NULL), 0);
    cr_expect_eq(nearcache_clear(t, PATIENT_US, &deleted), 0);
    cr_expect_eq(deleted, 2);
    cr_assert_eq(nearcache_close(c, 0), 0);
    redis_server_stop(&server);
}

static _Atomic int refusals, refusal;

static void on_refusal(void *arg, const struct nearcache_refusal *told)
{
    (void)arg;
    atomic_store(&refusal, told->outcome);
    atomic_fetch_add(&refusals, 1);
}

/* Redis ends the connection over it, each time it is tried. */
Test(server_trouble, a_write_that_is_larger_than_the_server_takes_is_given_up)
{
    static char large[(1 << 20) + 1];
    const char *const extra[] = {"--proto-max-bulk-len", "1mb", NULL};
    struct nearcache_config config = coherence_config();
    struct nearcache_tier_config things = coherence_tier_config();
    cr_assert(redis_server_start(&server, extra));
    config.on_refusal = on_refusal;
    things.largest_local_bytes = 2 << 20;
    struct nearcache *c = coherence_open(&server, config);
    struct nearcache_tier *t = coherence_tier(c, things);
    redis_server_kill(&server);
    cr_assert(WAIT_UNTIL(nearcache_link_state(c) <= NEARCACHE_LINK_CONNECTING, PATIENT_MS));
    cr_assert_eq(nearcache_set(t, "large", 5, large, sizeof large, NULL), NEARCACHE_LOCAL);
    cr_assert_eq(coherence_set(t, "small", "v"), NEARCACHE_LOCAL);
    cr_assert(redis_server_restart(&server));
    cr_assert_eq(nearcache_wait(c, PATIENT_US), 0);
    cr_expect_eq(atomic_load(&refusals), 1);
    cr_expect_eq(atomic_load(&refusal), NEARCACHE_ETOOBIG, "%d", atomic_load(&refusal));
    cr_expect(is_there("thing:small"));
    cr_assert_eq(nearcache_close(c, 0), 0);
    redis_server_stop(&server);
}
