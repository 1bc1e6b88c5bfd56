/*
 * Schedules: a job that is put up again and again, by cron or every so many ms. The schedule's hash
 * says what, its next job waits among the delayed ones, and the worker that takes that job puts up
 * the one after it.
 */
#include "queue/schedule.h"

#include "queue/cron.h"

#include <stdlib.h>
#include <string.h>

/* Filled in by the script: it knows when the job will run. No JSON holds such a byte. */
#define MARK_DUE "\1due\1"
#define MARK_DELAY "\1delay\1"

enum { OVER = -12 }; /* of the script: the next time would be after the end */

/* One thread. What BullMQ keeps in opts.repeat. */
struct repeat {
    const char *cron, *tz; /* NULL: none */
    int64_t every_ms, limit, count, start_ms, end_ms;
};

static void add_member(struct nc_text *json, const char *name, int64_t number)
{
    if (number)
        nc_text_add_format(json, "\"%s\":%lld,", name, (long long)number);
}

static void add_repeat(struct nc_text *json, const struct repeat *repeat)
{
    nc_text_add_string(json, "\"repeat\":{");
    if (repeat->cron) {
        nc_text_add_string(json, "\"pattern\":");
        nc_json_add_string(json, repeat->cron, strlen(repeat->cron));
        nc_text_add_string(json, ",");
    }
    if (repeat->tz) {
        nc_text_add_string(json, "\"tz\":");
        nc_json_add_string(json, repeat->tz, strlen(repeat->tz));
        nc_text_add_string(json, ",");
    }
    add_member(json, "every", repeat->every_ms);
    add_member(json, "limit", repeat->limit);
    add_member(json, "startDate", repeat->start_ms);
    add_member(json, "endDate", repeat->end_ms);
    nc_text_add_format(json, "\"count\":%lld}", (long long)repeat->count);
}

/* The options of an iteration: `members` (with a comma behind each) and what is its own. */
static void add_iteration(struct nc_text *json, const struct nc_text *members, const char *id,
                          const struct repeat *repeat)
{
    struct nc_text quoted = {0};
    nc_json_add_string(&quoted, id, strlen(id));
    if (quoted.failed || members->failed) {
        json->failed = true;
    } else {
        nc_text_add_string(json, "{");
        nc_text_add(json, members->data, members->bytes);
        add_repeat(json, repeat);
        nc_text_add_format(json, ",\"repeatJobKey\":%s,\"jobId\":\"repeat:", quoted.data);
        nc_text_add(json, quoted.data + 1, quoted.bytes - 2);
        nc_text_add_string(json, ":" MARK_DUE "\",\"delay\":" MARK_DELAY);
        nc_text_add_format(json, ",\"timestamp\":%llu", (unsigned long long)nc_queue_now_ms());
        if (repeat->cron)
            nc_text_add_string(json, ",\"prevMillis\":" MARK_DUE);
        nc_text_add_string(json, "}");
    }
    nc_text_deinit(&quoted);
}

/* The first time after both now and the begin. 0, NEARCACHE_MISS, or an error that is logged. */
static int next_of_cron(struct nearcache_queue *queue, const struct repeat *repeat, int64_t from_ms,
                        int64_t *next_ms)
{
    struct nearcache_cron *cron;
    char why[160] = "";
    int outcome = nearcache_cron_create(&cron, repeat->cron, repeat->tz, why, sizeof why);
    if (outcome == NEARCACHE_EINVAL)
        return nc_queue_refuse(queue, "cron pattern: %s", why);
    if (outcome)
        return outcome;
    outcome =
        nearcache_cron_next(cron, from_ms > repeat->start_ms ? from_ms : repeat->start_ms, next_ms);
    nearcache_cron_destroy(cron);
    return outcome;
}

/* ---- setting up ------------------------------------------------------------------------------ */

static int check(struct nearcache_queue *queue, const char *id,
                 const struct nearcache_schedule *schedule)
{
    if (!id || !*id || strlen(id) > 200 || strchr(id, ':'))
        return nc_queue_refuse(queue, "the id of a schedule is 1 to 200 bytes without a colon");
    if (!schedule->cron == !schedule->every_ms)
        return nc_queue_refuse(queue, "a schedule needs cron or every_ms, and not both");
    if (schedule->every_ms > (uint64_t)1 << 50 || schedule->limit > INT64_MAX)
        return nc_queue_refuse(queue, "every_ms or limit is too large");
    if (schedule->start_ms < 0 || schedule->end_ms < 0)
        return nc_queue_refuse(queue, "start_ms and end_ms are not negative");
    if (schedule->tz && !schedule->cron)
        return nc_queue_refuse(queue, "a time zone is for cron");
    if (!schedule->job_name || !*schedule->job_name)
        return nc_queue_refuse(queue, "the jobs of a schedule need a name");
    return nc_queue_check_json(queue, "the data", schedule->data, schedule->data_bytes);
}

/* The pairs of the schedule's hash besides name, ic, data, opts. */
static void add_pairs(struct nc_args *args, const struct repeat *repeat)
{
    const struct {
        const char *name;
        int64_t value;
    } numbers[] = {{"every", repeat->every_ms},
                   {"limit", repeat->limit},
                   {"startDate", repeat->start_ms},
                   {"endDate", repeat->end_ms}};
    if (repeat->cron) {
        nc_args_add_string(args, "pattern");
        nc_args_add_string(args, repeat->cron);
        nc_args_add_string(args, "offset");
        nc_args_add_string(args, "0");
    }
    if (repeat->tz) {
        nc_args_add_string(args, "tz");
        nc_args_add_string(args, repeat->tz);
    }
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        if (numbers[i].value) {
            nc_args_add_string(args, numbers[i].name);
            nc_args_add_int(args, numbers[i].value);
        }
}

static int send_schedule(struct nearcache_queue *queue, const char *id,
                         const struct nearcache_schedule *schedule, const struct repeat *repeat,
                         const struct nc_options *options, struct nc_text *template,
                         int64_t first_ms, int64_t *next_ms)
{
    struct nc_args args = {0};
    struct nc_text members = {0}, json = {0};
    int64_t code = 0;
    bool plain = !schedule->data || (schedule->data_bytes == 2 && !memcmp(schedule->data, "{}", 2));
    if (template->failed)
        return NEARCACHE_ENOMEM;
    nc_text_add(&members, template->data + 1, template->bytes - 2);
    if (members.bytes)
        nc_text_add_string(&members, ",");
    add_iteration(&json, &members, id, repeat);
    nc_args_add_string(&args, id);
    nc_args_add_int(&args, (int64_t)nc_queue_now_ms());
    nc_args_add_int(&args, first_ms);
    nc_args_add_int(&args, repeat->every_ms);
    nc_args_add_int(&args, repeat->start_ms);
    nc_args_add_int(&args, repeat->end_ms);
    nc_args_add_string(&args, schedule->job_name);
    nc_args_add(&args, plain ? "" : schedule->data, plain ? 0 : schedule->data_bytes);
    nc_args_add(&args, template->data, template->bytes);
    nc_args_add(&args, json.data, json.bytes);
    nc_args_add_int(&args, options->priority);
    nc_args_add_string(&args, options->lifo ? "1" : "");
    add_pairs(&args, repeat);
    if (json.failed || members.failed)
        args.text.failed = true;
    nc_text_deinit(&members);
    nc_text_deinit(&json);
    int outcome = nc_queue_script_int(queue, NC_QUEUE_SCRIPT_SCHEDULE, &args, &code);
    if (outcome)
        return outcome;
    if (code == OVER)
        return NEARCACHE_MISS;
    if (code < 0) {
        nc_log_write(&queue->log, NEARCACHE_LOG_ERROR,
                     "queue %s: schedule %.80s: its next job has begun or ended already: try again",
                     queue->name, id);
        return NEARCACHE_EBUSY;
    }
    if (next_ms)
        *next_ms = code;
    return 0;
}

int nearcache_queue_schedule(struct nearcache_queue *queue, const char *id,
                             const struct nearcache_schedule *given, int64_t *next_ms)
{
    struct nearcache_schedule schedule;
    struct nearcache_job_options how;
    struct nc_options options;
    struct nc_text ignored = {0}, template = {0};
    int64_t first_ms = 0, now_ms = (int64_t)nc_queue_now_ms();
    int outcome = nc_queue_usable(queue);
    if (outcome || !given || nc_struct_copy(&schedule, sizeof schedule, given, sizeof schedule))
        return outcome ? outcome : NEARCACHE_EINVAL;
    outcome = check(queue, id, &schedule);
    if (outcome)
        return outcome;
    if (schedule.how && nc_struct_copy(&how, sizeof how, schedule.how, sizeof how))
        return NEARCACHE_EINVAL;
    struct repeat repeat = {schedule.cron,           schedule.tz, (int64_t)schedule.every_ms,
                            (int64_t)schedule.limit, 1,           schedule.start_ms,
                            schedule.end_ms};
    if (repeat.cron)
        outcome = next_of_cron(queue, &repeat, now_ms, &first_ms);
    if (outcome == 0 && repeat.end_ms && (now_ms > repeat.end_ms || first_ms > repeat.end_ms))
        outcome = NEARCACHE_MISS;
    if (outcome)
        return outcome;
    const struct nearcache_job_options *defaults = queue->has_defaults ? &queue->defaults : NULL;
    const struct nearcache_job_options *own = schedule.how ? &how : NULL;
    nc_options_init(&options);
    outcome = nc_options_resolve(&options, defaults, own, &ignored);
    if (outcome == NEARCACHE_EINVAL || outcome == NEARCACHE_ENOTSUP)
        nc_queue_refuse(queue, "%s", options.why);
    else if (outcome == 0 && (options.job_id.bytes || options.delay_ms))
        outcome = nc_queue_refuse(queue, "jobs of a schedule have no id and no delay of their own");
    if (outcome == 0) {
        nc_options_write_template(&options, defaults, own, &template);
        outcome =
            send_schedule(queue, id, &schedule, &repeat, &options, &template, first_ms, next_ms);
    }
    nc_options_deinit(&options);
    nc_text_deinit(&ignored);
    nc_text_deinit(&template);
    return outcome;
}

int nearcache_queue_unschedule(struct nearcache_queue *queue, const char *id)
{
    struct nc_args args = {0};
    int64_t code = 0;
    int outcome = nc_queue_usable(queue);
    if (outcome || !id || !*id)
        return outcome ? outcome : NEARCACHE_EINVAL;
    nc_args_add_string(&args, id);
    outcome = nc_queue_script_int(queue, NC_QUEUE_SCRIPT_UNSCHEDULE, &args, &code);
    return outcome ? outcome : code == 1 ? 0 : NEARCACHE_MISS;
}

/* ---- the next iteration ---------------------------------------------------------------------- */

/* Members of an iteration's options that are not its own, with a comma behind each. */
static void copy_members(struct nc_text *members, struct nc_json options)
{
    static const char *const own[] = {"repeat", "repeatJobKey", "jobId",
                                      "delay",  "timestamp",    "prevMillis"};
    struct nc_json name, value;
    size_t cursor = 0;
    nc_text_add(members, "", 0);
    while (nc_json_next(options, &cursor, &name, &value)) {
        bool skip = false;
        for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
            skip = skip || nc_json_is(name, own[i]);
        if (skip)
            continue;
        nc_text_add(members, name.at, name.bytes);
        nc_text_add_string(members, ":");
        nc_text_add(members, value.at, value.bytes);
        nc_text_add_string(members, ",");
    }
}

static void read_repeat(struct nc_json json, struct repeat *repeat, struct nc_text *cron,
                        struct nc_text *tz)
{
    struct nc_json count = nc_json_member(json, "count");
    memset(repeat, 0, sizeof *repeat);
    if (nc_json_string(nc_json_member(json, "pattern"), cron) && !cron->failed)
        repeat->cron = cron->data;
    if (nc_json_string(nc_json_member(json, "tz"), tz) && !tz->failed && tz->bytes)
        repeat->tz = tz->data;
    (void)nc_json_int(nc_json_member(json, "every"), &repeat->every_ms);
    (void)nc_json_int(nc_json_member(json, "limit"), &repeat->limit);
    (void)nc_json_int(nc_json_member(json, "startDate"), &repeat->start_ms);
    (void)nc_json_int(nc_json_member(json, "endDate"), &repeat->end_ms);
    (void)nc_json_int(count, &repeat->count);
}

static int send_iteration(struct nearcache_queue *queue, const struct nearcache_job *job,
                          struct nc_json options, const struct repeat *repeat, int64_t next_ms)
{
    struct nc_args args = {0};
    struct nc_text members = {0}, json = {0};
    int64_t done = 0;
    copy_members(&members, options);
    add_iteration(&json, &members, job->info.schedule_id, repeat);
    nc_args_add_string(&args, job->info.schedule_id);
    nc_args_add(&args, job->info.id, job->id_bytes);
    nc_args_add_int(&args, (int64_t)nc_queue_now_ms());
    nc_args_add_int(&args, next_ms);
    nc_args_add_int(&args, repeat->end_ms);
    nc_args_add(&args, json.data, json.bytes);
    nc_args_add_int(&args, job->options.priority);
    nc_args_add_string(&args, job->options.lifo ? "1" : "");
    if (json.failed)
        args.text.failed = true;
    nc_text_deinit(&members);
    nc_text_deinit(&json);
    return nc_queue_script_int(queue, NC_QUEUE_SCRIPT_ITERATE, &args, &done);
}

int nc_schedule_iterate(struct nearcache_queue *queue, const struct nearcache_job *job)
{
    struct nc_text cron = {0}, tz = {0};
    struct repeat repeat;
    int64_t next_ms = 0, prev_ms = 0, now_ms = (int64_t)nc_queue_now_ms();
    int outcome = 0;
    if (nc_json_check(job->info.options, job->info.options_bytes, NULL))
        return NEARCACHE_EPROTOCOL;
    struct nc_json options = nc_json_root(job->info.options, job->info.options_bytes);
    read_repeat(nc_json_member(options, "repeat"), &repeat, &cron, &tz);
    repeat.count++;
    (void)nc_json_int(nc_json_member(options, "prevMillis"), &prev_ms);
    bool over =
        (repeat.limit && repeat.count > repeat.limit) || (repeat.end_ms && now_ms > repeat.end_ms);
    if (!over && repeat.cron)
        outcome = next_of_cron(queue, &repeat, prev_ms > now_ms ? prev_ms : now_ms, &next_ms);
    if (!over && outcome == 0 && (repeat.cron || repeat.every_ms) &&
        !(repeat.end_ms && next_ms > repeat.end_ms))
        outcome = send_iteration(queue, job, options, &repeat, next_ms);
    nc_text_deinit(&cron);
    nc_text_deinit(&tz);
    return outcome > 0 ? 0 : outcome;
}

/* ---- looking --------------------------------------------------------------------------------- */

static const char *field(const struct nc_value *hash, const char *name)
{
    for (size_t i = 0; i + 1 < hash->elements; i += 2)
        if (nc_value_is_text(hash->element[i]) && nc_value_is_text(hash->element[i + 1]) &&
            strcmp(hash->element[i]->str, name) == 0)
            return hash->element[i + 1]->str;
    return NULL;
}

static int64_t number_field(const struct nc_value *hash, const char *name)
{
    const char *text = field(hash, name);
    return text ? strtoll(text, NULL, 10) : 0;
}

static int tell(struct nearcache_queue *queue, const char *id, int64_t next_ms,
                nearcache_schedule_fn each, void *arg)
{
    struct nc_args args = {0};
    struct nc_text suffix = {0};
    struct nc_value *hash;
    nc_text_add_format(&suffix, "repeat:%s", id);
    nc_args_add_string(&args, "HGETALL");
    nc_queue_add_key(queue, &args, suffix.failed ? "" : suffix.data);
    nc_text_deinit(&suffix);
    int outcome = nc_queue_command(queue, &args, &hash);
    if (outcome)
        return outcome;
    if (nc_value_is_array(hash, 2)) {
        const struct nearcache_schedule_info info = {
            .id = id,
            .cron = field(hash, "pattern"),
            .every_ms = (uint64_t)number_field(hash, "every"),
            .tz = field(hash, "tz"),
            .job_name = field(hash, "name"),
            .data = field(hash, "data"),
            .options = field(hash, "opts"),
            .iterations = (uint64_t)number_field(hash, "ic"),
            .limit = (uint64_t)number_field(hash, "limit"),
            .start_ms = number_field(hash, "startDate"),
            .end_ms = number_field(hash, "endDate"),
            .next_ms = next_ms};
        outcome = each(arg, &info);
    }
    nc_value_free(hash);
    return outcome;
}

int nearcache_queue_schedules(struct nearcache_queue *queue, nearcache_schedule_fn each, void *arg)
{
    struct nc_args args = {0};
    struct nc_value *ids;
    int outcome = nc_queue_usable(queue);
    if (outcome || !each)
        return outcome ? outcome : NEARCACHE_EINVAL;
    nc_args_add_string(&args, "ZRANGE");
    nc_queue_add_key(queue, &args, "repeat");
    nc_args_add_string(&args, "0");
    nc_args_add_string(&args, "-1");
    nc_args_add_string(&args, "WITHSCORES");
    outcome = nc_queue_command(queue, &args, &ids);
    if (outcome)
        return outcome;
    if (!nc_value_is_array(ids, 0))
        outcome = NEARCACHE_EPROTOCOL;
    for (size_t i = 0; !outcome && i + 1 < ids->elements; i += 2)
        if (nc_value_is_text(ids->element[i]))
            outcome =
                tell(queue, ids->element[i]->str, nc_value_int(ids->element[i + 1]), each, arg);
    nc_value_free(ids);
    return outcome;
}
