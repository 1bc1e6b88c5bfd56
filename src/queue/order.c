/* Giving orders: retry, promote, remove, clean, drain, obliterate, pause, limits. */
#include "queue/queue.h"

#include <string.h>

#define MAX_DURATION_MS ((uint64_t)1 << 40) /* 34 years */
#define CLEAN_STEP 500                      /* jobs looked at by one script call */
#define OBLITERATE_STEP 1000

/* Why a state forbids an order: the code alone does not tell. */
static int forbid(const struct nearcache_queue *queue, const char *id, const char *why)
{
    nc_log_write(&queue->log, NEARCACHE_LOG_ERROR, "queue %s: job %.80s %s", queue->name, id, why);
    return NEARCACHE_EREFUSED;
}

static const char *why_not(enum nc_queue_script script, int64_t code)
{
    if (script == NC_QUEUE_SCRIPT_RETRY)
        return "has not ended, so it cannot be run again";
    if (script == NC_QUEUE_SCRIPT_PROMOTE)
        return "is not delayed, so it cannot be promoted";
    return code == 0    ? "is held by a worker: remove it when it has ended"
           : code == -8 ? "is the next one of a schedule: end that to remove it"
                        : "belongs to a flow, whose other jobs would wait for it";
}

/* A script on one job that answers 1, -1 for no such job, or another number for a refusal. */
static int order_job(struct nearcache_queue *queue, enum nc_queue_script script, const char *id,
                     const char *flag)
{
    struct nc_args args = {0};
    int64_t code = 0;
    int outcome = nc_queue_usable(queue);
    if (outcome || !id || !*id)
        return outcome ? outcome : NEARCACHE_EINVAL;
    nc_args_add_string(&args, id);
    if (flag)
        nc_args_add_string(&args, flag);
    outcome = nc_queue_script_int(queue, script, &args, &code);
    if (outcome)
        return outcome;
    if (code == 1 || code == -1)
        return code == 1 ? 0 : NEARCACHE_MISS;
    return forbid(queue, id, why_not(script, code));
}

int nearcache_queue_retry(struct nearcache_queue *queue, const char *id, unsigned reset_attempts)
{
    return order_job(queue, NC_QUEUE_SCRIPT_RETRY, id, reset_attempts ? "1" : "");
}

int nearcache_queue_promote(struct nearcache_queue *queue, const char *id)
{
    return order_job(queue, NC_QUEUE_SCRIPT_PROMOTE, id, NULL);
}

int nearcache_queue_remove(struct nearcache_queue *queue, const char *id)
{
    return order_job(queue, NC_QUEUE_SCRIPT_REMOVE, id, NULL);
}

static int pause_or_resume(struct nearcache_queue *queue, const char *what)
{
    struct nc_args args = {0};
    int64_t code = 0;
    int outcome = nc_queue_usable(queue);
    if (outcome)
        return outcome;
    nc_args_add_string(&args, what);
    return nc_queue_script_int(queue, NC_QUEUE_SCRIPT_PAUSE, &args, &code);
}

int nearcache_queue_pause(struct nearcache_queue *queue)
{
    return pause_or_resume(queue, "paused");
}

int nearcache_queue_resume(struct nearcache_queue *queue)
{
    return pause_or_resume(queue, "resumed");
}

/* ---- cleaning -------------------------------------------------------------------------------- */

static const struct target {
    enum nearcache_job_state state;
    const char *key, *kind, *age;
} targets[] = {
    {NEARCACHE_JOB_COMPLETED, "completed", "zset", "score"},
    {NEARCACHE_JOB_FAILED, "failed", "zset", "score"},
    {NEARCACHE_JOB_DELAYED, "delayed", "zset", "created"},
    {NEARCACHE_JOB_PRIORITIZED, "prioritized", "zset", "created"},
    {NEARCACHE_JOB_WAITING, "wait", "list", "created"},
    {NEARCACHE_JOB_PAUSED, "paused", "list", "created"},
};

/* One script call; *gone and *stayed of those looked at. */
static int clean_some(struct nearcache_queue *queue, const struct target *target, int64_t until_ms,
                      uint64_t most, uint64_t first, uint64_t *gone, uint64_t *stayed)
{
    struct nc_args args = {0};
    struct nc_value *answer;
    nc_args_add_string(&args, target->key);
    nc_args_add_string(&args, target->kind);
    nc_args_add_string(&args, target->age);
    nc_args_add_int(&args, until_ms);
    nc_args_add_int(&args, (int64_t)most);
    nc_args_add_int(&args, (int64_t)first);
    int outcome = nc_queue_script(queue, NC_QUEUE_SCRIPT_CLEAN, &args, &answer);
    if (outcome)
        return outcome;
    if (nc_value_is_array(answer, 2)) {
        *gone = (uint64_t)nc_value_int(answer->element[0]);
        *stayed = (uint64_t)nc_value_int(answer->element[1]);
    } else {
        outcome = NEARCACHE_EPROTOCOL;
    }
    nc_value_free(answer);
    return outcome;
}

static int clean(struct nearcache_queue *queue, const struct target *target, int64_t until_ms,
                 uint64_t limit, uint64_t *removed)
{
    uint64_t total = 0, kept = 0, gone = 1, stayed = 1;
    int outcome = 0;
    while (!outcome && gone + stayed > 0 && (limit == 0 || total < limit)) {
        uint64_t most = limit && limit - total < CLEAN_STEP ? limit - total : CLEAN_STEP;
        gone = stayed = 0;
        outcome = clean_some(queue, target, until_ms, most, kept, &gone, &stayed);
        total += gone;
        kept += stayed;
    }
    if (removed)
        *removed = total;
    return outcome;
}

static int clean_state(struct nearcache_queue *queue, enum nearcache_job_state state,
                       int64_t until_ms, uint64_t limit, uint64_t *removed)
{
    int outcome = nc_queue_usable(queue);
    if (outcome)
        return outcome;
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++)
        if (targets[i].state == state)
            return clean(queue, &targets[i], until_ms, limit, removed);
    return NEARCACHE_EINVAL;
}

int nearcache_queue_clean(struct nearcache_queue *queue, enum nearcache_job_state state,
                          uint64_t grace_ms, uint64_t limit, uint64_t *removed)
{
    uint64_t now_ms = nc_queue_now_ms();
    return clean_state(queue, state, grace_ms > now_ms ? 0 : (int64_t)(now_ms - grace_ms), limit,
                       removed);
}

int nearcache_queue_drain(struct nearcache_queue *queue, unsigned delayed)
{
    static const enum nearcache_job_state states[] = {NEARCACHE_JOB_WAITING, NEARCACHE_JOB_PAUSED,
                                                      NEARCACHE_JOB_PRIORITIZED,
                                                      NEARCACHE_JOB_DELAYED};
    int outcome = 0;
    for (size_t i = 0; i < (delayed ? 4u : 3u) && !outcome; i++)
        outcome = clean_state(queue, states[i], INT64_MAX, 0, NULL); /* clocks may be apart */
    return outcome;
}

int nearcache_queue_obliterate(struct nearcache_queue *queue, unsigned force)
{
    int64_t code = 1;
    int outcome = nc_queue_usable(queue);
    while (!outcome && code == 1) {
        struct nc_args args = {0};
        nc_args_add_string(&args, force ? "1" : "");
        nc_args_add_int(&args, OBLITERATE_STEP);
        outcome = nc_queue_script_int(queue, NC_QUEUE_SCRIPT_OBLITERATE, &args, &code);
    }
    if (outcome || code == 0)
        return outcome;
    nc_log_write(&queue->log, NEARCACHE_LOG_ERROR, "queue %s: %s", queue->name,
                 code == -1 ? "only a paused queue can be obliterated"
                            : "jobs are active: wait for their end or obliterate by force");
    return NEARCACHE_EREFUSED;
}

/* ---- limits ---------------------------------------------------------------------------------- */

static int set_meta(struct nearcache_queue *queue, const char *const *names, const uint64_t *values,
                    size_t count)
{
    struct nc_args args = {0};
    struct nc_value *answer;
    bool off = values[0] == 0 || values[0] == NEARCACHE_NONE;
    nc_args_add_string(&args, off ? "HDEL" : "HSET");
    nc_queue_add_key(queue, &args, "meta");
    for (size_t i = 0; i < count; i++) {
        nc_args_add_string(&args, names[i]);
        if (!off)
            nc_args_add_count(&args, values[i]);
    }
    int outcome = nc_queue_command(queue, &args, &answer);
    if (outcome == 0)
        nc_value_free(answer);
    return outcome;
}

int nearcache_queue_set_concurrency(struct nearcache_queue *queue, uint64_t most)
{
    static const char *const names[] = {"concurrency"};
    int outcome = nc_queue_usable(queue);
    if (outcome)
        return outcome;
    if (most > INT64_MAX && most != NEARCACHE_NONE)
        return nc_queue_refuse(queue, "the concurrency is at most 2^63 - 1");
    return set_meta(queue, names, &most, 1);
}

int nearcache_queue_set_rate(struct nearcache_queue *queue, uint64_t most, uint64_t duration_ms)
{
    static const char *const names[] = {"max", "duration"};
    const uint64_t values[] = {most, duration_ms};
    int outcome = nc_queue_usable(queue);
    if (outcome)
        return outcome;
    if (most && most != NEARCACHE_NONE &&
        (most > INT64_MAX || duration_ms == 0 || duration_ms > MAX_DURATION_MS))
        return nc_queue_refuse(queue, "a rate is at most 2^63 - 1 jobs in 1 to %llu ms",
                               (unsigned long long)MAX_DURATION_MS);
    return set_meta(queue, names, values, 2);
}
