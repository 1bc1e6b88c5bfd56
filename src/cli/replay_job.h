/*
 * cli/replay_job: one run of `nearcache replay` as a whole, and the report about it.
 */
#ifndef NC_CLI_REPLAY_JOB_H
#define NC_CLI_REPLAY_JOB_H

#include "cli/replay.h"
#include "cli/settings.h"

#include <nearcache/metrics.h>

struct cli_replay_options {
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
struct cli_replay_job {
    const struct cli_command *command;
    const struct cli_replay_options *options;
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

/* The names of enum nearcache_policy, and a NULL. */
extern const char *const cli_replay_policies[];

/* To standard output. */
void cli_replay_report_json(const struct cli_replay_job *job);
void cli_replay_report_text(const struct cli_replay_job *job);

#endif
