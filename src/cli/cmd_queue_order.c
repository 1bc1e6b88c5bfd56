/* cli/cmd_queue_order: retry, promote, remove, clean, pause, resume, drain, schedule, unschedule,
 * and the next times of a cron pattern. */
#include "cli/queue.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define COUNT(options) (sizeof(options) / sizeof(options)[0])

/* {"ok":true}, for programs; people see the exit status. */
static int say_done(const struct cli_queue *at, int status)
{
    struct cli_json json;

    cli_json_init(&json, at->json && status == CLI_FINE ? stdout : NULL);
    cli_json_begin_object(&json, NULL);
    cli_json_bool(&json, "ok", true);
    cli_json_end_object(&json);
    return status;
}

/* ---- orders without options ------------------------------------------------------------------ */

static int retry(struct nearcache_queue *queue, const char *id)
{
    return nearcache_queue_retry(queue, id, 0);
}

static int pause_queue(struct nearcache_queue *queue, const char *unused)
{
    (void)unused;
    return nearcache_queue_pause(queue);
}

static int resume_queue(struct nearcache_queue *queue, const char *unused)
{
    (void)unused;
    return nearcache_queue_resume(queue);
}

/* `arguments`: QUEUE, or QUEUE and ID. */
static int run_order(const struct cli_command *self, int argc, char **argv, int arguments,
                     int (*order)(struct nearcache_queue *, const char *))
{
    struct cli_queue at = {.command = self};
    const struct cli_option options[] = {CLI_QUEUE_OPTIONS(&at)};
    char **names;
    int status =
        cli_options_parse(self, options, COUNT(options), argc, argv, arguments, arguments, &names);

    if (status == CLI_GO_ON)
        status = cli_queue_open(&at, self, names[0]);
    if (status == CLI_GO_ON)
        status =
            say_done(&at, cli_queue_finish(&at, order(at.queue, names[1]), names[arguments - 1]));
    cli_queue_close(&at);
    return status;
}

static int run_retry(const struct cli_command *self, int argc, char **argv)
{
    return run_order(self, argc, argv, 2, retry);
}

static int run_promote(const struct cli_command *self, int argc, char **argv)
{
    return run_order(self, argc, argv, 2, nearcache_queue_promote);
}

static int run_remove(const struct cli_command *self, int argc, char **argv)
{
    return run_order(self, argc, argv, 2, nearcache_queue_remove);
}

static int run_pause(const struct cli_command *self, int argc, char **argv)
{
    return run_order(self, argc, argv, 1, pause_queue);
}

static int run_resume(const struct cli_command *self, int argc, char **argv)
{
    return run_order(self, argc, argv, 1, resume_queue);
}

static int run_unschedule(const struct cli_command *self, int argc, char **argv)
{
    return run_order(self, argc, argv, 2, nearcache_queue_unschedule);
}

const struct cli_command cli_queue_retry = {.name = "queue retry",
                                            .arguments = "QUEUE ID",
                                            .summary = "run a failed or completed job again",
                                            .run = run_retry};
const struct cli_command cli_queue_promote = {.name = "queue promote",
                                              .arguments = "QUEUE ID",
                                              .summary = "run a delayed job now",
                                              .run = run_promote};
const struct cli_command cli_queue_remove = {.name = "queue remove",
                                             .arguments = "QUEUE ID",
                                             .summary = "remove a job that no worker holds",
                                             .run = run_remove};
const struct cli_command cli_queue_pause = {.name = "queue pause",
                                            .arguments = "QUEUE",
                                            .summary = "workers take nothing more",
                                            .run = run_pause};
const struct cli_command cli_queue_resume = {
    .name = "queue resume", .arguments = "QUEUE", .summary = "workers go on", .run = run_resume};
const struct cli_command cli_queue_unschedule = {.name = "queue unschedule",
                                                 .arguments = "QUEUE ID",
                                                 .summary = "end a schedule",
                                                 .run = run_unschedule};

/* ---- clean and drain ------------------------------------------------------------------------- */

/* The types that BullMQ's clean takes, besides our own names. */
static const struct {
    const char *name;
    enum nearcache_job_state state;
} types[] = {{"completed", NEARCACHE_JOB_COMPLETED}, {"failed", NEARCACHE_JOB_FAILED},
             {"waiting", NEARCACHE_JOB_WAITING},     {"wait", NEARCACHE_JOB_WAITING},
             {"delayed", NEARCACHE_JOB_DELAYED},     {"prioritized", NEARCACHE_JOB_PRIORITIZED},
             {"paused", NEARCACHE_JOB_PAUSED}};

static bool take_type(const char *name, enum nearcache_job_state *state)
{
    for (size_t i = 0; i < COUNT(types); i++)
        if (strcmp(types[i].name, name) == 0) {
            *state = types[i].state;
            return true;
        }
    return false;
}

static int run_clean(const struct cli_command *self, int argc, char **argv)
{
    struct cli_queue at = {.command = self};
    enum nearcache_job_state state;
    uint64_t grace_ms = 0, limit = 0, removed = 0;
    const struct cli_option options[] = {
        {"grace", CLI_NUMBER, "MS", "only those that ended (or were added) so long ago; default 0",
         &grace_ms, 0, 0, NULL},
        {"limit", CLI_NUMBER, "N", "at most so many; default all", &limit, 0, 0, NULL},
        CLI_QUEUE_OPTIONS(&at)};
    struct cli_json json;
    char **names;
    int status = cli_options_parse(self, options, COUNT(options), argc, argv, 2, 2, &names);

    if (status != CLI_GO_ON)
        return status;
    if (!take_type(names[1], &state)) {
        cli_error(self, "%s: must be one of completed failed waiting delayed prioritized paused",
                  names[1]);
        return CLI_USAGE;
    }
    status = cli_queue_open(&at, self, names[0]);
    if (status == CLI_GO_ON) {
        int outcome = nearcache_queue_clean(at.queue, state, grace_ms, limit, &removed);
        status = cli_queue_finish(&at, outcome, names[0]);
        cli_json_init(&json, at.json ? stdout : NULL);
        cli_json_begin_object(&json, NULL);
        cli_json_number(&json, "removed", removed);
        cli_json_end_object(&json);
        if (!at.json)
            printf("%" PRIu64 " removed\n", removed);
    }
    cli_queue_close(&at);
    return status;
}

const struct cli_command cli_queue_clean = {.name = "queue clean",
                                            .arguments = "QUEUE TYPE",
                                            .summary = "remove old jobs of a type (state)",
                                            .run = run_clean};

static int run_drain(const struct cli_command *self, int argc, char **argv)
{
    struct cli_queue at = {.command = self};
    bool delayed = false;
    const struct cli_option options[] = {
        {"delayed", CLI_FLAG, NULL, "delayed jobs too", &delayed, 0, 0, NULL},
        CLI_QUEUE_OPTIONS(&at)};
    char **names;
    int status = cli_options_parse(self, options, COUNT(options), argc, argv, 1, 1, &names);

    if (status == CLI_GO_ON)
        status = cli_queue_open(&at, self, names[0]);
    if (status == CLI_GO_ON)
        status = say_done(
            &at, cli_queue_finish(&at, nearcache_queue_drain(at.queue, delayed), names[0]));
    cli_queue_close(&at);
    return status;
}

const struct cli_command cli_queue_drain = {.name = "queue drain",
                                            .arguments = "QUEUE",
                                            .summary = "remove all jobs that wait",
                                            .run = run_drain};

/* ---- schedule -------------------------------------------------------------------------------- */

static int put_up(struct cli_queue *at, const char *id, const struct nearcache_schedule *schedule)
{
    struct cli_json json;
    int64_t next_ms = 0;
    int outcome = nearcache_queue_schedule(at->queue, id, schedule, &next_ms);

    if (outcome == NEARCACHE_MISS) {
        cli_error(at->command, "%s: nothing is left to run before --end; nothing was changed", id);
        return CLI_WRONG;
    }
    if (outcome)
        return cli_queue_finish(at, outcome, id);
    cli_json_init(&json, at->json ? stdout : NULL);
    cli_json_begin_object(&json, NULL);
    cli_json_text(&json, "id", id);
    cli_json_signed(&json, "next_ms", next_ms);
    cli_json_end_object(&json);
    if (!at->json)
        printf("%" PRId64 "\n", next_ms);
    return CLI_FINE;
}

static int run_schedule(const struct cli_command *self, int argc, char **argv)
{
    struct cli_queue at = {.command = self};
    struct nearcache_schedule schedule = NEARCACHE_SCHEDULE_INIT;
    const char *data = NULL;
    uint64_t start_ms = 0, end_ms = 0;
    const struct cli_option options[] = {
        {"cron", CLI_TEXT, "PATTERN", "five fields, or six with seconds in front", &schedule.cron,
         0, 0, NULL},
        {"every", CLI_NUMBER, "MS", "instead of a pattern", &schedule.every_ms, 1,
         UINT64_C(1) << 50, NULL},
        {"name", CLI_TEXT, "NAME", "of its jobs", &schedule.job_name, 0, 0, NULL},
        {"tz", CLI_TEXT, "ZONE", "of the pattern, as Europe/Berlin; default this machine's",
         &schedule.tz, 0, 0, NULL},
        {"limit", CLI_NUMBER, "N", "iterations in all", &schedule.limit, 1, INT64_MAX, NULL},
        {"start", CLI_NUMBER, "MS", "none before, in ms since 1970", &start_ms, 0, INT64_MAX / 8192,
         NULL},
        {"end", CLI_NUMBER, "MS", "none after, in ms since 1970", &end_ms, 0, INT64_MAX / 8192,
         NULL},
        {"data", CLI_TEXT, "JSON", "of its jobs; default {}", &data, 0, 0, NULL},
        CLI_QUEUE_OPTIONS(&at)};
    char **names;
    int status = cli_options_parse(self, options, COUNT(options), argc, argv, 2, 2, &names);

    if (status != CLI_GO_ON)
        return status;
    if (!schedule.cron == !schedule.every_ms || !schedule.job_name) {
        cli_error(self, "--name, and either --cron or --every, are needed");
        return CLI_USAGE;
    }
    schedule.start_ms = (int64_t)start_ms;
    schedule.end_ms = (int64_t)end_ms;
    schedule.data = data;
    schedule.data_bytes = data ? strlen(data) : 0;
    status = cli_queue_open(&at, self, names[0]);
    if (status == CLI_GO_ON)
        status = put_up(&at, names[1], &schedule);
    cli_queue_close(&at);
    return status;
}

const struct cli_command cli_queue_schedule = {
    .name = "queue schedule",
    .arguments = "QUEUE ID --name NAME (--cron PATTERN | --every MS)",
    .summary = "put up a job again and again",
    .run = run_schedule};

/* ---- cron ------------------------------------------------------------------------------------ */

static int print_times(const struct cli_command *self, const char *pattern, const char *tz,
                       int64_t from_ms, uint64_t count, bool as_json)
{
    struct nearcache_cron *cron;
    struct cli_json json;
    char why[160] = "";
    int outcome = nearcache_cron_create(&cron, pattern, tz, why, sizeof why);

    if (outcome) {
        cli_error(self, "%s", *why ? why : nearcache_strerror(outcome));
        return outcome == NEARCACHE_EINVAL ? CLI_USAGE : CLI_WRONG;
    }
    cli_json_init(&json, as_json ? stdout : NULL);
    cli_json_begin_object(&json, NULL);
    cli_json_begin_array(&json, "times_ms");
    for (uint64_t i = 0; i < count && outcome == 0; i++) {
        outcome = nearcache_cron_next(cron, from_ms, &from_ms);
        if (outcome)
            break;
        cli_json_signed(&json, NULL, from_ms);
        if (!as_json)
            printf("%" PRId64 "\n", from_ms);
    }
    cli_json_end_array(&json);
    cli_json_end_object(&json);
    nearcache_cron_destroy(cron);
    return outcome ? CLI_WRONG : CLI_FINE;
}

static int run_cron(const struct cli_command *self, int argc, char **argv)
{
    static char long_name[] = "--count";
    const char *tz = NULL;
    uint64_t from_ms = (uint64_t)time(NULL) * 1000, count = 1;
    struct cli_queue unused = {.command = self};
    const struct cli_option options[] = {
        {"tz", CLI_TEXT, "ZONE", "as Europe/Berlin; default this machine's", &tz, 0, 0, NULL},
        {"from", CLI_NUMBER, "MS", "times after this one; default now", &from_ms, 0,
         INT64_MAX / 8192, NULL},
        {"count", CLI_NUMBER, "N", "how many (also -n N); default 1", &count, 1, 100000, NULL},
        CLI_QUEUE_OPTIONS(&unused)};
    char **arguments;

    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "-n") == 0)
            argv[i] = long_name;
    int status = cli_options_parse(self, options, COUNT(options), argc, argv, 1, 1, &arguments);

    return status == CLI_GO_ON
               ? print_times(self, arguments[0], tz, (int64_t)from_ms, count, unused.json)
               : status;
}

const struct cli_command cli_queue_cron = {.name = "queue cron",
                                           .arguments = "PATTERN",
                                           .summary =
                                               "the next times of a pattern, in ms since 1970",
                                           .run = run_cron};
