#include "queue/options.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MAX_SAFE_INT INT64_C(9007199254740991) /* of a double, which is what Node reads */

static bool refuse(struct nc_options *options, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static bool refuse(struct nc_options *options, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(options->why, sizeof options->why, format, args);
    va_end(args);
    return false;
}

void nc_options_init(struct nc_options *options)
{
    memset(options, 0, sizeof *options);
    options->stack_trace_limit = -1;
}

void nc_options_deinit(struct nc_options *options)
{
    nc_text_deinit(&options->job_id);
    nc_text_deinit(&options->backoff);
}

/* ---- from JSON ------------------------------------------------------------------------------- */

static bool read_count(struct nc_options *options, const char *name, struct nc_json value,
                       int64_t most, int64_t *number)
{
    double fraction;
    int64_t whole;
    if (!nc_json_int(value, &whole)) {
        if (!nc_json_double(value, &fraction) || fraction < 0 || fraction > (double)most)
            return refuse(options, "%s is not a number in its range", name);
        whole = (int64_t)fraction;
    }
    if (whole < 0 || whole > most)
        return refuse(options, "%s must be 0 to %lld", name, (long long)most);
    *number = whole;
    return true;
}

/* true, false, a count, or {count, age, limit}. */
static bool read_keep(struct nc_options *options, const char *name, struct nc_json value,
                      struct nearcache_keep *keep)
{
    int64_t number = 0;
    enum nc_json_kind kind = nc_json_kind(value);
    memset(keep, 0, sizeof *keep);
    if (kind == NC_JSON_TRUE || kind == NC_JSON_FALSE) {
        keep->mode = kind == NC_JSON_TRUE ? NEARCACHE_KEEP_NONE : NEARCACHE_KEEP_ALL;
        return true;
    }
    keep->mode = NEARCACHE_KEEP_SOME;
    if (kind == NC_JSON_NUMBER) {
        if (nc_json_int(value, &number) && number < 0) { /* BullMQ's "all" */
            keep->mode = NEARCACHE_KEEP_ALL;
            return true;
        }
        if (!read_count(options, name, value, MAX_SAFE_INT, &number))
            return false;
        keep->count = (uint64_t)number;
        if (number == 0)
            keep->mode = NEARCACHE_KEEP_NONE;
        return true;
    }
    if (kind != NC_JSON_OBJECT)
        return refuse(options, "%s must be true, false, a number or an object", name);
    struct nc_json count = nc_json_member(value, "count"), age = nc_json_member(value, "age");
    struct nc_json limit = nc_json_member(value, "limit");
    if (count.bytes) {
        if (!read_count(options, name, count, MAX_SAFE_INT, &number))
            return false;
        keep->count = (uint64_t)number;
        if (number == 0) /* at once, whatever the age */
            keep->mode = NEARCACHE_KEEP_NONE;
    }
    if (age.bytes) {
        if (!read_count(options, name, age, MAX_SAFE_INT / 1000, &number))
            return false;
        keep->age_s = (uint64_t)number;
    }
    if (limit.bytes) {
        if (!read_count(options, name, limit, MAX_SAFE_INT, &number))
            return false;
        keep->limit = (uint64_t)number;
    }
    if (!count.bytes && !age.bytes)
        keep->mode = NEARCACHE_KEEP_ALL;
    return true;
}

static bool read_backoff(struct nc_options *options, struct nc_json value)
{
    int64_t number = 0;
    nc_text_clear(&options->backoff);
    options->backoff_delay_ms = 0;
    options->backoff_jitter = 0;
    if (nc_json_kind(value) == NC_JSON_NUMBER) {
        if (!read_count(options, "backoff", value, MAX_SAFE_INT, &number))
            return false;
        nc_text_add_string(&options->backoff, "fixed");
        options->backoff_delay_ms = number;
        return true;
    }
    if (!nc_json_string(nc_json_member(value, "type"), &options->backoff))
        return refuse(options, "backoff must be a number or an object with a type");
    struct nc_json delay = nc_json_member(value, "delay"), jitter = nc_json_member(value, "jitter");
    if (delay.bytes) {
        if (!read_count(options, "backoff.delay", delay, MAX_SAFE_INT, &number))
            return false;
        options->backoff_delay_ms = number;
    }
    if (jitter.bytes && (!nc_json_double(jitter, &options->backoff_jitter) ||
                         !(options->backoff_jitter >= 0 && options->backoff_jitter <= 1))) {
        options->backoff_jitter = 0;
        return refuse(options, "backoff.jitter must be 0 to 1");
    }
    return true;
}

/* Members that are read here; the others are kept as they are. */
static const char *const known[] = {
    "attempts",         "backoff",      "delay",           "priority", "lifo", "jobId",
    "removeOnComplete", "removeOnFail", "stackTraceLimit", "keepLogs", "kl",   "timestamp"};
static const char *const not_spoken[] = {"parent", "deduplication", "debounce",
                                         "de",     "repeat",        "repeatJobKey"};

static bool is_one_of(struct nc_json name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (nc_json_is(name, names[i]))
            return true;
    return false;
}

static bool read_member(struct nc_options *o, struct nc_json name, struct nc_json value)
{
    int64_t number = 0;
    if (nc_json_kind(value) == NC_JSON_NULL)
        return true;
    if (nc_json_is(name, "attempts")) {
        if (!read_count(o, "attempts", value, UINT32_MAX, &number))
            return false;
        o->attempts = (uint32_t)number;
    } else if (nc_json_is(name, "backoff")) {
        return read_backoff(o, value);
    } else if (nc_json_is(name, "delay")) {
        return read_count(o, "delay", value, MAX_SAFE_INT, &o->delay_ms);
    } else if (nc_json_is(name, "priority")) {
        if (!read_count(o, "priority", value, NEARCACHE_JOB_MAX_PRIORITY, &number))
            return false;
        o->priority = (uint32_t)number;
    } else if (nc_json_is(name, "lifo")) {
        o->lifo = nc_json_kind(value) == NC_JSON_TRUE;
    } else if (nc_json_is(name, "jobId")) {
        nc_text_clear(&o->job_id);
        if (!nc_json_string(value, &o->job_id))
            return refuse(o, "jobId is not a string");
    } else if (nc_json_is(name, "removeOnComplete")) {
        return read_keep(o, "removeOnComplete", value, &o->complete);
    } else if (nc_json_is(name, "removeOnFail")) {
        return read_keep(o, "removeOnFail", value, &o->fail);
    } else if (nc_json_is(name, "stackTraceLimit")) {
        return read_count(o, "stackTraceLimit", value, MAX_SAFE_INT, &o->stack_trace_limit);
    } else if (nc_json_is(name, "keepLogs") || nc_json_is(name, "kl")) {
        return read_count(o, "keepLogs", value, MAX_SAFE_INT, &o->keep_logs);
    } else if (nc_json_is(name, "timestamp")) {
        return read_count(o, "timestamp", value, MAX_SAFE_INT, &o->timestamp_ms);
    }
    return true;
}

void nc_options_read(struct nc_options *options, const char *json, size_t bytes)
{
    struct nc_json root, name, value;
    size_t cursor = 0;
    nc_options_init(options);
    if (nc_json_check(json, bytes, NULL))
        return;
    root = nc_json_root(json, bytes);
    while (nc_json_next(root, &cursor, &name, &value))
        (void)read_member(options, name, value);
}

static int apply_json(struct nc_options *options, const char *json, size_t bytes)
{
    struct nc_json name, value;
    size_t cursor = 0, where = 0;
    if (!json)
        return 0;
    if (nc_json_check(json, bytes, &where)) {
        refuse(options, "the options are not JSON, at byte %zu", where);
        return NEARCACHE_EINVAL;
    }
    struct nc_json root = nc_json_root(json, bytes);
    if (nc_json_kind(root) != NC_JSON_OBJECT) {
        refuse(options, "the options are not a JSON object");
        return NEARCACHE_EINVAL;
    }
    while (nc_json_next(root, &cursor, &name, &value)) {
        if (is_one_of(name, not_spoken, sizeof not_spoken / sizeof not_spoken[0])) {
            refuse(options, "the option %.*s is not supported", (int)name.bytes, name.at);
            return NEARCACHE_ENOTSUP;
        }
        if (!read_member(options, name, value))
            return NEARCACHE_EINVAL;
    }
    return 0;
}

/* ---- from the struct ------------------------------------------------------------------------- */

static bool apply_backoff(struct nc_options *o, const struct nearcache_job_options *how)
{
    static const char *const types[] = {"", "", "fixed", "exponential"};
    if (how->backoff == NEARCACHE_BACKOFF_DEFAULT)
        return true;
    if (how->backoff == NEARCACHE_BACKOFF_CUSTOM)
        return refuse(o, "a custom back-off needs its type: give it as JSON");
    if (how->backoff > NEARCACHE_BACKOFF_CUSTOM)
        return refuse(o, "no such back-off");
    if (!(how->backoff_jitter >= 0 && how->backoff_jitter <= 1))
        return refuse(o, "the jitter of a back-off is 0 to 1");
    if (how->backoff_delay_ms > MAX_SAFE_INT)
        return refuse(o, "the delay of the back-off is too large");
    nc_text_clear(&o->backoff);
    nc_text_add_string(&o->backoff, types[how->backoff]);
    o->backoff_delay_ms = (int64_t)how->backoff_delay_ms;
    o->backoff_jitter = how->backoff_jitter;
    return true;
}

static bool apply_keep(struct nc_options *o, const struct nearcache_keep *given,
                       struct nearcache_keep *keep)
{
    if (given->mode == NEARCACHE_KEEP_DEFAULT)
        return true;
    if (given->mode > NEARCACHE_KEEP_SOME)
        return refuse(o, "no such way to keep jobs");
    *keep = *given;
    if (keep->count == NEARCACHE_NONE)
        keep->count = 0;
    if (keep->mode == NEARCACHE_KEEP_SOME && !keep->count && !keep->age_s)
        keep->mode = NEARCACHE_KEEP_ALL;
    return true;
}

static bool apply_fields(struct nc_options *o, const struct nearcache_job_options *how)
{
    if (how->job_id) {
        nc_text_clear(&o->job_id);
        nc_text_add_string(&o->job_id, how->job_id);
        if (o->job_id.bytes == 0)
            return refuse(o, "the job id is empty");
    }
    if (how->delay_ms < 0 || how->delay_ms > MAX_SAFE_INT)
        return refuse(o, "the delay is negative or too large");
    if (how->priority > NEARCACHE_JOB_MAX_PRIORITY)
        return refuse(o, "the priority is above %u", NEARCACHE_JOB_MAX_PRIORITY);
    if (how->priority)
        o->priority = how->priority;
    if (how->lifo)
        o->lifo = true;
    if (how->delay_ms)
        o->delay_ms = how->delay_ms;
    if (how->attempts)
        o->attempts = how->attempts;
    if (how->stack_trace_limit)
        o->stack_trace_limit =
            how->stack_trace_limit > MAX_SAFE_INT ? 0 : (int64_t)how->stack_trace_limit;
    if (how->keep_logs)
        o->keep_logs = how->keep_logs > MAX_SAFE_INT ? 0 : (int64_t)how->keep_logs;
    if (how->timestamp_ms)
        o->timestamp_ms =
            how->timestamp_ms > MAX_SAFE_INT ? MAX_SAFE_INT : (int64_t)how->timestamp_ms;
    return apply_backoff(o, how) && apply_keep(o, &how->complete, &o->complete) &&
           apply_keep(o, &how->fail, &o->fail);
}

/* What else stands under the queue's prefix: a job of that name would take the place of a list. */
static bool is_key_of_queue(const char *id)
{
    static const char *const keys[] = {
        "active",  "completed", "delayed", "events",        "failed",  "id",
        "limiter", "marker",    "meta",    "paused",        "pc",      "prioritized",
        "repeat",  "stalled",   "wait",    "stalled-check", "waiting", "waiting-children"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(id, keys[i]) == 0)
            return true;
    return false;
}

/* Why an id of the caller's cannot be one; NULL when it can. */
static const char *wrong_id(const char *id, size_t bytes)
{
    size_t sign = id[0] == '-';
    size_t digits = sign + strspn(id + sign, "0123456789");
    if (bytes > NEARCACHE_JOB_ID_BYTES)
        return "longer than 255 bytes";
    if (strlen(id) != bytes)
        return "has a zero byte";
    if (digits == bytes)
        return "is an integer, which the queue counts itself";
    if (strchr(id, ':'))
        return "has a colon";
    if (is_key_of_queue(id))
        return "is the name of a key of the queue";
    return NULL;
}

/* ---- to JSON --------------------------------------------------------------------------------- */

static void add_name(struct nc_text *json, const char *name)
{
    nc_text_add_string(json, json->data[json->bytes - 1] == '{' ? "\"" : ",\"");
    nc_text_add_string(json, name);
    nc_text_add_string(json, "\":");
}

static void add_number(struct nc_text *json, const char *name, int64_t number)
{
    if (json->failed)
        return;
    add_name(json, name);
    nc_text_add_int(json, number);
}

static void add_keep(struct nc_text *json, const char *name, const struct nearcache_keep *keep)
{
    if (json->failed || keep->mode == NEARCACHE_KEEP_DEFAULT)
        return;
    if (keep->mode == NEARCACHE_KEEP_SOME && !keep->age_s && !keep->limit) {
        add_number(json, name, (int64_t)keep->count);
        return;
    }
    add_name(json, name);
    if (keep->mode != NEARCACHE_KEEP_SOME) {
        nc_text_add_string(json, keep->mode == NEARCACHE_KEEP_NONE ? "true" : "false");
        return;
    }
    nc_text_add_string(json, "{");
    if (keep->count)
        add_number(json, "count", (int64_t)keep->count);
    if (keep->age_s)
        add_number(json, "age", (int64_t)keep->age_s);
    if (keep->limit)
        add_number(json, "limit", (int64_t)keep->limit);
    nc_text_add_string(json, "}");
}

static void add_backoff(struct nc_text *json, const struct nc_options *o)
{
    if (json->failed || o->backoff.bytes == 0)
        return;
    add_name(json, "backoff");
    nc_text_add_string(json, "{\"type\":");
    nc_json_add_string(json, o->backoff.data, o->backoff.bytes);
    add_number(json, "delay", o->backoff_delay_ms);
    int thousandths = (int)(o->backoff_jitter * 1000 + 0.5); /* more digits than chance needs */
    if (thousandths > 0)
        nc_text_add_format(json, ",\"jitter\":%d.%03d", thousandths / 1000, thousandths % 1000);
    nc_text_add_string(json, "}");
}

/* What is not known here: of the call, and of the defaults what the call does not have. */
static void add_others(struct nc_text *json, const struct nearcache_job_options *source,
                       const struct nearcache_job_options *over)
{
    struct nc_json name, value, hidden = {NULL, 0};
    size_t cursor = 0;
    if (!source || !source->json)
        return;
    if (over && over->json)
        hidden = nc_json_root(over->json, over->json_bytes);
    struct nc_json root = nc_json_root(source->json, source->json_bytes);
    while (!json->failed && nc_json_next(root, &cursor, &name, &value)) {
        char plain[64];
        bool taken = is_one_of(name, known, sizeof known / sizeof known[0]);
        if (!taken && name.bytes - 2 < sizeof plain) {
            memcpy(plain, name.at + 1, name.bytes - 2);
            plain[name.bytes - 2] = 0;
            taken = nc_json_member(hidden, plain).bytes > 0;
        }
        if (taken)
            continue;
        nc_text_add_string(json, json->data[json->bytes - 1] == '{' ? "" : ",");
        nc_text_add(json, name.at, name.bytes);
        nc_text_add_string(json, ":");
        nc_text_add(json, value.at, value.bytes);
    }
}

void nc_options_write_template(const struct nc_options *o,
                               const struct nearcache_job_options *defaults,
                               const struct nearcache_job_options *how, struct nc_text *json)
{
    nc_text_add_string(json, "{");
    if (o->attempts)
        add_number(json, "attempts", o->attempts);
    if (o->priority)
        add_number(json, "priority", o->priority);
    add_backoff(json, o);
    if (o->lifo && !json->failed) {
        add_name(json, "lifo");
        nc_text_add_string(json, "true");
    }
    add_keep(json, "removeOnComplete", &o->complete);
    add_keep(json, "removeOnFail", &o->fail);
    if (o->stack_trace_limit >= 0)
        add_number(json, "stackTraceLimit", o->stack_trace_limit);
    if (o->keep_logs)
        add_number(json, "kl", o->keep_logs);
    add_others(json, defaults, how);
    add_others(json, how, NULL);
    nc_text_add_string(json, "}");
}

static void write_job(const struct nc_options *o, const struct nearcache_job_options *defaults,
                      const struct nearcache_job_options *how, struct nc_text *json)
{
    nc_options_write_template(o, defaults, how, json);
    if (json->failed)
        return;
    json->data[--json->bytes] = 0; /* the closing brace */
    if (!o->attempts)              /* BullMQ writes it always */
        add_number(json, "attempts", 0);
    if (o->delay_ms)
        add_number(json, "delay", o->delay_ms);
    if (o->job_id.bytes && !json->failed) {
        add_name(json, "jobId");
        nc_json_add_string(json, o->job_id.data, o->job_id.bytes);
    }
    nc_text_add_string(json, "}");
}

int nc_options_resolve(struct nc_options *o, const struct nearcache_job_options *defaults,
                       const struct nearcache_job_options *how, struct nc_text *json)
{
    const struct nearcache_job_options *sources[2] = {defaults, how};
    for (int i = 0; i < 2; i++) {
        if (!sources[i])
            continue;
        int outcome = apply_json(o, sources[i]->json, sources[i]->json_bytes);
        if (outcome)
            return outcome;
        if (!apply_fields(o, sources[i]))
            return NEARCACHE_EINVAL;
    }
    if (o->job_id.failed || o->backoff.failed)
        return NEARCACHE_ENOMEM;
    const char *wrong = o->job_id.bytes ? wrong_id(o->job_id.data, o->job_id.bytes) : NULL;
    if (wrong) {
        refuse(o, "the job id %s", wrong);
        return NEARCACHE_EINVAL;
    }
    write_job(o, defaults, how, json);
    return json->failed ? NEARCACHE_ENOMEM : 0;
}

int64_t nc_options_backoff_ms(const struct nc_options *o, uint32_t failures, double random)
{
    double delay = (double)o->backoff_delay_ms;
    if (o->backoff.bytes && strcmp(o->backoff.data, "exponential") == 0)
        for (uint32_t i = 1; i < failures && delay < 9e15; i++)
            delay *= 2;
    delay -= delay * o->backoff_jitter * random;
    return delay > (double)MAX_SAFE_INT ? MAX_SAFE_INT : (int64_t)(delay + 0.5);
}

int nc_struct_copy(void *to, size_t to_bytes, const void *from, size_t least_bytes)
{
    size_t bytes;
    memcpy(&bytes, from, sizeof bytes);
    if (bytes < least_bytes)
        return NEARCACHE_EINVAL;
    const unsigned char *in = from;
    for (size_t i = to_bytes; i < bytes; i++)
        if (in[i])
            return NEARCACHE_EINVAL;
    memset(to, 0, to_bytes);
    memcpy(to, from, bytes < to_bytes ? bytes : to_bytes);
    return 0;
}
