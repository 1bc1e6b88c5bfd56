/* cli/cmd_replay: hit ratio and latency of a recorded trace on a policy and a size. */
#include "cli/progress.h"
#include "cli/replay_job.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST_THREADS 256
#define ENTRY_ROOM                                                                                 \
    512 /* generous: an entry's bytes beside its value, where entries are the limit */
#define REDIS_TTL_MS UINT64_C(604800000) /* a week: what a crashed replay leaves goes by itself */
#define START_TIMEOUT_US UINT64_C(5000000)
#define CLEAR_TIMEOUT_US UINT64_C(2000000)

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

static void fill_config(struct cli_replay_job *job, struct nearcache_config *config)
{
    const struct cli_replay_options *at = job->options;

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

static void fill_tier(struct cli_replay_job *job, struct nearcache_tier_config *tier)
{
    const struct cli_replay_options *at = job->options;
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

static int open_cache(struct cli_replay_job *job, struct cli_settings *settings)
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
static void clear_redis(struct cli_replay_job *job)
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

static bool make_workers(struct cli_replay_job *job)
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

static void free_workers(struct cli_replay_job *job)
{
    for (size_t i = 0; job->workers && i < job->options->threads; i++)
        free(job->workers[i].slow);
    free(job->workers);
    free(job->sum);
}

/* While the threads work: progress, and the memory after the warm-up (a tenth of a soak). */
static void watch_threads(struct cli_replay_job *job)
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

static int run_threads(struct cli_replay_job *job)
{
    size_t count = job->options->threads, started;

    job->rss_start = resident_bytes();
    job->shared.begin_ns = cli_now_ns();
    job->shared.end_ns = job->options->loop_s
                             ? job->shared.begin_ns + job->options->loop_s * UINT64_C(1000000000)
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

/* ---- start ----------------------------------------------------------------------------------- */

/* Outages are what a soak is for; anything else that failed is wrong. */
static int judge(const struct cli_replay_job *job)
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

static int run_replay(struct cli_replay_job *job, struct cli_settings *settings)
{
    const struct cli_replay_options *at = job->options;
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
    (at->json ? cli_replay_report_json : cli_replay_report_text)(job);
    if (outcome == CLI_GO_ON)
        outcome = judge(job);
    if (job->with_redis && !at->keep)
        clear_redis(job);
    return outcome;
}

static int check_options(const struct cli_command *command, const struct cli_replay_options *at)
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
    struct cli_replay_options at = {.threads = 1, .value_bytes = 64};
    const struct cli_option options[] = {
        CLI_REDIS_OPTIONS(&at.redis),
        {"policy", CLI_CHOICE, "P", "default, lru or as3", &at.policy, 0, 0, cli_replay_policies},
        {"capacity-entries", CLI_NUMBER, "N", "the cache holds N entries", &at.capacity_entries, 1,
         1u << 30, NULL},
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
    struct cli_replay_job job = {.command = command,
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
