/* cli/cmd_load: the rows of a .npy file become vectors of a tier in Redis. */
#include "cli/json.h"
#include "cli/progress.h"
#include "cli/resume.h"
#include "cli/vectors.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SAVE_EVERY_NS UINT64_C(1000000000)

struct load_options {
    struct cli_redis_options redis;
    const char *tier;
    const char *ids;
    const char *resume;
    uint64_t batch;
    uint64_t start;
    uint64_t ttl_ms;
    uint64_t patience_ms;
    bool verify, json, progress;
};

/* One thread. */
struct load {
    const struct cli_command *command;
    const struct load_options *options;
    const char *path;
    int fd;
    struct cli_npy npy;
    struct cli_ids ids;
    struct cli_vectors vectors;
    char about[4352]; /* of the resume file */
    uint64_t saved_ns;
    uint64_t begin_row, next_row;
    uint64_t loaded, failed, verified, differing, retries;
    double elapsed_s;
};

/* ---- one batch ------------------------------------------------------------------------------- */

static int read_rows(struct load *load, size_t count)
{
    size_t bytes = count * load->npy.row_bytes, done = 0;
    uint64_t offset = load->npy.data_offset + load->next_row * load->npy.row_bytes;

    while (done < bytes) {
        ssize_t got =
            pread(load->fd, load->vectors.matrix + done, bytes - done, (off_t)(offset + done));

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            cli_error(load->command, "%s: %s", load->path,
                      got < 0 ? strerror(errno) : "the file became shorter while it was read");
            return CLI_WRONG;
        }
        done += (size_t)got;
    }
    return CLI_GO_ON;
}

static void complain_about_row(struct load *load, size_t i, const char *what)
{
    const struct nearcache_name *name = &load->vectors.names[i];

    if (load->failed + load->differing <= 5)
        cli_error(load->command, "row %" PRIu64 " (%.*s): %s", load->next_row + i,
                  (int)(name->bytes < 80 ? name->bytes : 80), (const char *)name->data, what);
}

/* Writes until each row is in Redis or refused for good. */
static int write_rows(struct load *load, size_t count)
{
    struct nearcache_write how = NEARCACHE_WRITE_INIT;
    struct cli_vectors *v = &load->vectors;
    bool passing;

    how.timeout_us = CLI_VECTORS_TIMEOUT_US;
    how.ttl_ms = load->options->ttl_ms;
    for (;;) {
        passing = false;
        nearcache_set_vectors(v->tier, v->names, count, v->matrix, 0, &how, v->statuses);
        for (size_t i = 0; i < count; i++)
            passing |= cli_vectors_passing(v->statuses[i]);
        if (!passing)
            return CLI_GO_ON;
        if (cli_interrupted())
            return CLI_INTERRUPTED;
        /* Writing a row again does no harm: it is the same row. */
        load->retries++;
        int outcome = cli_vectors_wait_again(v, load->options->patience_ms * 1000);
        if (outcome != CLI_GO_ON)
            return outcome;
    }
}

static int count_rows(struct load *load, size_t count)
{
    size_t failed = 0;

    for (size_t i = 0; i < count; i++) {
        int status = load->vectors.statuses[i];

        if (status == 0) {
            load->loaded++;
            continue;
        }
        failed++;
        load->failed++;
        complain_about_row(load, i, nearcache_strerror(status));
    }
    /* What refuses a whole batch will refuse the rest too. */
    return failed == count ? CLI_WRONG : CLI_GO_ON;
}

/* Reads the batch back from Redis itself, past the local copies. */
static int read_back(struct load *load, size_t count, int *statuses)
{
    struct nearcache_read how = NEARCACHE_READ_INIT;
    struct cli_vectors *v = &load->vectors;
    bool passing;
    int outcome;

    how.timeout_us = CLI_VECTORS_TIMEOUT_US;
    how.refresh = 1;
    for (;;) {
        passing = false;
        nearcache_get_vectors(v->tier, v->names, count, &how, v->second, 0, NULL, NULL, statuses,
                              NULL);
        for (size_t i = 0; i < count; i++)
            passing |= cli_vectors_passing(statuses[i]);
        if (!passing)
            return CLI_GO_ON;
        if (cli_interrupted())
            return CLI_INTERRUPTED;
        outcome = cli_vectors_wait_again(v, load->options->patience_ms * 1000);
        if (outcome != CLI_GO_ON)
            return outcome;
    }
}

static void compare_row(struct load *load, size_t i, int status)
{
    struct cli_vectors *v = &load->vectors;
    size_t at = i * v->row_bytes;

    if (status == 0 && memcmp(v->matrix + at, v->second + at, v->row_bytes) == 0) {
        load->verified++;
        return;
    }
    load->differing++;
    complain_about_row(load, i,
                       status == 0                ? "reads back differently"
                       : status == NEARCACHE_MISS ? "is not there when read back"
                                                  : nearcache_strerror(status));
}

static int verify_rows(struct load *load, size_t count)
{
    int *statuses = calloc(count, sizeof *statuses);
    int outcome = statuses ? read_back(load, count, statuses) : CLI_WRONG;

    for (size_t i = 0; outcome == CLI_GO_ON && i < count; i++)
        if (load->vectors.statuses[i] == 0)
            compare_row(load, i, statuses[i]);
    free(statuses);
    return outcome;
}

static int load_batch(struct load *load, size_t count)
{
    int outcome = read_rows(load, count);

    if (outcome != CLI_GO_ON)
        return outcome;
    cli_ids_names(&load->ids, load->next_row, count, load->vectors.numbers, load->vectors.names);
    outcome = write_rows(load, count);
    if (outcome != CLI_GO_ON)
        return outcome;
    outcome = count_rows(load, count);
    if (outcome == CLI_GO_ON && load->options->verify)
        outcome = verify_rows(load, count);
    return outcome;
}

/* ---- the whole file -------------------------------------------------------------------------- */

static void save_position(struct load *load, bool now)
{
    uint64_t now_ns = cli_now_ns();

    if (!load->options->resume || (!now && now_ns - load->saved_ns < SAVE_EVERY_NS))
        return;
    load->saved_ns = now_ns;
    if (!cli_resume_write(load->options->resume, load->about, load->next_row))
        cli_error(load->command, "%s: %s", load->options->resume, strerror(errno));
}

static int load_rows(struct load *load)
{
    struct cli_progress progress;
    uint64_t begin_ns = cli_now_ns();
    int outcome = CLI_GO_ON;

    load->saved_ns = begin_ns;
    cli_progress_init(&progress, "rows", load->next_row, load->npy.rows, load->options->progress);
    while (outcome == CLI_GO_ON && load->next_row < load->npy.rows) {
        uint64_t left = load->npy.rows - load->next_row;
        size_t count = left < load->vectors.batch ? (size_t)left : load->vectors.batch;

        outcome = cli_interrupted() ? CLI_INTERRUPTED : load_batch(load, count);
        if (outcome != CLI_GO_ON)
            break;
        load->next_row += count;
        save_position(load, false);
        cli_progress_update(&progress, load->next_row);
    }
    cli_progress_finish(&progress, load->next_row);
    load->elapsed_s = (double)(cli_now_ns() - begin_ns) / 1e9;
    if (load->next_row < load->npy.rows)
        save_position(load, true);
    else if (load->options->resume)
        unlink(load->options->resume);
    if (outcome == CLI_GO_ON)
        outcome = load->failed || load->differing ? CLI_WRONG : CLI_FINE;
    return outcome;
}

static void report_json(const struct load *load)
{
    struct cli_json json;

    cli_json_init(&json, stdout);
    cli_json_begin_object(&json, NULL);
    cli_json_text(&json, "file", load->path);
    cli_json_text(&json, "tier", load->options->tier);
    cli_json_text(&json, "prefix", load->vectors.prefix ? load->vectors.prefix : "");
    cli_json_text(&json, "type", cli_npy_type_name(load->npy.type));
    cli_json_number(&json, "dimension", load->npy.columns);
    cli_json_number(&json, "rows", load->npy.rows);
    cli_json_number(&json, "begin_row", load->begin_row);
    cli_json_number(&json, "next_row", load->next_row);
    cli_json_number(&json, "loaded", load->loaded);
    cli_json_number(&json, "failed", load->failed);
    if (load->options->verify) {
        cli_json_number(&json, "verified", load->verified);
        cli_json_number(&json, "differing", load->differing);
    }
    cli_json_number(&json, "retries", load->retries);
    cli_json_real(&json, "elapsed_s", load->elapsed_s, 3);
    cli_json_real(&json, "rows_per_s",
                  load->elapsed_s > 0 ? (double)load->loaded / load->elapsed_s : 0, 0);
    cli_json_bool(&json, "complete", load->next_row == load->npy.rows);
    cli_json_end_object(&json);
}

static void report_text(const struct load *load)
{
    printf("%" PRIu64 " of %" PRIu64 " rows (%s x %" PRIu64 ") loaded to %s* in %.2f s",
           load->loaded, load->npy.rows - load->begin_row, cli_npy_type_name(load->npy.type),
           load->npy.columns, load->vectors.prefix ? load->vectors.prefix : "", load->elapsed_s);
    if (load->options->verify)
        printf(", %" PRIu64 " verified, %" PRIu64 " differ", load->verified, load->differing);
    if (load->failed)
        printf(", %" PRIu64 " failed", load->failed);
    putchar('\n');
    if (load->next_row < load->npy.rows)
        printf("go on with --start %" PRIu64 "\n", load->next_row);
}

/* ---- start ----------------------------------------------------------------------------------- */

static int open_files(struct load *load)
{
    char problem[CLI_NPY_PROBLEM_BYTES];

    load->fd = cli_npy_open(load->path, &load->npy, problem);
    if (load->fd < 0) {
        cli_error(load->command, "%s: %s", load->path, problem);
        return CLI_WRONG;
    }
    if (!cli_ids_init(&load->ids, load->options->ids, problem)) {
        cli_error(load->command, "%s", problem);
        return CLI_WRONG;
    }
    if (load->options->ids && load->ids.count != load->npy.rows) {
        cli_error(load->command, "%s has %" PRIu64 " ids for %" PRIu64 " rows", load->options->ids,
                  load->ids.count, load->npy.rows);
        return CLI_WRONG;
    }
    return CLI_GO_ON;
}

static int find_start(struct load *load, const char *prefix)
{
    struct stat status;

    load->next_row = load->options->start;
    if (load->options->resume) {
        if (fstat(load->fd, &status))
            return CLI_WRONG;
        snprintf(load->about, sizeof load->about, "%lld %lld.%09ld %.255s %.4000s",
                 (long long)status.st_size, (long long)status.st_mtim.tv_sec,
                 status.st_mtim.tv_nsec, prefix ? prefix : "",
                 load->options->ids ? load->options->ids : "");
        switch (cli_resume_read(load->options->resume, load->about, &load->next_row)) {
        case CLI_RESUME_NONE:
        case CLI_RESUME_FOUND:
            break;
        case CLI_RESUME_OTHER:
            cli_error(load->command, "%s is about another load; remove it to begin anew",
                      load->options->resume);
            return CLI_WRONG;
        case CLI_RESUME_FAILED:
            cli_error(load->command, "%s: %s", load->options->resume, strerror(errno));
            return CLI_WRONG;
        }
    }
    if (load->next_row > load->npy.rows) {
        cli_error(load->command, "the file has %" PRIu64 " rows: none at %" PRIu64, load->npy.rows,
                  load->next_row);
        return CLI_WRONG;
    }
    load->begin_row = load->next_row;
    return CLI_GO_ON;
}

static int run_load(struct load *load, struct cli_settings *settings)
{
    struct nearcache_tier_config config;
    int outcome = open_files(load);

    if (outcome != CLI_GO_ON)
        return outcome;
    cli_vectors_tier(load->options->tier, &config);
    if (load->options->ttl_ms)
        config.redis_ttl_ms = load->options->ttl_ms;
    outcome = find_start(load, config.prefix);
    if (outcome == CLI_GO_ON)
        outcome = cli_vectors_init(&load->vectors, load->command, settings, &config, &load->npy,
                                   load->options->batch, load->options->verify);
    if (outcome == CLI_GO_ON) {
        outcome = load_rows(load);
        (load->options->json ? report_json : report_text)(load);
    }
    cli_vectors_deinit(&load->vectors);
    return outcome;
}

static int run(const struct cli_command *command, int argc, char **argv)
{
    struct load_options at = {.batch = CLI_VECTORS_BATCH, .patience_ms = 10000};
    const struct cli_option options[] = {
        CLI_REDIS_OPTIONS(&at.redis),
        {"tier", CLI_TEXT, "T", "the name of a preset (embeddings, ...) or a key prefix; required",
         &at.tier, 0, 0, NULL},
        {"ids", CLI_TEXT, "FILE", "names of the rows, one a line; default: the row numbers",
         &at.ids, 0, 0, NULL},
        {"batch", CLI_NUMBER, "N", "rows a batch; default 256", &at.batch, 1,
         CLI_VECTORS_MOST_BATCH, NULL},
        {"ttl", CLI_NUMBER, "MS", "expiry of the keys; default: the tier's", &at.ttl_ms, 1, 0,
         NULL},
        {"verify", CLI_FLAG, NULL, "read each row back from Redis and compare", &at.verify, 0, 0,
         NULL},
        {"start", CLI_NUMBER, "ROW", "begin at this row", &at.start, 0, 0, NULL},
        {"resume", CLI_TEXT, "STATE",
         "remember the position in the file STATE, and go on from there when it exists", &at.resume,
         0, 0, NULL},
        {"patience", CLI_NUMBER, "MS", "how long to wait when Redis goes away; default 10000",
         &at.patience_ms, 0, 86400000, NULL},
        {"progress", CLI_FLAG, NULL, "show progress even when standard error is no terminal",
         &at.progress, 0, 0, NULL},
        {"json", CLI_FLAG, NULL, "the report as one JSON object", &at.json, 0, 0, NULL},
    };
    struct load load = {.command = command, .options = &at, .fd = -1};
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
    load.path = arguments[0];
    outcome = cli_settings_init(&settings, command, &at.redis);
    if (outcome == CLI_GO_ON) {
        if (!settings.has_redis)
            cli_settings_default_redis(&settings);
        outcome = run_load(&load, &settings);
    }
    cli_ids_deinit(&load.ids);
    if (load.fd >= 0)
        close(load.fd);
    cli_settings_deinit(&settings);
    return outcome;
}

const struct cli_command cli_cmd_load = {
    "load", "FILE.npy", "Write the rows of a .npy file to Redis as vectors of a tier",
    "The file holds a matrix of <f4, <f2 or |i1, one row a vector. Each row is stored as its raw\n"
    "little-endian bytes under the tier's prefix followed by its id.\n",
    run};
