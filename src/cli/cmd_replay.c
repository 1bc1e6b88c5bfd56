/* cli/cmd_replay: hit ratio and latency of a recorded trace on a policy and a size. */
#include "cli/json.h"
#include "cli/progress.h"
#include "cli/replay.h"
#include "cli/settings.h"

#include <nearcache/metrics.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST_THREADS 256
#define ENTRY_ROOM 512 /* generous: an entry's bytes beside its value, where entries are the limit */
#define REDIS_TTL_MS UINT64_C(604800000) /* a week: what a crashed replay leaves goes by itself */
#define START_TIMEOUT_US UINT64_C(5000000)
#define CLEAR_TIMEOUT_US UINT64_C(2000000)

struct replay_options {
    struct cli_redis_options redis;
    int policy; /* enum nearcache_policy */
    uint64_t capacity_entries, capacity_bytes;
    uint64_t shards, threads;
    const char *times;
    uint64_t ttl_ms;
    uint64_t value_bytes;
    uint64_t loop_s;
    uint64_t writes_percent;
    uint64_t deadline_ms;
    int off_link;
    const char *metrics_socket;
    bool keep, json, progress;
};

/* One thread; the workers see `shared` only. */
struct replay_job {
    const struct cli_command *command;
    const struct replay_options *options;
    const char *path;
    struct cli_trace trace;
    struct cli_replay shared;
    struct nearcache *cache;
    bool with_redis;
    struct cli_replay_worker *workers;
    struct cli_replay_worker *sum;
    struct nearcache_metrics before, after;
    double elapsed_s;
    uint64_t rss_start, rss_warm, rss_end;
    char prefix[48];
};

static const char *const policies[] = {"default", "lru", "as3", NULL};

static uint64_t resident_bytes(void)
{
    unsigned long long size = 0, resident = 0;
    FILE *in = fopen("/proc/self/statm", "re");

    if (!in)
        return 0;
    if (fscanf(in, "%llu %llu", &size, &resident) != 2)
        resident = 0;
    fclose(in);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* ---- the cache ------------------------------------------------------------------------------- */

static void fill_config(struct replay_job *job, struct nearcache_config *config)
{
    const struct replay_options *at = job->options;

    config->capacity_entries = at->capacity_entries;
    config->budget_bytes =
        at->capacity_entries
            ? at->capacity_entries * (at->value_bytes + ENTRY_ROOM) * 2 + ((uint64_t)64 << 20)
            : at->capacity_bytes;
    config->shards = (uint32_t)at->shards;
    config->hash_seed = 1; /* the same figures each time */
    config->metrics_socket = at->metrics_socket;
    if (at->deadline_ms)
        config->deadline_us = at->deadline_ms * 1000;
    if (at->times) {
        config->clock = cli_replay_clock;
        config->clock_arg = &job->shared;
    }
}

static void fill_tier(struct replay_job *job, struct nearcache_tier_config *tier)
{
    const struct replay_options *at = job->options;
    uint64_t ttl_ms = at->ttl_ms ? at->ttl_ms : NEARCACHE_NONE;

    /* Values of another length would look wrong: each length has keys of its own. */
    snprintf(job->prefix, sizeof job->prefix, "nearcache-replay:%" PRIu64 ":", at->value_bytes);
    tier->name = "replay";
    tier->prefix = job->prefix;
    tier->redis_ttl_ms = ttl_ms;
    tier->local_ttl_ms = ttl_ms;
    if (job->with_redis) {
        /* In the trace's time a copy goes by the local TTL, and its key in Redis outlives it. */
        if (ttl_ms == NEARCACHE_NONE || at->times)
            tier->redis_ttl_ms = REDIS_TTL_MS;
        if (at->loop_s)
            tier->off_link = (enum nearcache_off_link)at->off_link;
    }
    tier->negative_ttl_ms = NEARCACHE_NONE; /* an absence takes no room from the entries */
    tier->jitter_percent = NEARCACHE_NONE;
    tier->largest_local_bytes = 2 * CLI_REPLAY_MOST_VALUE;
    tier->policy = (enum nearcache_policy)at->policy;
}

static int open_cache(struct replay_job *job, struct cli_settings *settings)
{
    struct nearcache_tier_config tier = NEARCACHE_TIER_INIT;
    int outcome;

    if (!job->with_redis)
        settings->config.redis = NULL;
    fill_config(job, &settings->config);
    outcome = cli_settings_open(settings, job->command, &job->cache);
    if (outcome != CLI_GO_ON)
        return outcome;
    job->shared.deadline_ns = (settings->config.deadline_us ? settings->config.deadline_us
                                                            : NEARCACHE_DEFAULT_DEADLINE_US) *
                              1000;
    fill_tier(job, &tier);
    outcome = nearcache_tier_open(job->cache, &tier, &job->shared.tier);
    if (outcome) {
        cli_error(job->command, "cannot open the tier: %s", nearcache_strerror(outcome));
        return CLI_WRONG;
    }
    return job->with_redis ? cli_settings_wait(job->command, job->cache, START_TIMEOUT_US)
                           : CLI_GO_ON;
}

/* Takes what the replay wrote out of Redis again. */
static void clear_redis(struct replay_job *job)
{
    uint64_t deleted;
    int outcome = NEARCACHE_ETIMEOUT;

    for (int i = 0; i < 100 && outcome == NEARCACHE_ETIMEOUT; i++)
        outcome = nearcache_clear(job->shared.tier, CLEAR_TIMEOUT_US, &deleted);
    if (outcome)
        cli_error(job->command, "keys %s* are left in Redis: %s", job->prefix,
                  nearcache_strerror(outcome));
}

/* ---- the run --------------------------------------------------------------------------------- */

static bool make_workers(struct replay_job *job)
{
    size_t count = job->options->threads;

    job->workers = calloc(count, sizeof *job->workers);
    job->sum = calloc(1, sizeof *job->sum);
    if (!job->workers || !job->sum)
        return false;
    for (size_t i = 0; i < count; i++) {
        job->workers[i].replay = &job->shared;
        job->workers[i].random = ((uint64_t)getpid() << 16) + i;
        if (job->shared.soak) {
            job->workers[i].slow = calloc(CLI_REPLAY_MOST_SLOW, sizeof *job->workers[i].slow);
            if (!job->workers[i].slow)
                return false;
        }
    }
    return true;
}

static void free_workers(struct replay_job *job)
{
    for (size_t i = 0; job->workers && i < job->options->threads; i++)
        free(job->workers[i].slow);
    free(job->workers);
    free(job->sum);
}

/* While the threads work: progress, and the memory after the warm-up (a tenth of a soak). */
static void watch_threads(struct replay_job *job)
{
    struct cli_progress progress;
    struct cli_replay *shared = &job->shared;
    uint64_t total = shared->soak ? 0 : job->trace.count, now_ns, done;
    uint64_t warm_ns = shared->begin_ns + (shared->end_ns - shared->begin_ns) / 10;
    bool ended = false;

    cli_progress_init(&progress, "requests", 0, total, job->options->progress);
    while (!ended && !cli_interrupted()) {
        cli_pause_us(20000);
        now_ns = cli_now_ns();
        done = atomic_load(&shared->cursor);
        ended = shared->soak ? now_ns >= shared->end_ns : done >= job->trace.count;
        if (shared->soak && !job->rss_warm && now_ns >= warm_ns)
            job->rss_warm = resident_bytes();
        cli_progress_update(&progress, total && done > total ? total : done);
    }
    done = atomic_load(&shared->cursor);
    cli_progress_finish(&progress, total && done > total ? total : done);
}

static int run_threads(struct replay_job *job)
{
    size_t count = job->options->threads, started;

    job->rss_start = resident_bytes();
    job->shared.begin_ns = cli_now_ns();
    job->shared.end_ns = job->options->loop_s ? job->shared.begin_ns +
                                                    job->options->loop_s * UINT64_C(1000000000)
                                              : CLI_REPLAY_FOREVER;
    for (started = 0; started < count; started++)
        if (pthread_create(&job->workers[started].thread, NULL, cli_replay_run,
                           &job->workers[started]))
            break;
    if (started < count)
        cli_error(job->command, "only %zu threads could be started", started);
    if (started && (job->shared.soak || job->options->progress || isatty(STDERR_FILENO)))
        watch_threads(job);
    for (size_t i = 0; i < started; i++)
        pthread_join(job->workers[i].thread, NULL);
    job->elapsed_s = (double)(cli_now_ns() - job->shared.begin_ns) / 1e9;
    job->rss_end = resident_bytes();
    for (size_t i = 0; i < count; i++)
        cli_replay_merge(job->sum, &job->workers[i]);
    return started == count ? CLI_GO_ON : CLI_WRONG;
}

/* ---- the report ------------------------------------------------------------------------------ */

static double micro(const struct cli_latency *latency, double share)
{
    return (double)cli_latency_quantile_ns(latency, share) / 1e3;
}

static double miss_ratio(const struct cli_replay_worker *sum)
{
    uint64_t reads = sum->requests - sum->written;

    return reads ? (double)(reads - sum->hits) / (double)reads : 0;
}

static void report_redis(const struct replay_job *job, struct cli_json *json)
{
    const struct cli_replay_worker *sum = job->sum;
    uint64_t commands = job->after.redis_commands - job->before.redis_commands;
    /* Without the cache: a GET for each look-up, a SET for each value stored. */
    uint64_t plain = sum->requests + sum->stored;

    cli_json_number(json, "redis_commands", commands);
    cli_json_signed(json, "redis_commands_saved", (int64_t)plain - (int64_t)commands);
    cli_json_real(json, "miss_p50_us", micro(&sum->miss, 0.5), 1);
    cli_json_real(json, "miss_p99_us", micro(&sum->miss, 0.99), 1);
    cli_json_number(json, "remote", sum->remote);
    cli_json_number(json, "race_discards", job->after.race_discards - job->before.race_discards);
    cli_json_number(json, "invalidations", job->after.invalidations - job->before.invalidations);
}

static void report_slow_calls(const struct replay_job *job, struct cli_json *json)
{
    cli_json_begin_array(json, "slow_calls");
    for (size_t w = 0; w < job->options->threads; w++) {
        const struct cli_replay_worker *worker = &job->workers[w];

        for (size_t i = 0; i < worker->slow_count && i < CLI_REPLAY_MOST_SLOW; i++) {
            const struct cli_replay_slow *slow = &worker->slow[i];

            cli_json_begin_object(json, NULL);
            cli_json_real(json, "at_s", (double)slow->at_ns / 1e9, 3);
            cli_json_text(json, "call", slow->write ? "set" : "get");
            cli_json_number(json, "id", slow->id);
            cli_json_text(json, "outcome", nearcache_strerror(slow->outcome));
            cli_json_real(json, "ms", (double)slow->took_ns / 1e6, 3);
            if (slow->queued_ns == NEARCACHE_NONE)
                cli_json_null(json, "run_queue_ms");
            else
                cli_json_real(json, "run_queue_ms", (double)slow->queued_ns / 1e6, 3);
            cli_json_real(json, "unsure_ms", (double)slow->unsure_ns / 1e6, 3);
            cli_json_end_object(json);
        }
    }
    cli_json_end_array(json);
}

static void report_soak(const struct replay_job *job, struct cli_json *json)
{
    const struct cli_replay_worker *sum = job->sum;

    cli_json_begin_object(json, "soak");
    cli_json_real(json, "passes", (double)sum->requests / (double)job->trace.count, 2);
    cli_json_number(json, "written", sum->written);
    cli_json_number(json, "stale", sum->stale);
    cli_json_number(json, "writes_local", sum->stored_local);
    cli_json_number(json, "timeouts", sum->timeouts);
    cli_json_number(json, "off_link", sum->off_link);
    cli_json_number(json, "rss_start_bytes", job->rss_start);
    cli_json_number(json, "rss_warm_bytes", job->rss_warm);
    cli_json_number(json, "rss_end_bytes", job->rss_end);
    cli_json_number(json, "deadline_us", job->shared.deadline_ns / 1000);
    cli_json_number(json, "calls_past_deadline", sum->past_deadline);
    cli_json_number(json, "calls_not_local", sum->overshoot.count);
    cli_json_real(json, "overshoot_p50_us", micro(&sum->overshoot, 0.5), 1);
    cli_json_real(json, "overshoot_p99_us", micro(&sum->overshoot, 0.99), 1);
    cli_json_real(json, "overshoot_p999_us", micro(&sum->overshoot, 0.999), 1);
    cli_json_real(json, "overshoot_p9999_us", micro(&sum->overshoot, 0.9999), 1);
    cli_json_real(json, "overshoot_max_us", (double)sum->overshoot.max_ns / 1e3, 1);
    cli_json_number(json, "calls_over_5ms", sum->slow_count);
    report_slow_calls(job, json);
    cli_json_end_object(json);
}

static void report_json(const struct replay_job *job)
{
    const struct replay_options *at = job->options;
    const struct cli_replay_worker *sum = job->sum;
    struct cli_json json;

    cli_json_init(&json, stdout);
    cli_json_begin_object(&json, NULL);
    cli_json_text(&json, "trace", job->path);
    cli_json_number(&json, "requests", sum->requests);
    cli_json_number(&json, "unique", job->trace.unique);
    cli_json_number(&json, "hits", sum->hits);
    cli_json_number(&json, "misses", sum->requests - sum->written - sum->hits);
    cli_json_real(&json, "miss_ratio", miss_ratio(sum), 6);
    cli_json_number(&json, "evictions",
                    job->after.removed_evicted - job->before.removed_evicted);
    cli_json_number(&json, "expirations",
                    job->after.removed_expired - job->before.removed_expired);
    if (at->capacity_entries) {
        cli_json_number(&json, "capacity_entries", at->capacity_entries);
    } else {
        cli_json_null(&json, "capacity_entries");
        cli_json_number(&json, "capacity_bytes", at->capacity_bytes);
    }
    cli_json_number(&json, "entries", job->after.entries);
    cli_json_number(&json, "bytes_used", job->after.bytes_used);
    cli_json_number(&json, "shards", at->shards);
    cli_json_text(&json, "policy", policies[at->policy]);
    cli_json_number(&json, "threads", at->threads);
    cli_json_number(&json, "value_bytes", at->value_bytes);
    cli_json_number(&json, "ttl_ms", at->ttl_ms);
    cli_json_real(&json, "elapsed_s", job->elapsed_s, 3);
    cli_json_real(&json, "requests_per_s",
                  job->elapsed_s > 0 ? (double)sum->requests / job->elapsed_s : 0, 0);
    cli_json_number(&json, "p50_ns", cli_latency_quantile_ns(&sum->get, 0.5));
    cli_json_number(&json, "p99_ns", cli_latency_quantile_ns(&sum->get, 0.99));
    cli_json_number(&json, "p999_ns", cli_latency_quantile_ns(&sum->get, 0.999));
    cli_json_number(&json, "wrong_values", sum->wrong);
    cli_json_number(&json, "read_errors", sum->read_errors);
    cli_json_number(&json, "write_errors", sum->write_errors);
    if (job->with_redis)
        report_redis(job, &json);
    if (job->shared.soak)
        report_soak(job, &json);
    cli_json_bool(&json, "interrupted", cli_interrupted());
    cli_json_end_object(&json);
}

static void report_text(const struct replay_job *job)
{
    const struct replay_options *at = job->options;
    const struct cli_replay_worker *sum = job->sum;

    printf("%s: %" PRIu64 " requests, %" PRIu64 " keys\n", job->path, sum->requests,
           job->trace.unique);
    printf("policy %s, %" PRIu64 " %s, shards %" PRIu64 "%s, threads %" PRIu64 "\n",
           policies[at->policy], at->capacity_entries ? at->capacity_entries : at->capacity_bytes,
           at->capacity_entries ? "entries" : "bytes", at->shards,
           at->shards ? "" : " (the library's choice)", at->threads);
    printf("miss ratio %.4f (%" PRIu64 " hits), %" PRIu64 " evicted, %" PRIu64 " expired\n",
           miss_ratio(sum), sum->hits, job->after.removed_evicted - job->before.removed_evicted,
           job->after.removed_expired - job->before.removed_expired);
    printf("%.2f s, look-up p50 %" PRIu64 " ns, p99 %" PRIu64 " ns, p99.9 %" PRIu64 " ns\n",
           job->elapsed_s, cli_latency_quantile_ns(&sum->get, 0.5),
           cli_latency_quantile_ns(&sum->get, 0.99), cli_latency_quantile_ns(&sum->get, 0.999));
    if (job->with_redis)
        printf("Redis: %" PRIu64 " commands; miss p50 %.1f us, p99 %.1f us\n",
               job->after.redis_commands - job->before.redis_commands, micro(&sum->miss, 0.5),
               micro(&sum->miss, 0.99));
    if (job->shared.soak)
        printf("soak: overshoot of the deadline p99.99 %.1f us, %" PRIu64
               " calls over 5 ms; memory %.1f MB at first, %.1f warm, %.1f in the end; %" PRIu64
               " stale, %" PRIu64 " off-link, %" PRIu64 " timeouts\n",
               micro(&sum->overshoot, 0.9999), sum->slow_count, (double)job->rss_start / 1e6,
               (double)job->rss_warm / 1e6, (double)job->rss_end / 1e6, sum->stale, sum->off_link,
               sum->timeouts);
    printf("values: all checked, %" PRIu64 " wrong; errors: %" PRIu64 " reads, %" PRIu64
           " writes\n",
           sum->wrong, sum->read_errors, sum->write_errors);
}

/* Outages are what a soak is for; anything else that failed is wrong. */
static int judge(const struct replay_job *job)
{
    const struct cli_replay_worker *sum = job->sum;
    uint64_t errors = sum->read_errors + sum->write_errors;

    if (sum->wrong)
        cli_error(job->command, "%" PRIu64 " values were wrong, the first of key id %" PRIu64,
                  sum->wrong, sum->first_wrong_id);
    if (cli_interrupted())
        return CLI_INTERRUPTED;
    return sum->wrong || (errors && !job->shared.soak) ? CLI_WRONG : CLI_FINE;
}

/* ---- start ----------------------------------------------------------------------------------- */

static int run_replay(struct replay_job *job, struct cli_settings *settings)
{
    const struct replay_options *at = job->options;
    char problem[CLI_TRACE_PROBLEM_BYTES];
    int outcome;

    if (!cli_trace_init(&job->trace, job->path, at->times, problem)) {
        cli_error(job->command, "%s", problem);
        return CLI_WRONG;
    }
    job->shared.trace = &job->trace;
    job->shared.value_bytes = at->value_bytes;
    job->shared.threads = (unsigned)at->threads;
    job->shared.writes_percent = (unsigned)at->writes_percent;
    job->shared.soak = at->loop_s > 0;
    job->shared.time_all = job->with_redis || at->loop_s;
    job->shared.timer_ns = cli_latency_timer_ns();
    atomic_init(&job->shared.clock_ns, UINT64_C(1000000000000));
    outcome = open_cache(job, settings);
    if (outcome != CLI_GO_ON)
        return outcome;
    if (!make_workers(job)) {
        cli_error(job->command, "%s", nearcache_strerror(NEARCACHE_ENOMEM));
        return CLI_WRONG;
    }
    nearcache_metrics(job->cache, &job->before);
    outcome = run_threads(job);
    nearcache_metrics(job->cache, &job->after);
    (at->json ? report_json : report_text)(job);
    if (outcome == CLI_GO_ON)
        outcome = judge(job);
    if (job->with_redis && !at->keep)
        clear_redis(job);
    return outcome;
}

static int check_options(const struct cli_command *command, const struct replay_options *at)
{
    if (!at->capacity_entries == !at->capacity_bytes) {
        cli_error(command, "one of --capacity-entries and --capacity-bytes is needed");
        return CLI_USAGE;
    }
    if (at->writes_percent && !at->loop_s) {
        cli_error(command, "--writes needs --loop");
        return CLI_USAGE;
    }
    return CLI_GO_ON;
}

static int run(const struct cli_command *command, int argc, char **argv)
{
    static const char *const off_links[] = {"miss", "stale", NULL};
    struct replay_options at = {.threads = 1, .value_bytes = 64};
    const struct cli_option options[] = {
        CLI_REDIS_OPTIONS(&at.redis),
        {"policy", CLI_CHOICE, "P", "default, lru or as3", &at.policy, 0, 0, policies},
        {"capacity-entries", CLI_NUMBER, "N", "the cache holds N entries",
         &at.capacity_entries, 1, 1u << 30, NULL},
        {"capacity-bytes", CLI_BYTES, "N", "the cache holds N bytes, everything counted",
         &at.capacity_bytes, NEARCACHE_MIN_BUDGET_BYTES, (uint64_t)1 << 40, NULL},
        {"shards", CLI_NUMBER, "K", "default 0: the library's choice by size and processors",
         &at.shards, 0, 1u << 16, NULL},
        {"threads", CLI_NUMBER, "T", "default 1: requests in exactly the recorded order",
         &at.threads, 1, MOST_THREADS, NULL},
        {"times", CLI_TEXT, "FILE.t32[.gz]", "TTLs act on these times of the requests", &at.times,
         0, 0, NULL},
        {"ttl", CLI_NUMBER, "MS", "of the entries; default: no expiry", &at.ttl_ms, 1, 0, NULL},
        {"value-bytes", CLI_NUMBER, "N", "default 64", &at.value_bytes, CLI_REPLAY_LEAST_VALUE,
         CLI_REPLAY_MOST_VALUE, NULL},
        {"loop", CLI_NUMBER, "SECONDS", "soak: the trace again and again for this long", &at.loop_s,
         1, 604800, NULL},
        {"writes", CLI_NUMBER, "PERCENT", "with --loop: requests that write; default 0",
         &at.writes_percent, 1, 100, NULL},
        {"off-link", CLI_CHOICE, "POLICY", "with --loop, Redis away: miss (default) or stale",
         &at.off_link, 0, 0, off_links},
        {"deadline", CLI_NUMBER, "MS", "of each call; default 100", &at.deadline_ms, 1, 86400000,
         NULL},
        {"keep", CLI_FLAG, NULL, "leave the keys nearcache-replay:* in Redis", &at.keep, 0, 0,
         NULL},
        {"metrics-socket", CLI_TEXT, "PATH", "publish metrics there", &at.metrics_socket, 0, 0,
         NULL},
        {"progress", CLI_FLAG, NULL, "show progress even when standard error is no terminal",
         &at.progress, 0, 0, NULL},
        {"json", CLI_FLAG, NULL, "the report as one JSON object", &at.json, 0, 0, NULL},
    };
    struct replay_job job = {.command = command,
                             .options = &at,
                             .before = NEARCACHE_METRICS_INIT,
                             .after = NEARCACHE_METRICS_INIT};
    struct cli_settings settings;
    char **arguments;
    int outcome = cli_options_parse(command, options, sizeof options / sizeof options[0], argc,
                                    argv, 1, 1, &arguments);

    if (outcome == CLI_GO_ON)
        outcome = check_options(command, &at);
    if (outcome != CLI_GO_ON)
        return outcome;
    job.path = arguments[0];
    outcome = cli_settings_init(&settings, command, &at.redis);
    /* A Redis only where one is asked for: the environment alone does not send a trace there. */
    job.with_redis = settings.has_redis && (at.redis.url || at.redis.config_file);
    if (outcome == CLI_GO_ON)
        outcome = run_replay(&job, &settings);
    nearcache_close(job.cache, 0);
    free_workers(&job);
    cli_trace_deinit(&job.trace);
    cli_settings_deinit(&settings);
    return outcome;
}

const struct cli_command cli_cmd_replay = {
    "replay", "TRACE.u64[.gz]", "Replay a recorded trace on a cache and report hits and latency",
    "The trace holds one 64-bit little-endian key id a request, optionally in gzip. Each request\n"
    "is a look-up, a miss stores the key; every value read is checked. Without --redis or a\n"
    "Redis in --config the cache is local. 'misses' are look-ups that the local copies did not\n"
    "answer. With --loop it is a soak: Redis may be restarted meanwhile.\n",
    run};
