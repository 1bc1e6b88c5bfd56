#include "queue/cron.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct nearcache_cron *cron_of(const char *pattern, const char *tz)
{
    struct nearcache_cron *cron = NULL;
    char why[160] = "";
    if (strcmp(tz, "UTC") != 0 && access("/usr/share/zoneinfo/Europe/Berlin", R_OK) != 0)
        cr_skip_test("no zoneinfo here (package tzdata)");
    cr_assert_eq(nearcache_cron_create(&cron, pattern, tz, why, sizeof why), 0, "%s: %s", pattern,
                 why);
    return cron;
}

/* The next `count` times, joined by blanks. */
static void times_of(const char *pattern, const char *tz, int64_t from_ms, int count, char *out,
                     size_t capacity)
{
    struct nearcache_cron *cron = cron_of(pattern, tz);
    size_t bytes = 0;
    out[0] = 0;
    for (int i = 0; i < count; i++) {
        if (nearcache_cron_next(cron, from_ms, &from_ms))
            break;
        bytes += (size_t)snprintf(out + bytes, capacity - bytes, "%s%lld", i ? " " : "",
                                  (long long)from_ms);
    }
    nearcache_cron_destroy(cron);
}

static FILE *open_vectors(void)
{
    char path[1024];
    const char *folder = getenv("srcdir");
    snprintf(path, sizeof path, "%s/tests/data/cron_vectors.txt", folder ? folder : ".");
    FILE *file = fopen(path, "r");
    cr_assert(file, "%s is missing", path);
    return file;
}

/* tests/data/make_cron_vectors.mjs says where the lines come from. */
Test(cron, agrees_with_the_parser_that_bullmq_uses)
{
    char line[512], got[128];
    FILE *file = open_vectors();
    bool have_zones = access("/usr/share/zoneinfo/Europe/Berlin", R_OK) == 0;
    int rows = 0;
    while (fgets(line, sizeof line, file)) {
        char *rest = NULL, *tz = strtok_r(line, "|", &rest), *pattern = strtok_r(NULL, "|", &rest);
        char *from = strtok_r(NULL, "|", &rest), *want = strtok_r(NULL, "\n", &rest);
        struct nearcache_cron *cron = NULL;
        cr_assert(want);
        if (!have_zones && strcmp(tz, "UTC") != 0)
            continue;
        rows++;
        if (want[0] == '!') {
            cr_expect_eq(nearcache_cron_create(&cron, pattern, tz, NULL, 0), NEARCACHE_EINVAL, "%s",
                         pattern);
            continue;
        }
        times_of(pattern, tz, atoll(from), 3, got, sizeof got);
        cr_expect_str_eq(got, want, "%s in %s from %s", pattern, tz, from);
    }
    fclose(file);
    cr_expect_gt(rows, 500);
}

Test(cron, next_is_strictly_later)
{
    char got[128];
    times_of("* * * * * *", "UTC", 1000, 2, got, sizeof got);
    cr_expect_str_eq(got, "2000 3000");
    times_of("* * * * * *", "UTC", 999, 1, got, sizeof got);
    cr_expect_str_eq(got, "1000");
    times_of("* * * * * *", "UTC", -1500, 1, got, sizeof got);
    cr_expect_str_eq(got, "-1000");
}

Test(cron, a_day_that_comes_after_decades_is_found)
{
    char got[128];
    /* 29 February 2044, 2072 and, as 2100 is no leap year, 2112. */
    times_of("0 0 * 2 1#5", "UTC", 1790000000000, 3, got, sizeof got);
    cr_expect_str_eq(got, "2340316800000 3223929600000 4486147200000");
}

Test(cron, a_half_hour_change_moves_and_repeats_by_half_an_hour)
{
    char got[128];
    /* Lord Howe, 5 October 2025: 02:00 becomes 02:30. */
    times_of("15 2 * * *", "Australia/Lord_Howe", 1759586400000, 2, got, sizeof got);
    cr_expect_str_eq(got, "1759592700000 1759677300000");
    /* 6 April 2025: 02:00 becomes 01:30 again; 01:45 comes twice. */
    times_of("45 1 * * *", "Australia/Lord_Howe", 1743858000000, 2, got, sizeof got);
    cr_expect_str_eq(got, "1743864300000 1743952500000");
    times_of("45 * * * *", "Australia/Lord_Howe", 1743863000000, 2, got, sizeof got);
    cr_expect_str_eq(got, "1743864300000 1743866100000");
}

Test(cron, a_change_at_midnight_neither_skips_nor_doubles_a_day)
{
    char got[128];
    /* Havana, 9 March 2025: 00:00 becomes 01:00. */
    times_of("0 0 * * *", "America/Havana", 1741485600000, 2, got, sizeof got);
    cr_expect_str_eq(got, "1741496400000 1741579200000");
    /* 2 November 2025: 01:00 becomes 00:00 again. */
    times_of("0 0 * * *", "America/Havana", 1762052400000, 2, got, sizeof got);
    cr_expect_str_eq(got, "1762056000000 1762146000000");
}

Test(cron, what_is_wrong_is_said)
{
    static const char *const bad[][2] = {{"0 2 * *", "not 4"},
                                         {"", "not 0"},
                                         {"0 0 0 1 1 * *", "more than 6"},
                                         {"60 * * * *", "minute"},
                                         {"0 24 * * *", "hour"},
                                         {"0 0 31 2 *", "no such day"},
                                         {"0 0 * * 8", "week"},
                                         {"*/0 * * * *", "step"},
                                         {"0 0 * * 1#2,3", "list"},
                                         {"0 0 * * 3,1#2", "list"},
                                         {"0 0 * * 1#6", "1 to 5"},
                                         {"H 2 * * *", "range"},
                                         {"1,1 * * * *", "twice"},
                                         {"5-1 * * * *", "range goes up"},
                                         {"@never", "not 1"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct nearcache_cron *cron = NULL;
        char why[160] = "";
        cr_expect_eq(nearcache_cron_create(&cron, bad[i][0], "UTC", why, sizeof why),
                     NEARCACHE_EINVAL, "%s", bad[i][0]);
        cr_expect(strstr(why, bad[i][1]), "%s: %s", bad[i][0], why);
    }
    struct nearcache_cron *cron = NULL;
    char why[160] = "";
    cr_expect_eq(nearcache_cron_create(&cron, "* * * * *", "Mars/Base", why, sizeof why),
                 NEARCACHE_EINVAL);
    cr_expect(strstr(why, "Mars/Base"));
    setenv("TZ", "Mars/Base", 1);
    why[0] = 0;
    cr_expect_eq(nearcache_cron_create(&cron, "* * * * *", NULL, why, sizeof why),
                 NEARCACHE_EINVAL);
    cr_expect(strstr(why, "$TZ \"Mars/Base\""), "%s", why);
}

Test(cron, odd_arguments_are_refused)
{
    struct nearcache_cron *cron = cron_of("* * * * *", "UTC");
    int64_t next;
    cr_expect_eq(nearcache_cron_next(cron, INT64_MAX, &next), NEARCACHE_EINVAL);
    cr_expect_eq(nearcache_cron_next(NULL, 0, &next), NEARCACHE_EINVAL);
    cr_expect_eq(nearcache_cron_create(NULL, "* * * * *", NULL, NULL, 0), NEARCACHE_EINVAL);
    nearcache_cron_destroy(cron);
    nearcache_cron_destroy(NULL);
}
