/* Batches of an event loop on a real server: what is here at once, the rest through the loop. */
#include "lib/async_fixture.h"
#include "lib/wait_until.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

REDIS_SERVER_REQUIRED;

TestSuite(async_batches, .init = async_set_up, .fini = async_tear_down, .timeout = 90);

/* A tier of vectors of 2 KiB without expiry. */
static struct nearcache_tier *open_vectors(struct nearcache *in)
{
    struct nearcache_tier_config config = NEARCACHE_TIER_INIT;
    struct nearcache_tier *vectors;
    config.name = "v";
    config.prefix = "v:";
    config.kind = NEARCACHE_VECTOR_F32;
    config.dimension = 512;
    config.redis_ttl_ms = NEARCACHE_NONE;
    cr_assert_eq(nearcache_tier_open(in, &config, &vectors), 0);
    return vectors;
}

enum { ROWS = 2000, DIMENSION = 512 };

/* Names and rows of a large matrix; row i is in Redis, and filled with its number. */
static struct {
    char text[ROWS][8];
    struct nearcache_name names[ROWS];
    float matrix[ROWS][DIMENSION];
    int statuses[ROWS];
} large;

static void fill_large(void)
{
    redisContext *context = redis_server_connect(&server);
    for (unsigned i = 0; i < ROWS; i++) {
        large.names[i].data = large.text[i];
        large.names[i].bytes = (size_t)snprintf(large.text[i], sizeof large.text[i], "%u", i);
        for (unsigned k = 0; k < DIMENSION; k++)
            large.matrix[0][k] = (float)i;
        freeReplyObject(redisCommand(context, "SET v:%s %b", large.text[i], large.matrix[0],
                                     sizeof large.matrix[0]));
    }
    redisFree(context);
    memset(large.matrix, 0, sizeof large.matrix);
}

static void check_large(void)
{
    for (unsigned i = 0; i < ROWS; i++) {
        cr_assert_eq(large.statuses[i], 0);
        cr_assert_float_eq(large.matrix[i][0], (float)i, 0.1);
        cr_assert_float_eq(large.matrix[i][DIMENSION - 1], (float)i, 0.1);
    }
}

static int ask_large(struct nearcache_tier *vectors, struct got *got, nearcache_ticket *ticket)
{
    return nearcache_get_vectors_async(vectors, large.names, ROWS, NULL, large.matrix, 0,
                                       large.statuses, NULL, on_end, got, ticket);
}

Test(async_batches, a_batch_fills_the_arrays_of_the_caller)
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

Test(async_batches, vectors_are_rows_of_the_matrix_of_the_caller)
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

Test(async_batches, rows_that_are_here_complete_at_once)
{
    struct nearcache_tier *vectors = open_vectors(cache);
    const struct nearcache_name names[] = {{"1", 1}, {"2", 1}};
    static float row[DIMENSION] = {7}, matrix[2][DIMENSION];
    enum nearcache_source sources[2];
    int statuses[2];
    struct got got = {0};
    cr_assert_eq(nearcache_set(vectors, "1", 1, row, sizeof row, NULL), 0);
    cr_assert_eq(nearcache_delete(vectors, "2", 1, NULL), 0);
    cr_assert_eq(nearcache_get_vectors_async(vectors, names, 2, NULL, matrix, 0, statuses, sources,
                                             on_end, &got, NULL),
                 0);
    cr_assert_eq(statuses[0], 0);
    cr_assert_eq(sources[0], NEARCACHE_SOURCE_LOCAL);
    cr_assert_eq(statuses[1], NEARCACHE_MISS);
    cr_assert_eq(sources[1], NEARCACHE_SOURCE_NEGATIVE);
    cr_assert_arr_eq(matrix[0], row, sizeof row);
    cr_assert_eq(nearcache_dispatch(cache, 0), 0);
    cr_assert_eq(got.calls, 0);
}

Test(async_batches, a_row_without_a_name_spoils_only_itself)
{
    const struct nearcache_name names[] = {{"a", 1}, {"", 0}, {"a", 1}};
    struct nearcache_result results[3];
    int statuses[3];
    struct got got = {0};
    free(redis_server_ask(&server, "SET t:a one"));
    cr_assert_eq(
        nearcache_get_many_async(tier, names, 3, NULL, results, statuses, on_end, &got, NULL),
        NEARCACHE_PENDING);
    loop_until(&got.calls, 1);
    cr_assert_eq(got.status, NEARCACHE_EINVAL);
    cr_assert_eq(statuses[0], 0);
    cr_assert_eq(statuses[1], NEARCACHE_EINVAL);
    cr_assert_eq(statuses[2], 0, "the same key again");
    cr_assert_arr_eq(results[2].data, "one", 3);
    nearcache_release_many(results, 3);
    cr_assert_eq(nearcache_pinned(cache), 0);
}

Test(async_batches, a_large_matrix_comes_whole_and_keeps_no_get_waiting)
{
    struct nearcache_tier *vectors = open_vectors(cache);
    struct got rows = {0}, one = {0};
    unsigned before = threads();
    fill_large();
    free(redis_server_ask(&server, "SET t:a one"));
    cr_assert_eq(ask_large(vectors, &rows, NULL), NEARCACHE_PENDING);
    cr_assert_eq(get("a", &one, NULL), NEARCACHE_PENDING);
    loop_until(&one.calls, 1);
    cr_assert_eq(rows.calls, 0, "four megabytes were faster than one value");
    loop_until(&rows.calls, 1);
    cr_assert_eq(rows.status, 0);
    check_large();
    cr_assert_eq(threads(), before, "no thread stands between the loop and Redis");
}

Test(async_batches, a_matrix_may_be_larger_than_the_budget)
{
    struct nearcache_redis redis = NEARCACHE_REDIS_INIT;
    struct nearcache_config config = NEARCACHE_CONFIG_INIT;
    struct nearcache *whole = cache;
    struct got got = {0};
    redis.url = server.unix_url;
    config.redis = &redis;
    config.budget_bytes = 2 << 20;
    config.deadline_us = PATIENT_US;
    fill_large();
    cr_assert_eq(nearcache_open(&cache, &config), 0);
    cr_assert_eq(nearcache_wait(cache, PATIENT_US), 0);
    tier = open_tier(cache);
    wait_for_loop();
    cr_assert_eq(ask_large(open_vectors(cache), &got, NULL), NEARCACHE_PENDING);
    loop_until(&got.calls, 1);
    cr_assert_eq(got.status, 0);
    check_large();
    cr_assert_eq(nearcache_pinned(cache), 0);
    cr_assert_eq(nearcache_close(cache, 0), 0);
    cache = whole;
}

Test(async_batches, what_is_cancelled_never_calls_back_and_keeps_nothing)
{
    struct nearcache_tier *vectors = open_vectors(cache);
    struct got got = {0}, after = {0};
    nearcache_ticket tickets[3];
    struct nearcache_result results[2];
    const struct nearcache_name names[] = {{"here", 4}, {"none", 4}};
    int statuses[2];
    fill_large();
    cr_assert_eq(nearcache_set(tier, "here", 4, "x", 1, NULL), 0);
    for (unsigned i = 0; i < 2; i++)
        cr_assert_eq(ask_large(vectors, &got, &tickets[i]), NEARCACHE_PENDING);
    cr_assert_eq(nearcache_get_many_async(tier, names, 2, NULL, results, statuses, on_end, &got,
                                          &tickets[2]),
                 NEARCACHE_PENDING);
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_eq(nearcache_cancel(cache, tickets[i]), 0);
        cr_assert_eq(nearcache_cancel(cache, tickets[i]), NEARCACHE_MISS);
    }
    cr_assert_eq(get("none", &after, NULL), NEARCACHE_PENDING);
    loop_until(&after.calls, 1);
    cr_assert_eq(got.calls, 0);
    cr_assert_eq(nearcache_pinned(cache), 0);
}

Test(async_batches, a_server_that_hangs_costs_the_deadline_and_what_is_here_is_there)
{
    const struct nearcache_name names[] = {{"here", 4}, {"a", 1}, {"b", 1}};
    struct nearcache_read how = NEARCACHE_READ_INIT;
    struct nearcache_result results[3];
    int statuses[3];
    struct got got = {0};
    cr_assert_eq(nearcache_set(tier, "here", 4, "x", 1, NULL), 0);
    how.timeout_us = 20000;
    redis_server_pause(&server);
    cr_assert_eq(
        nearcache_get_many_async(tier, names, 3, &how, results, statuses, on_end, &got, NULL),
        NEARCACHE_PENDING);
    loop_until(&got.calls, 1);
    redis_server_resume(&server);
    cr_assert_eq(statuses[0], 0);
    cr_assert_eq(results[0].source, NEARCACHE_SOURCE_LOCAL);
    for (unsigned i = 1; i < 3; i++)
        cr_assert(statuses[i] == NEARCACHE_ETIMEOUT || statuses[i] == NEARCACHE_EOFFLINK);
    cr_assert_eq(got.status, statuses[1]);
    nearcache_release_many(results, 3);
}

Test(async_batches, a_write_that_waits_for_redis_is_the_answer)
{
    const struct nearcache_name names[] = {{"l", 1}, {"none", 4}};
    struct nearcache_write write = NEARCACHE_WRITE_INIT;
    struct nearcache_read how = NEARCACHE_READ_INIT;
    struct nearcache_result results[2];
    int statuses[2];
    struct got got = {0};
    write.timeout_us = how.timeout_us = 100000;
    redis_server_kill(&server);
    cr_assert_eq(nearcache_set(tier, "l", 1, "local", 5, &write), NEARCACHE_LOCAL);
    cr_assert_eq(
        nearcache_get_many_async(tier, names, 2, &how, results, statuses, on_end, &got, NULL),
        NEARCACHE_PENDING);
    loop_until(&got.calls, 1);
    cr_assert_eq(statuses[0], 0);
    cr_assert_eq(results[0].source, NEARCACHE_SOURCE_STALE);
    cr_assert_arr_eq(results[0].data, "local", 5);
    cr_assert_lt(statuses[1], 0);
    nearcache_release_many(results, 2);
    cr_assert(redis_server_restart(&server));
}

Test(async_batches, a_batch_sees_the_writes_before_it_and_none_after_it)
{
    const struct nearcache_name names[] = {{"none", 4}, {"o", 1}};
    struct got got[3] = {{0}};
    struct nearcache_result results[2];
    int statuses[2];
    char before[16], after[16];
    for (unsigned i = 0; i < 300; i++) {
        memset(got, 0, sizeof got);
        size_t bytes = (size_t)snprintf(before, sizeof before, "%u", 1000 + 2 * i);
        snprintf(after, sizeof after, "%u", 1001 + 2 * i);
        cr_assert_eq(nearcache_set_async(tier, "o", 1, before, bytes, NULL, on_end, &got[0], NULL),
                     NEARCACHE_PENDING);
        if (i % 2)
            loop_until(&got[0].calls, 1);
        int outcome = nearcache_get_many_async(tier, names, 2, NULL, results, statuses, on_end,
                                               &got[1], NULL);
        cr_assert_eq(nearcache_set_async(tier, "o", 1, after, bytes, NULL, on_end, &got[2], NULL),
                     NEARCACHE_PENDING);
        loop_until(&got[1].calls, outcome == NEARCACHE_PENDING);
        loop_until(&got[2].calls, 1);
        cr_assert_eq(statuses[1], 0);
        cr_assert_arr_eq(results[1].data, before, bytes);
        nearcache_release_many(results, 2);
    }
}

Test(async_batches, a_synchronous_caller_does_not_wait_for_a_loop_that_stands)
{
    struct nearcache_tier *vectors = open_vectors(cache);
    struct nearcache_read how = NEARCACHE_READ_INIT;
    static float matrix[64][DIMENSION];
    static int statuses[64];
    struct got got = {0};
    fill_large();
    how.timeout_us = PATIENT_US / 4;
    cr_assert_eq(ask_large(vectors, &got, NULL), NEARCACHE_PENDING);
    cr_assert_eq(nearcache_get_vectors(vectors, large.names, 64, &how, matrix, 0, NULL, NULL,
                                       statuses, NULL),
                 0);
    cr_assert_float_eq(matrix[63][0], 63.0f, 0.1);
    cr_assert_eq(got.calls, 0, "only inside of the dispatch");
    loop_until(&got.calls, 1);
    check_large();
}

Test(async_batches, a_connection_that_breaks_costs_rows_an_error_and_comes_back)
{
    struct nearcache_tier *vectors = open_vectors(cache);
    struct got got = {0};
    fill_large();
    cr_assert_eq(ask_large(vectors, &got, NULL), NEARCACHE_PENDING);
    free(redis_server_ask(&server, "CLIENT KILL TYPE normal SKIPME yes"));
    loop_until(&got.calls, 1);
    const uint64_t end_ns = wait_now_ns() + UINT64_C(1000000) * PATIENT_MS;
    unsigned asked = 1;
    while (got.status != 0 && wait_now_ns() < end_ns) {
        if (ask_large(vectors, &got, NULL) == 0)
            break;
        loop_until(&got.calls, ++asked);
    }
    check_large();
}

Test(async_batches, closing_with_batches_under_way_calls_nobody)
{
    struct nearcache *mine = cache;
    struct got got = {0};
    fill_large();
    cache = open_cache(200000);
    tier = open_tier(cache);
    wait_for_loop();
    struct nearcache_tier *vectors = open_vectors(cache);
    for (unsigned i = 0; i < 20; i++)
        cr_assert_eq(ask_large(vectors, &got, NULL), NEARCACHE_PENDING);
    cr_assert_eq(nearcache_close(cache, 0), 0);
    cr_assert_eq(got.calls, 0);
    cache = mine;
}
