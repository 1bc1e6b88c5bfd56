/* Writes of an event loop on a real server. */
#include "lib/async_fixture.h"
#include "lib/wait_until.h"

#include <criterion/criterion.h>
#include <nearcache/metrics.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

REDIS_SERVER_REQUIRED;

TestSuite(async_writes, .init = async_set_up, .fini = async_tear_down, .timeout = 90);

Test(async_writes, writes_of_a_key_keep_their_order)
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

Test(async_writes, a_read_sees_the_writes_before_it_and_none_after_it)
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

Test(async_writes, redis_killed_and_back_writes_are_local_and_then_there)
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

static int set(const char *name, const char *value, const struct nearcache_write *how,
               struct got *got, nearcache_ticket *ticket)
{
    return nearcache_set_async(tier, name, strlen(name), value, strlen(value), how, on_end, got,
                               ticket);
}

Test(async_writes, what_was_taken_outlives_an_older_write_that_is_acknowledged)
{
    struct nearcache_write hasty = NEARCACHE_WRITE_INIT;
    struct got older = {0}, newer = {0};
    struct nearcache_metrics metrics = NEARCACHE_METRICS_INIT;
    hasty.timeout_us = 20000;
    redis_server_pause(&server);
    cr_assert_eq(set("k", "older", NULL, &older, NULL), NEARCACHE_PENDING);
    cr_assert_eq(set("k", "newer", &hasty, &newer, NULL), NEARCACHE_PENDING);
    loop_until(&newer.calls, 1);
    cr_assert_eq(newer.status, NEARCACHE_LOCAL);
    cr_assert_eq(older.calls, 0);
    redis_server_resume(&server);
    loop_until(&older.calls, 1);
    cr_assert_eq(older.status, 0);
    cr_assert_eq(nearcache_wait(cache, PATIENT_US), 0);
    cr_assert_eq(nearcache_metrics(cache, &metrics), 0);
    cr_expect_eq(metrics.journal_refused, 0);
    cr_expect(redis_says("newer", "GET t:k"));
}

Test(async_writes, what_is_written_together_is_one_call_and_needs_no_thread)
{
    struct got got = {0};
    char name[16];
    unsigned before = threads();
    long calls = requests("evalsha");
    for (unsigned i = 0; i < 64; i++) {
        snprintf(name, sizeof name, "w%u", i);
        cr_assert_eq(set(name, name, NULL, &got, NULL), NEARCACHE_PENDING);
    }
    loop_until(&got.calls, 64);
    cr_assert_eq(got.status, 0);
    calls = requests("evalsha") - calls;
    cr_assert(calls > 0 && calls < 10, "%ld calls for 64 writes", calls);
    cr_assert_eq(threads(), before, "no thread stands between the loop and Redis");
    cr_assert(redis_says("w63", "GET t:w63"));
}

Test(async_writes, a_copy_stays_here)
{
    struct nearcache_result result;
    struct got got = {0};
    cr_assert_eq(set("own", "1", NULL, &got, NULL), NEARCACHE_PENDING);
    loop_until(&got.calls, 1);
    cr_assert_eq(nearcache_peek(tier, "own", 3, &result), 0);
    cr_assert_eq(result.source, NEARCACHE_SOURCE_LOCAL);
    nearcache_release(&result);
    cr_assert_eq(nearcache_delete_async(tier, "own", 3, NULL, on_end, &got, NULL),
                 NEARCACHE_PENDING);
    loop_until(&got.calls, 2);
    cr_assert_eq(nearcache_peek(tier, "own", 3, &result), NEARCACHE_MISS);
    cr_assert_eq(result.source, NEARCACHE_SOURCE_NEGATIVE);
}

Test(async_writes, a_copy_is_no_answer_while_a_write_is_under_way)
{
    struct got wrote = {0}, got = {0};
    cr_assert_eq(nearcache_set(tier, "k", 1, "old", 3, NULL), 0);
    cr_assert_eq(set("k", "new", NULL, &wrote, NULL), NEARCACHE_PENDING);
    cr_assert_eq(get("k", &got, NULL), NEARCACHE_PENDING);
    loop_until(&got.calls, 1);
    cr_assert_eq(got.status, 0);
    cr_assert_str_eq(got.text, "new");
    cr_assert_eq(wrote.calls, 1);
}

Test(async_writes, a_synchronous_writer_does_not_wait_for_a_loop_that_stands)
{
    struct nearcache_write how = NEARCACHE_WRITE_INIT;
    struct got got = {0};
    how.timeout_us = PATIENT_US / 4;
    for (unsigned i = 0; i < 4; i++) {
        cr_assert_eq(set("s", "loop", NULL, &got, NULL), NEARCACHE_PENDING);
        cr_assert_eq(nearcache_set(tier, "s", 1, "caller", 6, &how), 0);
        cr_assert_eq(got.calls, i, "only inside of the dispatch");
        cr_assert(redis_says("caller", "GET t:s"));
        loop_until(&got.calls, i + 1);
        cr_assert_eq(got.status, 0);
    }
}

Test(async_writes, a_server_that_forgot_the_script_gets_it_again)
{
    struct got got = {0};
    cr_assert_eq(set("f", "1", NULL, &got, NULL), NEARCACHE_PENDING);
    loop_until(&got.calls, 1);
    free(redis_server_ask(&server, "SCRIPT FLUSH"));
    cr_assert_eq(set("f", "2", NULL, &got, NULL), NEARCACHE_PENDING);
    loop_until(&got.calls, 2);
    cr_assert_eq(got.status, 0);
    cr_assert(redis_says("2", "GET t:f"));
}

Test(async_writes, a_server_that_hangs_leaves_a_write_in_the_journal)
{
    struct nearcache_write how = NEARCACHE_WRITE_INIT;
    struct got got = {0};
    how.timeout_us = 50000;
    redis_server_pause(&server);
    cr_assert_eq(set("h", "1", &how, &got, NULL), NEARCACHE_PENDING);
    cr_assert_eq(set("h", "2", &how, &got, NULL), NEARCACHE_PENDING);
    loop_until(&got.calls, 2);
    cr_assert_eq(got.status, NEARCACHE_LOCAL);
    redis_server_resume(&server);
    cr_assert_eq(nearcache_wait(cache, PATIENT_US), 0);
    cr_assert(WAIT_UNTIL(redis_says("2", "GET t:h"), PATIENT_MS));
}

Test(async_writes, a_connection_that_breaks_under_a_write_leaves_it_in_doubt_until_its_deadline)
{
    struct nearcache_write how = NEARCACHE_WRITE_INIT;
    struct got got = {0};
    unsigned pending = 0;
    char name[16];
    how.timeout_us = 300000;
    redis_server_pause(&server);
    for (unsigned i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "d%u", i);
        cr_assert_eq(set(name, name, &how, &got, NULL), NEARCACHE_PENDING);
        pending++;
    }
    const uint64_t begin_ns = wait_now_ns();
    redis_server_kill(&server);
    loop_until(&got.calls, pending);
    cr_assert_eq(got.status, NEARCACHE_LOCAL);
    cr_assert_geq(wait_now_ns() - begin_ns, UINT64_C(200000000));
    cr_assert(redis_server_restart(&server));
    cr_assert_eq(nearcache_wait(cache, PATIENT_US), 0);
    cr_assert(WAIT_UNTIL(redis_says("d19", "GET t:d19"), PATIENT_MS));
}

Test(async_writes, a_value_of_the_wrong_type_is_reported)
{
    struct nearcache_tier *vectors;
    struct nearcache_tier_config config = NEARCACHE_TIER_INIT;
    struct got got = {0};
    config.name = "v";
    config.prefix = "v:";
    config.kind = NEARCACHE_VECTOR_F32;
    config.dimension = 4;
    cr_assert_eq(nearcache_tier_open(cache, &config, &vectors), 0);
    cr_assert_eq(nearcache_set_async(vectors, "a", 1, "short", 5, NULL, on_end, &got, NULL),
                 NEARCACHE_ETYPE);
    cr_assert_eq(got.calls, 0);
}

Test(async_writes, what_is_cancelled_never_calls_back)
{
    struct got got = {0}, after = {0};
    nearcache_ticket ticket;
    for (unsigned i = 0; i < 50; i++) {
        cr_assert_eq(set("c", "x", NULL, &got, &ticket), NEARCACHE_PENDING);
        cr_assert_eq(nearcache_cancel(cache, ticket), 0);
        cr_assert_eq(nearcache_cancel(cache, ticket), NEARCACHE_MISS);
    }
    cr_assert_eq(set("c", "last", NULL, &after, NULL), NEARCACHE_PENDING);
    loop_until(&after.calls, 1);
    cr_assert_eq(after.status, 0);
    cr_assert_eq(got.calls, 0);
    cr_assert(redis_says("last", "GET t:c"));
}

Test(async_writes, closing_with_writes_under_way_calls_nobody)
{
    struct nearcache *mine = cache;
    struct got got = {0};
    char name[16];
    cache = open_cache(200000);
    tier = open_tier(cache);
    wait_for_loop();
    for (unsigned i = 0; i < 500; i++) {
        snprintf(name, sizeof name, "x%u", i % 100);
        cr_assert_eq(set(name, name, NULL, &got, NULL), NEARCACHE_PENDING);
    }
    cr_assert_eq(nearcache_close(cache, 0), 0);
    cr_assert_eq(got.calls, 0);
    cache = mine;
}

/* The loop's connection is lost under more writes than there are threads: some wait for one. */
static void leave_writes_in_doubt(const struct nearcache_write *how, struct got *got,
                                  nearcache_ticket *tickets, unsigned count)
{
    char name[16];
    unsigned before = threads();
    redis_server_pause(&server);
    for (unsigned i = 0; i < count; i++) {
        snprintf(name, sizeof name, "q%u", i);
        cr_assert_eq(set(name, name, how, got, &tickets[i]), NEARCACHE_PENDING);
    }
    cr_assert_eq(nearcache_dispatch(cache, 0), 0);
    redis_server_kill(&server);
    cr_assert(WAIT_UNTIL(threads() >= before + 7, PATIENT_MS));
}

Test(async_writes, one_in_doubt_that_was_cancelled_ends_with_the_cache)
{
    struct nearcache *mine = cache;
    struct nearcache_write how = NEARCACHE_WRITE_INIT;
    nearcache_ticket tickets[20];
    struct got got = {0};
    cache = open_cache(PATIENT_US);
    tier = open_tier(cache);
    wait_for_loop();
    how.timeout_us = PATIENT_US;
    leave_writes_in_doubt(&how, &got, tickets, 20);
    for (unsigned i = 0; i < 20; i++)
        cr_assert_eq(nearcache_cancel(cache, tickets[i]), 0);
    const uint64_t begin_ns = wait_now_ns();
    cr_assert_eq(nearcache_close(cache, 100000), 0);
    cr_assert_lt(wait_now_ns() - begin_ns, UINT64_C(500000) * PATIENT_MS,
                 "closing does not wait for their deadlines");
    cr_assert_eq(got.calls, 0);
    cache = mine;
}

/* The server stands. Without the loop's connection writes are for the threads, and these are busy.
 */
static void keep_threads_busy(struct got *busy)
{
    struct nearcache_write how = NEARCACHE_WRITE_INIT;
    char name[16];
    redis_server_pause(&server);
    how.timeout_us = 500000;
    for (unsigned i = 0; i < 8; i++) {
        snprintf(name, sizeof name, "busy%u", i);
        cr_assert_eq(set(name, name, &how, busy, NULL), NEARCACHE_PENDING);
    }
}

/* A write that is given up before it has begun. */
static void give_up_unbegun(struct got *busy, struct got *got)
{
    struct nearcache_write how = NEARCACHE_WRITE_INIT;
    keep_threads_busy(busy);
    how.timeout_us = 20000;
    cr_assert_eq(set("k", "new", &how, got, NULL), NEARCACHE_PENDING);
    loop_until(&got->calls, 1);
    cr_assert_eq(got->status, NEARCACHE_LOCAL);
}

Test(async_writes, one_that_was_never_begun_leaves_no_old_copy)
{
    struct nearcache *mine = cache;
    struct nearcache_read read = NEARCACHE_READ_INIT;
    struct nearcache_result result;
    struct got busy = {0}, got = {0};
    cache = open_cache(PATIENT_US);
    tier = open_tier(cache);
    cr_assert_eq(nearcache_set(tier, "k", 1, "old", 3, NULL), 0);
    give_up_unbegun(&busy, &got);
    read.timeout_us = 20000;
    cr_assert_eq(nearcache_get(tier, "k", 1, &read, &result), 0);
    cr_assert_arr_eq(result.data, "new", 3);
    nearcache_release(&result);
    redis_server_resume(&server);
    loop_until(&busy.calls, 8);
    cr_assert_eq(nearcache_close(cache, 0), 0);
    cache = mine;
}

static _Atomic unsigned removals;

static void call_back(void *arg, const struct nearcache_removal *removal)
{
    (void)arg;
    (void)removal;
    removals++;
    nearcache_cancel(cache, UINT64_MAX); /* what takes the lock of the calls */
}

Test(async_writes, what_is_removed_by_a_write_that_is_given_up_may_call_back)
{
    struct nearcache *mine = cache;
    struct nearcache_config config = NEARCACHE_CONFIG_INIT;
    struct got busy = {0}, got = {0};
    config.on_removal = call_back;
    cache = open_cache_with(&config, PATIENT_US);
    tier = open_tier(cache);
    cr_assert_eq(nearcache_set(tier, "k", 1, "old", 3, NULL), 0);
    removals = 0;
    give_up_unbegun(&busy, &got);
    cr_expect_geq(removals, 1);
    redis_server_resume(&server);
    loop_until(&busy.calls, 8);
    cr_assert_eq(nearcache_close(cache, 0), 0);
    cache = mine;
}

/* What call_back_cancelling gives up, and where its rows are. */
static nearcache_ticket unwanted;
static int gone[2], was_cancelled;

static void call_back_cancelling(void *arg, const struct nearcache_removal *removal)
{
    (void)arg;
    (void)removal;
    if (unwanted == 0)
        return;
    was_cancelled = nearcache_cancel(cache, unwanted);
    unwanted = 0;
    gone[0] = gone[1] = 99;
}

/* A write of "k", whose old copy goes when it is given up, and a batch behind it are given up by
 * one dispatch; the removal cancels one of the two. False: the write had begun, its copy was gone.
 */
static bool try_to_cancel(bool itself, struct got *write, struct got *batch)
{
    static const struct nearcache_name names[] = {{"x", 1}, {"y", 1}};
    struct nearcache *mine = cache;
    struct nearcache_config config = NEARCACHE_CONFIG_INIT;
    struct nearcache_write how = NEARCACHE_WRITE_INIT;
    struct nearcache_read read = NEARCACHE_READ_INIT;
    struct nearcache_result results[2];
    struct got busy = {0};
    nearcache_ticket tickets[2];
    memset(write, 0, sizeof *write);
    memset(batch, 0, sizeof *batch);
    config.on_removal = call_back_cancelling;
    was_cancelled = -1;
    gone[0] = gone[1] = 0;
    cache = open_cache_with(&config, PATIENT_US);
    tier = open_tier(cache);
    cr_assert_eq(nearcache_set(tier, "k", 1, "old", 3, NULL), 0);
    keep_threads_busy(&busy);
    how.timeout_us = read.timeout_us = 20000;
    cr_assert_eq(set("k", "new", &how, write, &tickets[0]), NEARCACHE_PENDING);
    cr_assert_eq(
        nearcache_get_many_async(tier, names, 2, &read, results, gone, on_end, batch, &tickets[1]),
        NEARCACHE_PENDING);
    const uint64_t end_ns = wait_now_ns() + 25000000;
    cr_assert(WAIT_UNTIL(wait_now_ns() > end_ns, PATIENT_MS));
    unwanted = tickets[itself ? 0 : 1];
    cr_assert_geq(nearcache_dispatch(cache, 0), 0);
    unwanted = 0;
    redis_server_resume(&server);
    loop_until(&busy.calls, 8);
    cr_assert_eq(nearcache_close(cache, 0), 0);
    cache = mine;
    return was_cancelled != -1;
}

static void cancel_while_it_is_dispatched(bool itself, struct got *write, struct got *batch)
{
    for (int tries = 1; !try_to_cancel(itself, write, batch); tries++)
        cr_assert_lt(tries, 50);
    cr_assert_eq(was_cancelled, 0);
}

Test(async_writes, what_lands_together_may_be_cancelled_by_what_is_called_back_for_it)
{
    struct got write = {0}, batch = {0};
    cancel_while_it_is_dispatched(false, &write, &batch);
    cr_assert_eq(write.calls, 1);
    cr_assert_eq(write.status, NEARCACHE_LOCAL);
    cr_assert_eq(batch.calls, 0);
    cr_assert_eq(gone[0], 99, "written after it was given back");
    cr_assert_eq(gone[1], 99);
}

Test(async_writes, a_write_may_be_cancelled_by_what_is_called_back_for_itself)
{
    struct got write = {0}, batch = {0};
    cancel_while_it_is_dispatched(true, &write, &batch);
    cr_assert_eq(write.calls, 0);
    cr_assert_eq(batch.calls, 1);
    cr_assert_eq(batch.status, NEARCACHE_ETIMEOUT);
}

Test(async_writes, where_others_write_too_one_that_was_never_begun_replaces_what_was_seen)
{
    struct nearcache *mine = cache;
    struct nearcache_config config = NEARCACHE_CONFIG_INIT;
    struct nearcache_tier_config tier_config = NEARCACHE_TIER_INIT;
    struct nearcache_metrics metrics = NEARCACHE_METRICS_INIT;
    struct nearcache_result result;
    struct got busy = {0}, got = {0};
    /* Before anybody is told of it: that would drop the copy, at any time after. */
    cr_assert(redis_says("OK", "SET t:k old"));
    cache = open_cache_with(&config, PATIENT_US);
    tier_config.name = "t";
    tier_config.prefix = "t:";
    tier_config.coherence = NEARCACHE_COHERENCE_TRACKING;
    cr_assert_eq(nearcache_tier_open(cache, &tier_config, &tier), 0);
    cr_assert_eq(nearcache_wait(cache, PATIENT_US), 0);
    for (bool here = false; !here; nearcache_release(&result)) {
        cr_assert_eq(nearcache_get(tier, "k", 1, NULL, &result), 0);
        here = result.source == NEARCACHE_SOURCE_LOCAL;
    }
    give_up_unbegun(&busy, &got);
    redis_server_resume(&server);
    loop_until(&busy.calls, 8);
    cr_assert_eq(nearcache_wait(cache, PATIENT_US), 0);
    cr_expect(redis_says("new", "GET t:k"));
    cr_assert_eq(nearcache_metrics(cache, &metrics), 0);
    cr_expect_eq(metrics.journal_queued, 0);
    cr_assert_eq(nearcache_close(cache, 0), 0);
    cache = mine;
}

Test(async_writes, closing_waits_for_no_thread_that_waits_out_a_doubt)
{
    struct nearcache *mine = cache;
    struct nearcache_config config = NEARCACHE_CONFIG_INIT;
    struct got got = {0};
    unsigned before;
    cache = open_cache_with(&config, PATIENT_US);
    tier = open_tier(cache);
    before = threads();
    redis_server_pause(&server);
    cr_assert_eq(set("k", "new", NULL, &got, NULL), NEARCACHE_PENDING);
    cr_assert_geq(nearcache_dispatch(cache, 0), 0);
    cr_assert(WAIT_UNTIL(threads() > before, PATIENT_MS));
    /* The thread has sent it when somebody reads for the answer: what is asked for behind it is
     * not answered either. */
    struct nearcache_read how = NEARCACHE_READ_INIT;
    struct nearcache_result result;
    how.timeout_us = 50000;
    cr_assert_neq(nearcache_get(tier, "other", 5, &how, &result), 0);
    redis_server_kill(&server);
    const uint64_t begin_ns = wait_now_ns();
    cr_assert_eq(nearcache_close(cache, 100000), 0);
    cr_assert_lt(wait_now_ns() - begin_ns, UINT64_C(500000) * PATIENT_MS,
                 "closing does not wait for its deadline");
    cr_assert_eq(got.calls, 0);
    cache = mine;
}
