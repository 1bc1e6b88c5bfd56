/*
 * Every allocation of every call on a queue fails once: the call says NEARCACHE_ENOMEM (or did all
 * it does), nothing leaks, and the queue works on. Allocations of other threads do not fail here.
 */
#include "lib/alloc_fail.h"
#include "redis/queue_fixture.h"

#include <unistd.h>

REDIS_SERVER_REQUIRED;
TestSuite(queue_alloc, .init = queue_setup, .fini = queue_teardown, .timeout = 100);

/*
 * Runs the call until no allocation of it failed; `undo` sets back what a success did. When memory
 * runs out for Redis' answer the order was carried out: then the next call finds it done.
 */
#define SURVIVES(call, undo)                                                                       \
    do {                                                                                           \
        for (unsigned long n = 0;; n++) {                                                          \
            alloc_fail_at(n, ALLOC_FAIL_ONCE);                                                     \
            int outcome_ = (call);                                                                 \
            bool failed_ = alloc_fail_end();                                                       \
            cr_assert(outcome_ >= 0 || (failed_ && outcome_ == NEARCACHE_ENOMEM) ||                \
                          (!failed_ && outcome_ == NEARCACHE_EREFUSED),                            \
                      "%s: allocation %lu: %d", #call, n, outcome_);                               \
            if (outcome_ == 0) {                                                                   \
                undo;                                                                              \
            }                                                                                      \
            if (!failed_)                                                                          \
                break;                                                                             \
        }                                                                                          \
    } while (0)

static int none(void *arg, struct nearcache_job *job)
{
    (void)arg;
    return nearcache_job_return(job, NULL, 0);
}

Test(queue_alloc, opening_and_closing)
{
    struct nearcache_queue_config config = NEARCACHE_QUEUE_CONFIG_INIT;
    struct nearcache_job_options defaults = NEARCACHE_JOB_OPTIONS_INIT;
    struct nearcache_queue *other;
    defaults.json = "{\"attempts\":3,\"custom\":[1]}";
    defaults.json_bytes = strlen(defaults.json);
    config.defaults = &defaults;
    config.prefix = "mine";
    SURVIVES(nearcache_queue_open(&other, &redis, "other", &config),
             nearcache_queue_close(other, 0));
    SURVIVES(nearcache_queue_open_preset(&other, &redis, NEARCACHE_QUEUE_PRODUCTS, NULL),
             nearcache_queue_close(other, 0));
}

Test(queue_alloc, adding)
{
    struct nearcache_job_options how = NEARCACHE_JOB_OPTIONS_INIT;
    struct nearcache_job_spec jobs[3];
    struct nearcache_job_id ids[3];
    how.json =
        "{\"jobId\":\"mine\",\"backoff\":{\"type\":\"odd\",\"delay\":5},\"extra\":{\"a\":[]}}";
    how.json_bytes = strlen(how.json);
    for (int i = 0; i < 3; i++)
        jobs[i] = (struct nearcache_job_spec){"n", "[1]", 3, NULL};
    add("1", NULL); /* the script is loaded */
    SURVIVES(nearcache_queue_add(queue, "n", "{\"a\":\"b\"}", 9, &how, ids),
             nearcache_queue_remove(queue, "mine"));
    SURVIVES(nearcache_queue_add_many(queue, jobs, 3, ids, NULL), );
    cr_assert(says("OK", "SCRIPT FLUSH"));
    SURVIVES(nearcache_queue_add(queue, "n", "1", 1, NULL, NULL), );
}

static int count_text(void *arg, const char *text, size_t bytes)
{
    (void)text;
    (void)bytes;
    ++*(int *)arg;
    return 0;
}

static int count_schedule(void *arg, const struct nearcache_schedule_info *info)
{
    (void)info;
    ++*(int *)arg;
    return 0;
}

static int list(struct nearcache_job **jobs, size_t *found)
{
    *found = 0;
    return nearcache_queue_list(queue, NEARCACHE_JOB_WAITING, 0, 8, jobs, found);
}

static void free_jobs(struct nearcache_job **jobs, size_t found)
{
    while (found)
        nearcache_job_free(jobs[--found]);
}

Test(queue_alloc, looking)
{
    struct nearcache_queue_stats stats;
    struct nearcache_job *job, *jobs[8];
    enum nearcache_job_state state;
    size_t found;
    int count = 0;
    for (int i = 0; i < 5; i++)
        add("{\"a\":1}", "{\"backoff\":{\"type\":\"fixed\",\"delay\":1}}");
    cr_assert(says("1", "RPUSH bull:q:1:logs line"));
    SURVIVES(nearcache_queue_stats(queue, &stats), );
    SURVIVES(nearcache_queue_job(queue, "1", &job), nearcache_job_free(job));
    SURVIVES(nearcache_queue_job_state(queue, "1", &state), );
    SURVIVES(list(jobs, &found), free_jobs(jobs, found));
    SURVIVES(nearcache_queue_job_logs(queue, "1", count_text, &count), );
    SURVIVES(nearcache_queue_workers(queue, count_text, &count), );
    cr_assert_eq(nearcache_queue_job(queue, "1", &job), 0);
    SURVIVES(nearcache_job_progress(job, "1", 1), );
    SURVIVES(nearcache_job_log(job, "line"), );
    nearcache_job_free(job);
}

Test(queue_alloc, ordering)
{
    uint64_t removed;
    add("1", "{\"delay\":100000}");
    SURVIVES(nearcache_queue_promote(queue, "1"), );
    SURVIVES(nearcache_queue_pause(queue), );
    SURVIVES(nearcache_queue_resume(queue), );
    SURVIVES(nearcache_queue_set_concurrency(queue, 3), );
    SURVIVES(nearcache_queue_set_rate(queue, 3, 10), );
    SURVIVES(nearcache_queue_drain(queue, 1), );
    SURVIVES(nearcache_queue_clean(queue, NEARCACHE_JOB_COMPLETED, 0, 0, &removed), );
    cr_assert_eq(nearcache_queue_pause(queue), 0);
    SURVIVES(nearcache_queue_obliterate(queue, 1), );
}

Test(queue_alloc, scheduling)
{
    struct nearcache_schedule schedule = NEARCACHE_SCHEDULE_INIT;
    struct nearcache_cron *cron;
    int count = 0;
    schedule.cron = "0 2 * * mon-fri";
    schedule.tz = access("/usr/share/zoneinfo/Europe/Berlin", R_OK) ? "UTC" : "Europe/Berlin";
    schedule.job_name = "n";
    schedule.data = "{\"a\":1}";
    schedule.data_bytes = 7;
    SURVIVES(nearcache_cron_create(&cron, schedule.cron, schedule.tz, NULL, 0),
             nearcache_cron_destroy(cron));
    SURVIVES(nearcache_queue_schedule(queue, "s", &schedule, NULL), );
    SURVIVES(nearcache_queue_schedules(queue, count_schedule, &count), );
    SURVIVES(nearcache_queue_unschedule(queue, "s"), );
}

Test(queue_alloc, presets)
{
    const struct nearcache_embedding_request requests[2] = {{"1", "u", "t", "c"},
                                                            {"2", "u", "t", "c"}};
    struct nearcache_queue *products, *embeddings, *analytics;
    cr_assert_eq(nearcache_queue_open_preset(&products, &redis, NEARCACHE_QUEUE_PRODUCTS, NULL), 0);
    cr_assert_eq(nearcache_queue_open_preset(&embeddings, &redis, NEARCACHE_QUEUE_EMBEDDINGS, NULL),
                 0);
    cr_assert_eq(nearcache_queue_open_preset(&analytics, &redis, NEARCACHE_QUEUE_ANALYTICS, NULL),
                 0);
    SURVIVES(nearcache_queue_refresh_products(products, "amazon", NULL, 0, NULL), );
    SURVIVES(nearcache_queue_schedule_preset(products, "UTC", NULL), );
    SURVIVES(nearcache_queue_compute_embeddings(embeddings, requests, 2, 0, NULL), );
    SURVIVES(nearcache_queue_process_analytics(analytics, "daily", "a", "b", "[]", NULL), );
    SURVIVES(nearcache_queue_clean_preset(analytics, NULL), );
    nearcache_queue_close(products, 0);
    nearcache_queue_close(embeddings, 0);
    nearcache_queue_close(analytics, 0);
}

static int next_event(struct nearcache_events *events)
{
    struct nearcache_event event;
    return nearcache_events_next(events, 1000000, &event);
}

Test(queue_alloc, events)
{
    struct nearcache_events *events;
    for (int i = 0; i < 50; i++)
        add("1", NULL);
    SURVIVES(nearcache_events_open(&events, queue, NULL), nearcache_events_close(events));
    SURVIVES(nearcache_events_open(&events, queue, "0"), nearcache_events_close(events));
    cr_assert_eq(nearcache_events_open(&events, queue, "0"), 0);
    SURVIVES(next_event(events), );
    nearcache_events_close(events);
}

Test(queue_alloc, workers)
{
    struct nearcache_worker_config config = NEARCACHE_WORKER_CONFIG_INIT;
    struct nearcache_worker *worker;
    config.run = none;
    config.name = "w";
    config.concurrency = 2;
    SURVIVES(nearcache_worker_open(&worker, queue, &config), nearcache_worker_close(worker, 0));
}

/* In the threads of a worker: jobs that memory ran out for run again by stalled recovery. */
Test(queue_alloc, a_worker_survives_allocations_that_fail_in_its_threads)
{
    struct nearcache_worker_config config = NEARCACHE_WORKER_CONFIG_INIT;
    struct nearcache_worker *worker;
    config.run = none;
    config.concurrency = 2;
    config.lock_duration_ms = 300;
    config.stalled_interval_ms = 100;
    config.max_stalled_count = 1000;
    cr_assert_eq(nearcache_worker_open(&worker, queue, &config), 0);
    for (unsigned long n = 0; n < 60; n++) {
        add("1", "{\"attempts\":1000}");
        alloc_fail_at(n, ALLOC_FAIL_ONCE_OF_ALL);
        WAIT_UNTIL(alloc_fail_count() > n, 20);
        alloc_fail_end();
    }
    cr_assert(WAIT_UNTIL(has_become("60", "ZCARD bull:q:completed"), PATIENCE_MS),
              "%lld complete, %lld active", number("ZCARD bull:q:completed"),
              number("LLEN bull:q:active"));
    nearcache_worker_close(worker, 0);
}

/* Also where memory is short only while its threads begin. */
Test(queue_alloc, a_worker_that_was_opened_runs_jobs)
{
    struct nearcache_worker_config config = NEARCACHE_WORKER_CONFIG_INIT;
    struct nearcache_worker *worker;
    long long done = 0;
    config.run = none;
    config.lock_duration_ms = 300;
    config.stalled_interval_ms = 100;
    config.max_stalled_count = 1000;
    for (unsigned long n = 0; n < 60; n++) {
        config.concurrency = 1 + n % 2;
        alloc_fail_at(n / 2, ALLOC_FAIL_ONCE_OF_ALL);
        int outcome = nearcache_worker_open(&worker, queue, &config);
        WAIT_UNTIL(alloc_fail_count() > n / 2, 20);
        alloc_fail_end();
        cr_assert(outcome == 0 || outcome == NEARCACHE_ENOMEM, "%lu: %d", n, outcome);
        if (outcome)
            continue;
        add("1", "{\"attempts\":1000}");
        done++;
        cr_assert(WAIT_UNTIL(number("ZCARD bull:q:completed") == done, PATIENCE_MS), "%lu", n);
        cr_assert_eq(nearcache_worker_close(worker, 0), 0);
    }
    cr_expect_gt(done, 20);
}
