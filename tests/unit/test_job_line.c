#include "cli/job_line.h"

#include <criterion/criterion.h>
#include <string.h>

static struct cli_job_line job;
static const char *why;
static char line[512];

static bool parse(const char *text)
{
    strcpy(line, text);
    return cli_job_line_parse(line, strlen(text), &job, &why);
}

Test(job_line, members_come_in_any_order_and_data_keeps_its_bytes)
{
    cr_assert(parse(" {\"opts\" : {\"a\":[1,{}]} ,\"data\":{\"x\": 1.0, \"y\":\"}\\\"\"}, "
                    "\"name\":\"n\" }\r\n"));
    cr_expect_str_eq(job.name, "n");
    cr_expect_eq(job.data_bytes, strlen("{\"x\": 1.0, \"y\":\"}\\\"\"}"));
    cr_expect_eq(strncmp(job.data, "{\"x\": 1.0, \"y\":\"}\\\"\"}", job.data_bytes), 0);
    cr_expect_eq(strncmp(job.options, "{\"a\":[1,{}]}", job.options_bytes), 0);
}

Test(job_line, the_name_is_decoded)
{
    cr_assert(parse("{\"name\":\"a\\u00e9\\n\\\"\\ud83d\\udc5f\",\"data\":1}"));
    cr_expect_str_eq(job.name, "a\xc3\xa9\n\"\xf0\x9f\x91\x9f");
    cr_expect_eq(job.data[0], '1');
}

Test(job_line, what_is_no_job_is_refused_with_a_reason)
{
    static const char *const bad[] = {"",
                                      "1",
                                      "{",
                                      "{}",
                                      "{\"data\":1}",
                                      "{\"name\":1}",
                                      "{\"name\":\"a\"",
                                      "{\"name\":\"a\"} x",
                                      "{\"name\":\"a\",}",
                                      "{\"name\":\"a\",\"other\":1}",
                                      "{\"name\":\"\\u0000\"}",
                                      "{\"name\":\"\\x\"}",
                                      "{\"name\":\"a\",\"data\":}",
                                      "{\"name\":\"a\" \"data\":1}",
                                      "{name:1}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_expect_not(parse(bad[i]), "%s", bad[i]);
        cr_expect(why && *why, "%s", bad[i]);
    }
}

Test(job_line, a_value_is_told_from_what_brings_more_with_it)
{
    static const char *const good[] = {"true", " 5 ", "{\"count\":5,\"age\":[1]}", "\"a,b\"", "-1"};
    static const char *const bad[] = {"",    " ",    "5,\"lifo\":true", "5}", "}", "[1", "1 2",
                                      "\"a", "{},{}"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        cr_expect(cli_job_line_is_value(good[i]), "%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_expect_not(cli_job_line_is_value(bad[i]), "%s", bad[i]);
}
