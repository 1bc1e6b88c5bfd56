/* Workers in trouble: exchanges at the limits, answers that never come, locks that end, keys that
 * are no jobs (queue/exchange, lua/exchange-1, renew-1, stalled-1). */
#include "queue_fixture.h"

#include <poll.h>
#include <pthread.h>

REDIS_SERVER_REQUIRED;
TestSuite(queue_trouble, .init = queue_setup, .fini = queue_teardown, .timeout = 90);

#define MOST 4096

static struct nearcache_worker *worker;
static struct nearcache_worker_config config = NEARCACHE_WORKER_CONFIG_INIT;
static atomic_int runs, running, events[6], cancelled;
static atomic_bool go_on;

static void note_event(void *arg, enum nearcache_worker_event event,
                       const struct nearcache_job *job, int outcome)
{
    (void)arg;
    (void)job;
    (void)outcome;
    events[event]++;
}

static int succeed(void *arg, struct nearcache_job *job)
{
    (void)arg;
    runs++;
    return nearcache_job_return(job, NULL, 0);
}

static int wait_and_succeed(void *arg, struct nearcache_job *job)
{
    running++;
    cr_assert(WAIT_UNTIL(go_on || nearcache_job_cancelled(job), PATIENCE_MS));
    return succeed(arg, job);
}

static int succeed_together(void *arg, struct nearcache_job **jobs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        (void)succeed(arg, jobs[i]);
    return 0;
}

static void add_some(struct nearcache_queue *to, size_t count)
{
    struct nearcache_job_spec *specs = calloc(count, sizeof *specs);
    for (size_t i = 0; i < count; i++)
        specs[i] = (struct nearcache_job_spec){.name = "n", .data = "1", .data_bytes = 1};
    cr_assert_eq(nearcache_queue_add_many(to, specs, count, NULL, NULL), 0, "%s", last_log);
    free(specs);
}

static void start_on(struct nearcache_queue *of)
{
    if (!config.run && !config.run_batch)
        config.run = succeed;
    config.on_event = note_event;
    cr_assert_eq(nearcache_worker_open(&worker, of, &config), 0, "%s", last_log);
}

static void finish(void)
{
    cr_assert(WAIT_UNTIL(nearcache_worker_wait_idle(worker, 100000) == 0, PATIENCE_MS));
    cr_assert_eq(nearcache_worker_close(worker, 0), 0);
}

/* One exchange ends as many as there can be, more than Lua passes as arguments. */
Test(queue_trouble, as_many_as_concurrency_allows_end_in_one_exchange)
{
    add_some(queue, MOST);
    config.run_batch = succeed_together;
    config.batch = config.concurrency = MOST;
    start_on(queue);
    finish();
    cr_expect_eq(events[NEARCACHE_WORKER_COMPLETED], MOST);
    cr_expect(says("4096", "ZCARD bull:q:completed"));
    cr_expect(says("0", "EXISTS bull:q:active bull:q:1:lock bull:q:4096:lock"));
}

/* What may be removed is counted by the jobs that end, however many share an exchange. */
Test(queue_trouble, retention_keeps_up_with_large_exchanges)
{
    config.complete = (struct nearcache_keep){NEARCACHE_KEEP_SOME, 10, 0, 0};
    config.run_batch = succeed_together;
    config.batch = config.concurrency = MOST;
    add_some(queue, MOST);
    start_on(queue);
    finish();
    cr_expect(says("10", "ZCARD bull:q:completed"));

    for (int i = 0; i < 60; i++)
        cr_assert(says("1", "ZADD bull:q:completed 1000 old%d", i));
    config.complete = (struct nearcache_keep){NEARCACHE_KEEP_SOME, NEARCACHE_NONE, 3600, 2};
    add_some(queue, 40);
    start_on(queue);
    finish();
    cr_expect(says("0", "ZCOUNT bull:q:completed 0 1000"));
}

/* A stream that is cut to 100 is cut before the events of an exchange are written. */
Test(queue_trouble, who_waits_for_events_gets_all_of_an_exchange)
{
    struct nearcache_queue_config short_stream = NEARCACHE_QUEUE_CONFIG_INIT;
    struct nearcache_queue *other;
    struct nearcache_events *reader;
    struct nearcache_event event;
    int completed = 0;
    short_stream.max_events = 100;
    cr_assert_eq(nearcache_queue_open(&other, &redis, "short", &short_stream), 0);
    add_some(other, 1000);
    config.run_batch = succeed_together;
    config.batch = config.concurrency = 1000;
    start_on(other);
    finish();
    cr_assert_eq(nearcache_events_open(&reader, other, "0"), 0);
    while (nearcache_events_next(reader, 200000, &event) == 0)
        completed += strcmp(event.event, "completed") == 0;
    nearcache_events_close(reader);
    cr_expect_eq(completed, 1000);
    cr_assert_eq(nearcache_queue_close(other, 0), 0);
}

/* Redis refuses the report, which it therefore does not have, and the lock ends meanwhile. */
Test(queue_trouble, a_result_that_was_refused_is_not_told_as_stored)
{
    add_some(queue, 1);
    config.run = wait_and_succeed;
    config.stalled_interval_ms = NEARCACHE_NONE;
    start_on(queue);
    cr_assert(WAIT_UNTIL(running == 1, PATIENCE_MS));
    cr_assert(says("OK", "RENAME bull:q:meta saved"));
    cr_assert(says("OK", "SET bull:q:meta text"));
    go_on = true;
    cr_assert(WAIT_UNTIL(events[NEARCACHE_WORKER_ERROR] > 0, PATIENCE_MS));
    cr_assert(says("1", "DEL bull:q:1:lock"));
    cr_assert(says("OK", "RENAME saved bull:q:meta"));
    cr_assert(WAIT_UNTIL(events[NEARCACHE_WORKER_LOCK_LOST] == 1, PATIENCE_MS));
    cr_expect_eq(events[NEARCACHE_WORKER_COMPLETED], 0);
    cr_expect(says("1", "LLEN bull:q:active"));
    cr_assert_eq(nearcache_worker_close(worker, 0), 0);
}

/* The requests that were given up are carried out when Redis goes on. Their jobs come back long
 * before their locks end. */
Test(queue_trouble, what_a_slow_redis_handed_out_comes_back)
{
    struct nearcache_queue_config hasty = NEARCACHE_QUEUE_CONFIG_INIT;
    struct nearcache_queue *other;
    hasty.timeout_us = 200000;
    cr_assert_eq(nearcache_queue_open(&other, &redis, "slow", &hasty), 0);
    add_some(other, 8);
    config.run = wait_and_succeed;
    config.concurrency = 8;
    config.lock_duration_ms = 60000;
    config.stalled_interval_ms = NEARCACHE_NONE;
    start_on(other);
    cr_assert(WAIT_UNTIL(running == 8, PATIENCE_MS));
    add_some(other, 200);
    redis_server_pause(&server);
    go_on = true;
    cr_assert(WAIT_UNTIL(events[NEARCACHE_WORKER_ERROR] >= 3, PATIENCE_MS));
    redis_server_resume(&server);
    cr_assert(WAIT_UNTIL(has_become("208", "ZCARD bull:slow:completed"), PATIENCE_MS));
    cr_expect_eq(runs, 208);
    cr_expect_eq(events[NEARCACHE_WORKER_LOCK_LOST], 0);
    cr_expect(says("0", "LLEN bull:slow:active"));
    cr_assert_eq(nearcache_worker_close(worker, 0), 0);
    cr_assert_eq(nearcache_queue_close(other, 0), 0);
}

static atomic_bool closing;

static void *resume_when_closing(void *arg)
{
    (void)WAIT_UNTIL(closing, PATIENCE_MS);
    redis_server_resume(&server);
    return arg;
}

/* An idle worker's exchange finds a job that no bell told it of, in a server that stands still. */
Test(queue_trouble, a_worker_that_closes_leaves_nothing_that_a_slow_redis_handed_out)
{
    struct nearcache_queue_config hasty = NEARCACHE_QUEUE_CONFIG_INIT;
    struct nearcache_queue *other;
    pthread_t resumer;
    hasty.timeout_us = 1000000;
    cr_assert_eq(nearcache_queue_open(&other, &redis, "slow", &hasty), 0);
    config.lock_duration_ms = 600000;
    config.stalled_interval_ms = NEARCACHE_NONE;
    config.drain_delay_ms = 60000;
    start_on(other);
    cr_assert_eq(nearcache_worker_wait_idle(worker, 10000000), 0);
    cr_assert(says("4", "HSET bull:slow:x name n data 1 priority 0 timestamp 1"));
    cr_assert(says("1", "LPUSH bull:slow:wait x"));
    redis_server_pause(&server);
    cr_assert_eq(pthread_create(&resumer, NULL, resume_when_closing, NULL), 0);
    cr_expect_eq(nearcache_worker_wait_idle(worker, 1), NEARCACHE_ETIMEOUT); /* and it looks */
    cr_assert(WAIT_UNTIL(events[NEARCACHE_WORKER_ERROR] > 0, PATIENCE_MS));
    closing = true;
    cr_assert_eq(nearcache_worker_close(worker, 0), 0);
    cr_assert_eq(pthread_join(resumer, NULL), 0);
    cr_expect(says("0", "EXISTS bull:slow:active bull:slow:x:lock"));
    if (runs == 0) { /* else it was handed out in time, and done */
        cr_expect(says("x", "LRANGE bull:slow:wait 0 -1"));
        cr_expect(says("0", "HGET bull:slow:x ats"));
    }
    cr_assert_eq(nearcache_queue_close(other, 0), 0);
}

/* Ends about when its lock is renewed, at once or a little later. */
static int fail_if_not_cancelled(void *arg, struct nearcache_job *job)
{
    (void)arg;
    (void)poll(NULL, 0, 45 + (int)(wait_now_ns() / 1000 % 20));
    runs++;
    cancelled += nearcache_job_cancelled(job);
    return nearcache_job_fail(job, "again", 0);
}

/* A machine that stands still for as long as a lock lasts loses locks for good reason: each is told
 * as lost, and its job comes back. */
Test(queue_trouble, a_job_that_is_taken_again_is_not_cancelled_for_its_last_lock)
{
    struct nearcache_job_options how = NEARCACHE_JOB_OPTIONS_INIT;
    how.attempts = 100000;
    how.stack_trace_limit = 1;
    for (int i = 0; i < 100; i++)
        cr_assert_eq(nearcache_queue_add(queue, "n", "1", 1, &how, NULL), 0);
    config.run = fail_if_not_cancelled;
    config.concurrency = 100;
    config.lock_duration_ms = 200;
    config.stalled_interval_ms = 500;
    config.max_stalled_count = 100000;
    start_on(queue);
    cr_assert(WAIT_UNTIL(runs > 5000, PATIENCE_MS));
    cr_assert_eq(nearcache_worker_close(worker, 0), 0);
    cr_expect_leq(cancelled, events[NEARCACHE_WORKER_LOCK_LOST]);
}

/* Redis drops who would get more than 16 MiB at a time. */
Test(queue_trouble, large_jobs_come_in_answers_of_bounded_size)
{
    enum { JOBS = 12, BYTES = 3 << 20 };
    struct nearcache_job_options how = NEARCACHE_JOB_OPTIONS_INIT;
    char *data = malloc(BYTES);
    memset(data, '1', BYTES);
    for (int i = 0; i < JOBS; i++) {
        how.priority = i < JOBS / 2 ? 0 : 1;
        cr_assert_eq(nearcache_queue_add(queue, "n", data, BYTES, &how, NULL), 0);
    }
    free(data);
    char *answer =
        redis_server_ask(&server, "CONFIG SET client-output-buffer-limit %s", "normal 16mb 0 0");
    cr_assert_str_eq(answer, "OK");
    free(answer);
    config.concurrency = JOBS;
    start_on(queue);
    cr_assert(WAIT_UNTIL(events[NEARCACHE_WORKER_COMPLETED] == JOBS, PATIENCE_MS));
    finish();
    cr_expect_eq(events[NEARCACHE_WORKER_ERROR], 0);
    cr_expect(says("0", "EXISTS bull:q:wait bull:q:prioritized bull:q:active bull:q:pc"));
    /* What was put back kept its turn: they began in the order in which they were added. */
    char *active = redis_server_ask(&server, "XRANGE bull:q:events - +");
    const char *at = active;
    for (int i = 1; i <= JOBS && at; i++) {
        char begun[64];
        snprintf(begun, sizeof begun, "active jobId %d ", i);
        at = strstr(at, begun);
        cr_expect(at, "%s", begun);
    }
    free(active);
}

/* The lock is given a longer time than a renewal gives it, so that this can be seen. */
Test(queue_trouble, locks_are_renewed_while_redis_is_full)
{
    add_some(queue, 1);
    config.run = wait_and_succeed;
    config.lock_duration_ms = 5000;
    start_on(queue);
    cr_assert(WAIT_UNTIL(running == 1, PATIENCE_MS));
    cr_assert(says("OK", "CONFIG SET maxmemory 1"));
    cr_assert(says("1", "PEXPIRE bull:q:1:lock 1000000"));
    cr_expect(WAIT_UNTIL(number("PTTL bull:q:1:lock") <= 5000, PATIENCE_MS));
    cr_expect_gt(number("PTTL bull:q:1:lock"), 0);
    cr_assert(says("OK", "CONFIG SET maxmemory 0"));
    go_on = true;
    finish();
    cr_expect_eq(events[NEARCACHE_WORKER_COMPLETED], 1);
}

Test(queue_trouble, the_queues_own_rate_goes_before_the_workers)
{
    add_some(queue, 50);
    cr_assert_eq(nearcache_queue_set_rate(queue, 5, 60000), 0);
    config.limit_max = 200;
    config.limit_duration_ms = 60000;
    config.concurrency = 8;
    start_on(queue);
    cr_assert(WAIT_UNTIL(events[NEARCACHE_WORKER_COMPLETED] == 5, PATIENCE_MS));
    cr_assert_eq(nearcache_worker_close(worker, 0), 0);
    cr_expect_eq(runs, 5);
    cr_expect(says("45", "LLEN bull:q:wait"));
}

Test(queue_trouble, a_key_that_is_no_job_keeps_nobody_else_from_running)
{
    struct nearcache_job_options later = NEARCACHE_JOB_OPTIONS_INIT;
    later.delay_ms = 50;
    for (int i = 0; i < 3; i++)
        cr_assert_eq(nearcache_queue_add(queue, "n", "1", 1, i ? &later : NULL, NULL), 0);
    add_some(queue, 30);
    cr_assert(says("OK", "SET bull:q:2 text")); /* delayed */
    cr_assert(says("OK", "SET bull:q:15 text"));
    cr_assert(says("1", "RPUSH bull:q:active 40"));
    cr_assert(says("OK", "SET bull:q:40 text"));
    cr_assert(says("1", "SADD bull:q:stalled 40"));
    config.concurrency = 20;
    config.stalled_interval_ms = 50;
    start_on(queue);
    cr_assert(WAIT_UNTIL(has_become("31", "ZCARD bull:q:completed"), PATIENCE_MS));
    finish();
    cr_expect(WAIT_UNTIL(has_become("0", "EXISTS bull:q:active"), PATIENCE_MS));
}

Test(queue_trouble, a_parent_whose_child_failed_does_not_complete)
{
    add_some(queue, 1);
    cr_assert(says("1", "ZADD bull:q:1:unsuccessful 1 bull:p:7"));
    start_on(queue);
    finish();
    cr_expect_eq(events[NEARCACHE_WORKER_FAILED], 1);
    cr_expect(says("the job has children that failed", "HGET bull:q:1 failedReason"));
}

/* Such ids are refused here; others may have added one. */
Test(queue_trouble, an_id_with_a_zero_byte_ends_like_others)
{
    static const char key[] = "bull:q:a\0b";
    char *set = redis_server_ask(&server, "HSET %b name n data 1 timestamp 1", key, sizeof key - 1);
    cr_assert_str_eq(set, "3");
    char *put = redis_server_ask(&server, "LPUSH bull:q:wait %b", key + 7, sizeof key - 8);
    cr_assert_str_eq(put, "1");
    free(set);
    free(put);
    start_on(queue);
    finish();
    cr_expect_eq(events[NEARCACHE_WORKER_COMPLETED], 1);
    cr_expect(says("1", "ZCARD bull:q:completed"));
    cr_expect(says("0", "EXISTS bull:q:active"));
}

Test(queue_trouble, an_id_that_is_a_key_of_the_queue_is_refused)
{
    static const char *const ids[] = {"wait", "delayed", "completed", "meta", "id", "events"};
    struct nearcache_job_options how = NEARCACHE_JOB_OPTIONS_INIT;
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        how.job_id = ids[i];
        cr_expect_eq(nearcache_queue_add(queue, "n", "1", 1, &how, NULL), NEARCACHE_EINVAL);
        cr_expect(strstr(last_log, "key of the queue"), "%s", last_log);
    }
    how.job_id = "waiting-room";
    cr_expect_eq(nearcache_queue_add(queue, "n", "1", 1, &how, NULL), 0);
}
