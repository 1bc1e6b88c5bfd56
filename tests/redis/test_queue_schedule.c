/* Schedules and the three queues of the fashion search service (queue/schedule, queue/preset). */
#include "queue_fixture.h"

#include <time.h>

REDIS_SERVER_REQUIRED;
TestSuite(queue_schedule, .init = queue_setup, .fini = queue_teardown, .timeout = 60);

static atomic_int runs, events[6];

static void note_event(void *arg, enum nearcache_worker_event event,
                       const struct nearcache_job *job, int outcome)
{
    (void)arg;
    (void)job;
    (void)outcome;
    events[event]++;
}

static int run(void *arg, struct nearcache_job *job)
{
    (void)arg;
    runs++;
    return strstr(nearcache_job_info(job)->data, "fail") &&
                   nearcache_job_info(job)->attempts_made == 0
               ? nearcache_job_fail(job, "once", 0)
               : nearcache_job_return(job, NULL, 0);
}

static struct nearcache_worker *work(void)
{
    struct nearcache_worker_config config = NEARCACHE_WORKER_CONFIG_INIT;
    struct nearcache_worker *worker;
    config.run = run;
    config.on_event = note_event;
    cr_assert_eq(nearcache_worker_open(&worker, queue, &config), 0);
    return worker;
}

static struct nearcache_schedule every(uint64_t ms, uint64_t limit)
{
    struct nearcache_schedule schedule = NEARCACHE_SCHEDULE_INIT;
    schedule.every_ms = ms;
    schedule.limit = limit;
    schedule.job_name = "tick";
    return schedule;
}

Test(queue_schedule, a_pattern_puts_its_next_job_among_the_delayed)
{
    struct nearcache_schedule schedule = NEARCACHE_SCHEDULE_INIT;
    int64_t next_ms, wanted_ms;
    struct nearcache_cron *cron;
    schedule.cron = "0 2 * * *";
    schedule.tz = "UTC";
    schedule.job_name = "report";
    schedule.data = "{\"a\":1}";
    schedule.data_bytes = 7;
    cr_assert_eq(nearcache_cron_create(&cron, "0 2 * * *", "UTC", NULL, 0), 0);
    cr_assert_eq(nearcache_cron_next(cron, (int64_t)time(NULL) * 1000, &wanted_ms), 0);
    nearcache_cron_destroy(cron);
    cr_assert_eq(nearcache_queue_schedule(queue, "daily", &schedule, &next_ms), 0);
    cr_expect_eq(next_ms, wanted_ms);
    cr_expect(says("report UTC 0 2 * * * {\"a\":1} 1",
                   "HMGET bull:q:repeat:daily name tz pattern data ic"));
    char command[96];
    snprintf(command, sizeof command, "HMGET bull:q:repeat:daily:%lld name data rjk",
             (long long)next_ms);
    cr_expect(says("report {\"a\":1} daily", "%s", command));
    cr_expect(says("1", "ZCARD bull:q:delayed"));
    cr_assert_eq(nearcache_queue_unschedule(queue, "daily"), 0);
    cr_expect_eq(nearcache_queue_unschedule(queue, "daily"), NEARCACHE_MISS);
    cr_expect(says("0", "EXISTS bull:q:delayed bull:q:repeat bull:q:repeat:daily"));
}

Test(queue_schedule, an_interval_runs_until_its_limit)
{
    struct nearcache_schedule schedule = every(30, 4);
    cr_assert_eq(nearcache_queue_schedule(queue, "s", &schedule, NULL), 0);
    struct nearcache_worker *worker = work();
    cr_assert(WAIT_UNTIL(runs == 4, PATIENCE_MS));
    cr_assert_eq(nearcache_worker_wait_idle(worker, 5000000), 0);
    nearcache_worker_close(worker, 0);
    cr_expect_eq(runs, 4);
    cr_expect(says("4", "HGET bull:q:repeat:s ic"));
    cr_expect(says("0", "ZCARD bull:q:delayed"));
}

Test(queue_schedule, a_retried_iteration_does_not_double_the_chain)
{
    struct nearcache_job_options how = NEARCACHE_JOB_OPTIONS_INIT;
    struct nearcache_schedule schedule = every(40, 3);
    how.attempts = 2;
    schedule.data = "\"fail\"";
    schedule.data_bytes = 6;
    schedule.how = &how;
    cr_assert_eq(nearcache_queue_schedule(queue, "s", &schedule, NULL), 0);
    struct nearcache_worker *worker = work();
    cr_assert(WAIT_UNTIL(has_become("3", "ZCARD bull:q:completed"), PATIENCE_MS));
    nearcache_worker_close(worker, 0);
    cr_expect_eq(runs, 6);
}

Test(queue_schedule, a_changed_schedule_replaces_its_waiting_job)
{
    struct nearcache_schedule schedule = every(100000, 0);
    int64_t next_ms, later_ms;
    schedule.start_ms = (int64_t)time(NULL) * 1000 + 500000;
    cr_assert_eq(nearcache_queue_schedule(queue, "s", &schedule, &next_ms), 0);
    cr_expect_eq(next_ms, schedule.start_ms);
    schedule.job_name = "tock";
    cr_assert_eq(nearcache_queue_schedule(queue, "s", &schedule, &later_ms), 0);
    cr_expect_eq(later_ms, next_ms, "an unchanged interval keeps its slot");
    cr_expect(says("1", "ZCARD bull:q:delayed"));
    cr_expect(says("tock", "HGET bull:q:repeat:s name"));
    char id[64];
    snprintf(id, sizeof id, "repeat:s:%lld", (long long)next_ms);
    cr_expect_eq(nearcache_queue_remove(queue, id), NEARCACHE_EREFUSED);
}

static int note_schedule(void *arg, const struct nearcache_schedule_info *info)
{
    char *all = arg;
    sprintf(all + strlen(all), "%s %s %llu %llu;", info->id, info->job_name,
            (unsigned long long)info->every_ms, (unsigned long long)info->limit);
    return 0;
}

Test(queue_schedule, schedules_are_listed)
{
    char all[256] = "";
    struct nearcache_schedule a = every(100000, 0), b = every(200000, 7);
    a.start_ms = (int64_t)time(NULL) * 1000 + 900000;
    b.start_ms = a.start_ms + 1000;
    cr_assert_eq(nearcache_queue_schedule(queue, "b", &b, NULL), 0);
    cr_assert_eq(nearcache_queue_schedule(queue, "a", &a, NULL), 0);
    cr_assert_eq(nearcache_queue_schedules(queue, note_schedule, all), 0);
    cr_expect_str_eq(all, "a tick 100000 0;b tick 200000 7;");
}

Test(queue_schedule, nonsense_is_refused_and_changes_nothing)
{
    struct nearcache_schedule bad[] = {every(0, 0), every(5, 0), every(5, 0), every(0, 0),
                                       every(5, 0)};
    struct nearcache_job_options how = NEARCACHE_JOB_OPTIONS_INIT;
    how.delay_ms = 5;
    bad[1].cron = "* * * * *";
    bad[2].job_name = NULL;
    bad[3].cron = "0 2 * *";
    bad[4].how = &how;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_expect_eq(nearcache_queue_schedule(queue, "s", &bad[i], NULL), NEARCACHE_EINVAL, "%zu",
                     i);
    struct nearcache_schedule fine = every(5, 0);
    cr_expect_eq(nearcache_queue_schedule(queue, "a:b", &fine, NULL), NEARCACHE_EINVAL);
    fine.end_ms = 1000;
    cr_expect_eq(nearcache_queue_schedule(queue, "s", &fine, NULL), NEARCACHE_MISS);
    cr_expect(says("0", "DBSIZE"));
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Of a job that is due a full Redis allows the taking, and not the one after it. */
Test(queue_schedule, a_full_redis_does_not_end_it)
{
    struct nearcache_schedule schedule = every(300, 0);
    schedule.start_ms = now_ms() + 300;
    cr_assert_eq(nearcache_queue_schedule(queue, "s", &schedule, NULL), 0);
    cr_assert(WAIT_UNTIL(now_ms() > schedule.start_ms, PATIENCE_MS));
    cr_assert(says("OK", "CONFIG SET maxmemory 1"));
    struct nearcache_worker *worker = work();
    cr_assert(WAIT_UNTIL(events[NEARCACHE_WORKER_RETRIED] > 0, PATIENCE_MS));
    cr_expect_eq(runs, 0);
    cr_assert(says("OK", "CONFIG SET maxmemory 0"));
    cr_expect(WAIT_UNTIL(runs > 1, PATIENCE_MS));
    cr_expect_eq(nearcache_worker_close(worker, 0), 0);
}

static void set_zone_of(const char *job, const char *zone)
{
    char options[128];
    snprintf(options, sizeof options,
             "{\"repeat\":{\"pattern\":\"* * * * * *\",\"tz\":\"%s\",\"count\":1}}", zone);
    char *answer = redis_server_ask(&server, "HSET %s opts %s", job, options);
    cr_assert_str_eq(answer, "0");
    free(answer);
}

Test(queue_schedule, a_zone_that_this_worker_does_not_know_does_not_end_it)
{
    struct nearcache_schedule schedule = NEARCACHE_SCHEDULE_INIT;
    int64_t next_ms;
    char job[64];
    schedule.cron = "* * * * * *";
    schedule.tz = "UTC";
    schedule.job_name = "tick";
    cr_assert_eq(nearcache_queue_schedule(queue, "z", &schedule, &next_ms), 0);
    snprintf(job, sizeof job, "bull:q:repeat:z:%lld", (long long)next_ms);
    set_zone_of(job, "No/Where");
    struct nearcache_worker *worker = work();
    cr_assert(WAIT_UNTIL(events[NEARCACHE_WORKER_RETRIED] > 0, PATIENCE_MS));
    cr_expect_eq(runs, 0);
    set_zone_of(job, "UTC"); /* as on another machine */
    cr_expect(WAIT_UNTIL(runs > 1, PATIENCE_MS));
    cr_expect_eq(nearcache_worker_close(worker, 0), 0);
}

Test(queue_schedule, an_interval_has_no_job_after_its_end)
{
    struct nearcache_schedule schedule = every(200, 0);
    schedule.end_ms = now_ms() + 500;
    cr_assert_eq(nearcache_queue_schedule(queue, "s", &schedule, NULL), 0);
    struct nearcache_worker *worker = work();
    cr_assert(
        WAIT_UNTIL(runs > 0 && has_become("0", "EXISTS bull:q:delayed bull:q:wait bull:q:active"),
                   PATIENCE_MS));
    cr_expect_eq(nearcache_worker_close(worker, 0), 0);
    cr_expect_leq(runs, 3);
    cr_expect_leq(number("ZSCORE bull:q:repeat s"), schedule.end_ms);
}

Test(queue_schedule, an_interval_that_begins_after_its_end_is_refused)
{
    struct nearcache_schedule schedule = every(1000, 0);
    schedule.end_ms = now_ms() + 50000;
    schedule.start_ms = schedule.end_ms + 1;
    cr_expect_eq(nearcache_queue_schedule(queue, "s", &schedule, NULL), NEARCACHE_MISS);
    cr_expect(says("0", "EXISTS bull:q:repeat bull:q:repeat:s bull:q:delayed"));
}

Test(queue_schedule, a_later_begin_holds_for_an_unchanged_interval)
{
    struct nearcache_schedule schedule = every(60000, 0);
    int64_t first_ms, next_ms;
    schedule.start_ms = now_ms() + 5000;
    cr_assert_eq(nearcache_queue_schedule(queue, "s", &schedule, &first_ms), 0);
    schedule.start_ms += 3599000;
    cr_assert_eq(nearcache_queue_schedule(queue, "s", &schedule, &next_ms), 0);
    cr_expect_eq(next_ms, first_ms + 3600000, "its slots are kept");
    cr_expect(says("1", "ZCARD bull:q:delayed"));
}

/* ---- presets --------------------------------------------------------------------------------- */

static struct nearcache_queue *open_preset(enum nearcache_preset_queue which)
{
    struct nearcache_queue *opened = NULL;
    cr_assert_eq(nearcache_queue_open_preset(&opened, &redis, which, NULL), 0);
    return opened;
}

Test(queue_preset, products_have_the_originals_names_options_and_schedule, .init = queue_setup,
     .fini = queue_teardown)
{
    struct nearcache_queue *products = open_preset(NEARCACHE_QUEUE_PRODUCTS);
    struct nearcache_job_id id;
    cr_assert_eq(nearcache_queue_refresh_products(products, "amazon", "top", 50, &id), 0);
    cr_expect(
        says("refresh-products {\"marketplace\":\"amazon\",\"category\":\"top\",\"limit\":50} 1",
             "HMGET bull:product-refresh:1 name data priority"));
    cr_assert_eq(nearcache_queue_refresh_products(products, "flipkart", NULL, 0, &id), 0);
    cr_expect_str_eq(id.text, "5");
    cr_expect(says("{\"marketplace\":\"flipkart\",\"category\":\"accessories\",\"limit\":100} 2",
                   "HMGET bull:product-refresh:5 data priority"));
    char *opts = redis_server_ask(&server, "HGET bull:product-refresh:1 opts");
    cr_expect(strstr(opts, "\"attempts\":3") && strstr(opts, "\"removeOnComplete\":100") &&
                  strstr(opts, "\"removeOnFail\":500") &&
                  strstr(opts, "{\"type\":\"exponential\",\"delay\":1000}"),
              "%s", opts);
    free(opts);
    cr_expect_eq(nearcache_queue_refresh_products(products, "ebay", "top", 5, NULL),
                 NEARCACHE_EINVAL);
    cr_assert_eq(nearcache_queue_schedule_preset(products, "UTC", NULL), 0);
    cr_expect(says("0 2 * * *", "HGET bull:product-refresh:repeat:daily-refresh pattern"));
    cr_expect_eq(nearcache_queue_compute_embeddings(products, NULL, 0, 0, NULL), NEARCACHE_EINVAL);
    nearcache_queue_close(products, 0);
}

Test(queue_preset, embeddings_are_added_in_bulk, .init = queue_setup, .fini = queue_teardown)
{
    struct nearcache_queue *embeddings = open_preset(NEARCACHE_QUEUE_EMBEDDINGS);
    struct nearcache_embedding_request requests[40];
    for (int i = 0; i < 40; i++)
        requests[i] = (struct nearcache_embedding_request){"p\"1", "http://x/", "A shoe", NULL};
    cr_assert_eq(nearcache_queue_compute_embeddings(embeddings, requests, 40, 0, NULL), 0);
    cr_assert_eq(nearcache_queue_compute_embeddings(embeddings, requests, 1, 0, NULL), 0);
    cr_assert_eq(nearcache_queue_compute_embeddings(embeddings, requests, 3, 1, NULL), 0);
    cr_expect(says("{\"productId\":\"p\\\"1\",\"imageUrl\":\"http://x/\",\"title\":\"A shoe\"} 2",
                   "HMGET bull:embedding-computation:1 data priority"));
    cr_expect(says("1", "HGET bull:embedding-computation:41 priority"));
    cr_expect(says("3", "LLEN bull:embedding-computation:wait"));
    cr_expect_eq(nearcache_queue_schedule_preset(embeddings, NULL, NULL), NEARCACHE_ENOTSUP);
    nearcache_queue_close(embeddings, 0);
}

Test(queue_preset, analytics_jobs_have_types_and_old_ones_are_cleaned, .init = queue_setup,
     .fini = queue_teardown)
{
    struct nearcache_queue *analytics = open_preset(NEARCACHE_QUEUE_ANALYTICS);
    uint64_t removed = 0;
    cr_assert_eq(nearcache_queue_process_analytics(analytics, "custom", "2024-01-01", NULL,
                                                   "[\"views\"]", NULL),
                 0);
    cr_expect(says("{\"type\":\"custom\",\"startDate\":\"2024-01-01\",\"metrics\":[\"views\"]}",
                   "HGET bull:analytics-processing:1 data"));
    cr_expect_eq(nearcache_queue_process_analytics(analytics, "hourly", NULL, NULL, NULL, NULL),
                 NEARCACHE_EINVAL);
    cr_expect_eq(nearcache_queue_process_analytics(analytics, "daily", NULL, NULL, "[", NULL),
                 NEARCACHE_EINVAL);
    long long now_ms = (long long)time(NULL) * 1000, day_ms = 86400000;
    char command[128];
    for (int i = 1; i <= 4; i++) {
        /* Ended 6 or 8 days ago, 29 or 31 days ago. */
        long long ago = i == 1 ? 6 : i == 2 ? 8 : i == 3 ? 29 : 31;
        snprintf(command, sizeof command, "ZADD bull:analytics-processing:%s %lld x%d",
                 i < 3 ? "completed" : "failed", now_ms - ago * day_ms, i);
        cr_assert(says("1", "%s", command));
    }
    cr_assert_eq(nearcache_queue_clean_preset(analytics, &removed), 0);
    cr_expect_eq(removed, 2);
    cr_expect(says("x1", "ZRANGE bull:analytics-processing:completed 0 -1"));
    cr_expect(says("x3", "ZRANGE bull:analytics-processing:failed 0 -1"));
    nearcache_queue_close(analytics, 0);
}
