/*
 * cli/cmd_bench: what a hit, a miss and a batch cost on the user's own Redis, beside a plain GET
 * of hiredis on the same machine in the same run.
 */
#include "cli/json.h"
#include "cli/latency.h"
#include "cli/raw.h"
#include "cli/settings.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST_THREADS 256
#define MOST_BATCH 4096
#define START_TIMEOUT_US UINT64_C(5000000)
#define CALL_TIMEOUT_US UINT64_C(1000000)
#define KEY_TTL_MS UINT64_C(600000) /* what a crashed run leaves goes by itself */
#define KEYS_A_SET 64
#define NAME_BYTES 24

struct bench_options {
    struct cli_redis_options redis;
    uint64_t keys, value_bytes, threads, seconds, batch;
    bool local, json;
};

enum phase { HIT, MISS, BATCH, PLAIN_GET, PLAIN_MGET, PHASES };

static const struct {
    const char *name;
    const char *text;
    bool needs_redis;
} phases[PHASES] = {
    [HIT] = {"hit", "local hit", false},
    [MISS] = {"miss", "read from Redis", true},
    [BATCH] = {"batch", "batch from Redis", true},
    [PLAIN_GET] = {"plain_get", "plain GET (hiredis)", true},
    [PLAIN_MGET] = {"plain_mget", "plain MGET (hiredis)", true},
};

struct bench {
    const struct cli_command *command;
    const struct bench_options *options;
    struct cli_target target;
    struct nearcache *cache;
    struct nearcache_tier *tier;
    char prefix[48];
    uint64_t timer_ns;
    bool with_redis;
    struct cli_latency results[PHASES];
    uint64_t errors[PHASES];
    double elapsed_s[PHASES];
};

/* One thread. */
struct worker {
    struct bench *bench;
    enum phase phase;
    pthread_t thread;
    uint64_t end_ns;
    uint64_t random;
    uint64_t errors;
    struct cli_latency latency;
    redisContext *context; /* of the plain phases */
};

/* ---- calls ----------------------------------------------------------------------------------- */

static uint64_t next_key(struct worker *worker)
{
    worker->random ^= worker->random << 13;
    worker->random ^= worker->random >> 7;
    worker->random ^= worker->random << 17;
    return worker->random % worker->bench->options->keys;
}

static size_t print_name(uint64_t key, char name[NAME_BYTES])
{
    return (size_t)snprintf(name, NAME_BYTES, "%010" PRIu64, key);
}

static bool call_get(struct worker *worker, bool from_redis, uint64_t *took_ns)
{
    struct nearcache_read how = NEARCACHE_READ_INIT;
    struct nearcache_result result;
    char name[NAME_BYTES];
    size_t bytes = print_name(next_key(worker), name);
    uint64_t begin_ns;
    int outcome;

    how.timeout_us = CALL_TIMEOUT_US;
    how.refresh = from_redis;
    begin_ns = cli_now_ns();
    outcome = nearcache_get(worker->bench->tier, name, bytes, &how, &result);
    *took_ns = cli_now_ns() - begin_ns;
    if (outcome == 0)
        nearcache_release(&result);
    return outcome == 0 && (result.source == NEARCACHE_SOURCE_REMOTE) == from_redis;
}

static bool call_batch(struct worker *worker, uint64_t *took_ns)
{
    static const struct nearcache_read plain = NEARCACHE_READ_INIT;
    size_t count = worker->bench->options->batch;
    char(*texts)[NAME_BYTES] = calloc(count, sizeof *texts);
    struct nearcache_name *names = calloc(count, sizeof *names);
    struct nearcache_result *results = calloc(count, sizeof *results);
    int *statuses = calloc(count, sizeof *statuses);
    struct nearcache_read how = plain;
    uint64_t begin_ns;
    bool fine = texts && names && results && statuses;

    how.timeout_us = CALL_TIMEOUT_US;
    how.refresh = 1;
    for (size_t i = 0; fine && i < count; i++) {
        names[i].data = texts[i];
        names[i].bytes = print_name(next_key(worker), texts[i]);
    }
    if (fine) {
        begin_ns = cli_now_ns();
        nearcache_get_many(worker->bench->tier, names, count, &how, results, statuses);
        *took_ns = cli_now_ns() - begin_ns;
        for (size_t i = 0; i < count; i++)
            fine &= statuses[i] == 0;
        nearcache_release_many(results, count);
    }
    free(texts);
    free(names);
    free(results);
    free(statuses);
    return fine;
}

static bool ask_plain(redisContext *context, int count, const char **words, const size_t *lengths,
                      uint64_t *took_ns)
{
    uint64_t begin_ns = cli_now_ns();
    redisReply *reply = redisCommandArgv(context, count, words, lengths);
    bool fine = reply && reply->type != REDIS_REPLY_ERROR && reply->type != REDIS_REPLY_NIL;

    *took_ns = cli_now_ns() - begin_ns;
    if (reply)
        freeReplyObject(reply);
    return fine;
}

static bool call_plain(struct worker *worker, size_t count, uint64_t *took_ns)
{
    const char *prefix = worker->bench->prefix;
    char(*texts)[64] = calloc(count, sizeof *texts);
    const char **words = calloc(count + 1, sizeof *words);
    size_t *lengths = calloc(count + 1, sizeof *lengths);
    char name[NAME_BYTES];
    bool fine = texts && words && lengths;

    if (fine) {
        words[0] = count == 1 ? "GET" : "MGET";
        lengths[0] = strlen(words[0]);
        for (size_t i = 0; i < count; i++) {
            print_name(next_key(worker), name);
            lengths[i + 1] = (size_t)snprintf(texts[i], sizeof texts[i], "%s%s", prefix, name);
            words[i + 1] = texts[i];
        }
        fine = ask_plain(worker->context, (int)count + 1, words, lengths, took_ns);
    }
    free(texts);
    free(words);
    free(lengths);
    return fine;
}

static bool call(struct worker *worker, uint64_t *took_ns)
{
    switch (worker->phase) {
    case HIT:
        return call_get(worker, false, took_ns);
    case MISS:
        return call_get(worker, true, took_ns);
    case BATCH:
        return call_batch(worker, took_ns);
    case PLAIN_GET:
        return call_plain(worker, 1, took_ns);
    default:
        return call_plain(worker, worker->bench->options->batch, took_ns);
    }
}

/* ---- phases ---------------------------------------------------------------------------------- */

static void *run_worker(void *arg)
{
    struct worker *worker = arg;
    uint64_t timer_ns = worker->bench->timer_ns, took_ns = 0;

    for (uint64_t i = 0;; i++) {
        /* The end is looked for now and then only: a hit is shorter than the look. */
        if (i % (worker->phase == HIT ? 256 : 1) == 0 &&
            (cli_now_ns() >= worker->end_ns || cli_interrupted()))
            break;
        if (!call(worker, &took_ns)) {
            /* A connection that is lost stays lost: hiredis does not come back. */
            if (++worker->errors && worker->context && worker->context->err)
                break;
            continue;
        }
        cli_latency_add(&worker->latency, took_ns > timer_ns ? took_ns - timer_ns : 0);
    }
    return NULL;
}

static bool open_plain(struct worker *worker)
{
    char problem[CLI_RAW_PROBLEM_BYTES];

    return (worker->phase != PLAIN_GET && worker->phase != PLAIN_MGET) ||
           cli_raw_open(&worker->bench->target, &worker->context, problem) == CLI_RAW_FINE;
}

static int run_phase(struct bench *bench, enum phase phase)
{
    size_t count = bench->options->threads, started = 0;
    struct worker *workers = calloc(count, sizeof *workers);
    uint64_t begin_ns = cli_now_ns();
    uint64_t end_ns = begin_ns + bench->options->seconds * UINT64_C(1000000000);

    if (!workers)
        return CLI_WRONG;
    for (; started < count; started++) {
        struct worker *worker = &workers[started];

        worker->bench = bench;
        worker->phase = phase;
        worker->end_ns = end_ns;
        worker->random = (begin_ns + started * UINT64_C(0x9e3779b97f4a7c15)) | 1;
        if (!open_plain(worker))
            break;
        if (pthread_create(&worker->thread, NULL, run_worker, worker)) {
            if (worker->context)
                redisFree(worker->context);
            break;
        }
    }
    for (size_t i = 0; i < started; i++) {
        pthread_join(workers[i].thread, NULL);
        cli_latency_merge(&bench->results[phase], &workers[i].latency);
        bench->errors[phase] += workers[i].errors;
        if (workers[i].context)
            redisFree(workers[i].context);
    }
    bench->errors[phase] += count - started;
    bench->elapsed_s[phase] = (double)(cli_now_ns() - begin_ns) / 1e9;
    free(workers);
    return CLI_GO_ON;
}

/* ---- keys ------------------------------------------------------------------------------------ */

static int store_keys(struct bench *bench)
{
    struct nearcache_write how = NEARCACHE_WRITE_INIT;
    char texts[KEYS_A_SET][NAME_BYTES];
    struct nearcache_item items[KEYS_A_SET];
    int statuses[KEYS_A_SET], outcome = 0;
    char *value = malloc(bench->options->value_bytes);

    if (!value)
        return CLI_WRONG;
    memset(value, 'v', bench->options->value_bytes);
    how.timeout_us = START_TIMEOUT_US;
    for (uint64_t key = 0; key < bench->options->keys && outcome == 0 && !cli_interrupted();) {
        size_t count = 0;

        for (; count < KEYS_A_SET && key < bench->options->keys; count++, key++)
            items[count] =
                (struct nearcache_item){.name = {texts[count], print_name(key, texts[count])},
                                        .value = value,
                                        .value_bytes = bench->options->value_bytes};
        outcome = nearcache_set_many(bench->tier, items, count, &how, statuses);
    }
    free(value);
    if (outcome)
        cli_error(bench->command, "cannot store the keys: %s", nearcache_strerror(outcome));
    return outcome ? CLI_WRONG : CLI_GO_ON;
}

static void clear_keys(struct bench *bench)
{
    uint64_t deleted;
    int outcome = NEARCACHE_ETIMEOUT;

    for (int i = 0; i < 100 && outcome == NEARCACHE_ETIMEOUT; i++)
        outcome = nearcache_clear(bench->tier, START_TIMEOUT_US, &deleted);
    if (outcome)
        cli_error(bench->command, "keys %s* are left in Redis: %s", bench->prefix,
                  nearcache_strerror(outcome));
}

/* ---- report ---------------------------------------------------------------------------------- */

static double rate(const struct bench *bench, enum phase phase)
{
    return bench->elapsed_s[phase] > 0
               ? (double)bench->results[phase].count / bench->elapsed_s[phase]
               : 0;
}

static void report_json(const struct bench *bench)
{
    struct cli_json json;

    cli_json_init(&json, stdout);
    cli_json_begin_object(&json, NULL);
    cli_json_text(&json, "redis", bench->with_redis ? bench->target.label : "none");
    cli_json_number(&json, "keys", bench->options->keys);
    cli_json_number(&json, "value_bytes", bench->options->value_bytes);
    cli_json_number(&json, "threads", bench->options->threads);
    cli_json_number(&json, "seconds", bench->options->seconds);
    cli_json_number(&json, "batch_keys", bench->options->batch);
    for (int phase = 0; phase < PHASES; phase++) {
        const struct cli_latency *latency = &bench->results[phase];

        if (latency->count == 0 && bench->errors[phase] == 0)
            continue;
        cli_json_begin_object(&json, phases[phase].name);
        cli_json_number(&json, "calls", latency->count);
        cli_json_number(&json, "errors", bench->errors[phase]);
        cli_json_real(&json, "calls_per_s", rate(bench, (enum phase)phase), 0);
        cli_json_number(&json, "p50_ns", cli_latency_quantile_ns(latency, 0.5));
        cli_json_number(&json, "p99_ns", cli_latency_quantile_ns(latency, 0.99));
        cli_json_number(&json, "p999_ns", cli_latency_quantile_ns(latency, 0.999));
        cli_json_number(&json, "max_ns", latency->max_ns);
        cli_json_end_object(&json);
    }
    cli_json_bool(&json, "interrupted", cli_interrupted());
    cli_json_end_object(&json);
}

static void report_text(const struct bench *bench)
{
    printf("%" PRIu64 " keys of %" PRIu64 " bytes, %" PRIu64 " thread%s, batches of %" PRIu64
           ", Redis: %s\n\n",
           bench->options->keys, bench->options->value_bytes, bench->options->threads,
           bench->options->threads == 1 ? "" : "s", bench->options->batch,
           bench->with_redis ? bench->target.label : "none");
    printf("%-21s %12s %12s %12s %12s %7s\n", "", "calls/s", "p50 us", "p99 us", "p99.9 us",
           "errors");
    for (int phase = 0; phase < PHASES; phase++) {
        const struct cli_latency *latency = &bench->results[phase];

        if (latency->count == 0 && bench->errors[phase] == 0)
            continue;
        printf("%-21s %12.0f %12.3f %12.3f %12.3f %7" PRIu64 "\n", phases[phase].text,
               rate(bench, (enum phase)phase), (double)cli_latency_quantile_ns(latency, 0.5) / 1e3,
               (double)cli_latency_quantile_ns(latency, 0.99) / 1e3,
               (double)cli_latency_quantile_ns(latency, 0.999) / 1e3, bench->errors[phase]);
    }
}

/* ---- start ----------------------------------------------------------------------------------- */

static int open_cache(struct bench *bench, struct cli_settings *settings)
{
    const struct bench_options *at = bench->options;
    struct nearcache_tier_config tier = NEARCACHE_TIER_INIT;
    int outcome;

    if (!bench->with_redis)
        settings->config.redis = NULL;
    /* Room for all keys, so that a hit is one. */
    settings->config.budget_bytes = at->keys * (at->value_bytes + 512) * 2 + ((uint64_t)64 << 20);
    outcome = cli_settings_open(settings, bench->command, &bench->cache);
    if (outcome != CLI_GO_ON)
        return outcome;
    snprintf(bench->prefix, sizeof bench->prefix, "nearcache-bench:%ld:", (long)getpid());
    tier.name = "bench";
    tier.prefix = bench->prefix;
    tier.redis_ttl_ms = KEY_TTL_MS;
    tier.largest_local_bytes = at->value_bytes;
    outcome = nearcache_tier_open(bench->cache, &tier, &bench->tier);
    if (outcome) {
        cli_error(bench->command, "cannot open the tier: %s", nearcache_strerror(outcome));
        return CLI_WRONG;
    }
    return cli_settings_wait(bench->command, bench->cache, START_TIMEOUT_US);
}

static int run_bench(struct bench *bench, struct cli_settings *settings)
{
    int outcome = open_cache(bench, settings);
    uint64_t errors = 0;

    if (outcome != CLI_GO_ON)
        return outcome;
    bench->timer_ns = cli_latency_timer_ns();
    outcome = store_keys(bench);
    for (int phase = 0; phase < PHASES && outcome == CLI_GO_ON && !cli_interrupted(); phase++) {
        bool plain = phase == PLAIN_GET || phase == PLAIN_MGET;

        if ((phases[phase].needs_redis && !bench->with_redis) || (plain && bench->target.tls))
            continue;
        fprintf(stderr, "%s ...\n", phases[phase].text);
        outcome = run_phase(bench, (enum phase)phase);
        errors += bench->errors[phase];
    }
    if (outcome == CLI_GO_ON)
        (bench->options->json ? report_json : report_text)(bench);
    if (bench->with_redis)
        clear_keys(bench);
    if (outcome != CLI_GO_ON)
        return outcome;
    return cli_interrupted() ? CLI_INTERRUPTED : errors ? CLI_WRONG : CLI_FINE;
}

static int run(const struct cli_command *command, int argc, char **argv)
{
    struct bench_options at = {
        .keys = 10000, .value_bytes = 1024, .threads = 1, .seconds = 2, .batch = 32};
    const struct cli_option options[] = {
        CLI_REDIS_OPTIONS(&at.redis),
        {"local", CLI_FLAG, NULL, "no Redis: hits only", &at.local, 0, 0, NULL},
        {"keys", CLI_NUMBER, "N", "default 10000", &at.keys, 1, 10000000, NULL},
        {"value-bytes", CLI_BYTES, "N", "default 1024", &at.value_bytes, 1, (uint64_t)64 << 20,
         NULL},
        {"threads", CLI_NUMBER, "T", "default 1", &at.threads, 1, MOST_THREADS, NULL},
        {"seconds", CLI_NUMBER, "S", "for each measurement; default 2", &at.seconds, 1, 3600, NULL},
        {"batch", CLI_NUMBER, "N", "keys a batch; default 32", &at.batch, 1, MOST_BATCH, NULL},
        {"json", CLI_FLAG, NULL, "the report as one JSON object", &at.json, 0, 0, NULL},
    };
    struct cli_settings settings;
    struct bench *bench;
    int outcome = cli_options_parse(command, options, sizeof options / sizeof options[0], argc,
                                    argv, 0, 0, NULL);

    if (outcome != CLI_GO_ON)
        return outcome;
    bench = calloc(1, sizeof *bench);
    if (!bench)
        return CLI_WRONG;
    bench->command = command;
    bench->options = &at;
    bench->with_redis = !at.local;
    outcome = cli_settings_init(&settings, command, &at.redis);
    if (outcome == CLI_GO_ON) {
        if (!settings.has_redis)
            cli_settings_default_redis(&settings);
        if (!cli_target_init(&bench->target, &settings.redis)) {
            cli_error(command, "the URL of Redis does not parse");
            outcome = CLI_USAGE;
        }
    }
    if (outcome == CLI_GO_ON)
        outcome = run_bench(bench, &settings);
    nearcache_close(bench->cache, 0);
    cli_target_deinit(&bench->target);
    cli_settings_deinit(&settings);
    free(bench);
    return outcome;
}

const struct cli_command cli_cmd_bench = {
    "bench", "", "Measure hit, miss and batch on your own Redis",
    "Writes keys nearcache-bench:<pid>:*, reads them from the local cache, from Redis through the\n"
    "cache, in batches, and plainly with hiredis, and deletes them again.\n",
    run};
