/* What is called back on the link's thread may ask Redis, too: the thread reads the replies that
 * others have given up, and does not wait for one of those. */
#include "coherence.h"

#include "lib/loop_is_up.h"
#include "nearcache/async.h"

#include <poll.h>
#include <pthread.h>

REDIS_SERVER_REQUIRED;

/* Who waits for himself does so for PATIENT_US. */
enum { PATIENT_US = 20000000, HASTY_US = 1500000, AT_ONCE_MS = 8000 };

static struct redis_server server;
static struct nearcache *cache;
static struct nearcache_tier *tier;

/* What the link's thread does once it has no proof any more. */
static int (*_Atomic act)(void);
static _Atomic bool began, ended;
static _Atomic int outcome;

static void on_link(void *arg, enum nearcache_link state)
{
    int (*what)(void) = act;
    (void)arg;
    if (state != NEARCACHE_LINK_SUSPECT || !what || began)
        return;
    began = true;
    outcome = what();
    ended = true;
}

static void set_up(void)
{
    struct nearcache_config config = coherence_config();
    cr_assert(redis_server_start(&server, NULL));
    config.lease_ms = 200;
    config.breaker_expiries = NEARCACHE_NONE;
    config.on_link = on_link;
    cache = coherence_open(&server, config);
    tier = coherence_tier(cache, coherence_tier_config());
}

static void tear_down(void)
{
    cr_assert_eq(nearcache_close(cache, 0), 0);
    redis_server_stop(&server);
}

TestSuite(link_callback, .init = set_up, .fini = tear_down, .timeout = 60);

/* From now on the server stands. */
static void pause_for(int (*what)(void))
{
    redis_server_pause(&server);
    act = what;
}

/* Others have left; the server answers. */
static void expect_at_once(int expected)
{
    cr_assert(WAIT_UNTIL(began, 10000));
    cr_expect(!ended);
    redis_server_resume(&server);
    cr_expect(WAIT_UNTIL(ended, AT_ONCE_MS), "it waits for itself");
    cr_assert(WAIT_UNTIL(ended, PATIENT_US / 1000));
    cr_expect_eq(outcome, expected, "%s", nearcache_strerror(outcome));
}

static int write_patiently(const char *name, const char *value)
{
    struct nearcache_write how = NEARCACHE_WRITE_INIT;
    how.timeout_us = PATIENT_US;
    return nearcache_set(tier, name, strlen(name), value, strlen(value), &how);
}

static int write_other(void) { return write_patiently("other", "value"); }

static void *write_hastily(void *arg)
{
    struct nearcache_write how = NEARCACHE_WRITE_INIT;
    how.timeout_us = HASTY_US;
    *(int *)arg = nearcache_set(tier, "k", 1, "value", 5, &how);
    return NULL;
}

Test(link_callback, a_write_does_not_wait_for_a_group_whose_leader_leaves)
{
    pthread_t thread;
    int hasty = -1;
    pause_for(write_other);
    cr_assert_eq(pthread_create(&thread, NULL, write_hastily, &hasty), 0);
    cr_expect(WAIT_UNTIL(began, 10000));
    pthread_join(thread, NULL);
    cr_expect_eq(hasty, NEARCACHE_LOCAL);
    expect_at_once(0);
    cr_expect(coherence_asks(&server, "GET thing:other", "value"));
    cr_assert_eq(nearcache_wait(cache, PATIENT_US), 0);
}

static int read_same(void)
{
    struct nearcache_read how = NEARCACHE_READ_INIT;
    struct nearcache_result result;
    how.timeout_us = PATIENT_US;
    int read = nearcache_get(tier, "k", 1, &how, &result);
    nearcache_release(&result);
    return read;
}

Test(link_callback, a_read_does_not_wait_for_one_that_was_given_up)
{
    struct nearcache_read hasty = NEARCACHE_READ_INIT;
    struct nearcache_result result;
    cr_assert(coherence_asks(&server, "SET thing:k value", "OK"));
    hasty.timeout_us = 20000;
    pause_for(read_same);
    cr_expect_eq(nearcache_get(tier, "k", 1, &hasty, &result), NEARCACHE_ETIMEOUT);
    expect_at_once(0);
}

static int write_same(void) { return write_patiently("k", "newer"); }

static void on_set(void *arg, int status) { *(int *)arg = status; }

static void dispatch_until(const int *status)
{
    struct pollfd readable = {nearcache_fd(cache), POLLIN, 0};
    while (*status == NEARCACHE_PENDING && poll(&readable, 1, 10000) == 1)
        cr_assert_geq(nearcache_dispatch(cache, 0), 0);
    cr_assert_neq(*status, NEARCACHE_PENDING);
}

static void set_async(const char *value, int *status)
{
    struct nearcache_write how = NEARCACHE_WRITE_INIT;
    how.timeout_us = PATIENT_US;
    *status = NEARCACHE_PENDING;
    cr_assert_eq(
        nearcache_set_async(tier, "k", 1, value, strlen(value), &how, on_set, status, NULL),
        NEARCACHE_PENDING);
}

/* The loop stands, so that nobody else reads what its write was answered. */
Test(link_callback, a_write_reads_along_for_an_event_loop_that_stands)
{
    int status;
    set_async("older", &status);
    dispatch_until(&status);
    cr_assert_eq(status, 0);
    cr_assert(WAIT_UNTIL(loop_is_up(cache), 20000));
    pause_for(write_same);
    set_async("old", &status);
    expect_at_once(0);
    dispatch_until(&status);
    cr_expect_eq(status, 0);
    cr_expect(coherence_asks(&server, "GET thing:k", "newer"));
}

static int wait_for_link(void) { return nearcache_wait(cache, PATIENT_US); }

static int catch_up(void) { return nearcache_sync(cache, PATIENT_US); }

/* What the link's thread has to do it does not wait for. */
Test(link_callback, waiting_for_the_link_ends_at_once)
{
    int (*const waits[])(void) = {wait_for_link, catch_up};
    for (int i = 0; i < 2; i++) {
        began = ended = false;
        pause_for(waits[i]);
        cr_expect(WAIT_UNTIL(ended, AT_ONCE_MS), "it waits for itself");
        cr_expect_eq(outcome, NEARCACHE_ETIMEOUT, "%s", nearcache_strerror(outcome));
        act = NULL;
        redis_server_resume(&server);
        cr_assert_eq(nearcache_wait(cache, PATIENT_US), 0);
    }
}
