/* The asynchronous calls on a real server: one loop thread, callbacks only in the dispatch. */
#include "nearcache/async.h"

#include "lib/redis_server.h"
#include "lib/wait_until.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

REDIS_SERVER_REQUIRED;

enum { PATIENT_US = 20000000, PATIENT_MS = 20000 };

static struct redis_server server;
static struct nearcache *cache;
static struct nearcache_tier *tier;

static struct nearcache *open_cache(uint64_t deadline_us)
{
    struct nearcache_redis redis = NEARCACHE_REDIS_INIT;
    struct nearcache_config config = NEARCACHE_CONFIG_INIT;
    struct nearcache *opened;
    redis.url = server.unix_url;
    config.redis = &redis;
    config.deadline_us = deadline_us;
    cr_assert_eq(nearcache_open(&opened, &config), 0);
    cr_assert_eq(nearcache_wait(opened, PATIENT_US), 0);
    return opened;
}

static struct nearcache_tier *open_tier(struct nearcache *in)
{
    struct nearcache_tier_config config = NEARCACHE_TIER_INIT;
    struct nearcache_tier *opened;
    config.name = "t";
    config.prefix = "t:";
    config.redis_ttl_ms = 60000;
    cr_assert_eq(nearcache_tier_open(in, &config, &opened), 0);
    return opened;
}

static long connections(void)
{
    char *text = redis_server_ask(&server, "INFO clients");
    const char *at = text ? strstr(text, "connected_clients:") : NULL;
    long count = at ? strtol(at + strlen("connected_clients:"), NULL, 10) : -1;
    free(text);
    return count;
}

static void wait_for_loop(void);

static void set_up(void)
{
    cr_assert(redis_server_start(&server, NULL));
    cache = open_cache(PATIENT_US);
    tier = open_tier(cache);
    wait_for_loop();
}

static void tear_down(void)
{
    cr_assert_eq(nearcache_close(cache, 0), 0);
    redis_server_stop(&server);
}

TestSuite(async, .init = set_up, .fini = tear_down, .timeout = 90);

/* Dispatches until `*count` has reached `wanted`. */
static void loop_until(const unsigned *count, unsigned wanted)
{
    struct pollfd readable = {nearcache_fd(cache), POLLIN, 0};
    cr_assert_geq(readable.fd, 0);
    while (*count < wanted) {
        cr_assert_gt(poll(&readable, 1, PATIENT_MS), 0, "nothing came, %u of %u", *count, wanted);
        cr_assert_geq(nearcache_dispatch(cache, 0), 0);
    }
}

struct got {
    unsigned calls;
    int status;
    enum nearcache_source source;
    char text[64];
};

static void on_get(void *arg, int status, struct nearcache_result *result)
{
    struct got *got = arg;
    got->calls++;
    got->status = status;
    got->source = result->source;
    got->text[0] = '\0';
    if (status == 0) {
        snprintf(got->text, sizeof got->text, "%.*s", (int)result->bytes,
                 (const char *)result->data);
        nearcache_release(result);
    }
}

static void on_end(void *arg, int status)
{
    struct got *got = arg;
    got->calls++;
    got->status = status;
}

static int get(const char *name, struct got *got, nearcache_ticket *ticket)
{
    struct nearcache_result result;
    int outcome = nearcache_get_async(tier, name, strlen(name), NULL, on_get, got, &result, ticket);
    if (outcome == 0)
        nearcache_release(&result);
    return outcome;
}

/* The loop reads by itself once the cache has made a connection for it. */
static void wait_for_loop(void)
{
    struct got got = {0};
    long before = connections();
    cr_assert_eq(get("first", &got, NULL), NEARCACHE_PENDING);
    loop_until(&got.calls, 1);
    cr_assert_eq(got.status, NEARCACHE_MISS);
    cr_assert(WAIT_UNTIL(connections() == before + 1, PATIENT_MS));
}

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

Test(async, writes_of_a_key_keep_their_order)
{
    struct got got = {0};
    char value[16];
    for (unsigned i = 0; i < 200; i++) {
        snprintf(value, sizeof value, "%u", i);
        cr_assert_eq(
            nearcache_set_async(tier, "k", 1, value, strlen(value), NULL, on_end, &got, NULL),
            NEARCACHE_PENDING);
    }
    loop_until(&got.calls, 200);
    cr_assert_eq(got.status, 0);
    char *now = redis_server_ask(&server, "GET t:k");
    cr_assert_str_eq(now, "199");
    free(now);
    cr_assert_eq(nearcache_delete_async(tier, "k", 1, NULL, on_end, &got, NULL), NEARCACHE_PENDING);
    loop_until(&got.calls, 201);
    now = redis_server_ask(&server, "EXISTS t:k");
    cr_assert_str_eq(now, "0");
    free(now);
}

Test(async, a_read_sees_the_writes_before_it_and_none_after_it)
{
    struct got got[3] = {{0}};
    char before[16], after[16];
    for (unsigned i = 0; i < 300; i++) {
        struct nearcache_read how = NEARCACHE_READ_INIT;
        struct nearcache_result result;
        memset(got, 0, sizeof got);
        snprintf(before, sizeof before, "%u", 2 * i);
        snprintf(after, sizeof after, "%u", 2 * i + 1);
        how.refresh = true;
        cr_assert_eq(
            nearcache_set_async(tier, "o", 1, before, strlen(before), NULL, on_end, &got[0], NULL),
            NEARCACHE_PENDING);
        /* Every other time the read is the loop's own: no write is there when it is asked for. */
        if (i % 2)
            loop_until(&got[0].calls, 1);
        cr_assert_eq(nearcache_get_async(tier, "o", 1, &how, on_get, &got[1], &result, NULL),
                     NEARCACHE_PENDING);
        cr_assert_eq(
            nearcache_set_async(tier, "o", 1, after, strlen(after), NULL, on_end, &got[2], NULL),
            NEARCACHE_PENDING);
        loop_until(&got[1].calls, 1);
        loop_until(&got[2].calls, 1);
        cr_assert_eq(got[1].status, 0);
        cr_assert_str_eq(got[1].text, before);
    }
}

static long requests(const char *command)
{
    char field[32];
    char *text = redis_server_ask(&server, "INFO commandstats");
    snprintf(field, sizeof field, "cmdstat_%s:calls=", command);
    const char *at = text ? strstr(text, field) : NULL;
    long count = at ? strtol(at + strlen(field), NULL, 10) : 0;
    free(text);
    return count;
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

Test(async, with_an_old_copy_at_hand_a_read_waits_no_longer_than_its_soft_timeout)
{
    struct nearcache_tier *soft;
    struct nearcache_tier_config config = NEARCACHE_TIER_INIT;
    struct nearcache_read how = NEARCACHE_READ_INIT;
    struct nearcache_result result;
    struct got got = {0};
    config.name = "soft";
    config.prefix = "soft:";
    config.coherence = NEARCACHE_COHERENCE_NONE;
    config.local_ttl_ms = 60000;
    config.max_stale_ms = 60000;
    cr_assert_eq(nearcache_tier_open(cache, &config, &soft), 0);
    cr_assert_eq(nearcache_set(soft, "k", 1, "old", 3, NULL), 0);
    cr_assert_eq(nearcache_get(soft, "k", 1, NULL, &result), 0);
    nearcache_release(&result);
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

Test(async, a_batch_fills_the_arrays_of_the_caller)
{
    const struct nearcache_name names[] = {{"a", 1}, {"b", 1}, {"none", 4}};
    struct nearcache_result results[3];
    int statuses[3] = {-100, -100, -100};
    struct got got = {0};
    free(redis_server_ask(&server, "MSET t:a one t:b two"));
    cr_assert_eq(
        nearcache_get_many_async(tier, names, 3, NULL, results, statuses, on_end, &got, NULL),
        NEARCACHE_PENDING);
    loop_until(&got.calls, 1);
    cr_assert_eq(got.status, 0);
    cr_assert_eq(statuses[0], 0);
    cr_assert_eq(statuses[1], 0);
    cr_assert_eq(statuses[2], NEARCACHE_MISS);
    cr_assert_arr_eq(results[1].data, "two", 3);
    nearcache_release_many(results, 3);
    cr_assert_eq(nearcache_pinned(cache), 0);
    cr_assert_eq(
        nearcache_get_many_async(tier, names, 2, NULL, results, statuses, on_end, &got, NULL), 0,
        "all of it is here now");
    nearcache_release_many(results, 2);
}

Test(async, vectors_are_rows_of_the_matrix_of_the_caller)
{
    struct nearcache_tier *vectors;
    struct nearcache_tier_config config = NEARCACHE_TIER_INIT;
    const struct nearcache_name names[] = {{"1", 1}, {"2", 1}};
    const float row[4] = {1, 2, 3, 4};
    float matrix[2][8] = {{0}};
    int statuses[2];
    enum nearcache_source sources[2];
    struct got got = {0};
    config.name = "v";
    config.prefix = "v:";
    config.kind = NEARCACHE_VECTOR_F32;
    config.dimension = 4;
    cr_assert_eq(nearcache_tier_open(cache, &config, &vectors), 0);
    free(redis_server_ask(&server, "SET v:2 %b", row, sizeof row));
    cr_assert_eq(nearcache_get_vectors_async(vectors, names, 2, NULL, matrix, sizeof matrix[0],
                                             statuses, sources, on_end, &got, NULL),
                 NEARCACHE_PENDING);
    loop_until(&got.calls, 1);
    cr_assert_eq(statuses[0], NEARCACHE_MISS);
    cr_assert_eq(statuses[1], 0);
    cr_assert_eq(sources[1], NEARCACHE_SOURCE_REMOTE);
    cr_assert_arr_eq(matrix[1], row, sizeof row);
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

Test(async, redis_killed_and_back_writes_are_local_and_then_there)
{
    struct nearcache_write how = NEARCACHE_WRITE_INIT;
    struct got got = {0};
    how.timeout_us = 100000;
    redis_server_kill(&server);
    cr_assert_eq(nearcache_set_async(tier, "l", 1, "local", 5, &how, on_end, &got, NULL),
                 NEARCACHE_PENDING);
    loop_until(&got.calls, 1);
    cr_assert_eq(got.status, NEARCACHE_LOCAL);
    cr_assert(redis_server_restart(&server));
    cr_assert_eq(nearcache_wait(cache, PATIENT_US), 0);
    char *now = redis_server_ask(&server, "GET t:l");
    cr_assert_str_eq(now, "local");
    free(now);
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
        nearcache_get_many_async(tier, NULL, 3, NULL, &result, &status, on_end, &got, NULL),
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
