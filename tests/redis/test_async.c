/* The asynchronous calls on a real server: one loop thread, callbacks only in the dispatch. */
#include "api/handle.h"
#include "cache/key.h"
#include "nearcache/metrics.h"
#include "sync/fetch_loop.h"

#include "lib/async_fixture.h"
#include "lib/wait_until.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

REDIS_SERVER_REQUIRED;

TestSuite(async, .init = async_set_up, .fini = async_tear_down, .timeout = 90);

Test(async, a_miss_is_read_and_then_a_hit_calls_nobody)
{
    struct got got = {0};
    free(redis_server_ask(&server, "SET t:a one"));
    cr_assert_eq(get("a", &got, NULL), NEARCACHE_PENDING);
    cr_assert_eq(got.calls, 0, "only inside of the dispatch");
    loop_until(&got.calls, 1);
    cr_assert_eq(got.status, 0);
    cr_assert_eq(got.source, NEARCACHE_SOURCE_REMOTE);
    cr_assert_str_eq(got.text, "one");
    cr_assert_eq(get("a", &got, NULL), 0);
    cr_assert_eq(nearcache_dispatch(cache, 0), 0);
    cr_assert_eq(got.calls, 1);
}

Test(async, what_is_nowhere_is_a_miss_and_remembered)
{
    struct got got = {0};
    cr_assert_eq(get("none", &got, NULL), NEARCACHE_PENDING);
    loop_until(&got.calls, 1);
    cr_assert_eq(got.status, NEARCACHE_MISS);
    cr_assert_eq(get("none", &got, NULL), NEARCACHE_MISS);
}

Test(async, what_is_asked_for_together_is_one_request)
{
    struct got got = {0};
    char name[16];
    long before = requests("exec");
    for (unsigned i = 0; i < 64; i++) {
        snprintf(name, sizeof name, "g%u", i);
        cr_assert_eq(get(name, &got, NULL), NEARCACHE_PENDING);
    }
    loop_until(&got.calls, 64);
    long used = requests("exec") - before;
    cr_assert(used > 0 && used < 10, "%ld requests for 64 keys", used);
}

struct chain {
    struct got got;
    unsigned left;
};

static void on_link(void *arg, int status, struct nearcache_result *result)
{
    struct chain *chain = arg;
    struct nearcache_result again;
    char name[16];
    on_get(&chain->got, status, result);
    snprintf(name, sizeof name, "chain%u", --chain->left);
    if (chain->left > 0)
        cr_assert_eq(
            nearcache_get_async(tier, name, strlen(name), NULL, on_link, chain, &again, NULL),
            NEARCACHE_PENDING);
}

Test(async, a_callback_may_ask_for_more)
{
    struct chain chain = {.left = 1000};
    struct nearcache_result result;
    cr_assert_eq(nearcache_get_async(tier, "chain", 5, NULL, on_link, &chain, &result, NULL),
                 NEARCACHE_PENDING);
    loop_until(&chain.got.calls, 1000);
}

Test(async, a_synchronous_caller_does_not_wait_for_a_loop_that_stands)
{
    struct nearcache_result result;
    struct got got = {0};
    char name[16];
    free(redis_server_ask(&server, "MSET t:s0 0 t:s1 1 t:s2 2 t:s3 3"));
    for (unsigned i = 0; i < 4; i++) {
        struct nearcache_read how = NEARCACHE_READ_INIT;
        snprintf(name, sizeof name, "s%u", i);
        how.timeout_us = PATIENT_US / 4;
        cr_assert_eq(get(name, &got, NULL), NEARCACHE_PENDING);
        cr_assert_eq(nearcache_get(tier, name, strlen(name), &how, &result), 0);
        cr_assert_arr_eq(result.data, name + 1, 1);
        nearcache_release(&result);
    }
    cr_assert_eq(got.calls, 0, "only inside of the dispatch");
    loop_until(&got.calls, 4);
    cr_assert_eq(got.status, 0);
}

/* With a copy of "k" that is fresh. */
static struct nearcache_tier *open_soft(void)
{
    struct nearcache_tier *soft;
    struct nearcache_tier_config config = NEARCACHE_TIER_INIT;
    struct nearcache_result result;
    config.name = "soft";
    config.prefix = "soft:";
    config.coherence = NEARCACHE_COHERENCE_NONE;
    config.local_ttl_ms = 60000;
    config.max_stale_ms = 60000;
    cr_assert_eq(nearcache_tier_open(cache, &config, &soft), 0);
    cr_assert_eq(nearcache_set(soft, "k", 1, "old", 3, NULL), 0);
    cr_assert_eq(nearcache_get(soft, "k", 1, NULL, &result), 0);
    nearcache_release(&result);
    return soft;
}

Test(async, with_an_old_copy_at_hand_a_read_waits_no_longer_than_its_soft_timeout)
{
    struct nearcache_tier *soft = open_soft();
    struct nearcache_read how = NEARCACHE_READ_INIT;
    struct nearcache_result result;
    struct got got = {0};
    cr_assert_eq(nearcache_expire(soft, "k", 1), 0);
    redis_server_pause(&server);
    how.soft_timeout_us = 5000;
    how.timeout_us = PATIENT_US;
    cr_assert_eq(nearcache_get_async(soft, "k", 1, &how, on_get, &got, &result, NULL),
                 NEARCACHE_PENDING);
    loop_until(&got.calls, 1);
    redis_server_resume(&server);
    cr_assert_eq(got.status, 0);
    cr_assert_eq(got.source, NEARCACHE_SOURCE_STALE);
    cr_assert_str_eq(got.text, "old");
}

static uint64_t timeouts(void)
{
    struct nearcache_metrics metrics = NEARCACHE_METRICS_INIT;
    cr_assert_eq(nearcache_metrics(cache, &metrics), 0);
    return metrics.redis_timeouts;
}

Test(async, what_had_an_old_copy_does_not_keep_the_rest_of_a_batch_from_the_breaker)
{
    static const struct nearcache_name names[] = {{"k", 1}, {"n", 1}};
    struct nearcache_tier *soft = open_soft();
    struct nearcache_read how = NEARCACHE_READ_INIT;
    struct nearcache_result results[2];
    struct got got = {0};
    int statuses[2];
    cr_assert_eq(nearcache_expire(soft, "k", 1), 0);
    how.soft_timeout_us = 5000;
    how.timeout_us = 60000;
    redis_server_pause(&server);
    uint64_t before = timeouts();
    cr_assert_eq(
        nearcache_get_many_async(soft, names, 2, &how, results, statuses, on_end, &got, NULL),
        NEARCACHE_PENDING);
    loop_until(&got.calls, 1);
    uint64_t after = timeouts();
    redis_server_resume(&server);
    cr_assert_eq(statuses[0], 0);
    cr_assert_eq(results[0].source, NEARCACHE_SOURCE_STALE);
    cr_assert_eq(statuses[1], NEARCACHE_ETIMEOUT);
    cr_assert_eq(after, before + 1);
    nearcache_release_many(results, 2);
}

/* What becomes of a read of "k" that was not told. */
static void leave(struct nearcache_tier *soft, struct nc_loop_read *read, uint64_t deadline_ns)
{
    const struct nc_fetch_options options = {.deadline_ns = deadline_ns,
                                             .max_stale_ns = 60 * NC_NS_PER_S};
    cr_assert_eq(nc_cache_key(soft, "k", 1, &read->want.key), 0);
    nc_fetch_loop_arrive(cache->sync, nc_cache_self(&cache->cache), read, &options, false);
}

Test(async, an_old_copy_that_became_fresh_when_its_read_was_left_is_the_answer)
{
    struct nearcache_tier *soft = open_soft();
    struct nearcache_result result = {0};
    struct nc_loop_read read = {.want = {.result = &result}};
    leave(soft, &read, nc_clock_io_ns() + NC_NS_PER_S * PATIENT_US / 1000000);
    cr_assert_eq(read.want.outcome, 0, "%d", read.want.outcome);
    cr_assert_arr_eq(result.data, "old", 3);
    nearcache_release(&result);
}

Test(async, what_a_thread_had_asked_for_is_not_counted_again_by_the_loop)
{
    struct nearcache_tier *soft = open_soft();
    struct nearcache_result result = {0};
    struct nc_loop_read read = {.want = {.result = &result, .leads = true}};
    uint64_t before = timeouts();
    leave(soft, &read, nc_clock_io_ns());
    cr_assert_eq(timeouts(), before);
    nearcache_release(&result);
}

Test(async, a_connection_that_breaks_costs_its_calls_an_error_and_comes_back)
{
    struct got got = {0};
    unsigned pending = 0;
    char name[16];
    for (unsigned round = 0; round < 5; round++) {
        for (unsigned i = 0; i < 50; i++) {
            snprintf(name, sizeof name, "b%u-%u", round, i);
            pending += get(name, &got, NULL) == NEARCACHE_PENDING;
        }
        free(redis_server_ask(&server, "CLIENT KILL TYPE normal SKIPME yes"));
        loop_until(&got.calls, pending);
    }
    const uint64_t end_ns = wait_now_ns() + UINT64_C(1000000) * PATIENT_MS;
    do {
        pending += get("after", &got, NULL) == NEARCACHE_PENDING;
        loop_until(&got.calls, pending);
    } while (got.status != NEARCACHE_MISS && wait_now_ns() < end_ns);
    cr_assert_eq(got.status, NEARCACHE_MISS);
}

Test(async, ten_thousand_at_once_end_once_each)
{
    enum { MANY = 10000 };
    struct got *got = calloc(MANY, sizeof *got);
    unsigned ended = 0;
    char name[16];
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "n%u", i);
        if (i % 3 == 0)
            cr_assert_eq(nearcache_set_async(tier, name, strlen(name), name, strlen(name), NULL,
                                             on_end, &got[i], NULL),
                         NEARCACHE_PENDING);
        else
            cr_assert_eq(get(name, &got[i], NULL), NEARCACHE_PENDING);
    }
    struct pollfd readable = {nearcache_fd(cache), POLLIN, 0};
    while (ended < MANY) {
        cr_assert_gt(poll(&readable, 1, PATIENT_MS), 0, "%u ended", ended);
        int ran = nearcache_dispatch(cache, 100);
        cr_assert(ran >= 0 && ran <= 100);
        ended += (unsigned)ran;
    }
    for (unsigned i = 0; i < MANY; i++) {
        cr_assert_eq(got[i].calls, 1, "%u: %u calls", i, got[i].calls);
        cr_assert_eq(got[i].status, i % 3 == 0 ? 0 : NEARCACHE_MISS);
    }
    cr_assert_eq(nearcache_dispatch(cache, 0), 0);
    free(got);
}

Test(async, what_is_cancelled_never_calls_back)
{
    struct got got[100] = {{0}};
    nearcache_ticket tickets[100];
    unsigned given_up = 0, ended = 0;
    char name[16];
    for (unsigned i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "c%u", i);
        cr_assert_eq(get(name, &got[i], &tickets[i]), NEARCACHE_PENDING);
    }
    for (unsigned i = 0; i < 100; i += 2) {
        int outcome = nearcache_cancel(cache, tickets[i]);
        cr_assert_eq(outcome, 0);
        given_up++;
    }
    cr_assert_eq(nearcache_cancel(cache, tickets[0]), NEARCACHE_MISS);
    struct pollfd readable = {nearcache_fd(cache), POLLIN, 0};
    while (ended < 100 - given_up) {
        cr_assert_gt(poll(&readable, 1, PATIENT_MS), 0);
        ended += (unsigned)nearcache_dispatch(cache, 0);
    }
    for (unsigned i = 0; i < 100; i++)
        cr_assert_eq(got[i].calls, i % 2);
    cr_assert_eq(nearcache_cancel(cache, tickets[1]), NEARCACHE_MISS, "it has ended");
    cr_assert_eq(nearcache_cancel(cache, 123456789), NEARCACHE_MISS);
}

Test(async, a_server_that_hangs_costs_a_call_its_deadline)
{
    struct nearcache_read how = NEARCACHE_READ_INIT;
    struct nearcache_result result;
    struct got got = {0};
    char name[16];
    how.timeout_us = 20000;
    redis_server_pause(&server);
    for (unsigned i = 0; i < 50; i++) {
        snprintf(name, sizeof name, "h%u", i);
        int outcome =
            nearcache_get_async(tier, name, strlen(name), &how, on_get, &got, &result, NULL);
        cr_assert_eq(outcome, NEARCACHE_PENDING);
    }
    loop_until(&got.calls, 50);
    cr_assert(got.status == NEARCACHE_ETIMEOUT || got.status == NEARCACHE_EOFFLINK);
    redis_server_resume(&server);
}

Test(async, arguments_are_checked_and_change_nothing)
{
    struct nearcache_result result;
    struct got got = {0};
    int status;
    cr_assert_eq(nearcache_get_async(NULL, "a", 1, NULL, on_get, &got, &result, NULL),
                 NEARCACHE_EINVAL);
    cr_assert_eq(nearcache_get_async(tier, "a", 1, NULL, NULL, &got, &result, NULL),
                 NEARCACHE_EINVAL);
    cr_assert_eq(nearcache_get_async(tier, "a", 1, NULL, on_get, &got, NULL, NULL),
                 NEARCACHE_EINVAL);
    cr_assert_eq(nearcache_get_async(tier, "", 0, NULL, on_get, &got, &result, NULL),
                 NEARCACHE_EINVAL);
    cr_assert_eq(nearcache_set_async(tier, "a", 1, NULL, 5, NULL, on_end, &got, NULL),
                 NEARCACHE_EINVAL);
    cr_assert_eq(nearcache_set_async(tier, "a", 1, "x", 1, NULL, NULL, &got, NULL),
                 NEARCACHE_EINVAL);
    cr_assert_eq(
        nearcache_get_many_async(tier, NULL, 1, NULL, &result, &status, on_end, &got, NULL),
        NEARCACHE_EINVAL);
    cr_assert_eq(nearcache_get_many_async(tier, NULL, 0, NULL, NULL, NULL, on_end, &got, NULL), 0);
    cr_assert_eq(nearcache_fd(NULL), NEARCACHE_EINVAL);
    cr_assert_eq(nearcache_dispatch(NULL, 0), NEARCACHE_EINVAL);
    cr_assert_eq(nearcache_cancel(NULL, 1), NEARCACHE_EINVAL);
    cr_assert_eq(nearcache_dispatch(cache, 0), 0);
    cr_assert_eq(got.calls, 0);
}

Test(async, closing_with_calls_under_way_calls_nobody)
{
    struct nearcache *mine = cache;
    struct got got = {0};
    struct nearcache_result result;
    char name[16];
    cache = open_cache(200000);
    struct nearcache_tier *own = open_tier(cache);
    for (unsigned i = 0; i < 500; i++) {
        snprintf(name, sizeof name, "x%u", i);
        cr_assert_eq(
            nearcache_get_async(own, name, strlen(name), NULL, on_get, &got, &result, NULL),
            NEARCACHE_PENDING);
    }
    cr_assert_eq(nearcache_close(cache, 0), 0);
    cr_assert_eq(got.calls, 0);
    cache = mine;
}

static atomic_bool over;

static void *read_and_write(void *arg)
{
    unsigned long *done = arg;
    char name[16];
    while (!atomic_load(&over)) {
        struct nearcache_result result;
        snprintf(name, sizeof name, "m%lu", *done % 50);
        if (*done % 10 == 0)
            cr_assert_eq(nearcache_set(tier, name, strlen(name), name, strlen(name), NULL), 0);
        int outcome = nearcache_get(tier, name, strlen(name), NULL, &result);
        cr_assert(outcome == 0 || outcome == NEARCACHE_MISS);
        nearcache_release(&result);
        ++*done;
    }
    return NULL;
}

Test(async, synchronous_callers_share_the_cache)
{
    pthread_t threads[3];
    unsigned long done[3] = {0};
    struct got got = {0};
    unsigned pending = 0;
    char name[16];
    atomic_store(&over, false);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, read_and_write, &done[i]), 0);
    for (unsigned i = 0; i < 3000; i++) {
        snprintf(name, sizeof name, "m%u", i % 50);
        if (i % 5 == 0)
            pending += nearcache_set_async(tier, name, strlen(name), name, strlen(name), NULL,
                                           on_end, &got, NULL) == NEARCACHE_PENDING;
        else
            pending += get(name, &got, NULL) == NEARCACHE_PENDING;
        if (i % 100 == 0)
            nearcache_dispatch(cache, 0);
    }
    loop_until(&got.calls, pending);
    atomic_store(&over, true);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
}

Test(async, a_read_does_not_wait_for_the_deadline_of_another_one)
{
    struct nearcache *mine = cache;
    struct nearcache_read how = NEARCACHE_READ_INIT;
    struct nearcache_result result;
    struct got busy = {0}, patient = {0}, hasty = {0};
    char name[16];
    /* Without the loop's connection reads are for the threads, and those are busy. */
    cache = open_cache(PATIENT_US);
    tier = open_tier(cache);
    redis_server_pause(&server);
    how.timeout_us = 200000;
    for (unsigned i = 0; i < 8; i++) {
        snprintf(name, sizeof name, "busy%u", i);
        cr_assert_eq(
            nearcache_get_async(tier, name, strlen(name), &how, on_get, &busy, &result, NULL),
            NEARCACHE_PENDING);
    }
    how.timeout_us = PATIENT_US;
    cr_assert_eq(nearcache_get_async(tier, "p", 1, &how, on_get, &patient, &result, NULL),
                 NEARCACHE_PENDING);
    how.timeout_us = 400000;
    cr_assert_eq(nearcache_get_async(tier, "h", 1, &how, on_get, &hasty, &result, NULL),
                 NEARCACHE_PENDING);
    loop_until(&hasty.calls, 1);
    cr_assert_lt(hasty.status, 0);
    cr_assert_eq(patient.calls, 0);
    redis_server_resume(&server);
    loop_until(&patient.calls, 1);
    cr_assert_eq(nearcache_close(cache, 0), 0);
    cache = mine;
}
