#include "queue/job.h"

#include <stdlib.h>
#include <string.h>

/* Copies of all texts stand one behind the other, each with a final zero. */
struct place {
    char *at;
};

static const char *keep(struct place *place, const char *text, size_t bytes)
{
    char *copy = place->at;
    memcpy(copy, text, bytes);
    copy[bytes] = 0;
    place->at += bytes + 1;
    return copy;
}

static uint32_t small(const struct nc_value *value)
{
    int64_t number = nc_value_int(value);
    return number < 0 ? 0 : number > UINT32_MAX ? UINT32_MAX : (uint32_t)number;
}

/* Fields whose value is a text: where it goes, and where its length goes. */
static bool keep_text(struct nearcache_job *job, struct place *place, const char *name,
                      const struct nc_value *value)
{
    struct nearcache_job_info *info = &job->info;
    const struct {
        const char *name;
        const char **text;
        size_t *bytes;
    } texts[] = {{"name", &info->name, NULL},
                 {"data", &info->data, &info->data_bytes},
                 {"opts", &info->options, &info->options_bytes},
                 {"progress", &info->progress, NULL},
                 {"returnvalue", &info->result, &info->result_bytes},
                 {"failedReason", &info->failed_reason, NULL},
                 {"stacktrace", &info->stack_trace, NULL},
                 {"pb", &info->processed_by, NULL},
                 {"rjk", &info->schedule_id, NULL},
                 {"parentKey", &info->parent, NULL},
                 {"defa", &job->deferred_failure, NULL}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (strcmp(texts[i].name, name) == 0) {
            *texts[i].text = keep(place, value->str, (size_t)value->len);
            if (texts[i].bytes)
                *texts[i].bytes = (size_t)value->len;
            return true;
        }
    return false;
}

static void keep_number(struct nearcache_job_info *info, const char *name,
                        const struct nc_value *value)
{
    if (strcmp(name, "timestamp") == 0)
        info->timestamp_ms = nc_value_int(value);
    else if (strcmp(name, "delay") == 0)
        info->delay_ms = nc_value_int(value);
    else if (strcmp(name, "priority") == 0)
        info->priority = small(value);
    else if (strcmp(name, "atm") == 0)
        info->attempts_made = small(value);
    else if (strcmp(name, "ats") == 0)
        info->attempts_started = small(value);
    else if (strcmp(name, "stc") == 0)
        info->stalled = small(value);
    else if (strcmp(name, "processedOn") == 0)
        info->processed_on_ms = nc_value_int(value);
    else if (strcmp(name, "finishedOn") == 0)
        info->finished_on_ms = nc_value_int(value);
}

static size_t texts_bytes(size_t id_bytes, struct nc_value *const *elements, size_t count)
{
    size_t bytes = id_bytes + 1;
    for (size_t i = 1; i < count; i += 2)
        if (nc_value_is_text(elements[i]))
            bytes += (size_t)elements[i]->len + 1;
    return bytes;
}

struct nearcache_job *nc_job_create(struct nearcache_queue *queue, const char *id, size_t id_bytes,
                                    struct nc_value *const *elements, size_t count)
{
    struct nearcache_job *job = calloc(1, sizeof *job);
    if (!job)
        return NULL;
    job->texts = malloc(texts_bytes(id_bytes, elements, count));
    if (!job->texts) {
        free(job);
        return NULL;
    }
    struct place place = {job->texts};
    job->queue = queue;
    job->info.id = keep(&place, id, id_bytes);
    job->id_bytes = id_bytes;
    job->info.queue = queue->name;
    for (size_t i = 0; i + 1 < count; i += 2) {
        if (!nc_value_is_text(elements[i]) || !nc_value_is_text(elements[i + 1]))
            continue;
        if (!keep_text(job, &place, elements[i]->str, elements[i + 1]))
            keep_number(&job->info, elements[i]->str, elements[i + 1]);
    }
    if (!job->info.name)
        job->info.name = "";
    if (!job->info.data) {
        job->info.data = "{}";
        job->info.data_bytes = 2;
    }
    if (!job->info.options) {
        job->info.options = "{}";
        job->info.options_bytes = 2;
    }
    nc_options_read(&job->options, job->info.options, job->info.options_bytes);
    job->info.attempts = job->options.attempts ? job->options.attempts : 1;
    job->has_deferred_failure = job->deferred_failure != NULL;
    return job;
}

void nearcache_job_free(struct nearcache_job *job)
{
    if (!job)
        return;
    nc_options_deinit(&job->options);
    nc_text_deinit(&job->text);
    free(job->texts);
    free(job);
}

const struct nearcache_job_info *nearcache_job_info(const struct nearcache_job *job)
{
    return &job->info;
}

const char *nearcache_job_state_name(enum nearcache_job_state state)
{
    static const char *const names[] = {"unknown", "waiting",          "active",
                                        "delayed", "prioritized",      "completed",
                                        "failed",  "waiting-children", "paused"};
    return state <= NEARCACHE_JOB_PAUSED ? names[state] : names[0];
}

/* ---- what a handler says --------------------------------------------------------------------- */

static int say(struct nearcache_job *job, enum nc_outcome outcome, const void *text, size_t bytes)
{
    nc_text_clear(&job->text);
    nc_text_add(&job->text, text, bytes);
    if (job->text.failed)
        return NEARCACHE_ENOMEM;
    job->outcome = outcome;
    return 0;
}

int nearcache_job_return(struct nearcache_job *job, const void *json, size_t bytes)
{
    if (!job || !job->worker)
        return NEARCACHE_EINVAL;
    job->unrecoverable = false;
    if (!json && bytes == 0)
        return say(job, NC_OUTCOME_COMPLETED, "null", 4);
    int outcome = nc_queue_check_json(job->queue, "a result", json, bytes);
    if (outcome == 0)
        return say(job, NC_OUTCOME_COMPLETED, json, bytes);
    static const char reason[] = "the result of the handler is not valid JSON";
    (void)say(job, NC_OUTCOME_FAILED, reason, sizeof reason - 1);
    return outcome;
}

/* Reasons are shown by tools that expect text: what is not UTF-8 becomes U+FFFD. */
static void add_utf8(struct nc_text *text, const char *bytes)
{
    const unsigned char *at = (const unsigned char *)bytes;
    size_t left = strlen(bytes);
    while (left) {
        size_t length = nc_json_utf8(at, left);
        nc_text_add(text, length ? (const char *)at : "\xef\xbf\xbd", length ? length : 3);
        at += length ? length : 1;
        left -= length ? length : 1;
    }
}

int nearcache_job_fail(struct nearcache_job *job, const char *reason, unsigned flags)
{
    if (!job || !job->worker || (flags & ~(unsigned)NEARCACHE_JOB_UNRECOVERABLE))
        return NEARCACHE_EINVAL;
    nc_text_clear(&job->text);
    add_utf8(&job->text, reason ? reason : "failed");
    nc_text_add(&job->text, "", 0);
    if (job->text.failed)
        return NEARCACHE_ENOMEM;
    job->outcome = NC_OUTCOME_FAILED;
    job->unrecoverable = flags & NEARCACHE_JOB_UNRECOVERABLE;
    return 0;
}

int nearcache_job_delay(struct nearcache_job *job, uint64_t delay_ms)
{
    if (!job || !job->worker || delay_ms > INT64_MAX / 8192)
        return NEARCACHE_EINVAL;
    job->delay_ms = delay_ms;
    return say(job, NC_OUTCOME_LATER, "", 0);
}

int nearcache_job_progress(struct nearcache_job *job, const void *json, size_t bytes)
{
    struct nc_args args = {0};
    int64_t done = 0;
    if (!job || !json)
        return NEARCACHE_EINVAL;
    int outcome = nc_queue_usable(job->queue);
    if (outcome == 0)
        outcome = nc_queue_check_json(job->queue, "progress", json, bytes);
    if (outcome)
        return outcome;
    nc_args_add(&args, job->info.id, job->id_bytes);
    nc_args_add(&args, json, bytes);
    outcome = nc_queue_script_int(job->queue, NC_QUEUE_SCRIPT_PROGRESS, &args, &done);
    return outcome ? outcome : done == 1 ? 0 : NEARCACHE_MISS;
}

int nearcache_job_log(struct nearcache_job *job, const char *line)
{
    struct nc_args args = {0};
    int64_t done = 0;
    if (!job || !line)
        return NEARCACHE_EINVAL;
    int outcome = nc_queue_usable(job->queue);
    if (outcome)
        return outcome;
    nc_args_add(&args, job->info.id, job->id_bytes);
    nc_args_add_string(&args, line);
    nc_args_add_count(&args, (uint64_t)job->options.keep_logs);
    outcome = nc_queue_script_int(job->queue, NC_QUEUE_SCRIPT_LOG, &args, &done);
    return outcome ? outcome : done == 1 ? 0 : NEARCACHE_MISS;
}

int nearcache_job_cancelled(const struct nearcache_job *job)
{
    /* Pairs with the store of the keeper thread; only the flag itself travels. */
    return atomic_load_explicit(&job->cancelled, memory_order_relaxed);
}
