#include "redis/settings.h"

#include <criterion/criterion.h>
#include <string.h>

static char logged[4096];

static void on_log(void *arg, enum nearcache_log_level level, const char *line)
{
    (void)arg;
    (void)level;
    strncat(logged, line, sizeof logged - strlen(logged) - 2);
    strcat(logged, "\n");
}

static const struct nc_log to_test = {on_log, NULL, NEARCACHE_LOG_DEBUG};
static struct nc_redis_settings *settings;

static void teardown(void)
{
    nc_redis_settings_destroy(settings);
    settings = NULL;
    logged[0] = 0;
}

TestSuite(settings, .fini = teardown);

static int make(const struct nearcache_redis *given)
{
    teardown();
    return nc_redis_settings_create(&settings, given, &to_test);
}

static int from_url(const char *url)
{
    struct nearcache_redis given = NEARCACHE_REDIS_INIT;
    given.url = url;
    return make(&given);
}

Test(settings, nothing_given_is_the_default_server)
{
    struct nearcache_redis given = NEARCACHE_REDIS_INIT;
    cr_assert_eq(make(&given), 0);
    cr_expect_str_eq(settings->host, "127.0.0.1");
    cr_expect_eq(settings->port, 6379);
    cr_expect_eq(settings->database, 0);
    cr_expect_eq(settings->connections, 8);
    cr_expect_eq(settings->spin_us, 100);
    cr_expect_str_eq(settings->client_name, "nearcache");
    cr_expect_null(settings->password);
    cr_expect_null(settings->unix_path);
}

Test(settings, a_url_is_taken_apart)
{
    cr_assert_eq(from_url("redis://search:s%40cret%3A@redis.internal:6400/7"), 0);
    cr_expect_str_eq(settings->host, "redis.internal");
    cr_expect_eq(settings->port, 6400);
    cr_expect_eq(settings->database, 7);
    cr_expect_str_eq(settings->username, "search");
    cr_expect_str_eq(settings->password, "s@cret:");
    cr_assert_eq(from_url("redis://:only@h"), 0);
    cr_expect_null(settings->username);
    cr_expect_str_eq(settings->password, "only");
    cr_assert_eq(from_url("redis://[2001:db8::1]:6380/1"), 0);
    cr_expect_str_eq(settings->host, "2001:db8::1");
    cr_expect_eq(settings->port, 6380);
    cr_assert_eq(from_url("redis://[::1]"), 0);
    cr_expect_str_eq(settings->host, "::1");
    cr_assert_eq(from_url("unix:///run/re%20dis.sock?db=3"), 0);
    cr_expect_str_eq(settings->unix_path, "/run/re dis.sock");
    cr_expect_null(settings->host);
    cr_expect_eq(settings->database, 3);
}

Test(settings, a_field_wins_over_its_part_of_the_url)
{
    struct nearcache_redis given = NEARCACHE_REDIS_INIT;
    given.url = "redis://u:p@one:1/1";
    given.host = "two";
    given.port = 2;
    given.database = 2;
    given.password = "q";
    cr_assert_eq(make(&given), 0);
    cr_expect_str_eq(settings->host, "two");
    cr_expect_eq(settings->port, 2);
    cr_expect_eq(settings->database, 2);
    cr_expect_str_eq(settings->username, "u");
    cr_expect_str_eq(settings->password, "q");
}

Test(settings, what_is_wrong_is_refused_and_said)
{
    static const char *const bad[] = {
        "http://host",        "host:6379",          "",
        "redis://host:0",     "redis://host:65536", "redis://host:99999999999",
        "redis://host:64x",   "redis://host/x",     "redis://host/1/2",
        "redis://host?db=1",  "redis://[::1",       "redis://[::1]x",
        "redis://u:%zz@host", "redis://u:%0@host",  "redis://u:%00@host",
        "redis://user@host",  "unix://relative",    "unix:///s?database=1",
        "unix:///s?db=x",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_expect_eq(from_url(bad[i]), NEARCACHE_ECONFIG, "%s", bad[i]);
        cr_expect_neq(logged[0], 0, "nothing is said of %s", bad[i]);
    }
}

Test(settings, fields_out_of_range_are_refused)
{
    struct nearcache_redis given = NEARCACHE_REDIS_INIT;
    char path[200];
    given.port = 65536;
    cr_expect_eq(make(&given), NEARCACHE_ECONFIG);
    given.port = 0;
    given.connections = 65;
    cr_expect_eq(make(&given), NEARCACHE_ECONFIG);
    given.connections = 64;
    cr_expect_eq(make(&given), 0);
    given.spin_us = 1001;
    cr_expect_eq(make(&given), NEARCACHE_ECONFIG);
    given.spin_us = 1000;
    cr_expect_eq(make(&given), 0);
    given.client_name = "two words";
    cr_expect_eq(make(&given), NEARCACHE_ECONFIG);
    given.client_name = NULL;
    memset(path, 'p', sizeof path);
    path[0] = '/';
    path[108] = 0;
    given.unix_path = path;
    cr_expect_eq(make(&given), NEARCACHE_ECONFIG);
    path[107] = 0;
    cr_expect_eq(make(&given), 0);
}

Test(settings, no_line_shows_a_secret)
{
    struct nearcache_redis given = NEARCACHE_REDIS_INIT;
    static const char *const urls[] = {"redis://u:hunter2@host:0", "redis://u:hunter2%zz@h",
                                       "redis://u:hunter2@h/x", "hunter2://u@h"};
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        cr_expect_eq(from_url(urls[i]), NEARCACHE_ECONFIG);
        cr_expect_null(strstr(logged, "hunter2"), "%s", logged);
    }
    given.password = "hunter2";
    given.port = 70000;
    cr_expect_eq(make(&given), NEARCACHE_ECONFIG);
    cr_expect_null(strstr(logged, "hunter2"), "%s", logged);
}

Test(settings, tls_asked_for_in_any_way_is_never_plain)
{
    struct nearcache_redis given = NEARCACHE_REDIS_INIT;
#ifdef NC_WITH_TLS
    cr_assert_eq(from_url("rediss://h:6380/1"), 0);
    cr_expect_not_null(settings->tls);
    cr_assert_eq(from_url("redis://h"), 0);
    cr_expect_null(settings->tls);
    given.tls_server_name = "h";
    cr_assert_eq(make(&given), 0);
    cr_expect_not_null(settings->tls);
#else
    cr_expect_eq(from_url("rediss://h"), NEARCACHE_ENOTSUP);
    given.tls_server_name = "h";
    cr_expect_eq(make(&given), NEARCACHE_ENOTSUP);
    given.tls_server_name = NULL;
    given.tls = 1;
    cr_expect_eq(make(&given), NEARCACHE_ENOTSUP);
#endif
}

Test(settings, sentinels_are_a_list_of_hosts_and_ports)
{
    struct nearcache_redis given = NEARCACHE_REDIS_INIT;
    struct nc_redis_settings *copy;
    given.sentinels = "one,two:26380,[::1]:5,[::2]";
    given.sentinel_primary = "ours";
    given.sentinel_password = "watch";
    cr_assert_eq(make(&given), 0);
    cr_assert_eq(nc_redis_settings_copy(&copy, settings), 0);
    cr_assert_eq(copy->sentinel_count, 4);
    cr_expect_null(copy->host);
    cr_expect_str_eq(copy->sentinels[0].host, "one");
    cr_expect_eq(copy->sentinels[0].port, 26379);
    cr_expect_str_eq(copy->sentinels[1].host, "two");
    cr_expect_eq(copy->sentinels[1].port, 26380);
    cr_expect_str_eq(copy->sentinels[2].host, "::1");
    cr_expect_eq(copy->sentinels[2].port, 5);
    cr_expect_str_eq(copy->sentinels[3].host, "::2");
    cr_expect_str_eq(copy->sentinel_primary, "ours");
    cr_expect_str_eq(copy->sentinel_password, "watch");
    nc_redis_settings_destroy(copy);
}

Test(settings, sentinels_that_make_no_sense_are_refused)
{
    static const char *const bad[] = {
        "",      ",",    "one,",   "one,,two",  "one:0",
        "one:x", "[::1", ":26379", "one:70000", "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17"};
    struct nearcache_redis given = NEARCACHE_REDIS_INIT;
    given.sentinel_primary = "ours";
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        given.sentinels = bad[i];
        cr_expect_eq(make(&given), NEARCACHE_ECONFIG, "%s", bad[i]);
    }
    given.sentinels = "one";
    given.host = "and a host";
    cr_expect_eq(make(&given), NEARCACHE_ECONFIG);
    given.host = NULL;
    given.sentinel_primary = NULL;
    cr_expect_eq(make(&given), NEARCACHE_ECONFIG, "no name");
    given.sentinels = NULL;
    given.sentinel_primary = "ours";
    cr_expect_eq(make(&given), NEARCACHE_ECONFIG, "no sentinels");
}

Test(settings, nodes_of_a_cluster_are_the_host_and_a_list)
{
    struct nearcache_redis given = NEARCACHE_REDIS_INIT;
    struct nc_redis_settings *copy;
    given.cluster = 1;
    cr_assert_eq(make(&given), 0);
    cr_assert_eq(settings->seed_count, 1);
    cr_expect_str_eq(settings->seeds[0].host, "127.0.0.1");
    given.url = "redis://:p@one:7000";
    given.cluster_nodes = "two,[::1]:5";
    given.cluster_partitions = 64;
    cr_assert_eq(make(&given), 0);
    cr_assert_eq(nc_redis_settings_copy(&copy, settings), 0);
    cr_expect_null(copy->host);
    cr_expect_str_eq(copy->password, "p");
    cr_expect_eq(copy->cluster_partitions, 64);
    cr_assert_eq(copy->seed_count, 3);
    cr_expect_str_eq(copy->seeds[0].host, "one");
    cr_expect_eq(copy->seeds[0].port, 7000);
    cr_expect_str_eq(copy->seeds[1].host, "two");
    cr_expect_eq(copy->seeds[1].port, 6379);
    cr_expect_str_eq(copy->seeds[2].host, "::1");
    cr_expect_eq(copy->seeds[2].port, 5);
    nc_redis_settings_destroy(copy);
    given.url = NULL;
    cr_assert_eq(make(&given), 0);
    cr_assert_eq(settings->seed_count, 2, "without a host the list is all");
    cr_expect_str_eq(settings->seeds[0].host, "two");
}

/* What a cluster is refused with is told in the log. */
static void expect_no_cluster(struct nearcache_redis given, const char *why)
{
    cr_expect_eq(make(&given), NEARCACHE_ECONFIG, "%s", why);
    cr_expect(strstr(logged, why), "%s", logged);
}

Test(settings, a_cluster_that_makes_no_sense_is_refused)
{
    struct nearcache_redis given = NEARCACHE_REDIS_INIT;
    given.cluster_partitions = 4;
    expect_no_cluster(given, "none is asked for");
    given.cluster = 1;
    given.database = 1;
    expect_no_cluster(given, "no database but 0");
    given.database = 0;
    given.cluster_partitions = 65;
    expect_no_cluster(given, "64");
    given.cluster_partitions = 0;
    given.unix_path = "/tmp/socket";
    expect_no_cluster(given, "unix socket");
    given.unix_path = NULL;
    given.cluster_nodes = "one,,two";
    expect_no_cluster(given, "no name");
    given.cluster_nodes = NULL;
    given.sentinels = "one";
    given.sentinel_primary = "ours";
    expect_no_cluster(given, "no Sentinels");
}

Test(settings, a_copy_has_everything)
{
    struct nc_redis_settings *copy;
    cr_assert_eq(from_url("redis://u:p@h:1/2"), 0);
    cr_assert_eq(nc_redis_settings_copy(&copy, settings), 0);
    teardown();
    cr_expect_str_eq(copy->host, "h");
    cr_expect_str_eq(copy->username, "u");
    cr_expect_str_eq(copy->password, "p");
    cr_expect_str_eq(copy->client_name, "nearcache");
    cr_expect_eq(copy->port, 1);
    cr_expect_eq(copy->database, 2);
    cr_expect_eq(copy->connections, 8);
    nc_redis_settings_destroy(copy);
}
