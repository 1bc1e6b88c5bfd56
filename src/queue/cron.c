#include "queue/cron.h"

#include "queue/civil.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FIELD_BYTES 255
/* A fifth weekday of February comes every 28 years, and after 40 where a leap year is left out. */
#define SEARCH_DAYS (41 * 366)

enum field { SECOND, MINUTE, HOUR, DAY, MONTH, WEEKDAY, FIELDS };

static const struct {
    const char *name;
    uint32_t least, most;
    const char *names; /* three letters each, for `least` and up */
} limits[FIELDS] = {
    {"second", 0, 59, ""},
    {"minute", 0, 59, ""},
    {"hour", 0, 23, ""},
    {"day of the month", 1, 31, ""},
    {"month", 1, 12, "janfebmaraprmayjunjulaugsepoctnovdec"},
    {"day of the week", 0, 7, "sunmontuewedthufrisat"},
};

/* One thread. What parsing has to say, and where to say it. */
struct parser {
    struct nearcache_cron *cron;
    char *why;
    size_t why_bytes;
};

static bool refuse(struct parser *p, enum field field, const char *text, const char *what)
{
    if (p->why_bytes)
        snprintf(p->why, p->why_bytes, "%s \"%.40s\": %s", limits[field].name, text, what);
    return false;
}

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c; }

/* A number of at most four digits or a name of three letters. */
static bool parse_value(enum field field, const char **at, uint32_t *value)
{
    const char *start = *at;
    const char *names = limits[field].names;
    *value = 0;
    while (**at >= '0' && **at <= '9' && *at - start < 4)
        *value = *value * 10 + (uint32_t)(*(*at)++ - '0');
    if (*at > start)
        return *value >= limits[field].least && *value <= limits[field].most;
    for (uint32_t i = 0; names[3 * i]; i++)
        if (lower(start[0]) == names[3 * i] && lower(start[1]) == names[3 * i + 1] &&
            lower(start[2]) == names[3 * i + 2]) {
            *value = limits[field].least + i;
            *at += 3;
            return true;
        }
    return false;
}

static bool parse_step(const char **at, uint32_t *step)
{
    const char *start = *at;
    *step = 0;
    while (**at >= '0' && **at <= '9' && *at - start < 4)
        *step = *step * 10 + (uint32_t)(*(*at)++ - '0');
    return *step > 0;
}

/* 1#2: alone in its field. */
static bool parse_nth(struct parser *p, const char *text, const char *at, uint32_t weekday)
{
    if (at[0] < '1' || at[0] > '5' || at[1])
        return refuse(p, WEEKDAY, text, "the number behind # is 1 to 5 and ends the field");
    p->cron->nth = (uint32_t)(at[0] - '0');
    p->cron->weekdays = 1u << weekday % 7;
    return true;
}

/* What may follow a single value in the two fields of days; *done when it was all there is. */
static bool parse_special(struct parser *p, enum field field, const char *text, const char *at,
                          uint32_t value, bool first, bool *done)
{
    *done = true;
    if (field == WEEKDAY && (at[0] == 'L' || at[0] == 'l') && !at[1]) {
        p->cron->last_weekdays |= 1u << value % 7;
        return true;
    }
    if (field == WEEKDAY && at[0] == '#') {
        if (!first)
            return refuse(p, field, text, "# cannot be part of a list");
        return parse_nth(p, text, at + 1, value);
    }
    *done = false;
    return true;
}

/* One part of a list: star, a, a-b, each with or without a step. */
static bool parse_part(struct parser *p, enum field field, const char *text, bool first,
                       uint64_t *set)
{
    const char *at = text;
    uint32_t low = limits[field].least, high = limits[field].most, step = 1;
    uint64_t added = 0;
    if (field == DAY && (text[0] == 'L' || text[0] == 'l') && !text[1]) {
        p->cron->last_day = true;
        return true;
    }
    if (*at == '*' || *at == '?') {
        at++;
        high = field == WEEKDAY ? 6 : high;
    } else {
        bool done;
        if (!parse_value(field, &at, &low))
            return refuse(p, field, text, "no value in its range");
        if (!parse_special(p, field, text, at, low, first, &done))
            return false;
        if (done)
            return true;
        high = low;
        if (*at == '-') {
            at++;
            if (!parse_value(field, &at, &high) || high < low)
                return refuse(p, field, text, "a range goes up, and both ends are in range");
        } else if (*at == '/') {
            high = limits[field].most;
        }
    }
    if (*at == '/') {
        at++;
        if (!parse_step(&at, &step))
            return refuse(p, field, text, "a step is a number above 0");
    }
    if (*at)
        return refuse(p, field, text, "not understood");
    for (uint32_t value = low; value <= high; value += step)
        added |= UINT64_C(1) << (field == WEEKDAY ? value % 7 : value);
    if (added & *set)
        return refuse(p, field, text, "a value is given twice");
    *set |= added;
    return true;
}

static bool parse_field(struct parser *p, enum field field, const char *text, uint64_t *set)
{
    char part[MAX_FIELD_BYTES + 1];
    bool first = true;
    *set = 0;
    for (const char *at = text;;) {
        size_t bytes = strcspn(at, ",");
        memcpy(part, at, bytes);
        part[bytes] = 0;
        if (bytes == 0)
            return refuse(p, field, text, "an empty part");
        if (p->cron->nth && field == WEEKDAY)
            return refuse(p, field, text, "# cannot be part of a list");
        if (!parse_part(p, field, part, first, set))
            return false;
        if (!at[bytes])
            return true;
        at += bytes + 1;
        first = false;
    }
}

static bool is_star(const char *text) { return (text[0] == '*' || text[0] == '?') && !text[1]; }

/* Some day of some month in the sets exists: 30 February is a mistake and no empty schedule. */
static bool has_day(const struct nearcache_cron *cron)
{
    if (cron->any_day || !cron->any_weekday || cron->last_day)
        return true;
    for (uint32_t month = 1; month <= 12; month++)
        if (cron->months >> month & 1)
            for (uint32_t day = 1; day <= nc_month_days(2000, month); day++)
                if (cron->days >> day & 1)
                    return true;
    return false;
}

static bool parse_fields(struct parser *p, char *fields[FIELDS])
{
    struct nearcache_cron *cron = p->cron;
    uint64_t sets[FIELDS];
    cron->any_hour = is_star(fields[HOUR]);
    cron->any_day = is_star(fields[DAY]);
    cron->any_weekday = is_star(fields[WEEKDAY]);
    for (enum field field = SECOND; field < FIELDS; field++)
        if (!parse_field(p, field, fields[field], &sets[field]))
            return false;
    cron->seconds = sets[SECOND];
    cron->minutes = sets[MINUTE];
    cron->hours = (uint32_t)sets[HOUR];
    cron->days = (uint32_t)sets[DAY];
    cron->months = (uint32_t)sets[MONTH];
    cron->weekdays |= (uint32_t)sets[WEEKDAY];
    if (!has_day(cron))
        return refuse(p, DAY, fields[DAY], "no such day in these months");
    return true;
}

/* The long form of @daily and its like; the pattern itself for all else. */
static const char *expand(const char *pattern)
{
    static const char *const known[][2] = {
        {"@yearly", "0 0 1 1 *"},     {"@annually", "0 0 1 1 *"},   {"@monthly", "0 0 1 * *"},
        {"@weekly", "0 0 * * 0"},     {"@daily", "0 0 * * *"},      {"@hourly", "0 * * * *"},
        {"@minutely", "* * * * *"},   {"@secondly", "* * * * * *"}, {"@weekdays", "0 0 * * 1-5"},
        {"@weekends", "0 0 * * 0,6"},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i][0], pattern) == 0)
            return known[i][1];
    return pattern;
}

static bool parse_pattern(struct parser *p, const char *pattern)
{
    static char zero[] = "0";
    char text[MAX_FIELD_BYTES + 1], *fields[FIELDS] = {zero}, *rest = NULL;
    size_t count = 0;
    pattern = expand(pattern);
    if (strlen(pattern) > MAX_FIELD_BYTES) {
        snprintf(p->why, p->why_bytes, "the pattern is longer than %d bytes", MAX_FIELD_BYTES);
        return false;
    }
    strcpy(text, pattern);
    for (char *at = strtok_r(text, " \t", &rest); at; at = strtok_r(NULL, " \t", &rest)) {
        if (count == FIELDS) {
            count++;
            break;
        }
        fields[count++] = at;
    }
    if (count != 5 && count != 6) {
        snprintf(p->why, p->why_bytes,
                 "a pattern has five fields, or six with seconds in front, not %s%zu",
                 count > 6 ? "more than " : "", count > 6 ? (size_t)6 : count);
        return false;
    }
    if (count == 5) {
        memmove(fields + 1, fields, 5 * sizeof fields[0]);
        fields[0] = zero;
    }
    return parse_fields(p, fields);
}

int nearcache_cron_create(struct nearcache_cron **out, const char *pattern, const char *tz,
                          char *why, size_t why_bytes)
{
    char nowhere[8];
    if (!out || !pattern)
        return NEARCACHE_EINVAL;
    struct nearcache_cron *cron = calloc(1, sizeof *cron);
    if (!cron)
        return NEARCACHE_ENOMEM;
    struct parser parser = {cron, why ? why : nowhere, why ? why_bytes : sizeof nowhere};
    if (!parse_pattern(&parser, pattern)) {
        free(cron);
        return NEARCACHE_EINVAL;
    }
    int outcome = nc_zone_create(&cron->zone, tz);
    if (outcome) {
        bool own = !tz || !*tz; /* a bad one is of the environment: else there is UTC */
        const char *name = own ? getenv("TZ") : tz;
        snprintf(parser.why, parser.why_bytes, "time zone %s\"%.64s\": not known here",
                 own ? "$TZ " : "", name ? name : "");
        free(cron);
        return outcome;
    }
    *out = cron;
    return 0;
}

void nearcache_cron_destroy(struct nearcache_cron *cron)
{
    if (!cron)
        return;
    nc_zone_destroy(cron->zone);
    free(cron);
}

/* ---- the next time --------------------------------------------------------------------------- */

static bool weekday_matches(const struct nearcache_cron *cron, int64_t day, struct nc_civil date)
{
    uint32_t weekday = nc_weekday(day);
    if (cron->last_weekdays >> weekday & 1 && date.day + 7 > nc_month_days(date.year, date.month))
        return true;
    if (!(cron->weekdays >> weekday & 1))
        return false;
    return cron->nth == 0 || (date.day - 1) / 7 + 1 == cron->nth;
}

static bool day_matches(const struct nearcache_cron *cron, int64_t day)
{
    struct nc_civil date = nc_civil_of(day);
    if (!(cron->months >> date.month & 1))
        return false;
    bool by_day = cron->days >> date.day & 1 ||
                  (cron->last_day && date.day == nc_month_days(date.year, date.month));
    bool by_weekday = weekday_matches(cron, day, date);
    if (cron->any_day)
        return by_weekday;
    return cron->any_weekday ? by_day : by_day || by_weekday;
}

/* The lowest bit of the set that is at least `from`; -1 when there is none. */
static int first_bit(uint64_t set, unsigned from)
{
    set = from > 63 ? 0 : set & (UINT64_MAX << from);
    return set ? __builtin_ctzll(set) : -1;
}

/* The first matching second of a day that is at least `from`; -1 when there is none. */
static int32_t first_second(const struct nearcache_cron *cron, int32_t from)
{
    if (from < 0)
        from = 0;
    if (from >= NC_DAY_S)
        return -1;
    unsigned want_hour = (unsigned)from / 3600, want_minute = (unsigned)from / 60 % 60;
    unsigned want_second = (unsigned)from % 60;
    for (int hour = first_bit(cron->hours, want_hour); hour >= 0;
         hour = first_bit(cron->hours, (unsigned)hour + 1)) {
        bool same_hour = (unsigned)hour == want_hour;
        for (int minute = first_bit(cron->minutes, same_hour ? want_minute : 0); minute >= 0;
             minute = first_bit(cron->minutes, (unsigned)minute + 1)) {
            bool same_minute = same_hour && (unsigned)minute == want_minute;
            int second = first_bit(cron->seconds, same_minute ? want_second : 0);
            if (second >= 0)
                return hour * 3600 + minute * 60 + second;
        }
    }
    return -1;
}

/*
 * A day on which the offset changes from `before` to `after`, or next to one: every matching
 * local second is turned into UTC, and the earliest that is not before `from` wins.
 */
static bool next_on_changing_day(const struct nearcache_cron *cron, int64_t day, int32_t before,
                                 int32_t after, int64_t from, int64_t *found)
{
    bool any = false;
    for (int32_t second = first_second(cron, 0); second >= 0;
         second = first_second(cron, second + 1)) {
        int64_t local = day * NC_DAY_S + second;
        int64_t early = local - before, late = local - after;
        bool is_early = nc_zone_offset(cron->zone, early) == before;
        bool is_late = nc_zone_offset(cron->zone, late) == after;
        int64_t times[2] = {early, late};
        bool valid[2] = {is_early, is_late};
        if (!is_early && !is_late) /* in the gap: that much later */
            valid[0] = !cron->any_hour;
        else if (is_early && is_late && !cron->any_hour) /* twice: the first */
            valid[1] = false;
        for (int i = 0; i < 2; i++)
            if (valid[i] && times[i] >= from && (!any || times[i] < *found)) {
                *found = times[i];
                any = true;
            }
    }
    return any;
}

int nearcache_cron_next(const struct nearcache_cron *cron, int64_t from_ms, int64_t *next_ms)
{
    const int64_t most = INT64_C(100000) * 366 * NC_DAY_S;
    if (!cron || !next_ms || from_ms > most * 1000 || from_ms < -most * 1000)
        return NEARCACHE_EINVAL;
    int64_t from = nc_floor_div(from_ms, 1000) + 1, found = 0;
    int64_t today = nc_floor_div(from + nc_zone_offset(cron->zone, from), NC_DAY_S);
    bool have = false;
    int64_t until = today + SEARCH_DAYS;
    /* One day earlier: a gap or an overlap around midnight may reach over from there. */
    for (int64_t day = today - 1; day < until; day++) {
        if (!day_matches(cron, day))
            continue;
        int32_t before = nc_zone_offset(cron->zone, (day - 1) * NC_DAY_S);
        int32_t after = nc_zone_offset(cron->zone, (day + 2) * NC_DAY_S);
        int64_t time = 0;
        bool hit;
        if (before == after) {
            int64_t want = from + before - day * NC_DAY_S;
            int32_t second =
                want >= NC_DAY_S ? -1 : first_second(cron, want < 0 ? 0 : (int32_t)want);
            hit = second >= 0;
            time = day * NC_DAY_S + second - before;
        } else {
            hit = next_on_changing_day(cron, day, before, after, from, &time);
        }
        if (hit && (!have || time < found)) {
            /* Tomorrow may still be earlier only where the clock went back over midnight. */
            if (!have)
                until = before == after ? day + 1 : day + 2;
            have = true;
            found = time;
        }
    }
    if (!have)
        return NEARCACHE_MISS;
    *next_ms = found * 1000;
    return 0;
}
