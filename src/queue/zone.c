#include "queue/zone.h"

#include "nearcache.h"
#include "queue/civil.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ZONE_DIRECTORY "/usr/share/zoneinfo/"
#define MAX_FILE_BYTES (1 << 20) /* the largest real one has 3.5 KB */
#define MAX_OFFSET_S (26 * 3600)

/* One end of daylight saving in a POSIX TZ rule. */
struct change {
    enum { CHANGE_JULIAN, CHANGE_DAY, CHANGE_WEEK } kind;
    uint32_t month, week, day;
    int32_t time_s; /* of local time, -167 h to 167 h */
};

struct rule {
    bool given;
    bool has_daylight;
    int32_t standard_s, daylight_s; /* east of UTC */
    struct change start, end;
};

struct nc_zone {
    size_t count;
    int64_t *times; /* ascending: from times[i] on offsets[i] holds */
    int32_t *offsets;
    int32_t first_offset; /* before times[0] */
    struct rule rule;     /* from the last time on */
};

/* ---- the rule in the footer ------------------------------------------------------------------ */

static bool parse_number(const char **at, uint32_t most, uint32_t *number)
{
    const char *start = *at;
    uint32_t value = 0;
    while (**at >= '0' && **at <= '9' && *at - start < 4)
        value = value * 10 + (uint32_t)(*(*at)++ - '0');
    if (*at == start || value > most)
        return false;
    *number = value;
    return true;
}

static bool parse_name(const char **at)
{
    const char *start = *at;
    if (**at == '<') {
        const char *close = strchr(*at, '>');
        if (!close)
            return false;
        *at = close + 1;
        return close - start >= 4;
    }
    while ((**at >= 'a' && **at <= 'z') || (**at >= 'A' && **at <= 'Z'))
        (*at)++;
    return *at - start >= 3;
}

/* [+-]h[:m[:s]] */
static bool parse_time(const char **at, uint32_t most_hours, int32_t *time_s)
{
    int32_t sign = 1;
    uint32_t part[3] = {0, 0, 0};
    if (**at == '-' || **at == '+')
        sign = *(*at)++ == '-' ? -1 : 1;
    for (int i = 0; i < 3; i++) {
        if (i > 0) {
            if (**at != ':')
                break;
            (*at)++;
        }
        if (!parse_number(at, i == 0 ? most_hours : 59, &part[i]))
            return false;
    }
    *time_s = sign * (int32_t)(part[0] * 3600 + part[1] * 60 + part[2]);
    return true;
}

static bool parse_change(const char **at, struct change *change)
{
    if (*(*at)++ != ',')
        return false;
    if (**at == 'J') {
        (*at)++;
        change->kind = CHANGE_JULIAN;
        if (!parse_number(at, 365, &change->day) || change->day == 0)
            return false;
    } else if (**at == 'M') {
        (*at)++;
        change->kind = CHANGE_WEEK;
        if (!parse_number(at, 12, &change->month) || change->month == 0 || *(*at)++ != '.' ||
            !parse_number(at, 5, &change->week) || change->week == 0 || *(*at)++ != '.' ||
            !parse_number(at, 6, &change->day))
            return false;
    } else {
        change->kind = CHANGE_DAY;
        if (!parse_number(at, 365, &change->day))
            return false;
    }
    change->time_s = 2 * 3600;
    if (**at != '/')
        return true;
    (*at)++;
    return parse_time(at, 167, &change->time_s);
}

/* The text between the two newlines of the footer; empty says that there is no rule. */
static bool parse_rule(const char *text, struct rule *rule)
{
    const char *at = text;
    int32_t west_s;
    memset(rule, 0, sizeof *rule);
    if (*at == 0)
        return true;
    if (!parse_name(&at) || !parse_time(&at, 24, &west_s))
        return false;
    rule->given = true;
    rule->standard_s = -west_s;
    if (*at == 0)
        return true;
    if (!parse_name(&at))
        return false;
    rule->has_daylight = true;
    rule->daylight_s = rule->standard_s + 3600;
    if (*at != ',') {
        if (!parse_time(&at, 24, &west_s))
            return false;
        rule->daylight_s = -west_s;
    }
    return parse_change(&at, &rule->start) && parse_change(&at, &rule->end) && *at == 0;
}

/* Seconds of local time since 1970 at which the change of that year happens. */
static int64_t change_time(const struct change *change, int64_t year)
{
    int64_t day = nc_year_day(year);
    if (change->kind == CHANGE_DAY) {
        day += change->day;
    } else if (change->kind == CHANGE_JULIAN) { /* 29 February is never counted */
        day += change->day - 1 + (nc_leap_year(year) && change->day >= 60);
    } else {
        int64_t first = nc_day_of(year, change->month, 1);
        uint32_t ahead = (change->day + 7 - nc_weekday(first)) % 7 + (change->week - 1) * 7;
        while (ahead >= nc_month_days(year, change->month))
            ahead -= 7;
        day = first + ahead;
    }
    return day * NC_DAY_S + change->time_s;
}

static int32_t rule_offset(const struct rule *rule, int64_t utc_s)
{
    if (!rule->has_daylight)
        return rule->standard_s;
    int64_t year = nc_civil_of(nc_floor_div(utc_s + rule->standard_s, NC_DAY_S)).year;
    int64_t start = change_time(&rule->start, year) - rule->standard_s;
    int64_t end = change_time(&rule->end, year) - rule->daylight_s;
    bool daylight = start < end ? utc_s >= start && utc_s < end : utc_s >= start || utc_s < end;
    return daylight ? rule->daylight_s : rule->standard_s;
}

/* ---- the file -------------------------------------------------------------------------------- */

/* One thread. What is left of the file; `bad` once more was asked for than there is. */
struct bytes {
    const unsigned char *at;
    size_t left;
    bool bad;
};

static const unsigned char *take(struct bytes *file, size_t bytes)
{
    if (file->bad || file->left < bytes) {
        file->bad = true;
        return NULL;
    }
    const unsigned char *at = file->at;
    file->at += bytes;
    file->left -= bytes;
    return at;
}

static int64_t big_endian(const unsigned char *at, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++)
        value = value << 8 | at[i];
    return bytes == 4 ? (int32_t)(uint32_t)value : (int64_t)value;
}

struct counts {
    unsigned version;
    uint32_t is_utc, is_standard, leaps, times, types, chars;
};

static bool take_header(struct bytes *file, struct counts *counts)
{
    const unsigned char *at = take(file, 44);
    if (!at || memcmp(at, "TZif", 4) != 0)
        return false;
    counts->version = at[4];
    uint32_t *field = &counts->is_utc;
    for (unsigned i = 0; i < 6; i++) {
        field[i] = (uint32_t)big_endian(at + 20 + 4 * i, 4);
        if (field[i] > MAX_FILE_BYTES)
            return false;
    }
    return counts->types > 0 && counts->types <= 256;
}

static size_t tail_bytes(const struct counts *counts, unsigned time_bytes)
{
    return counts->chars + (size_t)counts->leaps * (time_bytes + 4) + counts->is_standard +
           counts->is_utc;
}

static bool take_table(struct bytes *file, const struct counts *counts, unsigned time_bytes,
                       struct nc_zone *zone)
{
    const unsigned char *times = take(file, (size_t)counts->times * time_bytes);
    const unsigned char *indexes = take(file, counts->times);
    const unsigned char *types = take(file, (size_t)counts->types * 6);
    take(file, tail_bytes(counts, time_bytes));
    if (file->bad)
        return false;
    for (uint32_t i = 0; i < counts->types; i++)
        if (big_endian(types + 6 * i, 4) > MAX_OFFSET_S ||
            big_endian(types + 6 * i, 4) < -MAX_OFFSET_S)
            return false;
    zone->first_offset = (int32_t)big_endian(types, 4);
    for (uint32_t i = 0; i < counts->times; i++) {
        zone->times[i] = big_endian(times + (size_t)i * time_bytes, time_bytes);
        if (indexes[i] >= counts->types || (i > 0 && zone->times[i] <= zone->times[i - 1]))
            return false;
        zone->offsets[i] = (int32_t)big_endian(types + 6 * indexes[i], 4);
    }
    zone->count = counts->times;
    return true;
}

static bool take_footer(struct bytes *file, struct rule *rule)
{
    char text[128];
    const unsigned char *end = file->left ? memchr(file->at + 1, '\n', file->left - 1) : NULL;
    if (!end || file->at[0] != '\n' || end - file->at > (ptrdiff_t)sizeof text)
        return false;
    size_t bytes = (size_t)(end - file->at) - 1;
    memcpy(text, file->at + 1, bytes);
    text[bytes] = 0;
    return parse_rule(text, rule);
}

int nc_zone_parse(struct nc_zone **out, const void *data, size_t bytes)
{
    struct bytes file = {data, bytes, false};
    struct counts counts;
    unsigned time_bytes = 4;
    if (!take_header(&file, &counts))
        return NEARCACHE_EINVAL;
    if (counts.version >= '2') { /* the first table is for readers of 32 bits */
        time_bytes = 8;
        take(&file, (size_t)counts.times * 5 + (size_t)counts.types * 6 + tail_bytes(&counts, 4));
        if (!take_header(&file, &counts))
            return NEARCACHE_EINVAL;
    }
    struct nc_zone *zone = calloc(1, sizeof *zone);
    if (!zone)
        return NEARCACHE_ENOMEM;
    zone->times = calloc(counts.times + 1, sizeof *zone->times);
    zone->offsets = calloc(counts.times + 1, sizeof *zone->offsets);
    if (!zone->times || !zone->offsets) {
        nc_zone_destroy(zone);
        return NEARCACHE_ENOMEM;
    }
    if (!take_table(&file, &counts, time_bytes, zone) ||
        (time_bytes == 8 && !take_footer(&file, &zone->rule))) {
        nc_zone_destroy(zone);
        return NEARCACHE_EINVAL;
    }
    *out = zone;
    return 0;
}

void nc_zone_destroy(struct nc_zone *zone)
{
    if (!zone)
        return;
    free(zone->times);
    free(zone->offsets);
    free(zone);
}

static int create_file(struct nc_zone **zone, const char *path)
{
    FILE *file = fopen(path, "rbe");
    if (!file)
        return NEARCACHE_EINVAL;
    int outcome = NEARCACHE_ENOMEM;
    char *data = malloc(MAX_FILE_BYTES);
    if (data)
        outcome = nc_zone_parse(zone, data, fread(data, 1, MAX_FILE_BYTES, file));
    free(data);
    fclose(file);
    return outcome;
}

/* Names go into a path: only what IANA names are made of, no "..", nothing absolute. */
static bool is_name(const char *name)
{
    size_t bytes = strlen(name);
    if (bytes == 0 || bytes > 128 || name[0] == '/' || strstr(name, ".."))
        return false;
    return strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-/") ==
           bytes;
}

static bool is_utc(const char *name)
{
    static const char *const names[] = {"UTC",     "Etc/UTC",       "Etc/UCT", "UCT",     "GMT",
                                        "Etc/GMT", "Etc/Universal", "Zulu",    "Etc/Zulu"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

static int create_named(struct nc_zone **zone, const char *name)
{
    char path[sizeof ZONE_DIRECTORY + 128];
    if (is_utc(name)) {
        *zone = calloc(1, sizeof **zone);
        return *zone ? 0 : NEARCACHE_ENOMEM;
    }
    if (!is_name(name))
        return NEARCACHE_EINVAL;
    snprintf(path, sizeof path, "%s%s", ZONE_DIRECTORY, name);
    return create_file(zone, path);
}

static int create_ruled(struct nc_zone **zone, const char *text)
{
    struct rule rule;
    if (!parse_rule(text, &rule))
        return NEARCACHE_EINVAL;
    *zone = calloc(1, sizeof **zone);
    if (!*zone)
        return NEARCACHE_ENOMEM;
    (*zone)->rule = rule;
    return 0;
}

/* $TZ may also be the path of a file or a rule; what makes no sense there is not taken for UTC. */
static int create_of_environment(struct nc_zone **zone, const char *text)
{
    bool may_be_rule = *text != ':';
    const char *name = may_be_rule ? text : text + 1;
    int outcome = *name == '/' ? create_file(zone, name) : create_named(zone, name);
    return outcome == NEARCACHE_EINVAL && may_be_rule ? create_ruled(zone, name) : outcome;
}

int nc_zone_create(struct nc_zone **zone, const char *name)
{
    if (name && *name)
        return create_named(zone, name);
    name = getenv("TZ");
    if (name && *name && strcmp(name, ":") != 0)
        return create_of_environment(zone, name);
    int outcome = create_file(zone, "/etc/localtime");
    return outcome == NEARCACHE_EINVAL ? create_named(zone, "UTC") : outcome;
}

int32_t nc_zone_offset(const struct nc_zone *zone, int64_t utc_s)
{
    if (zone->count == 0)
        return zone->rule.given ? rule_offset(&zone->rule, utc_s) : zone->first_offset;
    if (utc_s < zone->times[0])
        return zone->first_offset;
    if (utc_s >= zone->times[zone->count - 1])
        return zone->rule.given ? rule_offset(&zone->rule, utc_s) : zone->offsets[zone->count - 1];
    size_t low = 0, high = zone->count - 1; /* times[low] <= utc_s < times[high] */
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (zone->times[middle] <= utc_s)
            low = middle;
        else
            high = middle;
    }
    return zone->offsets[low];
}
