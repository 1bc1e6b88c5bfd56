/* Producer: what adding leaves in Redis (queue/add, queue/queue, queue/options, queue/remote). */
#include "queue_fixture.h"

REDIS_SERVER_REQUIRED;
TestSuite(queue, .init = queue_setup, .fini = queue_teardown, .timeout = 60);

Test(queue, a_standard_job_is_stored_as_bullmq_reads_it)
{
    struct nearcache_job_options how = NEARCACHE_JOB_OPTIONS_INIT;
    struct nearcache_job_id id;
    how.timestamp_ms = 1700000000000;
    cr_assert_eq(nearcache_queue_add(queue, "welcome", "{\"a\" : 1.0}", 11, &how, &id), 0);
    cr_expect_str_eq(id.text, "1");
    cr_expect(says("welcome {\"a\" : 1.0} 1700000000000 0 0",
                   "HMGET bull:q:1 name data timestamp delay priority"));
    cr_expect(says("1", "LRANGE bull:q:wait 0 -1"));
    cr_expect(says("0", "ZSCORE bull:q:marker 0"));
    cr_expect(says("10000", "HGET bull:q:meta opts.maxLenEvents"));
    cr_expect_eq(number("XLEN bull:q:events"), 2);
}

Test(queue, no_data_is_an_empty_object)
{
    add(NULL, NULL);
    cr_expect(says("{}", "HGET bull:q:1 data"));
}

Test(queue, the_next_to_run_stands_at_the_right_and_lifo_overtakes)
{
    add("1", NULL);
    add("2", NULL);
    add("3", "{\"lifo\":true}");
    cr_expect(says("2 1 3", "LRANGE bull:q:wait 0 -1"));
}

Test(queue, priorities_order_by_number_and_then_by_time)
{
    add("1", "{\"priority\":5}");
    add("2", "{\"priority\":1}");
    add("3", "{\"priority\":5}");
    cr_expect(says("2 1 3", "ZRANGE bull:q:prioritized 0 -1"));
    cr_expect(says("21474836481", "ZSCORE bull:q:prioritized 1"));
    cr_expect(says("0", "LLEN bull:q:wait"));
}

static double score(const char *command)
{
    char *answer = redis_server_ask(&server, command);
    double value = answer ? strtod(answer, NULL) : -1;
    free(answer);
    return value;
}

Test(queue, delayed_jobs_of_one_millisecond_keep_their_order)
{
    for (int i = 0; i < 3; i++)
        add("1", "{\"delay\":5000,\"timestamp\":1700000000000,\"priority\":3}");
    cr_expect(says("1 2 3", "ZRANGE bull:q:delayed 0 -1"));
    cr_expect_eq(score("ZSCORE bull:q:delayed 3"), 1700000005000.0 * 4096 + 2);
    cr_expect_eq(score("ZSCORE bull:q:marker 1"), 1700000005000.0);
}

Test(queue, an_id_of_ones_own_is_added_once)
{
    struct nearcache_job_options how = NEARCACHE_JOB_OPTIONS_INIT;
    struct nearcache_job_id id;
    how.job_id = "mine";
    cr_assert_eq(nearcache_queue_add(queue, "a", "1", 1, &how, &id), 0);
    cr_assert_eq(nearcache_queue_add(queue, "b", "2", 1, &how, &id), NEARCACHE_MISS);
    cr_expect_str_eq(id.text, "mine");
    cr_expect(says("a 1", "HMGET bull:q:mine name data"));
    cr_expect(says("1", "LLEN bull:q:wait"));
    cr_expect(says("2", "GET bull:q:id")); /* counted for both, as BullMQ does */
}

Test(queue, bad_input_is_refused_before_anything_is_sent)
{
    static const struct {
        const char *data, *options, *log;
        int outcome;
    } bad[] = {
        {"{oops", NULL, "not JSON", NEARCACHE_EINVAL},
        {"", NULL, "not JSON", NEARCACHE_EINVAL},
        {"\"\xff\"", NULL, "not JSON", NEARCACHE_EINVAL},
        {"1", "{\"delay\":-1}", "delay", NEARCACHE_EINVAL},
        {"1", "{\"priority\":2097152}", "priority", NEARCACHE_EINVAL},
        {"1", "{\"jobId\":\"12\"}", "integer", NEARCACHE_EINVAL},
        {"1", "{\"jobId\":\"a:b\"}", "colon", NEARCACHE_EINVAL},
        {"1", "{\"repeat\":{\"every\":5}}", "repeat", NEARCACHE_ENOTSUP},
        {"1", "{\"deduplication\":{\"id\":\"x\"}}", "deduplication", NEARCACHE_ENOTSUP},
        {"1", "{\"parent\":{\"id\":\"x\",\"queue\":\"y\"}}", "parent", NEARCACHE_ENOTSUP},
        {"1", "[]", "", NEARCACHE_EINVAL},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct nearcache_job_options how = NEARCACHE_JOB_OPTIONS_INIT;
        how.json = bad[i].options;
        how.json_bytes = how.json ? strlen(how.json) : 0;
        last_log[0] = 0;
        cr_expect_eq(nearcache_queue_add(queue, "n", bad[i].data, strlen(bad[i].data), &how, NULL),
                     bad[i].outcome, "%s %s", bad[i].data, bad[i].options);
        cr_expect(strstr(last_log, bad[i].log), "%s: %s", bad[i].log, last_log);
    }
    struct nearcache_job_options negative = NEARCACHE_JOB_OPTIONS_INIT;
    negative.delay_ms = -5;
    cr_expect_eq(nearcache_queue_add(queue, "n", "1", 1, &negative, NULL), NEARCACHE_EINVAL);
    cr_expect_eq(nearcache_queue_add(queue, "", "1", 1, NULL, NULL), NEARCACHE_EINVAL);
    cr_expect(says("0", "DBSIZE"));
}

Test(queue, many_jobs_go_in_few_calls_and_in_order)
{
    enum { COUNT = 1200 };
    static struct nearcache_job_spec jobs[COUNT];
    static struct nearcache_job_id ids[COUNT];
    static int statuses[COUNT];
    for (int i = 0; i < COUNT; i++)
        jobs[i] = (struct nearcache_job_spec){"n", "1", 1, NULL};
    cr_assert_eq(nearcache_queue_add_many(queue, jobs, COUNT, ids, statuses), 0);
    for (int i = 0; i < COUNT; i++) {
        cr_assert_eq(statuses[i], 0);
        cr_assert_eq(atoi(ids[i].text), i + 1);
    }
    cr_expect(says("1", "LINDEX bull:q:wait -1"));
    char *info = redis_server_ask(&server, "INFO commandstats");
    const char *calls = strstr(info, "cmdstat_evalsha:calls=");
    cr_assert(calls);
    cr_expect_leq(atoi(calls + 22), 6);
    free(info);
}

Test(queue, one_bad_job_of_many_keeps_all_from_being_sent)
{
    const struct nearcache_job_spec jobs[] = {{"a", "1", 1, NULL}, {"b", "{", 1, NULL}};
    int statuses[2];
    cr_expect_eq(nearcache_queue_add_many(queue, jobs, 2, NULL, statuses), NEARCACHE_EINVAL);
    cr_expect_eq(statuses[0], NEARCACHE_ECANCELED);
    cr_expect_eq(statuses[1], NEARCACHE_EINVAL);
    cr_expect(says("0", "DBSIZE"));
}

Test(queue, a_call_overrides_the_defaults_of_the_queue)
{
    struct nearcache_job_options defaults = NEARCACHE_JOB_OPTIONS_INIT;
    defaults.attempts = 3;
    defaults.priority = 2;
    struct nearcache_queue *other = open_queue("other", &defaults);
    struct nearcache_job_options how = NEARCACHE_JOB_OPTIONS_INIT;
    how.attempts = 7;
    cr_assert_eq(nearcache_queue_add(other, "n", "1", 1, NULL, NULL), 0);
    cr_assert_eq(nearcache_queue_add(other, "n", "1", 1, &how, NULL), 0);
    cr_expect(says("{\"attempts\":3,\"priority\":2}", "HGET bull:other:1 opts"));
    cr_expect(says("{\"attempts\":7,\"priority\":2}", "HGET bull:other:2 opts"));
    nearcache_queue_close(other, 0);
}

Test(queue, what_is_of_one_job_is_no_default)
{
    static const char *const texts[] = {"{\"jobId\":\"a\"}", "{\"delay\":5}", "{\"timestamp\":5}"};
    struct nearcache_job_options bad[5];
    for (size_t i = 0; i < 5; i++) {
        bad[i] = (struct nearcache_job_options)NEARCACHE_JOB_OPTIONS_INIT;
        bad[i].json = i < 3 ? texts[i] : NULL;
        bad[i].json_bytes = i < 3 ? strlen(texts[i]) : 0;
    }
    bad[3].job_id = "a";
    bad[4].delay_ms = 5;
    for (size_t i = 0; i < 5; i++) {
        struct nearcache_queue_config config = NEARCACHE_QUEUE_CONFIG_INIT;
        struct nearcache_queue *other;
        config.defaults = &bad[i];
        config.log = note_log;
        cr_expect_eq(nearcache_queue_open(&other, &redis, "other", &config), NEARCACHE_EINVAL);
        cr_expect(strstr(last_log, "cannot be defaults"), "%s", last_log);
    }
}

Test(queue, a_full_redis_refuses_and_says_why)
{
    add("1", NULL);
    cr_assert(says("OK", "CONFIG SET maxmemory 1"));
    cr_expect_eq(nearcache_queue_add(queue, "n", "1", 1, NULL, NULL), NEARCACHE_EREMOTE);
    cr_expect(strstr(last_log, "OOM"), "%s", last_log);
    cr_assert(says("OK", "CONFIG SET maxmemory 0"));
    cr_expect_eq(nearcache_queue_add(queue, "n", "1", 1, NULL, NULL), 0);
}

Test(queue, a_redis_that_evicts_is_warned_about_once)
{
    cr_assert(says("OK", "CONFIG SET maxmemory-policy allkeys-lru"));
    struct nearcache_queue *other = open_queue("other", NULL);
    cr_assert_eq(nearcache_queue_add(other, "n", "1", 1, NULL, NULL), 0);
    cr_expect(strstr(last_log, "may evict"), "%s", last_log);
    last_log[0] = 0;
    cr_assert_eq(nearcache_queue_add(other, "n", "1", 1, NULL, NULL), 0);
    cr_expect_str_empty(last_log);
    nearcache_queue_close(other, 0);
}

/* The first calls find no Redis. */
Test(queue, the_warning_comes_with_the_first_answer)
{
    struct nearcache_queue_config hasty = NEARCACHE_QUEUE_CONFIG_INIT;
    struct nearcache_queue *other;
    hasty.timeout_us = 50000;
    hasty.log = note_log;
    hasty.log_level = NEARCACHE_LOG_WARNING;
    redis_server_kill(&server);
    cr_assert_eq(nearcache_queue_open(&other, &redis, "other", &hasty), 0);
    for (int i = 0; i < 2; i++)
        cr_expect_neq(nearcache_queue_add(other, "n", "1", 1, NULL, NULL), 0);
    cr_assert(redis_server_restart(&server));
    cr_assert(says("OK", "CONFIG SET maxmemory-policy allkeys-lru"));
    cr_assert_eq(nearcache_queue_wait(other, 10000000), 0);
    cr_assert(WAIT_UNTIL(nearcache_queue_add(other, "n", "1", 1, NULL, NULL) == 0 &&
                             strstr(last_log, "may evict"),
                         PATIENCE_MS),
              "%s", last_log);
    nearcache_queue_close(other, 0);
}

Test(queue, scripts_that_redis_forgot_are_sent_again)
{
    add("1", NULL);
    cr_assert(says("OK", "SCRIPT FLUSH"));
    add("2", NULL);
    cr_expect(says("2", "LLEN bull:q:wait"));
}

Test(queue, a_restarted_redis_is_found_again)
{
    add("1", NULL);
    redis_server_kill(&server);
    cr_assert(redis_server_restart(&server));
    cr_assert_eq(nearcache_queue_wait(queue, 10000000), 0);
    cr_assert(WAIT_UNTIL(nearcache_queue_add(queue, "n", "1", 1, NULL, NULL) == 0, PATIENCE_MS));
    cr_expect(says("1", "LLEN bull:q:wait"));
}

Test(queue, refused_credentials_are_told_at_once)
{
    cr_assert(says("OK", "CONFIG SET requirepass secret"));
    struct nearcache_queue *other = open_queue("other", NULL);
    uint64_t begin_ns = wait_now_ns();
    cr_expect_eq(nearcache_queue_add(other, "n", "1", 1, NULL, NULL), NEARCACHE_EAUTH);
    cr_expect_lt(wait_now_ns() - begin_ns, UINT64_C(4000000000));
    nearcache_queue_close(other, 0);
}

Test(queue, names_and_prefixes_have_their_form)
{
    struct nearcache_queue_config config = NEARCACHE_QUEUE_CONFIG_INIT;
    struct nearcache_queue *other;
    char longest[300];
    memset(longest, 'x', sizeof longest);
    longest[256] = 0;
    cr_expect_eq(nearcache_queue_open(&other, &redis, "", NULL), NEARCACHE_EINVAL);
    cr_expect_eq(nearcache_queue_open(&other, &redis, "a:b", NULL), NEARCACHE_EINVAL);
    cr_expect_eq(nearcache_queue_open(&other, &redis, longest, NULL), NEARCACHE_EINVAL);
    longest[255] = 0;
    config.prefix = "{mine}";
    cr_assert_eq(nearcache_queue_open(&other, &redis, longest, &config), 0);
    cr_expect_eq(nearcache_queue_add(other, "n", "1", 1, NULL, NULL), 0);
    char *keys = redis_server_ask(&server, "KEYS {mine}:x*x:wait");
    cr_expect_eq(strlen(keys), strlen("{mine}:") + 255 + strlen(":wait"));
    free(keys);
    nearcache_queue_close(other, 0);
    config.prefix = "";
    cr_expect_eq(nearcache_queue_open(&other, &redis, "q", &config), NEARCACHE_EINVAL);
}

Test(queue, closing_is_refused_while_a_reader_of_events_is_open)
{
    struct nearcache_queue *other = open_queue("other", NULL);
    struct nearcache_events *events;
    cr_assert_eq(nearcache_events_open(&events, other, NULL), 0);
    cr_expect_eq(nearcache_queue_close(other, 0), NEARCACHE_EBUSY);
    nearcache_events_close(events);
    cr_expect_eq(nearcache_queue_close(other, 0), 0);
}
