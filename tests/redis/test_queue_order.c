/* Looking at queues and ordering about them (queue/look, queue/order, queue/events). */
#include "queue_fixture.h"

REDIS_SERVER_REQUIRED;
TestSuite(queue_order, .init = queue_setup, .fini = queue_teardown, .timeout = 60);

static int run(void *arg, struct nearcache_job *job)
{
    (void)arg;
    return strstr(nearcache_job_info(job)->data, "fail") ? nearcache_job_fail(job, "no luck", 0)
                                                         : nearcache_job_return(job, NULL, 0);
}

static void work_off(void)
{
    struct nearcache_worker_config config = NEARCACHE_WORKER_CONFIG_INIT;
    struct nearcache_worker *worker;
    config.run = run;
    cr_assert_eq(nearcache_worker_open(&worker, queue, &config), 0);
    cr_assert_eq(nearcache_worker_wait_idle(worker, 10000000), 0);
    cr_assert_eq(nearcache_worker_close(worker, 0), 0);
}

static enum nearcache_job_state state_of(const char *id)
{
    enum nearcache_job_state state = NEARCACHE_JOB_UNKNOWN;
    cr_assert_eq(nearcache_queue_job_state(queue, id, &state), 0);
    return state;
}

Test(queue_order, counts_and_states_tell_where_jobs_are)
{
    add("1", NULL);
    add("1", "{\"priority\":1}");
    add("1", "{\"delay\":100000}");
    struct nearcache_queue_stats s = stats_of(queue);
    cr_expect_eq(s.waiting + 10 * s.prioritized + 100 * s.delayed, 111);
    cr_expect_eq(state_of("1"), NEARCACHE_JOB_WAITING);
    cr_expect_eq(state_of("2"), NEARCACHE_JOB_PRIORITIZED);
    cr_expect_eq(state_of("3"), NEARCACHE_JOB_DELAYED);
    work_off();
    cr_expect_eq(state_of("1"), NEARCACHE_JOB_COMPLETED);
    enum nearcache_job_state state;
    cr_expect_eq(nearcache_queue_job_state(queue, "77", &state), NEARCACHE_MISS);
    cr_expect_str_eq(nearcache_job_state_name(NEARCACHE_JOB_WAITING_CHILDREN), "waiting-children");
}

Test(queue_order, a_job_is_read_whole)
{
    struct nearcache_job *job;
    add("\"fail\"", "{\"attempts\":1,\"priority\":4}");
    work_off();
    cr_assert_eq(nearcache_queue_job(queue, "1", &job), 0);
    const struct nearcache_job_info *info = nearcache_job_info(job);
    cr_expect_str_eq(info->id, "1");
    cr_expect_str_eq(info->queue, "q");
    cr_expect_str_eq(info->name, "n");
    cr_expect_str_eq(info->data, "\"fail\"");
    cr_expect_eq(info->data_bytes, 6);
    cr_expect_eq(info->priority, 4);
    cr_expect_eq(info->attempts_made, 1);
    cr_expect_str_eq(info->failed_reason, "no luck");
    cr_expect_str_eq(info->stack_trace, "[\"no luck\"]");
    cr_expect_geq(info->finished_on_ms, info->processed_on_ms);
    cr_expect_null(info->result);
    nearcache_job_free(job);
    cr_expect_eq(nearcache_queue_job(queue, "77", &job), NEARCACHE_MISS);
    cr_expect_eq(nearcache_queue_job(queue, "", &job), NEARCACHE_EINVAL);
}

Test(queue_order, lists_begin_with_the_next_to_run)
{
    struct nearcache_job *jobs[4];
    size_t found;
    for (int i = 0; i < 5; i++)
        add("1", NULL);
    add("1", "{\"lifo\":true}");
    cr_assert_eq(nearcache_queue_list(queue, NEARCACHE_JOB_WAITING, 0, 4, jobs, &found), 0);
    cr_assert_eq(found, 4);
    cr_expect_str_eq(nearcache_job_info(jobs[0])->id, "6");
    cr_expect_str_eq(nearcache_job_info(jobs[1])->id, "1");
    while (found)
        nearcache_job_free(jobs[--found]);
    cr_assert_eq(nearcache_queue_list(queue, NEARCACHE_JOB_WAITING, 4, 4, jobs, &found), 0);
    cr_assert_eq(found, 2);
    cr_expect_str_eq(nearcache_job_info(jobs[1])->id, "5");
    while (found)
        nearcache_job_free(jobs[--found]);
    cr_expect_eq(nearcache_queue_list(queue, NEARCACHE_JOB_UNKNOWN, 0, 4, jobs, &found),
                 NEARCACHE_EINVAL);
}

Test(queue_order, ended_jobs_run_again_on_request)
{
    add("\"fail\"", "{\"attempts\":2}");
    add("1", NULL);
    cr_expect_eq(nearcache_queue_retry(queue, "1", 0), NEARCACHE_EREFUSED);
    work_off();
    cr_expect_eq(nearcache_queue_retry(queue, "77", 0), NEARCACHE_MISS);
    cr_assert_eq(nearcache_queue_retry(queue, "1", 0), 0);
    cr_assert_eq(nearcache_queue_retry(queue, "2", 1), 0);
    cr_expect(says("1 2", "SORT bull:q:wait"));
    cr_expect(says("0", "HEXISTS bull:q:1 failedReason"));
    cr_expect(says("2", "HGET bull:q:1 atm"));
    cr_expect(says("0", "HEXISTS bull:q:2 atm"));
    work_off();
    cr_expect(says("3", "HGET bull:q:1 atm")); /* one more try, and it has failed at once */
}

Test(queue_order, delayed_jobs_are_promoted_by_their_priority)
{
    add("1", "{\"delay\":100000}");
    add("1", "{\"delay\":100000,\"priority\":2}");
    cr_assert_eq(nearcache_queue_promote(queue, "1"), 0);
    cr_assert_eq(nearcache_queue_promote(queue, "2"), 0);
    cr_expect_eq(nearcache_queue_promote(queue, "2"), NEARCACHE_EREFUSED);
    cr_expect_eq(nearcache_queue_promote(queue, "77"), NEARCACHE_MISS);
    cr_expect(says("1", "LRANGE bull:q:wait 0 -1"));
    cr_expect(says("2", "ZRANGE bull:q:prioritized 0 -1"));
    cr_expect(says("0", "HGET bull:q:1 delay"));
}

Test(queue_order, removing_leaves_nothing_and_respects_locks)
{
    add("1", NULL);
    add("1", NULL);
    cr_assert(says("OK", "SET bull:q:1:lock x"));
    cr_expect_eq(nearcache_queue_remove(queue, "1"), NEARCACHE_EREFUSED);
    cr_assert(says("1", "RPUSH bull:q:2:logs line"));
    cr_assert_eq(nearcache_queue_remove(queue, "2"), 0);
    cr_expect_eq(nearcache_queue_remove(queue, "2"), NEARCACHE_MISS);
    cr_expect(says("0", "EXISTS bull:q:2 bull:q:2:logs"));
    cr_expect(says("1", "LRANGE bull:q:wait 0 -1"));
}

Test(queue_order, cleaning_goes_by_age_and_number)
{
    uint64_t removed = 99;
    for (int i = 0; i < 250; i++)
        add("1", NULL);
    work_off();
    cr_assert_eq(nearcache_queue_clean(queue, NEARCACHE_JOB_COMPLETED, 3600000, 0, &removed), 0);
    cr_expect_eq(removed, 0);
    cr_assert_eq(nearcache_queue_clean(queue, NEARCACHE_JOB_COMPLETED, 0, 30, &removed), 0);
    cr_expect_eq(removed, 30);
    cr_assert_eq(nearcache_queue_clean(queue, NEARCACHE_JOB_COMPLETED, 0, 0, &removed), 0);
    cr_expect_eq(removed, 220);
    cr_expect(says("", "KEYS bull:q:[0-9]*"));
    add("1", "{\"delay\":100000}");
    add("1", NULL);
    cr_assert_eq(nearcache_queue_clean(queue, NEARCACHE_JOB_DELAYED, 0, 0, &removed), 0);
    cr_assert_eq(removed, 1);
    cr_assert_eq(nearcache_queue_clean(queue, NEARCACHE_JOB_WAITING, 0, 0, &removed), 0);
    cr_assert_eq(removed, 1);
    cr_expect_eq(nearcache_queue_clean(queue, NEARCACHE_JOB_ACTIVE, 0, 0, &removed),
                 NEARCACHE_EINVAL);
}

Test(queue_order, draining_and_obliterating)
{
    for (int i = 0; i < 300; i++)
        add("1", i % 3 == 0 ? "{\"priority\":1}" : i % 3 == 1 ? "{\"delay\":100000}" : NULL);
    cr_assert_eq(nearcache_queue_drain(queue, 0), 0);
    struct nearcache_queue_stats s = stats_of(queue);
    cr_expect_eq(s.waiting + s.prioritized, 0);
    cr_expect_eq(s.delayed, 100);
    cr_assert_eq(nearcache_queue_drain(queue, 1), 0);
    cr_expect_eq(stats_of(queue).delayed, 0);
    add("1", NULL);
    cr_expect_eq(nearcache_queue_obliterate(queue, 0), NEARCACHE_EREFUSED);
    cr_assert_eq(nearcache_queue_pause(queue), 0);
    cr_assert_eq(nearcache_queue_obliterate(queue, 0), 0);
    cr_expect(says("0", "DBSIZE"));
}

Test(queue_order, what_is_no_job_is_neither_shown_nor_removed_as_one)
{
    struct nearcache_schedule schedule = NEARCACHE_SCHEDULE_INIT;
    struct nearcache_job *job;
    enum nearcache_job_state state;
    static const char *const ids[] = {"meta", "repeat:s"};
    schedule.every_ms = 100000;
    schedule.job_name = "tick";
    cr_assert_eq(nearcache_queue_schedule(queue, "s", &schedule, NULL), 0);
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        cr_expect_eq(nearcache_queue_job(queue, ids[i], &job), NEARCACHE_MISS, "%s", ids[i]);
        cr_expect_eq(nearcache_queue_job_state(queue, ids[i], &state), NEARCACHE_MISS);
        cr_expect_eq(nearcache_queue_remove(queue, ids[i]), NEARCACHE_MISS);
        cr_expect_eq(nearcache_queue_retry(queue, ids[i], 0), NEARCACHE_MISS);
        cr_expect_eq(nearcache_queue_promote(queue, ids[i]), NEARCACHE_MISS);
    }
    cr_expect(says("2", "EXISTS bull:q:meta bull:q:repeat:s"));
}

/* Added by a machine whose clock is ahead. */
Test(queue_order, draining_does_not_ask_when_a_job_was_added)
{
    add("1", "{\"timestamp\":4102444800000}");
    add("1", "{\"timestamp\":4102444800000,\"priority\":1}");
    cr_assert_eq(nearcache_queue_drain(queue, 0), 0);
    cr_expect(says("0", "EXISTS bull:q:wait bull:q:prioritized bull:q:1 bull:q:2"));
}

/* Between others that are jobs, in a list and in a set. */
Test(queue_order, a_key_that_is_no_job_keeps_nothing_from_being_listed_or_cleaned)
{
    struct nearcache_job *jobs[8];
    size_t found;
    uint64_t removed;
    for (int i = 0; i < 6; i++)
        add("1", i % 2 ? "{\"delay\":100000}" : NULL);
    cr_assert(says("OK", "SET bull:q:3 text"));
    cr_assert(says("OK", "SET bull:q:4 text"));
    cr_expect_eq(nearcache_queue_remove(queue, "3"), NEARCACHE_MISS);
    cr_expect_eq(nearcache_queue_promote(queue, "4"), NEARCACHE_MISS);
    cr_assert_eq(nearcache_queue_list(queue, NEARCACHE_JOB_WAITING, 0, 8, jobs, &found), 0);
    cr_expect_eq(found, 2);
    while (found)
        nearcache_job_free(jobs[--found]);
    cr_expect_eq(nearcache_queue_clean(queue, NEARCACHE_JOB_DELAYED, 0, 0, &removed), 0);
    cr_expect_eq(removed, 3);
    cr_expect_eq(nearcache_queue_drain(queue, 0), 0);
    cr_expect(says("0", "EXISTS bull:q:wait bull:q:delayed bull:q:1 bull:q:2"));
    cr_expect(says("2", "EXISTS bull:q:3 bull:q:4"));
    cr_assert(says("2", "LPUSH bull:q:wait 3 4"));
    cr_assert_eq(nearcache_queue_pause(queue), 0);
    cr_expect_eq(nearcache_queue_obliterate(queue, 0), 0);
}

/* Says what `wanted` is a part of. */
static void expect_refusal(int outcome, const char *wanted)
{
    cr_expect_eq(outcome, NEARCACHE_EREFUSED);
    cr_expect(strstr(last_log, wanted), "%s, not %s", last_log, wanted);
    last_log[0] = 0;
}

Test(queue_order, the_log_says_why_an_order_is_refused)
{
    add("1", NULL);
    expect_refusal(nearcache_queue_retry(queue, "1", 0), "job 1 has not ended");
    expect_refusal(nearcache_queue_promote(queue, "1"), "job 1 is not delayed");
    cr_assert(says("OK", "SET bull:q:1:lock x"));
    expect_refusal(nearcache_queue_remove(queue, "1"), "held by a worker");
    expect_refusal(nearcache_queue_obliterate(queue, 0), "paused");
    cr_assert_eq(nearcache_queue_pause(queue), 0);
    cr_assert(says("1", "RPOPLPUSH bull:q:wait bull:q:active"));
    expect_refusal(nearcache_queue_obliterate(queue, 0), "jobs are active");
}

Test(queue_order, a_paused_queue_rests_and_the_list_of_bullmq_5_is_merged)
{
    add("1", NULL);
    cr_assert_eq(nearcache_queue_pause(queue), 0);
    cr_expect_eq(stats_of(queue).is_paused, 1);
    add("1", NULL);
    work_off();
    cr_expect_eq(stats_of(queue).waiting, 2);
    cr_assert(says("OK", "RENAME bull:q:wait bull:q:paused")); /* as BullMQ 5 leaves it */
    cr_expect_eq(stats_of(queue).paused, 2);
    cr_assert(says("1", "LPUSH bull:q:wait 9"));
    cr_assert(says("2", "HSET bull:q:9 name n data 1"));
    cr_assert_eq(nearcache_queue_resume(queue), 0);
    cr_expect(says("9 2 1", "LRANGE bull:q:wait 0 -1"));
    work_off();
    cr_expect_eq(stats_of(queue).completed, 3);
}

static int print_name(void *arg, const char *text, size_t bytes)
{
    strncat(arg, text, bytes);
    strcat(arg, ";");
    return 0;
}

Test(queue_order, workers_are_found_by_name_and_logs_by_job)
{
    struct nearcache_worker_config config = NEARCACHE_WORKER_CONFIG_INIT;
    struct nearcache_worker *worker;
    char names[64] = "";
    config.run = run;
    config.name = "first";
    cr_assert_eq(nearcache_worker_open(&worker, queue, &config), 0);
    cr_assert(WAIT_UNTIL((names[0] = 0, nearcache_queue_workers(queue, print_name, names)) == 0 &&
                             strcmp(names, "first;") == 0,
                         PATIENCE_MS));
    nearcache_worker_close(worker, 0);
    add("1", NULL);
    cr_assert(says("2", "RPUSH bull:q:1:logs a b"));
    names[0] = 0;
    cr_assert_eq(nearcache_queue_job_logs(queue, "1", print_name, names), 0);
    cr_expect_str_eq(names, "a;b;");
}

Test(queue_order, events_are_read_in_order_and_from_a_position)
{
    struct nearcache_events *events;
    struct nearcache_event event;
    char last[64] = "";
    cr_assert_eq(nearcache_events_open(&events, queue, "0"), 0);
    cr_expect_eq(nearcache_events_next(events, 1000, &event), NEARCACHE_MISS);
    add("1", "{\"delay\":5}");
    static const char *const wanted[] = {"added", "delayed"};
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(nearcache_events_next(events, 5000000, &event), 0);
        cr_expect_str_eq(event.event, wanted[i]);
        cr_expect_str_eq(event.job_id, "1");
        cr_expect_eq(event.pair_count, 1);
        snprintf(last, sizeof last, "%s", event.id);
    }
    cr_expect_str_eq(event.pairs[0], "delay");
    nearcache_events_close(events);
    cr_assert_eq(nearcache_events_open(&events, queue, last), 0);
    cr_assert_eq(nearcache_queue_pause(queue), 0);
    cr_assert_eq(nearcache_events_next(events, 5000000, &event), 0);
    cr_expect_str_eq(event.event, "paused");
    cr_expect_str_eq(event.job_id, "");
    redis_server_kill(&server);
    cr_assert(redis_server_restart(&server));
    cr_assert_eq(nearcache_queue_wait(queue, 10000000), 0);
    cr_assert(
        WAIT_UNTIL(nearcache_events_next(events, 100000, &event) == NEARCACHE_MISS, PATIENCE_MS));
    nearcache_events_close(events);
}
