#include "queue/zone.h"

#include "nearcache.h"
#include "queue/civil.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The machine may have no zoneinfo: then only UTC and hand-made files are looked at. */
static struct nc_zone *zone_of(const char *name)
{
    struct nc_zone *zone = NULL;
    if (access("/usr/share/zoneinfo/Europe/Berlin", R_OK) != 0)
        cr_skip_test("no zoneinfo here (package tzdata)");
    cr_assert_eq(nc_zone_create(&zone, name), 0, "%s", name);
    return zone;
}

Test(civil, days_and_dates_agree_over_four_centuries)
{
    int64_t number = nc_day_of(1800, 1, 1);
    for (int64_t year = 1800; year < 2300; year++)
        for (uint32_t month = 1; month <= 12; month++)
            for (uint32_t day = 1; day <= nc_month_days(year, month); day++, number++) {
                struct nc_civil date = nc_civil_of(number);
                cr_assert(date.year == year && date.month == month && date.day == day);
                cr_assert_eq(nc_day_of(year, month, day), number);
            }
    cr_expect_eq(nc_day_of(1970, 1, 1), 0);
    cr_expect_eq(nc_weekday(0), 4);
    cr_expect_eq(nc_weekday(-1), 3);
    cr_expect_eq(nc_weekday(nc_day_of(2026, 11, 23)), 1);
}

Test(zone, utc_needs_no_file)
{
    struct nc_zone *zone = NULL;
    cr_assert_eq(nc_zone_create(&zone, "UTC"), 0);
    cr_expect_eq(nc_zone_offset(zone, 1700000000), 0);
    nc_zone_destroy(zone);
    nc_zone_destroy(NULL);
}

Test(zone, names_that_are_no_zones_are_refused)
{
    static const char *const bad[] = {
        "Nowhere/Land", "../../etc/passwd", "/etc/localtime", "Europe", "a b", "zone.tab"};
    struct nc_zone *zone = NULL;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_expect_eq(nc_zone_create(&zone, bad[i]), NEARCACHE_EINVAL, "%s", bad[i]);
}

Test(zone, tables_and_footer_rules_give_known_offsets)
{
    static const struct {
        const char *name;
        int64_t utc_s;
        int32_t offset;
    } cases[] = {
        {"Europe/Berlin", 1743296399, 3600},        {"Europe/Berlin", 1743296400, 7200},
        {"Europe/Berlin", 1761440399, 7200},        {"Europe/Berlin", 1761440400, 3600},
        {"Europe/Berlin", 4102444800, 3600}, /* 2100, by the footer */
        {"Europe/Berlin", 4118000000, 7200},        {"America/New_York", 1741503599, -18000},
        {"America/New_York", 1741503600, -14400},   {"Australia/Lord_Howe", 1743865200, 37800},
        {"Australia/Lord_Howe", 1743865199, 39600}, {"Asia/Kolkata", 1700000000, 19800},
        {"Asia/Kathmandu", 1700000000, 20700},      {"America/St_Johns", 1700000000, -12600}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct nc_zone *zone = zone_of(cases[i].name);
        cr_expect_eq(nc_zone_offset(zone, cases[i].utc_s), cases[i].offset, "%s %lld",
                     cases[i].name, (long long)cases[i].utc_s);
        nc_zone_destroy(zone);
    }
}

static size_t slurp(const char *path, char *data, size_t capacity)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        cr_skip_test("no zoneinfo here (package tzdata)");
    size_t bytes = fread(data, 1, capacity, file);
    fclose(file);
    return bytes;
}

Test(zone, a_cut_or_spoiled_file_is_an_error_and_never_a_crash)
{
    static char data[8192], copy[8192];
    size_t bytes = slurp("/usr/share/zoneinfo/Europe/Berlin", data, sizeof data);
    struct nc_zone *zone = NULL;
    for (size_t cut = 0; cut < bytes; cut++) {
        char *exact = malloc(cut + 1); /* so that a sanitizer sees a read behind the end */
        memcpy(exact, data, cut);
        cr_expect_eq(nc_zone_parse(&zone, exact, cut), NEARCACHE_EINVAL, "%zu bytes", cut);
        free(exact);
    }
    for (size_t at = 0; at < bytes; at++) {
        memcpy(copy, data, bytes);
        copy[at] ^= 0x55;
        if (nc_zone_parse(&zone, copy, bytes) == 0) {
            (void)nc_zone_offset(zone, 1700000000);
            (void)nc_zone_offset(zone, -5000000000);
            (void)nc_zone_offset(zone, 50000000000);
            nc_zone_destroy(zone);
        }
    }
}

/* A version 2 file with no transitions and this footer. */
static int zone_of_rule(struct nc_zone **zone, const char *rule)
{
    static const char header[44] = {'T', 'Z', 'i', 'f', '2'};
    char file[512];
    size_t bytes = 0;
    for (int i = 0; i < 2; i++) {
        memcpy(file + bytes, header, sizeof header);
        file[bytes + 39] = 1; /* one type of local time */
        file[bytes + 43] = 4; /* four characters of names */
        bytes += sizeof header;
        memcpy(file + bytes, "\0\0\0\0\0\0LMT", 10);
        bytes += 10;
    }
    bytes += (size_t)snprintf(file + bytes, sizeof file - bytes, "\n%s\n", rule);
    return nc_zone_parse(zone, file, bytes);
}

Test(zone, footers_of_every_form_are_understood)
{
    static const struct {
        const char *rule;
        int64_t utc_s; /* in 2025 */
        int32_t offset;
    } cases[] = {{"<+0545>-5:45", 1750000000, 20700},
                 {"EST5EDT,M3.2.0,M11.1.0", 1750000000, -14400},
                 {"EST5EDT,M3.2.0,M11.1.0", 1737000000, -18000},
                 {"<+1030>-10:30<+11>-11,M10.1.0,M4.1.0", 1737000000, 39600},
                 {"<+1030>-10:30<+11>-11,M10.1.0,M4.1.0", 1750000000, 37800},
                 {"IST-1GMT0,M10.5.0,M3.5.0/1", 1737000000, 0},
                 {"<-02>2<-01>,M3.5.0/-1,M10.5.0/0", 1750000000, -3600},
                 {"AAA0BBB,J60/0,J300", 1740787200, 3600}, /* 1 March 00:00 */
                 {"AAA0BBB,J60/0,J300", 1740787199, 0},
                 {"AAA0BBB,59/0,300", 1740787200, 3600},
                 {"", 1750000000, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct nc_zone *zone = NULL;
        cr_assert_eq(zone_of_rule(&zone, cases[i].rule), 0, "%s", cases[i].rule);
        cr_expect_eq(nc_zone_offset(zone, cases[i].utc_s), cases[i].offset, "%s %lld gave %d",
                     cases[i].rule, (long long)cases[i].utc_s,
                     nc_zone_offset(zone, cases[i].utc_s));
        nc_zone_destroy(zone);
    }
}

Test(zone, footers_that_are_wrong_are_refused)
{
    static const char *const bad[] = {"A1",
                                      "EST",
                                      "EST5EDT",
                                      "EST5EDT,M3.2.0",
                                      "EST5EDT,M13.2.0,M11.1.0",
                                      "EST5EDT,M3.6.0,M11.1.0",
                                      "EST5EDT,M3.2.7,M11.1.0",
                                      "EST25",
                                      "EST5EDT,J0,J1",
                                      "EST5EDT,M3.2.0/168,M11.1.0",
                                      "<+1",
                                      "EST5EDT,M3.2.0,M11.1.0x"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct nc_zone *zone = NULL;
        cr_expect_eq(zone_of_rule(&zone, bad[i]), NEARCACHE_EINVAL, "%s", bad[i]);
    }
}

/* Not a file, not a name: the machine's own zone may also be a rule or a path. */
Test(zone, the_environment_may_give_a_rule_or_a_path)
{
    static const struct {
        const char *text;
        int32_t winter, summer;
    } rules[] = {{"XXX5", -18000, -18000},
                 {"EST5EDT4,M3.2.0,M11.1.0", -18000, -14400},
                 {"<+0330>-3:30", 12600, 12600}};
    static const char *const bad[] = {"XST5XDT4", "QQQ", "/dev/null", ":XXX5", "No/Where"};
    struct nc_zone *zone = NULL;
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        setenv("TZ", rules[i].text, 1);
        cr_assert_eq(nc_zone_create(&zone, NULL), 0, "%s", rules[i].text);
        cr_expect_eq(nc_zone_offset(zone, 1768000000), rules[i].winter, "%s", rules[i].text);
        cr_expect_eq(nc_zone_offset(zone, 1784000000), rules[i].summer, "%s", rules[i].text);
        nc_zone_destroy(zone);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        setenv("TZ", bad[i], 1);
        cr_expect_eq(nc_zone_create(&zone, NULL), NEARCACHE_EINVAL, "%s", bad[i]);
    }
    nc_zone_destroy(zone_of("Asia/Kolkata"));
    setenv("TZ", ":/usr/share/zoneinfo/Asia/Kolkata", 1);
    cr_assert_eq(nc_zone_create(&zone, NULL), 0);
    cr_expect_eq(nc_zone_offset(zone, 1768000000), 19800);
    nc_zone_destroy(zone);
}
