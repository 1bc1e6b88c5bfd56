/* cli/cmd_queue_add: adds one job, or a file of them. */
#include "cli/job_line.h"
#include "cli/queue.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_JOBS 5000
#define BATCH_BYTES (16u << 20)

/* One thread. What the options say. */
struct add {
    struct cli_queue at;
    const char *data, *bulk, *job_id, *backoff, *remove_on_complete, *remove_on_fail;
    uint64_t priority, delay_ms, attempts;
    bool lifo;
    struct nearcache_job_options how;
    char *options; /* JSON, for what has no field */
};

/* ---- options --------------------------------------------------------------------------------- */

static bool is_type(const char *text, size_t bytes)
{
    return bytes > 0 &&
           strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                        "_-") >= bytes;
}

/* TYPE:MS */
static bool take_backoff(struct add *add, FILE *json)
{
    const char *colon = strchr(add->backoff, ':');
    uint64_t delay_ms;

    if (!colon || !is_type(add->backoff, (size_t)(colon - add->backoff)) ||
        !cli_parse_number(colon + 1, &delay_ms))
        return false;
    fprintf(json, "\"backoff\":{\"type\":\"%.*s\",\"delay\":%llu},", (int)(colon - add->backoff),
            add->backoff, (unsigned long long)delay_ms);
    return true;
}

/* A value must not bring further options with it; the library says what else is wrong with it. */
static bool add_value(const struct add *add, const char *option, const char *name,
                      const char *value, FILE *json)
{
    if (!value)
        return true;
    if (!cli_job_line_is_value(value)) {
        cli_error(add->at.command, "--%s %s: must be one JSON value", option, value);
        return false;
    }
    fprintf(json, "\"%s\":%s,", name, value);
    return true;
}

static int take_options(struct add *add)
{
    size_t bytes = 0;
    FILE *json = open_memstream(&add->options, &bytes);

    if (!json)
        return CLI_WRONG;
    fputs("{", json);
    if (add->backoff && !take_backoff(add, json)) {
        cli_error(add->at.command, "--backoff %s: must be TYPE:MS, as in exponential:1000",
                  add->backoff);
        fclose(json);
        return CLI_USAGE;
    }
    if (!add_value(add, "remove-on-complete", "removeOnComplete", add->remove_on_complete, json) ||
        !add_value(add, "remove-on-fail", "removeOnFail", add->remove_on_fail, json)) {
        fclose(json);
        return CLI_USAGE;
    }
    fprintf(json, "\"attempts\":%llu}", (unsigned long long)add->attempts);
    if (fclose(json))
        return CLI_WRONG;
    add->how = (struct nearcache_job_options)NEARCACHE_JOB_OPTIONS_INIT;
    add->how.job_id = add->job_id;
    add->how.priority = (uint32_t)add->priority;
    add->how.lifo = add->lifo;
    add->how.delay_ms = (int64_t)add->delay_ms;
    add->how.json = add->options;
    add->how.json_bytes = bytes;
    return CLI_GO_ON;
}

/* ---- one job --------------------------------------------------------------------------------- */

/* All of standard input, up to what is too much; NULL after a complaint, or interrupted. */
static char *read_input(const struct cli_command *command, size_t *bytes)
{
    size_t capacity = 65536;
    char *text = malloc(capacity);

    *bytes = 0;
    while (text && !feof(stdin) && !ferror(stdin) && *bytes <= NEARCACHE_JOB_DATA_BYTES) {
        if (*bytes == capacity) {
            char *larger = realloc(text, capacity *= 2);
            if (!larger)
                break;
            text = larger;
        }
        *bytes += fread(text + *bytes, 1, capacity - *bytes, stdin);
    }
    if (text && !cli_interrupted() && (feof(stdin) || *bytes > NEARCACHE_JOB_DATA_BYTES))
        return text;
    if (!cli_interrupted())
        cli_error(command, "cannot read the data from standard input");
    free(text);
    return NULL;
}

static void print_one(const struct add *add, const char *id, bool is_new)
{
    struct cli_json json;

    cli_json_init(&json, add->at.json ? stdout : NULL);
    cli_json_begin_object(&json, NULL);
    cli_json_text(&json, "id", id);
    cli_json_bool(&json, "added", is_new);
    cli_json_end_object(&json);
    if (!add->at.json)
        printf("%s\n", id);
    if (!is_new)
        cli_error(add->at.command, "job %s exists already; nothing was added", id);
}

static int add_one(struct add *add, const char *name)
{
    struct nearcache_job_id id;
    const char *data = add->data;
    char *input = NULL;
    size_t bytes = data ? strlen(data) : 0;

    if (data && strcmp(data, "-") == 0) {
        input = read_input(add->at.command, &bytes);
        if (!input)
            return cli_interrupted() ? CLI_INTERRUPTED : CLI_WRONG;
        data = input;
    }
    int outcome = nearcache_queue_add(add->at.queue, name, data, bytes, &add->how, &id);
    free(input);
    if (outcome < 0)
        return cli_queue_finish(&add->at, outcome, "the job was not added");
    print_one(add, id.text, outcome == 0);
    return CLI_FINE;
}

/* ---- a file of jobs -------------------------------------------------------------------------- */

/* One thread. Lines that go into one call of the library, which makes few script calls of them. */
struct batch {
    char **lines;
    struct nearcache_job_spec *jobs;
    struct nearcache_job_options *how;
    int *statuses;
    size_t *numbers; /* of the lines in the file */
    size_t count, bytes;
};

struct totals {
    uint64_t lines, added, existing, failed;
};

static bool batch_init(struct batch *batch)
{
    memset(batch, 0, sizeof *batch);
    batch->lines = calloc(BATCH_JOBS, sizeof *batch->lines);
    batch->jobs = calloc(BATCH_JOBS, sizeof *batch->jobs);
    batch->how = calloc(BATCH_JOBS, sizeof *batch->how);
    batch->statuses = calloc(BATCH_JOBS, sizeof *batch->statuses);
    batch->numbers = calloc(BATCH_JOBS, sizeof *batch->numbers);
    return batch->lines && batch->jobs && batch->how && batch->statuses && batch->numbers;
}

static void batch_clear(struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        free(batch->lines[i]);
    batch->count = batch->bytes = 0;
}

static void batch_deinit(struct batch *batch)
{
    if (batch->lines)
        batch_clear(batch);
    free(batch->lines);
    free(batch->jobs);
    free(batch->how);
    free(batch->statuses);
    free(batch->numbers);
}

/* Lines in a row that failed for the same reason in one message. */
static void tell_failures(const struct add *add, const struct batch *batch)
{
    for (size_t i = 0, next; i < batch->count; i = next) {
        int status = batch->statuses[i];
        for (next = i + 1; next < batch->count && batch->statuses[next] == status;)
            next++;
        if (status >= 0 || status == NEARCACHE_ECANCELED)
            continue;
        if (next - i == 1)
            cli_error(add->at.command, "line %zu: %s", batch->numbers[i],
                      nearcache_strerror(status));
        else
            cli_error(add->at.command, "lines %zu to %zu: %s", batch->numbers[i],
                      batch->numbers[next - 1], nearcache_strerror(status));
    }
}

/* Adds what is in the batch: 0, or the first failure. */
static int batch_send(struct add *add, struct batch *batch, struct totals *totals)
{
    int outcome =
        nearcache_queue_add_many(add->at.queue, batch->jobs, batch->count, NULL, batch->statuses);

    for (size_t i = 0; i < batch->count; i++) {
        int status = batch->statuses[i];
        totals->added += status == 0;
        totals->existing += status == NEARCACHE_MISS;
        totals->failed += status < 0;
    }
    tell_failures(add, batch);
    batch_clear(batch);
    return outcome;
}

/* Takes over the line. */
static bool batch_take(struct add *add, struct batch *batch, char *line, size_t bytes,
                       size_t number)
{
    struct cli_job_line job;
    const char *why;
    size_t i = batch->count;

    if (!cli_job_line_parse(line, bytes, &job, &why)) {
        cli_error(add->at.command, "line %zu: %s", number, why);
        free(line);
        return false;
    }
    batch->lines[i] = line;
    batch->numbers[i] = number;
    batch->how[i] = (struct nearcache_job_options)NEARCACHE_JOB_OPTIONS_INIT;
    batch->how[i].json = job.options;
    batch->how[i].json_bytes = job.options_bytes;
    batch->jobs[i] =
        (struct nearcache_job_spec){job.name, job.data, job.data_bytes, &batch->how[i]};
    batch->count++;
    batch->bytes += bytes;
    return true;
}

/* Sends whole batches until the file ends or something is wrong: an exit status. */
static int add_lines(struct add *add, FILE *file, struct batch *batch, struct totals *totals)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t got;
    int outcome = 0;

    while (outcome == 0 && !cli_interrupted() && (got = getline(&line, &room, file)) >= 0) {
        totals->lines++;
        if (strspn(line, " \t\r\n") == (size_t)got)
            continue;
        if (!batch_take(add, batch, line, (size_t)got, totals->lines)) {
            line = NULL;
            totals->failed++;
            outcome = NEARCACHE_EINVAL;
            break;
        }
        line = NULL;
        room = 0;
        if (batch->count == BATCH_JOBS || batch->bytes >= BATCH_BYTES)
            outcome = batch_send(add, batch, totals);
    }
    free(line);
    if (outcome == 0 && batch->count && !cli_interrupted())
        outcome = batch_send(add, batch, totals);
    if (cli_interrupted()) /* which a read reports as an error */
        return CLI_INTERRUPTED;
    if (ferror(file)) {
        cli_error(add->at.command, "%s: %s", add->bulk, strerror(errno));
        return CLI_WRONG;
    }
    return outcome > 0 ? CLI_FINE : cli_queue_status(outcome);
}

static int add_file(struct add *add)
{
    struct totals totals = {0};
    struct batch batch;
    struct cli_json json;
    FILE *file = strcmp(add->bulk, "-") == 0 ? stdin : fopen(add->bulk, "re");

    if (!file) {
        cli_error(add->at.command, "%s: %s", add->bulk, strerror(errno));
        return CLI_USAGE;
    }
    int status = batch_init(&batch) ? add_lines(add, file, &batch, &totals) : CLI_WRONG;

    batch_deinit(&batch);
    if (file != stdin)
        fclose(file);
    cli_json_init(&json, add->at.json ? stdout : NULL);
    cli_json_begin_object(&json, NULL);
    cli_json_number(&json, "added", totals.added);
    cli_json_number(&json, "existing", totals.existing);
    cli_json_number(&json, "failed", totals.failed);
    cli_json_end_object(&json);
    if (!add->at.json)
        printf("%llu added, %llu existed already%s\n", (unsigned long long)totals.added,
               (unsigned long long)totals.existing,
               status == CLI_FINE ? "" : "; the rest was not added");
    return status;
}

static int run_add(const struct cli_command *self, int argc, char **argv)
{
    struct add add = {.at = {.command = self}};
    const struct cli_option options[] = {
        {"data", CLI_TEXT, "JSON", "the job's data; - reads standard input; default {}", &add.data,
         0, 0, NULL},
        {"bulk", CLI_TEXT, "FILE",
         "instead of NAME: one {\"name\":..,\"data\":..,\"opts\":{..}} a line", &add.bulk, 0, 0,
         NULL},
        {"job-id", CLI_TEXT, "ID", "of your own; a job that has it is not added again", &add.job_id,
         0, 0, NULL},
        {"priority", CLI_NUMBER, "N", "1 runs first; default 0: before all of those", &add.priority,
         0, NEARCACHE_JOB_MAX_PRIORITY, NULL},
        {"delay", CLI_NUMBER, "MS", "not before", &add.delay_ms, 0, INT64_MAX / 8192, NULL},
        {"attempts", CLI_NUMBER, "N", "tries in all; default 1", &add.attempts, 1, UINT32_MAX,
         NULL},
        {"backoff", CLI_TEXT, "TYPE:MS", "fixed:1000 or exponential:1000: wait before a retry",
         &add.backoff, 0, 0, NULL},
        {"lifo", CLI_FLAG, NULL, "runs next", &add.lifo, 0, 0, NULL},
        {"remove-on-complete", CLI_TEXT, "JSON",
         "true, how many to keep, or {\"count\":..,\"age\":..}", &add.remove_on_complete, 0, 0,
         NULL},
        {"remove-on-fail", CLI_TEXT, "JSON", "the same for failed jobs", &add.remove_on_fail, 0, 0,
         NULL},
        CLI_QUEUE_OPTIONS(&add.at)};
    char **arguments;
    int status = cli_options_parse(self, options, sizeof options / sizeof options[0], argc, argv, 1,
                                   2, &arguments);

    if (status != CLI_GO_ON)
        return status;
    if (!add.bulk == !arguments[1]) {
        cli_error(self, "give either a NAME or --bulk FILE");
        return CLI_USAGE;
    }
    if (add.bulk &&
        (add.data || add.job_id || add.backoff || add.remove_on_complete || add.remove_on_fail ||
         add.priority || add.delay_ms || add.attempts || add.lifo)) {
        cli_error(self, "with --bulk the jobs' options stand in the file");
        return CLI_USAGE;
    }
    status = take_options(&add);
    if (status == CLI_GO_ON)
        status = cli_queue_open(&add.at, self, arguments[0]);
    if (status == CLI_GO_ON)
        status = add.bulk ? add_file(&add) : add_one(&add, arguments[1]);
    cli_queue_close(&add.at);
    free(add.options);
    return status;
}

const struct cli_command cli_queue_add = {
    .name = "queue add",
    .arguments = "QUEUE NAME | QUEUE --bulk FILE.jsonl",
    .summary = "add a job, or a file of jobs",
    .run = run_add,
};
