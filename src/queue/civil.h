/*
 * queue/civil: dates of the Gregorian calendar as day numbers and back. Day 0 is 1 January 1970,
 * a Thursday. Pure arithmetic; exact for every year that fits in 32 bits.
 */
#ifndef NC_QUEUE_CIVIL_H
#define NC_QUEUE_CIVIL_H

#include <stdbool.h>
#include <stdint.h>

#define NC_DAY_S 86400

struct nc_civil {
    int32_t year;
    uint32_t month; /* 1..12 */
    uint32_t day;   /* 1..31 */
};

static inline int64_t nc_floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

static inline bool nc_leap_year(int64_t year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static inline uint32_t nc_month_days(int64_t year, uint32_t month)
{
    static const uint8_t days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return month == 2 && nc_leap_year(year) ? 29 : days[month - 1];
}

/* Leap days before 1 January of that year, counted from year 0. */
static inline int64_t nc_leaps_before(int64_t year)
{
    int64_t last = year - 1;
    return nc_floor_div(last, 4) - nc_floor_div(last, 100) + nc_floor_div(last, 400);
}

static inline int64_t nc_year_day(int64_t year)
{
    return (year - 1970) * 365 + nc_leaps_before(year) - nc_leaps_before(1970);
}

static inline int64_t nc_day_of(int64_t year, uint32_t month, uint32_t day)
{
    int64_t number = nc_year_day(year);
    for (uint32_t m = 1; m < month; m++)
        number += nc_month_days(year, m);
    return number + day - 1;
}

static inline struct nc_civil nc_civil_of(int64_t number)
{
    int64_t year = 1970 + nc_floor_div(number * 400, 146097); /* right, or one too much or little */
    while (nc_year_day(year) > number)
        year--;
    while (nc_year_day(year + 1) <= number)
        year++;
    uint32_t left = (uint32_t)(number - nc_year_day(year));
    uint32_t month = 1;
    while (left >= nc_month_days(year, month))
        left -= nc_month_days(year, month++);
    return (struct nc_civil){(int32_t)year, month, left + 1};
}

/* 0 is Sunday. */
static inline uint32_t nc_weekday(int64_t number) { return (uint32_t)(((number + 4) % 7 + 7) % 7); }

#endif
