#include "cli/config_file.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[] = "/tmp/nc-config-XXXXXX";
static char problem[CLI_CONFIG_PROBLEM_BYTES];
static struct nearcache_redis redis = NEARCACHE_REDIS_INIT;
static struct nearcache_config config = NEARCACHE_CONFIG_INIT;
static struct cli_config_file file = {.redis = &redis, .config = &config};

static void setup(void) { close(mkstemp(path)); }

static void teardown(void)
{
    free(file.text);
    unlink(path);
}

TestSuite(config_file, .init = setup, .fini = teardown);

static bool read_text(const char *text)
{
    FILE *out = fopen(path, "w");

    fputs(text, out);
    fclose(out);
    return cli_config_file_read(&file, path, problem);
}

static void expect_problem(const char *text, const char *part)
{
    cr_assert_not(read_text(text));
    file.text = NULL;
    cr_assert(strstr(problem, part), "%s", problem);
}

Test(config_file, keys_fill_the_structs)
{
    cr_assert(read_text("# a comment\n\n host = redis.internal \nport=6380\n password = a = b#c\n"
                        "tls = yes\ndeadline_ms = 250\nbudget_bytes = 128m\nlease_ms = 2000\n"
                        "namespace = shop"),
              "%s", problem);
    cr_assert_str_eq(redis.host, "redis.internal");
    cr_assert_eq(redis.port, 6380);
    cr_assert_str_eq(redis.password, "a = b#c");
    cr_assert_eq(redis.tls, 1);
    cr_assert_eq(config.deadline_us, 250000);
    cr_assert_eq(config.budget_bytes, 128u << 20);
    cr_assert_eq(config.lease_ms, 2000);
    cr_assert_str_eq(config.name_space, "shop");
    cr_assert(file.names_redis);
}

Test(config_file, tuning_alone_names_no_redis)
{
    cr_assert(read_text("deadline_ms = 5\npassword = secret\n"));
    cr_assert_not(file.names_redis);
}

Test(config_file, an_unknown_key_names_its_line)
{
    expect_problem("host = a\n\n# b\nhots = c\n", "line 4: unknown key");
}

Test(config_file, a_line_without_an_equals_sign_names_itself)
{
    expect_problem("host\n", "line 1: not of the form");
}

Test(config_file, a_key_given_twice_is_an_error)
{
    expect_problem("host = a\nhost = b\n", "line 2: the key is given twice");
}

Test(config_file, values_that_do_not_fit_are_errors)
{
    expect_problem("port = x\n", "line 1: the value");
    expect_problem("port = 4294967296\n", "line 1: the value");
    expect_problem("port = -1\n", "line 1: the value");
    expect_problem("tls = maybe\n", "line 1: the value");
    expect_problem("budget_bytes = 64q\n", "line 1: the value");
    expect_problem("deadline_ms = 18446744073709551615\n", "line 1: the value");
    expect_problem("lease_ms =\n", "line 1: the value");
}

Test(config_file, no_problem_shows_a_password)
{
    expect_problem("password = secret\npassword = secret\n", "twice");
    cr_assert_null(strstr(problem, "secret"));
    expect_problem("passwort secret\n", "line 1");
    cr_assert_null(strstr(problem, "secret"));
}

Test(config_file, files_that_are_none_are_errors)
{
    cr_assert_not(cli_config_file_read(&file, "/nonexistent/file", problem));
    cr_assert(strstr(problem, "No such file"), "%s", problem);
    cr_assert_not(cli_config_file_read(&file, "/dev/zero", problem));
    cr_assert(strstr(problem, "not a text file"), "%s", problem);
    cr_assert_not(cli_config_file_read(&file, "/tmp", problem));
}
