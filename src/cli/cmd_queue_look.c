/* cli/cmd_queue_look: stats, jobs, schedules and events of a queue. */
#include "cli/queue.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_LISTED 10000
#define EVENT_WAIT_US 200000

/* Parses options and opens the queue that the first argument names. */
static int begin(struct cli_queue *at, const struct cli_command *self,
                 const struct cli_option *options, size_t count, int argc, char **argv,
                 int arguments, char ***names)
{
    int status = cli_options_parse(self, options, count, argc, argv, arguments, arguments, names);

    return status == CLI_GO_ON ? cli_queue_open(at, self, (*names)[0]) : status;
}

#define COUNT(options) (sizeof(options) / sizeof(options)[0])

/* ---- stats ----------------------------------------------------------------------------------- */

static int count_worker(void *arg, const char *name, size_t bytes)
{
    (void)name;
    (void)bytes;
    ++*(uint64_t *)arg;
    return 0;
}

static void print_stats(const struct cli_queue *at, const struct nearcache_queue_stats *stats,
                        uint64_t workers)
{
    const struct {
        const char *name;
        uint64_t value;
    } rows[] = {{"waiting", stats->waiting},
                {"active", stats->active},
                {"completed", stats->completed},
                {"failed", stats->failed},
                {"delayed", stats->delayed},
                {"prioritized", stats->prioritized},
                {"waiting_children", stats->waiting_children},
                {"paused", stats->paused},
                {"workers", workers}};
    struct cli_json json;

    cli_json_init(&json, at->json ? stdout : NULL);
    cli_json_begin_object(&json, NULL);
    for (size_t i = 0; i < COUNT(rows); i++) {
        cli_json_number(&json, rows[i].name, rows[i].value);
        if (!at->json)
            printf("%-17s %" PRIu64 "\n", rows[i].name, rows[i].value);
    }
    cli_json_bool(&json, "is_paused", stats->is_paused != 0);
    cli_json_end_object(&json);
    if (!at->json)
        printf("%-17s %s\n", "is_paused", stats->is_paused ? "yes" : "no");
}

static int run_stats(const struct cli_command *self, int argc, char **argv)
{
    struct cli_queue at = {.command = self};
    const struct cli_option options[] = {CLI_QUEUE_OPTIONS(&at)};
    struct nearcache_queue_stats stats;
    uint64_t workers = 0;
    char **names;
    int status = begin(&at, self, options, COUNT(options), argc, argv, 1, &names);

    if (status == CLI_GO_ON) {
        status = cli_queue_finish(&at, nearcache_queue_stats(at.queue, &stats), names[0]);
        if (status == CLI_FINE) {
            (void)nearcache_queue_workers(at.queue, count_worker, &workers);
            print_stats(&at, &stats, workers);
        }
    }
    cli_queue_close(&at);
    return status;
}

const struct cli_command cli_queue_stats = {
    .name = "queue stats",
    .arguments = "QUEUE",
    .summary = "how many jobs are where",
    .run = run_stats,
};

/* ---- jobs ------------------------------------------------------------------------------------ */

static void write_text(struct cli_json *json, const char *name, const char *text)
{
    if (text)
        cli_json_text(json, name, text);
}

/* What stands in Redis as JSON; as a string where it is none. */
static void write_json(struct cli_json *json, const char *name, const char *text, size_t bytes)
{
    if (!text || !json->out)
        return;
    if (nearcache_json_check(text, bytes, NULL) == 0)
        cli_json_raw(json, name, text, bytes);
    else
        cli_json_bytes(json, name, text, bytes);
}

static void write_job(struct cli_json *json, const struct nearcache_job_info *info,
                      const char *state)
{
    cli_json_begin_object(json, NULL);
    cli_json_text(json, "id", info->id);
    cli_json_text(json, "name", info->name);
    write_text(json, "state", state);
    write_json(json, "data", info->data, info->data_bytes);
    write_json(json, "opts", info->options, info->options_bytes);
    cli_json_number(json, "attempts_made", info->attempts_made);
    cli_json_number(json, "attempts", info->attempts);
    cli_json_number(json, "stalled", info->stalled);
    cli_json_number(json, "priority", info->priority);
    cli_json_signed(json, "delay", info->delay_ms);
    cli_json_signed(json, "timestamp", info->timestamp_ms);
    if (info->processed_on_ms)
        cli_json_signed(json, "processed_on", info->processed_on_ms);
    if (info->finished_on_ms)
        cli_json_signed(json, "finished_on", info->finished_on_ms);
    write_json(json, "progress", info->progress, info->progress ? strlen(info->progress) : 0);
    write_json(json, "result", info->result, info->result_bytes);
    write_text(json, "failed_reason", info->failed_reason);
    write_json(json, "stack_trace", info->stack_trace,
               info->stack_trace ? strlen(info->stack_trace) : 0);
    write_text(json, "processed_by", info->processed_by);
    write_text(json, "schedule", info->schedule_id);
    write_text(json, "parent", info->parent);
    cli_json_end_object(json);
}

static void print_field(const char *name, const char *text)
{
    if (text)
        printf("%-15s %s\n", name, text);
}

static void print_time(const char *name, int64_t ms)
{
    if (ms)
        printf("%-15s %" PRId64 "\n", name, ms);
}

static void print_job(const struct nearcache_job_info *info, const char *state)
{
    print_field("id", info->id);
    print_field("name", info->name);
    print_field("state", state);
    print_field("data", info->data);
    print_field("opts", info->options);
    printf("%-15s %u of %u\n", "attempts", info->attempts_made, info->attempts);
    print_time("priority", info->priority);
    print_time("delay", info->delay_ms);
    print_time("timestamp", info->timestamp_ms);
    print_time("processed_on", info->processed_on_ms);
    print_time("finished_on", info->finished_on_ms);
    print_field("progress", info->progress);
    print_field("result", info->result);
    print_field("failed_reason", info->failed_reason);
    print_field("stack_trace", info->stack_trace);
    print_field("processed_by", info->processed_by);
    print_field("schedule", info->schedule_id);
    print_field("parent", info->parent);
}

static int show_job(struct cli_queue *at, const char *id)
{
    enum nearcache_job_state state = NEARCACHE_JOB_UNKNOWN;
    struct nearcache_job *job;
    struct cli_json json;
    int outcome = nearcache_queue_job(at->queue, id, &job);

    if (outcome)
        return cli_queue_finish(at, outcome, id);
    (void)nearcache_queue_job_state(at->queue, id, &state);
    cli_json_init(&json, at->json ? stdout : NULL);
    write_job(&json, nearcache_job_info(job), nearcache_job_state_name(state));
    if (!at->json)
        print_job(nearcache_job_info(job), nearcache_job_state_name(state));
    nearcache_job_free(job);
    return CLI_FINE;
}

static int run_job(const struct cli_command *self, int argc, char **argv)
{
    struct cli_queue at = {.command = self};
    const struct cli_option options[] = {CLI_QUEUE_OPTIONS(&at)};
    char **names;
    int status = begin(&at, self, options, COUNT(options), argc, argv, 2, &names);

    if (status == CLI_GO_ON)
        status = show_job(&at, names[1]);
    cli_queue_close(&at);
    return status;
}

const struct cli_command cli_queue_job = {
    .name = "queue job",
    .arguments = "QUEUE ID",
    .summary = "all that is known of a job",
    .run = run_job,
};

static const char *const states[] = {"waiting",          "active",    "delayed",
                                     "prioritized",      "completed", "failed",
                                     "waiting-children", "paused",    NULL};

static void print_list(const struct cli_queue *at, struct nearcache_job **jobs, size_t count,
                       const char *state)
{
    struct cli_json json;

    cli_json_init(&json, at->json ? stdout : NULL);
    cli_json_begin_object(&json, NULL);
    cli_json_text(&json, "state", state);
    cli_json_begin_array(&json, "jobs");
    for (size_t i = 0; i < count; i++) {
        const struct nearcache_job_info *info = nearcache_job_info(jobs[i]);
        write_job(&json, info, NULL);
        if (!at->json)
            printf("%s\t%s\t%.*s%s%s\n", info->id, info->name,
                   (int)(info->data_bytes > 60 ? 60 : info->data_bytes), info->data,
                   info->failed_reason ? "\t" : "", info->failed_reason ? info->failed_reason : "");
    }
    cli_json_end_array(&json);
    cli_json_end_object(&json);
}

static int run_list(const struct cli_command *self, int argc, char **argv)
{
    struct cli_queue at = {.command = self};
    int state = 0;
    uint64_t first = 0, count = 20;
    const struct cli_option options[] = {
        {"state", CLI_CHOICE, "STATE", "whose jobs; default waiting", &state, 0, 0, states},
        {"first", CLI_NUMBER, "N", "skip so many", &first, 0, INT32_MAX, NULL},
        {"count", CLI_NUMBER, "N", "show so many; default 20", &count, 1, MOST_LISTED, NULL},
        CLI_QUEUE_OPTIONS(&at)};
    size_t found = 0;
    char **names;
    int status = begin(&at, self, options, COUNT(options), argc, argv, 1, &names);

    if (status == CLI_GO_ON) {
        struct nearcache_job **jobs = calloc(count, sizeof(struct nearcache_job *));
        int outcome = jobs ? nearcache_queue_list(at.queue, (enum nearcache_job_state)(state + 1),
                                                  first, count, jobs, &found)
                           : NEARCACHE_ENOMEM;
        status = cli_queue_finish(&at, outcome, names[0]);
        if (status == CLI_FINE)
            print_list(&at, jobs, found, states[state]);
        while (found)
            nearcache_job_free(jobs[--found]);
        free(jobs);
    }
    cli_queue_close(&at);
    return status;
}

const struct cli_command cli_queue_list = {
    .name = "queue list",
    .arguments = "QUEUE",
    .summary = "jobs of a state, the next to run (or the newest ended) first",
    .run = run_list,
};

/* ---- schedules ------------------------------------------------------------------------------- */

static int show_schedule(void *arg, const struct nearcache_schedule_info *info)
{
    struct cli_json *json = arg;

    if (!json->out) {
        printf("%s\t%s\t%" PRId64 "\t", info->id, info->job_name ? info->job_name : "",
               info->next_ms);
        if (info->cron)
            printf("%s\t%s\n", info->cron, info->tz ? info->tz : "");
        else
            printf("every %" PRIu64 " ms\n", info->every_ms);
        return 0;
    }
    cli_json_begin_object(json, NULL);
    cli_json_text(json, "id", info->id);
    write_text(json, "name", info->job_name);
    write_text(json, "cron", info->cron);
    if (!info->cron)
        cli_json_number(json, "every_ms", info->every_ms);
    write_text(json, "tz", info->tz);
    cli_json_signed(json, "next_ms", info->next_ms);
    cli_json_number(json, "iterations", info->iterations);
    if (info->limit)
        cli_json_number(json, "limit", info->limit);
    if (info->start_ms)
        cli_json_signed(json, "start_ms", info->start_ms);
    if (info->end_ms)
        cli_json_signed(json, "end_ms", info->end_ms);
    write_json(json, "data", info->data, info->data ? strlen(info->data) : 0);
    write_json(json, "opts", info->options, info->options ? strlen(info->options) : 0);
    cli_json_end_object(json);
    return 0;
}

static int run_schedules(const struct cli_command *self, int argc, char **argv)
{
    struct cli_queue at = {.command = self};
    const struct cli_option options[] = {CLI_QUEUE_OPTIONS(&at)};
    struct cli_json json;
    char **names;
    int status = begin(&at, self, options, COUNT(options), argc, argv, 1, &names);

    if (status == CLI_GO_ON) {
        cli_json_init(&json, at.json ? stdout : NULL);
        cli_json_begin_object(&json, NULL);
        cli_json_begin_array(&json, "schedules");
        int outcome = nearcache_queue_schedules(at.queue, show_schedule, &json);
        cli_json_end_array(&json);
        cli_json_end_object(&json);
        status = cli_queue_finish(&at, outcome, names[0]);
    }
    cli_queue_close(&at);
    return status;
}

const struct cli_command cli_queue_schedules = {
    .name = "queue schedules",
    .arguments = "QUEUE",
    .summary = "the schedules of a queue",
    .run = run_schedules,
};

/* ---- events ---------------------------------------------------------------------------------- */

static void show_event(const struct cli_queue *at, const struct nearcache_event *event)
{
    struct cli_json json;

    cli_json_init(&json, at->json ? stdout : NULL);
    cli_json_begin_object(&json, NULL);
    cli_json_text(&json, "at", event->id);
    cli_json_text(&json, "event", event->event);
    if (*event->job_id)
        cli_json_text(&json, "job_id", event->job_id);
    if (!at->json)
        printf("%s %s %s", event->id, event->event, event->job_id);
    for (size_t i = 0; i < event->pair_count; i++) {
        cli_json_text(&json, event->pairs[2 * i], event->pairs[2 * i + 1]);
        if (!at->json)
            printf(" %s=%s", event->pairs[2 * i], event->pairs[2 * i + 1]);
    }
    cli_json_end_object(&json);
    if (!at->json)
        putchar('\n');
    fflush(stdout);
}

/*
 * The next of those that there are: 0, NEARCACHE_MISS, or an error; *status is an exit status when
 * Redis does not answer. That none came tells nothing while Redis is slow or far away: when it has
 * answered what was asked later, on the other connection, its events have come, too.
 */
static int next_of_now(const struct cli_queue *at, struct nearcache_events *events,
                       struct nearcache_event *event, int *status)
{
    int outcome = nearcache_events_next(events, 0, event);

    if (outcome != NEARCACHE_MISS)
        return outcome;
    *status = cli_queue_wait(at);
    return *status == CLI_GO_ON ? nearcache_events_next(events, EVENT_WAIT_US, event) : outcome;
}

static int follow(struct cli_queue *at, const char *after, uint64_t count, bool follow_on)
{
    struct nearcache_events *events;
    struct nearcache_event event;
    uint64_t seen = 0;
    int status = CLI_GO_ON;
    int outcome = nearcache_events_open(&events, at->queue, after);

    if (outcome)
        return cli_queue_finish(at, outcome, "events");
    while (outcome >= 0 && !cli_interrupted() && (count == 0 || seen < count)) {
        outcome = follow_on ? nearcache_events_next(events, EVENT_WAIT_US, &event)
                            : next_of_now(at, events, &event, &status);
        if (outcome == 0) {
            show_event(at, &event);
            seen++;
        } else if (outcome == NEARCACHE_MISS && !follow_on) {
            break;
        }
    }
    nearcache_events_close(events);
    if (status != CLI_GO_ON)
        return status;
    if (outcome < 0)
        return cli_queue_finish(at, outcome, "events");
    return cli_interrupted() ? CLI_INTERRUPTED : CLI_FINE;
}

static int run_events(const struct cli_command *self, int argc, char **argv)
{
    struct cli_queue at = {.command = self};
    const char *after = NULL;
    uint64_t count = 0;
    bool no_wait = false;
    const struct cli_option options[] = {
        {"after", CLI_TEXT, "ID", "events behind this one; 0: all that are kept; default: new ones",
         &after, 0, 0, NULL},
        {"count", CLI_NUMBER, "N", "end after so many", &count, 1, 0, NULL},
        {"no-wait", CLI_FLAG, NULL, "end when there are no more", &no_wait, 0, 0, NULL},
        CLI_QUEUE_OPTIONS(&at)};
    char **names;
    int status = begin(&at, self, options, COUNT(options), argc, argv, 1, &names);

    if (status == CLI_GO_ON)
        status = follow(&at, after, count, !no_wait);
    cli_queue_close(&at);
    return status;
}

const struct cli_command cli_queue_events = {
    .name = "queue events",
    .arguments = "QUEUE",
    .summary = "what happens in a queue, one event a line; with --json one object each",
    .run = run_events,
};
