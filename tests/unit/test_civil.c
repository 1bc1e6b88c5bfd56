#include "queue/civil.h"

#include <criterion/criterion.h>
#include <time.h>

Test(civil, dates_and_day_numbers_are_each_others_inverse)
{
    for (int64_t number = -800000; number < 1200000; number += 13) {
        struct nc_civil date = nc_civil_of(number);
        cr_assert_eq(nc_day_of(date.year, date.month, date.day), number);
    }
}

Test(civil, dates_are_those_of_the_c_library)
{
    for (int64_t number = -20000; number < 60000; number++) {
        time_t seconds = (time_t)(number * NC_DAY_S);
        struct tm tm;
        gmtime_r(&seconds, &tm);
        struct nc_civil date = nc_civil_of(number);
        cr_assert_eq(date.year, tm.tm_year + 1900);
        cr_assert_eq(date.month, (uint32_t)tm.tm_mon + 1);
        cr_assert_eq(date.day, (uint32_t)tm.tm_mday);
        cr_assert_eq(nc_weekday(number), (uint32_t)tm.tm_wday);
    }
}

Test(civil, leap_years_follow_the_gregorian_rule)
{
    cr_expect(nc_leap_year(2000));
    cr_expect(nc_leap_year(2024));
    cr_expect_not(nc_leap_year(1900));
    cr_expect_not(nc_leap_year(2023));
    cr_expect_eq(nc_month_days(2024, 2), 29);
    cr_expect_eq(nc_month_days(2023, 2), 28);
    cr_expect_eq(nc_floor_div(-1, 4), -1);
}
