/*
 * Adding jobs. Many go into one script call, up to a number and a size that keep other clients of
 * Redis waiting for a few milliseconds at most.
 */
#include "queue/queue.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

#define MAX_CALL_JOBS 250
#define MAX_CALL_BYTES (1 << 20)

/* Appends the eight arguments of one job; see lua/add-1.lua. */
static int add_job(struct nearcache_queue *queue, const struct nearcache_job_spec *job,
                   uint64_t now_ms, struct nc_args *args)
{
    struct nearcache_job_options how;
    struct nc_options options;
    struct nc_text json = {0};
    if (!job->name || !*job->name)
        return nc_queue_refuse(queue, "a job needs a name");
    int outcome = nc_queue_check_json(queue, "the data", job->data, job->data_bytes);
    if (outcome)
        return outcome;
    if (job->how && nc_struct_copy(&how, sizeof how, job->how, sizeof how))
        return nc_queue_refuse(queue, "the options' size is wrong: use their INIT");
    nc_options_init(&options);
    outcome = nc_options_resolve(&options, queue->has_defaults ? &queue->defaults : NULL,
                                 job->how ? &how : NULL, &json);
    if (outcome == NEARCACHE_EINVAL || outcome == NEARCACHE_ENOTSUP)
        nc_queue_refuse(queue, "%s", options.why);
    if (outcome == 0) {
        nc_args_add(args, options.job_id.data, options.job_id.bytes);
        nc_args_add_string(args, job->name);
        nc_args_add(args, job->data ? job->data : "{}", job->data ? job->data_bytes : 2);
        nc_args_add(args, json.data, json.bytes);
        nc_args_add_int(args, options.timestamp_ms ? options.timestamp_ms : (int64_t)now_ms);
        nc_args_add_int(args, options.delay_ms);
        nc_args_add_int(args, options.priority);
        nc_args_add_string(args, options.lifo ? "1" : "");
        outcome = args->text.failed ? NEARCACHE_ENOMEM : 0;
    }
    nc_options_deinit(&options);
    nc_text_deinit(&json);
    return outcome;
}

/* Two elements a job: its id, and whether it is new. */
static int take_ids(const struct nc_value *answer, size_t count, struct nearcache_job_id *ids,
                    int *statuses)
{
    if (!nc_value_is_array(answer, 2 * count))
        return NEARCACHE_EPROTOCOL;
    for (size_t i = 0; i < count; i++) {
        const struct nc_value *id = answer->element[2 * i];
        if (!nc_value_is_text(id) || (size_t)id->len > NEARCACHE_JOB_ID_BYTES)
            return NEARCACHE_EPROTOCOL;
        if (ids)
            memcpy(ids[i].text, id->str, (size_t)id->len + 1);
        statuses[i] = nc_value_int(answer->element[2 * i + 1]) ? 0 : NEARCACHE_MISS;
    }
    return 0;
}

/* One script call over as many jobs as fit; *sent of them. */
static int add_some(struct nearcache_queue *queue, const struct nearcache_job_spec *jobs,
                    size_t count, size_t *sent, struct nearcache_job_id *ids, int *statuses)
{
    struct nc_args args = {0};
    struct nc_value *answer;
    uint64_t now_ms = nc_queue_now_ms();
    nc_args_add_count(&args, queue->max_events);
    size_t i = 0;
    while (i < count && i < MAX_CALL_JOBS && (i == 0 || args.text.bytes < MAX_CALL_BYTES)) {
        int outcome = add_job(queue, &jobs[i], now_ms, &args);
        if (outcome) {
            nc_args_deinit(&args);
            *sent = i;
            return outcome;
        }
        i++;
    }
    *sent = i;
    int outcome = nc_queue_script(queue, NC_QUEUE_SCRIPT_ADD, &args, &answer);
    if (outcome == 0) {
        outcome = take_ids(answer, i, ids, statuses);
        nc_value_free(answer);
    }
    return outcome;
}

/* Looks at every job before the first is sent. */
static int check_all(struct nearcache_queue *queue, const struct nearcache_job_spec *jobs,
                     size_t count, int *statuses)
{
    struct nc_args args = {0};
    int first = 0;
    for (size_t i = 0; i < count; i++) {
        nc_args_clear(&args);
        int outcome = add_job(queue, &jobs[i], 0, &args);
        statuses[i] = outcome ? outcome : NEARCACHE_ECANCELED;
        if (outcome && !first)
            first = outcome;
    }
    nc_args_deinit(&args);
    return first;
}

int nearcache_queue_add_many(struct nearcache_queue *queue, const struct nearcache_job_spec *jobs,
                             size_t count, struct nearcache_job_id *ids, int *statuses)
{
    int *own = NULL, first = nc_queue_usable(queue);
    if (first || (!jobs && count))
        return first ? first : NEARCACHE_EINVAL;
    if (!statuses && count) {
        statuses = own = malloc(count * sizeof *own);
        if (!own)
            return NEARCACHE_ENOMEM;
    }
    /* A single call is checked while it is built: nothing of it is sent then either. */
    if (count > 1)
        first = check_all(queue, jobs, count, statuses);
    for (size_t at = 0; at < count && !first;) {
        size_t sent = 0;
        first = add_some(queue, jobs + at, count - at, &sent, ids ? ids + at : NULL, statuses + at);
        for (size_t i = 0; first && i < (sent ? sent : 1); i++)
            statuses[at + i] = first;
        at += sent;
    }
    free(own);
    return first;
}

int nearcache_queue_add(struct nearcache_queue *queue, const char *name, const void *data,
                        size_t data_bytes, const struct nearcache_job_options *how,
                        struct nearcache_job_id *id)
{
    const struct nearcache_job_spec job = {name, data, data_bytes, how};
    int status = 0;
    int outcome = nearcache_queue_add_many(queue, &job, 1, id, &status);
    return outcome ? outcome : status;
}
