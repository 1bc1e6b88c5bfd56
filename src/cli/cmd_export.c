/*
 * cli/cmd_export: vectors of a tier become the rows of a .npy file.
 *
 * The rows go to FILE.partial, which becomes FILE when it is complete: a reader of FILE sees the
 * old one or the whole new one. An interrupted export leaves FILE.partial for --resume.
 */
#include "cli/json.h"
#include "cli/progress.h"
#include "cli/vectors.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct export_options {
    struct cli_redis_options redis;
    const char *tier;
    const char *ids;
    uint64_t batch;
    uint64_t rows;
    uint64_t columns;
    uint64_t patience_ms;
    int type;    /* enum cli_npy_type */
    int missing; /* FAIL or ZERO */
    bool resume, json, progress;
};

enum { FAIL, ZERO };

/* One thread. */
struct export_job {
    const struct cli_command *command;
    const struct export_options *options;
    const char *path;
    char *partial;
    int fd;
    struct cli_npy npy; /* rows: how many are in the file in the end */
    struct cli_ids ids;
    struct cli_vectors vectors;
    bool open_end; /* until the first row that is missing */
    uint64_t begin_row, next_row;
    uint64_t missing, bad;
    bool complete;
    double elapsed_s;
};

/* ---- the shape ------------------------------------------------------------------------------- */

/* Learns the length of a vector from the first one. */
static int probe_columns(struct export_job *job, struct cli_settings *settings,
                         struct nearcache_tier_config config)
{
    size_t element_bytes = cli_npy_element_bytes(job->npy.type);
    struct nearcache_read how = NEARCACHE_READ_INIT;
    struct nearcache_result result = {.data = NULL};
    struct nearcache *cache = NULL;
    struct nearcache_tier *tier;
    struct nearcache_name name;
    char number[CLI_IDS_NUMBER_BYTES];
    int outcome = cli_settings_open(settings, job->command, &cache), status;

    if (outcome != CLI_GO_ON)
        return outcome;
    config.kind = NEARCACHE_BYTES;
    cli_ids_names(&job->ids, 0, 1, number, &name);
    how.timeout_us = CLI_VECTORS_TIMEOUT_US;
    outcome = cli_settings_wait(job->command, cache, CLI_VECTORS_TIMEOUT_US);
    if (outcome == CLI_GO_ON) {
        status = nearcache_tier_open(cache, &config, &tier);
        if (status == 0)
            status = nearcache_get(tier, name.data, name.bytes, &how, &result);
        if (status == 0 && result.bytes && result.bytes % element_bytes == 0) {
            job->npy.columns = result.bytes / element_bytes;
        } else {
            cli_error(job->command, "the first row, key %s%.*s: %s; --dim N says how long rows are",
                      config.prefix ? config.prefix : "", (int)(name.bytes < 80 ? name.bytes : 80),
                      (const char *)name.data,
                      status ? status == NEARCACHE_MISS ? "no such key" : nearcache_strerror(status)
                             : "its length is no vector's");
            outcome = CLI_WRONG;
        }
        if (status == 0)
            nearcache_release(&result);
    }
    nearcache_close(cache, 0);
    return outcome;
}

static int decide_rows(struct export_job *job)
{
    uint64_t rows = job->options->rows;

    if (job->options->ids) {
        if (rows > job->ids.count) {
            cli_error(job->command, "%s has %" PRIu64 " ids only", job->options->ids,
                      job->ids.count);
            return CLI_WRONG;
        }
        job->npy.rows = rows ? rows : job->ids.count;
    } else {
        job->npy.rows = rows;
        job->open_end = rows == 0;
    }
    return CLI_GO_ON;
}

/* ---- the file -------------------------------------------------------------------------------- */

static int file_error(struct export_job *job)
{
    cli_error(job->command, "%s: %s", job->partial, strerror(errno));
    /* Half a file on a full disk helps nobody. */
    if (errno == ENOSPC || errno == EDQUOT || errno == EFBIG)
        unlink(job->partial);
    return CLI_WRONG;
}

static int write_at(struct export_job *job, const char *bytes, size_t count, uint64_t offset)
{
    while (count) {
        ssize_t written = pwrite(job->fd, bytes, count, (off_t)offset);

        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return file_error(job);
        bytes += written;
        count -= (size_t)written;
        offset += (uint64_t)written;
    }
    return CLI_GO_ON;
}

static int write_header(struct export_job *job)
{
    char header[CLI_NPY_HEADER_BYTES];

    cli_npy_format(&job->npy, header);
    return write_at(job, header, sizeof header, 0);
}

/* How many whole rows an earlier export left, if it was of the same kind. */
static int find_rows(struct export_job *job)
{
    struct cli_npy had;
    char start[CLI_NPY_HEADER_BYTES], problem[CLI_NPY_PROBLEM_BYTES];
    struct stat status;
    uint64_t rows;

    if (fstat(job->fd, &status))
        return file_error(job);
    if (status.st_size < CLI_NPY_HEADER_BYTES)
        return CLI_GO_ON;
    if (pread(job->fd, start, sizeof start, 0) != (ssize_t)sizeof start)
        return file_error(job);
    if (!cli_npy_parse_header(&had, start, sizeof start, problem)) {
        cli_error(job->command, "%s: %s", job->partial, problem);
        return CLI_WRONG;
    }
    if (had.type != job->npy.type || had.columns != job->npy.columns) {
        cli_error(job->command, "%s holds rows of another kind; remove it to begin anew",
                  job->partial);
        return CLI_WRONG;
    }
    rows = ((uint64_t)status.st_size - CLI_NPY_HEADER_BYTES) / job->npy.row_bytes;
    if (!job->open_end && rows > job->npy.rows)
        rows = job->npy.rows;
    job->begin_row = job->next_row = rows;
    return CLI_GO_ON;
}

static int open_partial(struct export_job *job)
{
    int flags = O_RDWR | O_CREAT | O_CLOEXEC | (job->options->resume ? 0 : O_TRUNC);
    int outcome;

    job->fd = open(job->partial, flags, 0666);
    if (job->fd < 0)
        return file_error(job);
    job->npy.row_bytes = job->npy.columns * cli_npy_element_bytes(job->npy.type);
    if (job->options->resume) {
        outcome = find_rows(job);
        if (outcome != CLI_GO_ON)
            return outcome;
    }
    return write_header(job);
}

static int finish_file(struct export_job *job)
{
    int outcome;

    if (job->open_end)
        job->npy.rows = job->next_row;
    if (job->npy.rows == 0) {
        cli_error(job->command, "there are no rows: no key %s0",
                  job->vectors.prefix ? job->vectors.prefix : "");
        unlink(job->partial);
        return CLI_WRONG;
    }
    outcome = write_header(job);
    if (outcome != CLI_GO_ON)
        return outcome;
    if (ftruncate(job->fd, (off_t)(CLI_NPY_HEADER_BYTES + job->npy.rows * job->npy.row_bytes)) ||
        fsync(job->fd))
        return file_error(job);
    if (rename(job->partial, job->path)) {
        cli_error(job->command, "%s: %s", job->path, strerror(errno));
        return CLI_WRONG;
    }
    job->complete = true;
    return CLI_GO_ON;
}

/* ---- the rows -------------------------------------------------------------------------------- */

static int read_rows(struct export_job *job, size_t count)
{
    struct nearcache_read how = NEARCACHE_READ_INIT;
    struct cli_vectors *v = &job->vectors;
    bool passing;
    int outcome;

    how.timeout_us = CLI_VECTORS_TIMEOUT_US;
    how.refresh = 1; /* what Redis has, not what a second reading would find here */
    for (;;) {
        passing = false;
        nearcache_get_vectors(v->tier, v->names, count, &how, v->matrix, 0, NULL, NULL, v->statuses,
                              NULL);
        for (size_t i = 0; i < count; i++)
            passing |= cli_vectors_passing(v->statuses[i]);
        if (!passing)
            return CLI_GO_ON;
        if (cli_interrupted())
            return CLI_INTERRUPTED;
        outcome = cli_vectors_wait_again(v, job->options->patience_ms * 1000);
        if (outcome != CLI_GO_ON)
            return outcome;
    }
}

/* How many of the rows may be written; fills holes with zeros, or complains and says so. */
static int judge_rows(struct export_job *job, size_t *count)
{
    struct cli_vectors *v = &job->vectors;

    for (size_t i = 0; i < *count; i++) {
        int status = v->statuses[i];

        if (status == 0)
            continue;
        if (status == NEARCACHE_MISS && job->open_end) {
            *count = i;
            return CLI_FINE;
        }
        *(status == NEARCACHE_MISS ? &job->missing : &job->bad) += 1;
        if (job->missing + job->bad <= 5)
            cli_error(job->command, "row %" PRIu64 ", key %s%.*s: %s", job->next_row + i,
                      v->prefix ? v->prefix : "",
                      (int)(v->names[i].bytes < 80 ? v->names[i].bytes : 80),
                      (const char *)v->names[i].data,
                      status == NEARCACHE_MISS ? "no such key" : nearcache_strerror(status));
        if (job->options->missing == FAIL) {
            *count = i;
            return CLI_WRONG;
        }
        memset(v->matrix + i * v->row_bytes, 0, v->row_bytes);
    }
    return CLI_GO_ON;
}

/* CLI_FINE: that was the end. */
static int export_batch(struct export_job *job, size_t count)
{
    int outcome, written;

    cli_ids_names(&job->ids, job->next_row, count, job->vectors.numbers, job->vectors.names);
    outcome = read_rows(job, count);
    if (outcome != CLI_GO_ON)
        return outcome;
    outcome = judge_rows(job, &count);
    written = write_at(job, job->vectors.matrix, count * job->npy.row_bytes,
                       CLI_NPY_HEADER_BYTES + job->next_row * job->npy.row_bytes);
    if (written != CLI_GO_ON)
        return written;
    job->next_row += count;
    return outcome;
}

static int export_rows(struct export_job *job)
{
    struct cli_progress progress;
    uint64_t begin_ns = cli_now_ns();
    int outcome = CLI_GO_ON;

    cli_progress_init(&progress, "rows", job->next_row, job->npy.rows, job->options->progress);
    while (outcome == CLI_GO_ON && (job->open_end || job->next_row < job->npy.rows)) {
        uint64_t left = job->npy.rows - job->next_row;
        size_t count =
            !job->open_end && left < job->vectors.batch ? (size_t)left : job->vectors.batch;

        outcome = cli_interrupted() ? CLI_INTERRUPTED : export_batch(job, count);
        cli_progress_update(&progress, job->next_row);
    }
    cli_progress_finish(&progress, job->next_row);
    if (outcome == CLI_GO_ON || outcome == CLI_FINE) {
        outcome = finish_file(job);
        if (outcome == CLI_GO_ON)
            outcome = job->missing || job->bad ? CLI_WRONG : CLI_FINE;
    }
    job->elapsed_s = (double)(cli_now_ns() - begin_ns) / 1e9;
    return outcome;
}

/* ---- report and start ------------------------------------------------------------------------ */

static void report_json(const struct export_job *job)
{
    struct cli_json json;

    cli_json_init(&json, stdout);
    cli_json_begin_object(&json, NULL);
    cli_json_text(&json, "file", job->path);
    cli_json_text(&json, "tier", job->options->tier);
    cli_json_text(&json, "prefix", job->vectors.prefix ? job->vectors.prefix : "");
    cli_json_text(&json, "type", cli_npy_type_name(job->npy.type));
    cli_json_number(&json, "dimension", job->npy.columns);
    cli_json_number(&json, "rows", job->next_row);
    cli_json_number(&json, "begin_row", job->begin_row);
    cli_json_number(&json, "missing", job->missing);
    cli_json_number(&json, "bad", job->bad);
    cli_json_real(&json, "elapsed_s", job->elapsed_s, 3);
    cli_json_real(
        &json, "rows_per_s",
        job->elapsed_s > 0 ? (double)(job->next_row - job->begin_row) / job->elapsed_s : 0, 0);
    cli_json_bool(&json, "complete", job->complete);
    cli_json_end_object(&json);
}

static void report_text(const struct export_job *job)
{
    printf("%" PRIu64 " rows (%s x %" PRIu64 ") exported to %s in %.2f s", job->next_row,
           cli_npy_type_name(job->npy.type), job->npy.columns,
           job->complete ? job->path : job->partial, job->elapsed_s);
    if (job->missing || job->bad)
        printf(", %" PRIu64 " missing, %" PRIu64 " of another length", job->missing, job->bad);
    putchar('\n');
}

static int run_export(struct export_job *job, struct cli_settings *settings)
{
    char problem[CLI_IDS_PROBLEM_BYTES];
    struct nearcache_tier_config config;
    int outcome;

    if (!cli_ids_init(&job->ids, job->options->ids, problem)) {
        cli_error(job->command, "%s", problem);
        return CLI_WRONG;
    }
    outcome = decide_rows(job);
    if (outcome != CLI_GO_ON)
        return outcome;
    cli_vectors_tier(job->options->tier, &config);
    config.coherence = NEARCACHE_COHERENCE_NONE; /* each row is read once */
    job->npy.type = (enum cli_npy_type)job->options->type;
    job->npy.columns = job->options->columns;
    if (job->npy.columns == 0) {
        outcome = probe_columns(job, settings, config);
        if (outcome != CLI_GO_ON)
            return outcome;
    }
    outcome = open_partial(job);
    if (outcome != CLI_GO_ON)
        return outcome;
    outcome = cli_vectors_init(&job->vectors, job->command, settings, &config, &job->npy,
                               job->options->batch, false);
    if (outcome == CLI_GO_ON) {
        outcome = export_rows(job);
        (job->options->json ? report_json : report_text)(job);
    }
    cli_vectors_deinit(&job->vectors);
    return outcome;
}

static bool name_partial(struct export_job *job)
{
    job->partial = malloc(strlen(job->path) + 9);
    if (job->partial)
        sprintf(job->partial, "%s.partial", job->path);
    return job->partial != NULL;
}

static int run(const struct cli_command *command, int argc, char **argv)
{
    static const char *const types[] = {"f4", "f2", "i1", NULL};
    static const char *const holes[] = {"fail", "zero", NULL};
    struct export_options at = {.batch = CLI_VECTORS_BATCH, .patience_ms = 10000};
    const struct cli_option options[] = {
        CLI_REDIS_OPTIONS(&at.redis),
        {"tier", CLI_TEXT, "T", "the name of a preset (embeddings, ...) or a key prefix; required",
         &at.tier, 0, 0, NULL},
        {"ids", CLI_TEXT, "FILE", "names of the rows, one a line; default: the numbers from 0 on",
         &at.ids, 0, 0, NULL},
        {"rows", CLI_NUMBER, "N",
         "how many rows; default: all of --ids, else up to the first number that is missing",
         &at.rows, 1, 0, NULL},
        {"dim", CLI_NUMBER, "N", "elements of a row; default: as many as the first one has",
         &at.columns, 1, UINT32_MAX, NULL},
        {"type", CLI_CHOICE, "TYPE", "f4 (default), f2 or i1", &at.type, 0, 0, types},
        {"missing", CLI_CHOICE, "HOW",
         "a row that is missing or has another length: fail (default) or zero", &at.missing, 0, 0,
         holes},
        {"batch", CLI_NUMBER, "N", "rows a batch; default 256", &at.batch, 1,
         CLI_VECTORS_MOST_BATCH, NULL},
        {"resume", CLI_FLAG, NULL, "go on with the FILE.partial of an interrupted export",
         &at.resume, 0, 0, NULL},
        {"patience", CLI_NUMBER, "MS", "how long to wait when Redis goes away; default 10000",
         &at.patience_ms, 0, 86400000, NULL},
        {"progress", CLI_FLAG, NULL, "show progress even when standard error is no terminal",
         &at.progress, 0, 0, NULL},
        {"json", CLI_FLAG, NULL, "the report as one JSON object", &at.json, 0, 0, NULL},
    };
    struct export_job job = {.command = command, .options = &at, .fd = -1};
    struct cli_settings settings;
    char **arguments;
    int outcome = cli_options_parse(command, options, sizeof options / sizeof options[0], argc,
                                    argv, 1, 1, &arguments);

    if (outcome != CLI_GO_ON)
        return outcome;
    if (!at.tier || !*at.tier) {
        cli_error(command, "--tier is missing: a preset's name or a key prefix");
        return CLI_USAGE;
    }
    job.path = arguments[0];
    outcome = cli_settings_init(&settings, command, &at.redis);
    if (outcome == CLI_GO_ON) {
        if (!settings.has_redis)
            cli_settings_default_redis(&settings);
        outcome = name_partial(&job) ? run_export(&job, &settings) : CLI_WRONG;
    }
    cli_ids_deinit(&job.ids);
    if (job.fd >= 0)
        close(job.fd);
    free(job.partial);
    cli_settings_deinit(&settings);
    return outcome;
}

const struct cli_command cli_cmd_export = {
    "export", "FILE.npy", "Write vectors of a tier to a .npy file",
    "The rows go to FILE.partial, which becomes FILE when it is complete.\n", run};
