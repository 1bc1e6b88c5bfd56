#include "cli/target.h"

#include <criterion/criterion.h>
#include <string.h>

static struct cli_target target;
static struct nearcache_redis redis = NEARCACHE_REDIS_INIT;

static void teardown(void) { cli_target_deinit(&target); }

TestSuite(target, .fini = teardown);

static void parse(const char *url)
{
    redis.url = url;
    cr_assert(cli_target_init(&target, &redis), "%s", url);
}

Test(target, a_full_url_is_taken_apart)
{
    parse("redis://us%40er:p%3Aw%2f@redis.internal:6380/3");
    cr_assert_str_eq(target.username, "us@er");
    cr_assert_str_eq(target.password, "p:w/");
    cr_assert_str_eq(target.host, "redis.internal");
    cr_assert_eq(target.port, 6380);
    cr_assert_eq(target.database, 3);
    cr_assert_not(target.tls);
    cr_assert_null(strstr(target.label, "p:w"));
}

Test(target, a_short_url_has_defaults)
{
    parse("redis://");
    cr_assert_str_eq(target.host, "127.0.0.1");
    cr_assert_eq(target.port, 6379);
    cr_assert_null(target.password);
}

Test(target, a_password_needs_no_user)
{
    parse("rediss://:secret@h");
    cr_assert_null(target.username);
    cr_assert_str_eq(target.password, "secret");
    cr_assert(target.tls);
}

Test(target, addresses_of_ip_version_6_stand_in_brackets)
{
    parse("redis://[::1]:7000/1");
    cr_assert_str_eq(target.host, "::1");
    cr_assert_eq(target.port, 7000);
}

Test(target, unix_sockets_have_a_path_and_a_database)
{
    parse("unix:///run/redis%20a.sock?db=2");
    cr_assert_str_eq(target.unix_path, "/run/redis a.sock");
    cr_assert_eq(target.database, 2);
    cr_assert_null(target.host);
}

Test(target, single_fields_win_over_the_url)
{
    redis.password = "other";
    redis.database = 5;
    parse("redis://:secret@h/1");
    cr_assert_str_eq(target.password, "other");
    cr_assert_eq(target.database, 5);
}

Test(target, what_is_no_url_is_refused)
{
    static const char *const urls[] = {"",
                                       "localhost:6379",
                                       "http://h",
                                       "redis://h:port",
                                       "redis://h:99999",
                                       "redis://h/db",
                                       "redis://h/0/1",
                                       "redis://[::1",
                                       "redis://[::1]x",
                                       "redis://a%2@h",
                                       "redis://a%zz@h",
                                       "unix://",
                                       "unix:///s?db=x",
                                       "unix:///s?x=1"};

    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        redis.url = urls[i];
        cr_assert_not(cli_target_init(&target, &redis), "%s", urls[i]);
        cli_target_deinit(&target);
        memset(&target, 0, sizeof target);
    }
}
