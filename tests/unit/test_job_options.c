#include "queue/options.h"

#include <criterion/criterion.h>
#include <string.h>

static struct nc_options options;
static struct nc_text json;

static int resolve(const struct nearcache_job_options *defaults,
                   const struct nearcache_job_options *how)
{
    nc_options_deinit(&options);
    nc_options_init(&options);
    nc_text_clear(&json);
    return nc_options_resolve(&options, defaults, how, &json);
}

static struct nearcache_job_options from_json(const char *text)
{
    struct nearcache_job_options how = NEARCACHE_JOB_OPTIONS_INIT;
    how.json = text;
    how.json_bytes = strlen(text);
    return how;
}

Test(job_options, nothing_given_is_stored_as_bullmq_does)
{
    cr_assert_eq(resolve(NULL, NULL), 0);
    cr_expect_str_eq(json.data, "{\"attempts\":0}");
}

Test(job_options, fields_are_written_with_the_names_of_bullmq)
{
    struct nearcache_job_options how = NEARCACHE_JOB_OPTIONS_INIT;
    how.job_id = "a\"b";
    how.priority = 5;
    how.lifo = 1;
    how.delay_ms = 70;
    how.attempts = 3;
    how.backoff = NEARCACHE_BACKOFF_EXPONENTIAL;
    how.backoff_delay_ms = 1000;
    how.backoff_jitter = 0.25;
    how.complete = (struct nearcache_keep){NEARCACHE_KEEP_SOME, 100, 0, 0};
    how.fail = (struct nearcache_keep){NEARCACHE_KEEP_SOME, 5, 60, 0};
    how.stack_trace_limit = 2;
    how.keep_logs = 9;
    cr_assert_eq(resolve(NULL, &how), 0);
    cr_expect_str_eq(
        json.data,
        "{\"attempts\":3,\"priority\":5,\"backoff\":{\"type\":\"exponential\",\"delay\":1000,"
        "\"jitter\":0.250},\"lifo\":true,\"removeOnComplete\":100,\"removeOnFail\":"
        "{\"count\":5,\"age\":60},\"stackTraceLimit\":2,\"kl\":9,\"delay\":70,"
        "\"jobId\":\"a\\\"b\"}");
}

Test(job_options, later_sources_win_and_unknown_members_stay)
{
    struct nearcache_job_options defaults = from_json("{\"attempts\":7,\"mine\":[1],\"both\":1}");
    struct nearcache_job_options how =
        from_json("{\"attempts\":2,\"both\":2,\"removeOnFail\":true}");
    defaults.priority = 4;
    how.priority = 9;
    cr_assert_eq(resolve(&defaults, &how), 0);
    cr_expect_eq(options.attempts, 2);
    cr_expect_eq(options.priority, 9);
    cr_expect_eq(options.fail.mode, NEARCACHE_KEEP_NONE);
    cr_expect(strstr(json.data, "\"mine\":[1]"));
    cr_expect(strstr(json.data, "\"both\":2"));
    cr_expect_not(strstr(json.data, "\"both\":1"));
    cr_expect_eq(nc_json_check(json.data, json.bytes, NULL), 0);
}

Test(job_options, ids_that_would_collide_are_refused)
{
    static const char *const bad[] = {"17", "0", "-3", "a:b", ""};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct nearcache_job_options how = NEARCACHE_JOB_OPTIONS_INIT;
        how.job_id = bad[i];
        cr_expect_eq(resolve(NULL, &how), NEARCACHE_EINVAL, "%s", bad[i]);
        cr_expect(*options.why);
    }
    struct nearcache_job_options how = NEARCACHE_JOB_OPTIONS_INIT;
    how.job_id = "17a";
    cr_expect_eq(resolve(NULL, &how), 0);
}

Test(job_options, values_out_of_range_are_refused_with_a_reason)
{
    static const char *const bad[] = {"{\"delay\":-1}",
                                      "{\"priority\":2097152}",
                                      "{\"attempts\":\"x\"}",
                                      "{\"backoff\":{\"delay\":1}}",
                                      "{\"backoff\":{\"type\":\"fixed\",\"jitter\":2}}",
                                      "{\"removeOnComplete\":\"yes\"}",
                                      "{\"jobId\":5}",
                                      "[]",
                                      "{",
                                      "1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct nearcache_job_options how = from_json(bad[i]);
        cr_expect_eq(resolve(NULL, &how), NEARCACHE_EINVAL, "%s", bad[i]);
        cr_expect(*options.why, "%s", bad[i]);
    }
    struct nearcache_job_options how = NEARCACHE_JOB_OPTIONS_INIT;
    how.delay_ms = -5;
    cr_expect_eq(resolve(NULL, &how), NEARCACHE_EINVAL);
}

Test(job_options, what_is_not_spoken_is_not_supported)
{
    static const char *const bad[] = {"{\"parent\":{}}", "{\"deduplication\":{\"id\":\"a\"}}",
                                      "{\"repeat\":{}}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct nearcache_job_options how = from_json(bad[i]);
        cr_expect_eq(resolve(NULL, &how), NEARCACHE_ENOTSUP, "%s", bad[i]);
    }
}

Test(job_options, a_back_off_grows_as_bullmq_lets_it)
{
    struct nearcache_job_options how =
        from_json("{\"backoff\":{\"type\":\"exponential\",\"delay\":100}}");
    cr_assert_eq(resolve(NULL, &how), 0);
    cr_expect_eq(nc_options_backoff_ms(&options, 1, 0.9), 100);
    cr_expect_eq(nc_options_backoff_ms(&options, 4, 0.9), 800);
    cr_expect_gt(nc_options_backoff_ms(&options, 4000000000u, 0), INT64_C(1) << 52);
    how = from_json("{\"backoff\":250}");
    cr_assert_eq(resolve(NULL, &how), 0);
    cr_expect_eq(nc_options_backoff_ms(&options, 5, 0), 250);
    how = from_json("{\"backoff\":{\"type\":\"fixed\",\"delay\":1000,\"jitter\":0.5}}");
    cr_assert_eq(resolve(NULL, &how), 0);
    cr_expect_eq(nc_options_backoff_ms(&options, 1, 0), 1000);
    cr_expect_eq(nc_options_backoff_ms(&options, 1, 1), 500);
}

Test(job_options, what_redis_holds_is_read_leniently)
{
    static const char stored[] =
        "{\"attempts\":3,\"removeOnComplete\":{\"age\":10,\"count\":5},\"kl\":2,"
        "\"delay\":\"odd\",\"repeat\":{\"every\":5}}";
    nc_options_read(&options, stored, sizeof stored - 1);
    cr_expect_eq(options.attempts, 3);
    cr_expect_eq(options.complete.count, 5);
    cr_expect_eq(options.complete.age_s, 10);
    cr_expect_eq(options.keep_logs, 2);
    cr_expect_eq(options.delay_ms, 0);
    nc_options_deinit(&options);
    nc_options_read(&options, "broken", 6);
    cr_expect_eq(options.attempts, 0);
    nc_options_deinit(&options);
}

Test(job_options, a_smaller_struct_is_refused_and_a_larger_one_only_with_an_empty_tail)
{
    struct {
        struct nearcache_job_options options;
        uint64_t later;
    } large = {NEARCACHE_JOB_OPTIONS_INIT, 0};
    struct nearcache_job_options copy;
    large.options.size = sizeof large;
    cr_expect_eq(nc_struct_copy(&copy, sizeof copy, &large, sizeof copy), 0);
    large.later = 1;
    cr_expect_eq(nc_struct_copy(&copy, sizeof copy, &large, sizeof copy), NEARCACHE_EINVAL);
    large.options.size = sizeof(size_t);
    cr_expect_eq(nc_struct_copy(&copy, sizeof copy, &large, sizeof copy), NEARCACHE_EINVAL);
}

/* BullMQ removes at once where count is 0, with an age or without. */
Test(job_options, a_count_of_0_keeps_none_whatever_the_age)
{
    static const char *const texts[] = {"{\"removeOnComplete\":{\"age\":10,\"count\":0}}",
                                        "{\"removeOnComplete\":{\"count\":0}}",
                                        "{\"removeOnComplete\":0}"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        nc_options_read(&options, texts[i], strlen(texts[i]));
        cr_expect_eq(options.complete.mode, NEARCACHE_KEEP_NONE, "%s", texts[i]);
        nc_options_deinit(&options);
    }
}
