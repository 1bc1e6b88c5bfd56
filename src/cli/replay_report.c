#include "cli/json.h"
#include "cli/replay_job.h"

#include <inttypes.h>
#include <stdio.h>

const char *const cli_replay_policies[] = {"default", "lru", "as3", NULL};

static double micro(const struct cli_latency *latency, double share)
{
    return (double)cli_latency_quantile_ns(latency, share) / 1e3;
}

static double miss_ratio(const struct cli_replay_worker *sum)
{
    uint64_t reads = sum->requests - sum->written;

    return reads ? (double)(reads - sum->hits) / (double)reads : 0;
}

/* Reads and writes of a key that went to Redis, each as one, whatever it is made of there: a read
 * is a transaction of the value, its time to live and the version. */
static uint64_t redis_commands(const struct cli_replay_job *job)
{
    return job->after.flights - job->before.flights + job->after.writes - job->before.writes;
}

static void report_redis(const struct cli_replay_job *job, struct cli_json *json)
{
    const struct cli_replay_worker *sum = job->sum;
    uint64_t commands = redis_commands(job);
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

static void report_slow_calls(const struct cli_replay_job *job, struct cli_json *json)
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

static void report_soak(const struct cli_replay_job *job, struct cli_json *json)
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

void cli_replay_report_json(const struct cli_replay_job *job)
{
    const struct cli_replay_options *at = job->options;
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
    cli_json_number(&json, "evictions", job->after.removed_evicted - job->before.removed_evicted);
    cli_json_number(&json, "expirations", job->after.removed_expired - job->before.removed_expired);
    if (at->capacity_entries) {
        cli_json_number(&json, "capacity_entries", at->capacity_entries);
    } else {
        cli_json_null(&json, "capacity_entries");
        cli_json_number(&json, "capacity_bytes", at->capacity_bytes);
    }
    cli_json_number(&json, "entries", job->after.entries);
    cli_json_number(&json, "bytes_used", job->after.bytes_used);
    cli_json_number(&json, "shards", at->shards);
    cli_json_text(&json, "policy", cli_replay_policies[at->policy]);
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

void cli_replay_report_text(const struct cli_replay_job *job)
{
    const struct cli_replay_options *at = job->options;
    const struct cli_replay_worker *sum = job->sum;

    printf("%s: %" PRIu64 " requests, %" PRIu64 " keys\n", job->path, sum->requests,
           job->trace.unique);
    printf("policy %s, %" PRIu64 " %s, shards %" PRIu64 "%s, threads %" PRIu64 "\n",
           cli_replay_policies[at->policy],
           at->capacity_entries ? at->capacity_entries : at->capacity_bytes,
           at->capacity_entries ? "entries" : "bytes", at->shards,
           at->shards ? "" : " (the library's choice)", at->threads);
    printf("miss ratio %.4f (%" PRIu64 " hits), %" PRIu64 " evicted, %" PRIu64 " expired\n",
           miss_ratio(sum), sum->hits, job->after.removed_evicted - job->before.removed_evicted,
           job->after.removed_expired - job->before.removed_expired);
    printf("%.2f s, look-up p50 %" PRIu64 " ns, p99 %" PRIu64 " ns, p99.9 %" PRIu64 " ns\n",
           job->elapsed_s, cli_latency_quantile_ns(&sum->get, 0.5),
           cli_latency_quantile_ns(&sum->get, 0.99), cli_latency_quantile_ns(&sum->get, 0.999));
    if (job->with_redis)
        printf("Redis: %" PRIu64 " commands; miss p50 %.1f us, p99 %.1f us\n", redis_commands(job),
               micro(&sum->miss, 0.5), micro(&sum->miss, 0.99));
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
