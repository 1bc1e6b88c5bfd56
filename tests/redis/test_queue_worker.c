/* Workers: taking, running, ending, retrying, renewing, recovering (queue/worker, run, exchange).
 */
#include "queue_fixture.h"

#include "base/clock.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

REDIS_SERVER_REQUIRED;
TestSuite(queue_worker, .init = queue_setup, .fini = queue_teardown, .timeout = 90);

static struct nearcache_worker *worker;
static atomic_int runs, running, most_running, batches, largest_batch;
static atomic_bool go_on;
static struct nearcache_worker_config config = NEARCACHE_WORKER_CONFIG_INIT;
static atomic_int events[6];
static char reason_seen[64];

static void note_event(void *arg, enum nearcache_worker_event event,
                       const struct nearcache_job *job, int outcome)
{
    (void)arg;
    (void)outcome;
    events[event]++;
    if (event == NEARCACHE_WORKER_FAILED)
        snprintf(reason_seen, sizeof reason_seen, "%s", nearcache_job_info(job)->failed_reason);
}

/* Does what the data says. */
static int run(void *arg, struct nearcache_job *job)
{
    const struct nearcache_job_info *info = nearcache_job_info(job);
    int now = ++running, most = most_running;
    (void)arg;
    while (now > most && !atomic_compare_exchange_weak(&most_running, &most, now))
        ;
    runs++;
    if (strstr(info->data, "wait"))
        cr_assert(WAIT_UNTIL(go_on || nearcache_job_cancelled(job), PATIENCE_MS));
    running--;
    if (strstr(info->data, "fail"))
        return nearcache_job_fail(job, "no luck", 0);
    if (strstr(info->data, "final"))
        return nearcache_job_fail(job, "never", NEARCACHE_JOB_UNRECOVERABLE);
    if (strstr(info->data, "once") && info->attempts_made == 0)
        return nearcache_job_fail(job, "first", 0);
    if (strstr(info->data, "later") && info->attempts_started == 1)
        return nearcache_job_delay(job, 1);
    if (strstr(info->data, "bad")) {
        nearcache_job_return(job, "{", 1);
        return 0;
    }
    if (strstr(info->data, "silent"))
        return strstr(info->data, "not") ? -1 : 0;
    return nearcache_job_return(job, info->data, info->data_bytes);
}

static void start(void)
{
    if (!config.run_batch)
        config.run = run;
    config.on_event = note_event;
    cr_assert_eq(nearcache_worker_open(&worker, queue, &config), 0, "%s", last_log);
}

static bool nothing_left(void)
{
    struct nearcache_queue_stats s = stats_of(queue);
    return s.waiting + s.active + s.delayed + s.prioritized == 0;
}

static void work_off(void)
{
    start();
    cr_assert(WAIT_UNTIL(nothing_left(), PATIENCE_MS));
    cr_assert_eq(nearcache_worker_close(worker, 0), 0);
}

Test(queue_worker, a_result_is_stored_and_told)
{
    add("{\"a\":1}", NULL);
    config.name = "w";
    work_off();
    cr_expect(says("{\"a\":1} 1 1 w", "HMGET bull:q:1 returnvalue atm ats pb"));
    cr_expect(says("1", "ZCARD bull:q:completed"));
    cr_expect(says("0", "EXISTS bull:q:1:lock bull:q:active"));
    char *all = redis_server_ask(&server, "XRANGE bull:q:events - +");
    cr_expect(strstr(all, "completed jobId 1 returnvalue {\"a\":1} prev active"), "%s", all);
    cr_expect(strstr(all, "drained"), "%s", all);
    free(all);
}

Test(queue_worker, a_handler_that_says_nothing_is_judged_by_its_return)
{
    add("\"silent\"", NULL);
    add("\"silent not\"", NULL);
    work_off();
    cr_expect(says("null", "HGET bull:q:1 returnvalue"));
    cr_expect(says("the handler failed", "HGET bull:q:2 failedReason"));
}

Test(queue_worker, a_result_that_is_not_json_never_reaches_redis)
{
    add("\"bad\"", NULL);
    work_off();
    cr_expect(says("(nil) the result of the handler is not valid JSON",
                   "HMGET bull:q:1 returnvalue failedReason"));
    cr_expect_eq(events[NEARCACHE_WORKER_FAILED], 1);
}

Test(queue_worker, failures_are_tried_again_and_their_texts_kept)
{
    add("\"fail\"", "{\"attempts\":3,\"stackTraceLimit\":2}");
    add("\"once\"", "{\"attempts\":2,\"backoff\":{\"type\":\"exponential\",\"delay\":5}}");
    work_off();
    cr_expect(says("[\"no luck\",\"no luck\"] 3 3", "HMGET bull:q:1 stacktrace atm ats"));
    cr_expect(says("first [\"first\"] 2", "HMGET bull:q:2 failedReason stacktrace atm"));
    cr_expect(says("1", "ZCARD bull:q:failed"));
    cr_expect_eq(events[NEARCACHE_WORKER_RETRIED], 3);
    cr_expect_str_eq(reason_seen, "no luck");
}

Test(queue_worker, an_unrecoverable_failure_ends_all_tries)
{
    add("\"final\"", "{\"attempts\":9}");
    work_off();
    cr_expect_eq(runs, 1);
    cr_expect(says("1", "ZCARD bull:q:failed"));
}

Test(queue_worker, a_job_put_off_does_not_count_as_a_try)
{
    add("\"later\"", NULL);
    work_off();
    cr_expect(says("1 2", "HMGET bull:q:1 atm ats"));
    cr_expect(says("1", "ZCARD bull:q:completed"));
}

static int64_t triple(void *arg, const struct nearcache_job *job, const char *type,
                      uint32_t failures)
{
    (void)arg;
    (void)job;
    cr_assert_str_eq(type, "triple");
    return failures < 3 ? (int64_t)failures : -1;
}

Test(queue_worker, a_back_off_of_the_callers_own_decides)
{
    add("\"fail\"", "{\"attempts\":9,\"backoff\":{\"type\":\"triple\",\"delay\":1}}");
    config.backoff = triple;
    work_off();
    cr_expect_eq(runs, 3);
}

Test(queue_worker, a_back_off_that_nobody_knows_fails_for_good_with_a_line_in_the_log)
{
    add("\"fail\"", "{\"attempts\":9,\"backoff\":{\"type\":\"odd\",\"delay\":1}}");
    work_off();
    cr_expect_eq(runs, 1);
    cr_expect(strstr(last_log, "odd"), "%s", last_log);
}

Test(queue_worker, as_many_run_at_once_as_concurrency_says)
{
    for (int i = 0; i < 24; i++)
        add("\"wait\"", NULL);
    config.concurrency = 8;
    start();
    cr_assert(WAIT_UNTIL(running == 8, PATIENCE_MS));
    cr_expect(says("8", "LLEN bull:q:active"));
    go_on = true;
    cr_assert(WAIT_UNTIL(nothing_left(), PATIENCE_MS));
    cr_expect_eq(nearcache_worker_close(worker, 0), 0);
    cr_expect_eq(most_running, 8);
    cr_expect_eq(runs, 24);
}

static int run_batch(void *arg, struct nearcache_job **jobs, size_t count)
{
    (void)arg;
    batches++;
    if ((int)count > largest_batch)
        largest_batch = (int)count;
    for (size_t i = 0; i < count; i++)
        run(NULL, jobs[i]);
    return 0;
}

Test(queue_worker, a_batch_handler_gets_many_at_once_and_each_has_its_own_outcome)
{
    for (int i = 0; i < 64; i++)
        add(i % 4 ? "1" : "\"fail\"", NULL);
    config.run_batch = run_batch;
    config.batch = 32;
    work_off();
    cr_expect_eq(largest_batch, 32);
    cr_expect_leq(batches, 4);
    cr_expect(says("48", "ZCARD bull:q:completed"));
    cr_expect(says("16", "ZCARD bull:q:failed"));
}

Test(queue_worker, ended_jobs_are_kept_by_count_age_or_not_at_all)
{
    for (int i = 0; i < 10; i++)
        add("1", "{\"removeOnComplete\":3}");
    add("1", "{\"removeOnComplete\":true}");
    add("\"fail\"", "{\"removeOnFail\":true}");
    work_off();
    cr_expect(says("3", "ZCARD bull:q:completed"));
    cr_expect(says("0", "ZCARD bull:q:failed"));
    cr_expect(says("0", "EXISTS bull:q:1 bull:q:11 bull:q:12"));
    char *oldest = redis_server_ask(&server, "ZRANGE bull:q:completed 0 0");
    char command[64];
    snprintf(command, sizeof command, "ZADD bull:q:completed XX 1000 %s", oldest);
    cr_assert(says("0", "%s", command));
    add("1", "{\"removeOnComplete\":{\"age\":3600}}");
    work_off();
    snprintf(command, sizeof command, "EXISTS bull:q:%s", oldest);
    cr_expect(says("0", "%s", command));
    cr_expect(says("3", "ZCARD bull:q:completed"));
    free(oldest);
}

Test(queue_worker, the_workers_rule_counts_where_the_job_has_none)
{
    config.complete = (struct nearcache_keep){NEARCACHE_KEEP_SOME, 2, 0, 0};
    for (int i = 0; i < 5; i++)
        add("1", NULL);
    work_off();
    cr_expect(says("2", "ZCARD bull:q:completed"));
}

Test(queue_worker, locks_of_long_jobs_are_renewed)
{
    add("\"wait\"", NULL);
    config.lock_duration_ms = 400;
    config.stalled_interval_ms = 100;
    start();
    cr_assert(WAIT_UNTIL(running == 1, PATIENCE_MS));
    cr_assert(WAIT_UNTIL(number("GET bull:q:stalled-check") > 0, PATIENCE_MS));
    /* Several times the lock's life. */
    uint64_t begin_ns = wait_now_ns();
    cr_assert(WAIT_UNTIL(wait_now_ns() - begin_ns > 1500000000, PATIENCE_MS));
    cr_expect(says("1", "EXISTS bull:q:1:lock"));
    go_on = true;
    cr_assert(WAIT_UNTIL(nothing_left(), PATIENCE_MS));
    nearcache_worker_close(worker, 0);
    cr_expect_eq(runs, 1);
    cr_expect_eq(events[NEARCACHE_WORKER_LOCK_LOST], 0);
}

Test(queue_worker, a_lost_lock_cancels_the_handler_and_its_result_is_dropped)
{
    add("\"wait\"", NULL);
    config.lock_duration_ms = 400;
    start();
    cr_assert(WAIT_UNTIL(running == 1, PATIENCE_MS));
    cr_assert(says("OK", "SET bull:q:1:lock another"));
    cr_assert(WAIT_UNTIL(events[NEARCACHE_WORKER_LOCK_LOST] == 1, PATIENCE_MS));
    cr_expect(says("0", "ZCARD bull:q:completed"));
    nearcache_worker_close(worker, 0);
    cr_expect(says("1", "LLEN bull:q:active"));
}

Test(queue_worker, abandoned_jobs_run_again_by_stalled_recovery_and_too_many_stalls_fail)
{
    add("\"wait\"", NULL);
    config.lock_duration_ms = 200;
    config.stalled_interval_ms = 100;
    for (int stalls = 1; stalls <= 2; stalls++) {
        start();
        cr_assert(WAIT_UNTIL(running == 1, PATIENCE_MS));
        nearcache_worker_abandon(worker);
        cr_expect(says("1", "LLEN bull:q:active"));
        cr_assert(WAIT_UNTIL(has_become("0", "EXISTS bull:q:1:lock"), PATIENCE_MS));
    }
    start();
    cr_assert(WAIT_UNTIL(has_become("1", "ZCARD bull:q:failed"), PATIENCE_MS));
    nearcache_worker_close(worker, 0);
    cr_expect_eq(runs, 2);
    cr_expect(says("2 job stalled more than allowable limit", "HMGET bull:q:1 stc failedReason"));
    cr_expect(says("0", "HEXISTS bull:q:1 defa"));
}

static int return_at_once(void *arg, struct nearcache_job *job)
{
    (void)arg;
    runs++;
    return nearcache_job_return(job, NULL, 0);
}

/* Abandoned at random moments: what no handler saw is nobody's failure, and nothing is waited for.
 */
Test(queue_worker, abandoning_in_the_middle_fails_no_job_and_ends_at_once)
{
    struct nearcache_job_spec specs[100];
    unsigned seed = 1;
    for (int i = 0; i < 100; i++)
        specs[i] = (struct nearcache_job_spec){.name = "n", .data = "1", .data_bytes = 1};
    config.run = return_at_once;
    config.concurrency = 16;
    config.on_event = note_event;
    for (int round = 0; round < 400; round++) {
        cr_assert_eq(nearcache_queue_add_many(queue, specs, 100, NULL, NULL), 0);
        runs = 0;
        cr_assert_eq(nearcache_worker_open(&worker, queue, &config), 0);
        int most = 1 + rand_r(&seed) % 60;
        cr_assert(WAIT_UNTIL(runs >= most, PATIENCE_MS));
        uint64_t began_ns = nc_clock_io_ns();
        nearcache_worker_abandon(worker);
        /* A call's time limit; a wake-up that is lost takes 10 s. */
        cr_assert_lt(nc_clock_io_ns() - began_ns, 5 * NC_NS_PER_S);
    }
    cr_expect_eq(events[NEARCACHE_WORKER_FAILED] + events[NEARCACHE_WORKER_RETRIED], 0);
    cr_expect(says("0", "ZCARD bull:q:failed"));
}

Test(queue_worker, closing_waits_for_handlers_and_takes_nothing_more)
{
    for (int i = 0; i < 5; i++)
        add("\"wait\"", NULL);
    config.concurrency = 2;
    start();
    cr_assert(WAIT_UNTIL(running == 2, PATIENCE_MS));
    cr_expect_eq(nearcache_worker_close(worker, 20000), NEARCACHE_EBUSY);
    go_on = true; /* and they are cancelled */
    cr_expect_eq(nearcache_worker_close(worker, 0), 0);
    cr_expect(says("2", "ZCARD bull:q:completed"));
    cr_expect(says("3", "LLEN bull:q:wait"));
    cr_expect(says("0", "LLEN bull:q:active"));
}

Test(queue_worker, an_idle_worker_hears_the_bell)
{
    config.drain_delay_ms = 60000;
    start();
    cr_assert(WAIT_UNTIL(events[NEARCACHE_WORKER_DRAINED] == 1, PATIENCE_MS));
    for (int i = 0; i < 20; i++) {
        int before = runs;
        add("1", NULL);
        cr_assert(WAIT_UNTIL(runs == before + 1, 5000), "without the bell it takes a minute");
    }
    add("1", "{\"delay\":100}");
    cr_assert(WAIT_UNTIL(runs == 21, 5000));
    cr_expect_eq(nearcache_worker_wait_idle(worker, 5000000), 0);
    nearcache_worker_close(worker, 0);
}

Test(queue_worker, limits_of_the_whole_queue_are_kept)
{
    cr_assert_eq(nearcache_queue_set_concurrency(queue, 2), 0);
    for (int i = 0; i < 6; i++)
        add("\"wait\"", NULL);
    config.concurrency = 4;
    start();
    cr_assert(WAIT_UNTIL(running == 2, PATIENCE_MS));
    go_on = true;
    cr_assert(WAIT_UNTIL(nothing_left(), PATIENCE_MS));
    cr_expect_eq(most_running, 2);
    cr_assert_eq(nearcache_queue_set_concurrency(queue, 0), 0);
    cr_assert_eq(nearcache_queue_set_rate(queue, 2, 150), 0);
    uint64_t begin_ns = wait_now_ns();
    for (int i = 0; i < 6; i++)
        add("1", NULL);
    cr_assert(WAIT_UNTIL(nothing_left(), PATIENCE_MS));
    cr_expect_geq(wait_now_ns() - begin_ns, 200000000, "two windows have to pass");
    nearcache_worker_close(worker, 0);
}

/* Its window has not passed when the worker is asked, nor when it looks again. */
Test(queue_worker, jobs_that_a_rate_holds_back_are_still_to_do)
{
    for (int i = 0; i < 3; i++)
        add("1", NULL);
    config.limit_max = 1;
    config.limit_duration_ms = 3600000;
    start();
    cr_assert(WAIT_UNTIL(runs == 1, PATIENCE_MS));
    cr_expect_eq(nearcache_worker_wait_idle(worker, 300000), NEARCACHE_ETIMEOUT);
    cr_expect_eq(events[NEARCACHE_WORKER_DRAINED], 0);
    for (int i = 0; i < 2; i++) {
        cr_assert(says("1", "DEL bull:q:limiter"));
        (void)nearcache_worker_wait_idle(worker, 1); /* and it looks */
        cr_assert(WAIT_UNTIL(runs == i + 2, PATIENCE_MS));
    }
    cr_expect_eq(nearcache_worker_wait_idle(worker, 10000000), 0);
    cr_expect_eq(events[NEARCACHE_WORKER_DRAINED], 1);
    nearcache_worker_close(worker, 0);
}

Test(queue_worker, jobs_that_the_queues_concurrency_holds_back_are_still_to_do)
{
    add("1", NULL);
    cr_assert(says("1", "LPUSH bull:q:active another"));
    cr_assert_eq(nearcache_queue_set_concurrency(queue, 1), 0);
    start();
    cr_expect_eq(nearcache_worker_wait_idle(worker, 300000), NEARCACHE_ETIMEOUT);
    cr_expect_eq(runs + events[NEARCACHE_WORKER_DRAINED], 0);
    cr_assert_eq(nearcache_queue_set_concurrency(queue, 0), 0);
    cr_expect_eq(nearcache_worker_wait_idle(worker, 10000000), 0);
    cr_expect_eq(runs, 1);
    nearcache_worker_close(worker, 0);
}

/* Put there without a ring of the bell. */
Test(queue_worker, who_waits_for_an_idle_worker_hears_what_it_finds_now)
{
    config.drain_delay_ms = 60000;
    start();
    cr_assert_eq(nearcache_worker_wait_idle(worker, 10000000), 0);
    for (int i = 1; i <= 50; i++) {
        cr_assert(says("4", "HSET bull:q:x%d name n data 1 opts {} timestamp 1", i));
        cr_assert(says("1", "LPUSH bull:q:wait x%d", i));
        cr_assert_eq(nearcache_worker_wait_idle(worker, 10000000), 0);
        cr_assert_eq(runs, i);
    }
    nearcache_worker_close(worker, 0);
}

Test(queue_worker, the_worker_survives_a_restart_of_redis)
{
    for (int i = 0; i < 3; i++)
        add("\"wait\"", NULL);
    config.concurrency = 3;
    start();
    cr_assert(WAIT_UNTIL(running == 3, PATIENCE_MS));
    redis_server_kill(&server);
    cr_assert(redis_server_restart(&server)); /* and all is forgotten */
    go_on = true;
    cr_assert_eq(nearcache_queue_wait(queue, 10000000), 0);
    cr_assert(WAIT_UNTIL(events[NEARCACHE_WORKER_LOCK_LOST] == 3, PATIENCE_MS));
    add("1", NULL);
    cr_assert(WAIT_UNTIL(has_become("1", "ZCARD bull:q:completed"), PATIENCE_MS));
    nearcache_worker_close(worker, 0);
}

Test(queue_worker, closing_ends_in_time_when_redis_is_gone)
{
    struct nearcache_queue_config small = NEARCACHE_QUEUE_CONFIG_INIT;
    struct nearcache_queue *other;
    small.timeout_us = 300000;
    cr_assert_eq(nearcache_queue_open(&other, &redis, "other", &small), 0);
    cr_assert_eq(nearcache_queue_add(other, "n", "\"wait\"", 6, NULL, NULL), 0);
    config.run = run;
    cr_assert_eq(nearcache_worker_open(&worker, other, &config), 0);
    cr_assert(WAIT_UNTIL(running == 1, PATIENCE_MS));
    redis_server_kill(&server);
    go_on = true;
    uint64_t begin_ns = wait_now_ns();
    cr_expect_eq(nearcache_worker_close(worker, 0), 0);
    cr_expect_lt(wait_now_ns() - begin_ns, UINT64_C(20000000000), "some timeouts, not minutes");
    nearcache_queue_close(other, 0);
    cr_assert(redis_server_restart(&server));
}

Test(queue_worker, a_child_of_a_flow_fails_with_a_reason)
{
    add("1", NULL);
    cr_assert(says("1", "HSET bull:q:1 parentKey bull:p:1"));
    work_off();
    cr_expect_eq(runs, 0);
    char *text = redis_server_ask(&server, "HGET bull:q:1 failedReason");
    cr_expect(strstr(text, "children of a flow"), "%s", text);
    free(text);
}

Test(queue_worker, progress_and_logs_are_stored)
{
    struct nearcache_job *job;
    add("1", "{\"keepLogs\":2}");
    cr_assert_eq(nearcache_queue_job(queue, "1", &job), 0);
    cr_expect_eq(nearcache_job_progress(job, "50", 2), 0);
    cr_expect_eq(nearcache_job_progress(job, "{", 1), NEARCACHE_EINVAL);
    for (int i = 0; i < 3; i++)
        cr_expect_eq(nearcache_job_log(job, i == 2 ? "c" : "a"), 0);
    cr_expect(says("50", "HGET bull:q:1 progress"));
    cr_expect(says("a c", "LRANGE bull:q:1:logs 0 -1"));
    cr_assert_eq(nearcache_queue_remove(queue, "1"), 0);
    cr_expect_eq(nearcache_job_progress(job, "50", 2), NEARCACHE_MISS);
    cr_expect_eq(nearcache_job_log(job, "x"), NEARCACHE_MISS);
    nearcache_job_free(job);
}

/* What a child of fork gets of its parent's handles, as its exit status: 0 is fine. */
static int look_from_child(struct nearcache_job *job)
{
    struct nearcache_worker_stats stats;
    alarm(PATIENCE_MS / 1000);
    nearcache_worker_abandon(worker);
    nearcache_worker_stats(worker, &stats);
    return stats.taken                                                              ? 1
           : nearcache_worker_wait_idle(worker, 1000) != NEARCACHE_EFORK            ? 2
           : nearcache_worker_close(worker, 1000) != NEARCACHE_EFORK                ? 3
           : nearcache_job_progress(job, "1", 1) != NEARCACHE_EFORK                 ? 4
           : nearcache_job_log(job, "line") != NEARCACHE_EFORK                      ? 5
           : nearcache_queue_add(queue, "n", "1", 1, NULL, NULL) != NEARCACHE_EFORK ? 6
           : nearcache_queue_close(queue, 1000) != NEARCACHE_EFORK                  ? 7
                                                                                    : 0;
}

Test(queue_worker, a_forked_child_gets_errors_and_harms_nothing)
{
    struct nearcache_job *job;
    int status = -1;
    add("1", NULL);
    start();
    cr_assert(WAIT_UNTIL(has_become("1", "ZCARD bull:q:completed"), PATIENCE_MS));
    cr_assert_eq(nearcache_queue_job(queue, "1", &job), 0);
    pid_t child = fork();
    if (child == 0)
        _exit(look_from_child(job));
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect_eq(status, 0, "signal %d, exit status %d", WTERMSIG(status), WEXITSTATUS(status));
    nearcache_job_free(job);
    add("1", NULL);
    cr_expect(WAIT_UNTIL(has_become("2", "ZCARD bull:q:completed"), PATIENCE_MS));
    cr_expect_eq(nearcache_worker_close(worker, 0), 0);
}

Test(queue_worker, contradictions_in_the_configuration_are_refused)
{
    struct nearcache_worker_config bad = NEARCACHE_WORKER_CONFIG_INIT;
    cr_expect_eq(nearcache_worker_open(&worker, queue, &bad), NEARCACHE_EINVAL);
    bad.run = run;
    bad.batch = 2;
    cr_expect_eq(nearcache_worker_open(&worker, queue, &bad), NEARCACHE_EINVAL);
    bad.batch = 0;
    bad.limit_max = 1;
    cr_expect_eq(nearcache_worker_open(&worker, queue, &bad), NEARCACHE_EINVAL);
    bad.limit_max = 0;
    bad.concurrency = 5000;
    cr_expect_eq(nearcache_worker_open(&worker, queue, &bad), NEARCACHE_EINVAL);
}

Test(queue_worker, numbers_that_redis_would_refuse_are_refused_at_once)
{
    struct nearcache_worker_config base = NEARCACHE_WORKER_CONFIG_INIT;
    base.run = run;
    struct nearcache_worker_config bad[] = {base, base, base, base, base};
    bad[0].lock_duration_ms = NEARCACHE_NONE;
    bad[1].lock_duration_ms = INT64_MAX;
    bad[2].stalled_interval_ms = INT64_MAX;
    bad[3].max_stalled_count = (uint64_t)1 << 63;
    bad[4].limit_max = (uint64_t)1 << 63;
    bad[4].limit_duration_ms = 1;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        last_log[0] = 0;
        cr_expect_eq(nearcache_worker_open(&worker, queue, &bad[i]), NEARCACHE_EINVAL, "%zu", i);
        cr_expect(strstr(last_log, "is at most"), "%s", last_log);
    }
    cr_expect_eq(nearcache_queue_set_concurrency(queue, (uint64_t)1 << 63), NEARCACHE_EINVAL);
    cr_expect(strstr(last_log, "at most"), "%s", last_log);
    cr_expect_eq(nearcache_queue_set_rate(queue, (uint64_t)1 << 63, 1), NEARCACHE_EINVAL);
    cr_expect_eq(nearcache_queue_set_rate(queue, 1, INT64_MAX), NEARCACHE_EINVAL);
    cr_expect_eq(nearcache_queue_set_rate(queue, 1, 0), NEARCACHE_EINVAL);
    cr_expect(says("0", "EXISTS bull:q:meta"));
    cr_expect_eq(nearcache_queue_set_concurrency(queue, NEARCACHE_NONE), 0);
}

/* As long as may be, which the bell ends. */
Test(queue_worker, an_idle_worker_may_wait_without_a_limit)
{
    config.drain_delay_ms = NEARCACHE_NONE;
    start();
    cr_assert_eq(nearcache_worker_wait_idle(worker, 10000000), 0);
    add("1", NULL);
    cr_assert(WAIT_UNTIL(runs == 1, PATIENCE_MS));
    cr_assert_eq(nearcache_worker_wait_idle(worker, 10000000), 0);
    cr_expect_eq(events[NEARCACHE_WORKER_ERROR], 0);
    nearcache_worker_close(worker, 0);
}

Test(queue_worker, a_name_that_nobody_would_see_is_refused)
{
    static const char *const bad[] = {"my worker", "w\n", "w\xc3\xbc", "\t"};
    struct nearcache_worker_config named = NEARCACHE_WORKER_CONFIG_INIT;
    named.run = run;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        named.name = bad[i];
        cr_expect_eq(nearcache_worker_open(&worker, queue, &named), NEARCACHE_EINVAL);
        cr_expect(strstr(last_log, "name of a worker"), "%s", last_log);
    }
}

Test(queue_worker, a_prefix_that_hides_workers_is_warned_about)
{
    struct nearcache_queue_config blank = NEARCACHE_QUEUE_CONFIG_INIT;
    struct nearcache_queue *other;
    blank.prefix = "my app";
    blank.log = note_log;
    blank.log_level = NEARCACHE_LOG_WARNING;
    cr_assert_eq(nearcache_queue_open(&other, &redis, "q", &blank), 0);
    config.run = run;
    cr_assert_eq(nearcache_worker_open(&worker, other, &config), 0);
    cr_expect(strstr(last_log, "not seen by others"), "%s", last_log);
    nearcache_worker_close(worker, 0);
    nearcache_queue_close(other, 0);
}
