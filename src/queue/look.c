/* Looking at a queue: counts, jobs, lists, logs, workers. */
#include "queue/job.h"

#include <stdlib.h>
#include <string.h>

#define LIST_STEP 100 /* jobs read by one script call */

/* Where the jobs of a state stand: its key, how it is ordered, what ages them. */
static const struct place {
    enum nearcache_job_state state;
    const char *key;
    const char *order;
} places[] = {
    {NEARCACHE_JOB_WAITING, "wait", "list"},
    {NEARCACHE_JOB_ACTIVE, "active", "list"},
    {NEARCACHE_JOB_DELAYED, "delayed", "up"},
    {NEARCACHE_JOB_PRIORITIZED, "prioritized", "up"},
    {NEARCACHE_JOB_COMPLETED, "completed", "down"},
    {NEARCACHE_JOB_FAILED, "failed", "down"},
    {NEARCACHE_JOB_WAITING_CHILDREN, "waiting-children", "down"},
    {NEARCACHE_JOB_PAUSED, "paused", "list"},
};

static const struct place *place_of(enum nearcache_job_state state)
{
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        if (places[i].state == state)
            return &places[i];
    return NULL;
}

int nearcache_queue_stats(struct nearcache_queue *queue, struct nearcache_queue_stats *stats)
{
    struct nc_args args = {0};
    struct nc_value *answer;
    int outcome = nc_queue_usable(queue);
    if (outcome || !stats)
        return outcome ? outcome : NEARCACHE_EINVAL;
    outcome = nc_queue_script(queue, NC_QUEUE_SCRIPT_COUNTS, &args, &answer);
    if (outcome)
        return outcome;
    if (nc_value_is_array(answer, 9)) {
        uint64_t count[9];
        for (int i = 0; i < 9; i++)
            count[i] = (uint64_t)nc_value_int(answer->element[i]);
        *stats = (struct nearcache_queue_stats){count[0], count[1], count[2],
                                                count[3], count[4], count[5],
                                                count[6], count[7], (uint32_t)count[8]};
    } else {
        outcome = NEARCACHE_EPROTOCOL;
    }
    nc_value_free(answer);
    return outcome;
}

/* As is_job() of lua/common-1.lua. */
static bool is_job(const struct nc_value *hash)
{
    for (size_t i = 0; i + 1 < hash->elements; i += 2)
        if (nc_value_is_text(hash->element[i]) && strcmp(hash->element[i]->str, "timestamp") == 0)
            return true;
    return false;
}

int nearcache_queue_job(struct nearcache_queue *queue, const char *id, struct nearcache_job **job)
{
    struct nc_args args = {0};
    struct nc_value *answer;
    int outcome = nc_queue_usable(queue);
    if (outcome || !id || !*id || !job)
        return outcome ? outcome : NEARCACHE_EINVAL;
    nc_args_add_string(&args, "HGETALL");
    nc_queue_add_key(queue, &args, id);
    outcome = nc_queue_command(queue, &args, &answer);
    if (outcome)
        return outcome;
    if (!nc_value_is_array(answer, 0)) {
        outcome = NEARCACHE_EPROTOCOL;
    } else if (!is_job(answer)) {
        outcome = NEARCACHE_MISS;
    } else {
        struct nearcache_job *found =
            nc_job_create(queue, id, strlen(id), answer->element, answer->elements);
        if (found)
            *job = found;
        else
            outcome = NEARCACHE_ENOMEM;
    }
    nc_value_free(answer);
    return outcome;
}

int nearcache_queue_job_state(struct nearcache_queue *queue, const char *id,
                              enum nearcache_job_state *state)
{
    struct nc_args args = {0};
    struct nc_value *answer;
    int outcome = nc_queue_usable(queue);
    if (outcome || !id || !*id || !state)
        return outcome ? outcome : NEARCACHE_EINVAL;
    nc_args_add_string(&args, id);
    outcome = nc_queue_script(queue, NC_QUEUE_SCRIPT_STATE, &args, &answer);
    if (outcome)
        return outcome;
    if (!nc_value_is_text(answer)) {
        outcome = NEARCACHE_EPROTOCOL;
    } else if (answer->len == 0) {
        outcome = NEARCACHE_MISS;
    } else {
        *state = NEARCACHE_JOB_UNKNOWN;
        for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
            if (strcmp(places[i].key, answer->str) == 0)
                *state = places[i].state;
    }
    nc_value_free(answer);
    return outcome;
}

/* The rows of one call of lua/list-1.lua. *seen counts ids, of which some may have no job. */
static int take_rows(struct nearcache_queue *queue, const struct nc_value *answer,
                     struct nearcache_job **jobs, size_t room, size_t *found, size_t *seen)
{
    if (!nc_value_is_array(answer, 2) || !nc_value_is_array(answer->element[1], 0))
        return NEARCACHE_EPROTOCOL;
    const struct nc_value *rows = answer->element[1];
    *seen = (size_t)nc_value_int(answer->element[0]);
    for (size_t i = 0; i < rows->elements && *found < room; i++) {
        const struct nc_value *row = rows->element[i];
        if (!nc_value_is_array(row, 1) || !nc_value_is_text(row->element[0]))
            return NEARCACHE_EPROTOCOL;
        struct nearcache_job *job =
            nc_job_create(queue, row->element[0]->str, (size_t)row->element[0]->len,
                          row->element + 1, row->elements - 1);
        if (!job)
            return NEARCACHE_ENOMEM;
        jobs[(*found)++] = job;
    }
    return 0;
}

int nearcache_queue_list(struct nearcache_queue *queue, enum nearcache_job_state state,
                         uint64_t first, size_t count, struct nearcache_job **jobs, size_t *found)
{
    const struct place *place = place_of(state);
    size_t have = 0, seen = LIST_STEP;
    int outcome = nc_queue_usable(queue);
    if (outcome || !place || (!jobs && count) || !found || first > INT64_MAX / 2)
        return outcome ? outcome : NEARCACHE_EINVAL;
    for (size_t at = 0; at < count && seen == LIST_STEP && !outcome; at += LIST_STEP) {
        struct nc_args args = {0};
        struct nc_value *answer;
        size_t step = count - at < LIST_STEP ? count - at : LIST_STEP;
        nc_args_add_string(&args, place->key);
        nc_args_add_string(&args, place->order);
        nc_args_add_int(&args, (int64_t)(first + at));
        nc_args_add_int(&args, (int64_t)step);
        outcome = nc_queue_script(queue, NC_QUEUE_SCRIPT_LIST, &args, &answer);
        if (outcome)
            break;
        outcome = take_rows(queue, answer, jobs, count, &have, &seen);
        nc_value_free(answer);
    }
    if (outcome) {
        while (have)
            nearcache_job_free(jobs[--have]);
        return outcome;
    }
    *found = have;
    return 0;
}

static int each_element(const struct nc_value *answer, nearcache_text_fn each, void *arg)
{
    if (!nc_value_is_array(answer, 0))
        return NEARCACHE_EPROTOCOL;
    for (size_t i = 0; i < answer->elements; i++) {
        const struct nc_value *line = answer->element[i];
        int stop = nc_value_is_text(line) ? each(arg, line->str, (size_t)line->len) : 0;
        if (stop)
            return stop;
    }
    return 0;
}

int nearcache_queue_job_logs(struct nearcache_queue *queue, const char *id, nearcache_text_fn each,
                             void *arg)
{
    struct nc_args args = {0};
    struct nc_text suffix = {0};
    struct nc_value *answer;
    int outcome = nc_queue_usable(queue);
    if (outcome || !id || !*id || !each)
        return outcome ? outcome : NEARCACHE_EINVAL;
    nc_text_add_format(&suffix, "%s:logs", id);
    nc_args_add_string(&args, "LRANGE");
    nc_queue_add_key(queue, &args, suffix.data ? suffix.data : "");
    nc_args_add_string(&args, "0");
    nc_args_add_string(&args, "-1");
    nc_text_deinit(&suffix);
    outcome = nc_queue_command(queue, &args, &answer);
    if (outcome)
        return outcome;
    outcome = each_element(answer, each, arg);
    nc_value_free(answer);
    return outcome;
}

/* ---- workers --------------------------------------------------------------------------------- */

/* The name= of a line of CLIENT LIST. */
static const char *client_name(const char *line, const char *end, size_t *bytes)
{
    static const char field[] = " name=";
    const char *at = memmem(line, (size_t)(end - line), field, sizeof field - 1);
    if (!at)
        return NULL;
    at += sizeof field - 1;
    const char *blank = memchr(at, ' ', (size_t)(end - at));
    *bytes = (size_t)((blank ? blank : end) - at);
    return at;
}

/* Connections are called "bull:<base64>" or "bull:<base64>:w:<name>"; see queue/worker.c. */
static int each_worker(const struct nearcache_queue *queue, const char *list,
                       nearcache_text_fn each, void *arg)
{
    struct nc_text own = {0};
    int stop = 0;
    nc_text_add_format(&own, "%s:", queue->prefix);
    nc_text_add_base64(&own, queue->name, strlen(queue->name));
    if (own.failed)
        return NEARCACHE_ENOMEM;
    while (*list && !stop) {
        const char *end = list + strcspn(list, "\n");
        size_t bytes = 0;
        const char *name = client_name(list, end, &bytes);
        if (name && bytes >= own.bytes && memcmp(name, own.data, own.bytes) == 0) {
            const char *rest = name + own.bytes;
            size_t left = bytes - own.bytes;
            if (left == 0)
                stop = each(arg, "", 0);
            else if (left > 3 && memcmp(rest, ":w:", 3) == 0) {
                char *copy = nc_text_copy(rest + 3, left - 3);
                stop = copy ? each(arg, copy, left - 3) : NEARCACHE_ENOMEM;
                free(copy);
            }
        }
        list = *end ? end + 1 : end;
    }
    nc_text_deinit(&own);
    return stop;
}

int nearcache_queue_workers(struct nearcache_queue *queue, nearcache_text_fn each, void *arg)
{
    struct nc_args args = {0};
    struct nc_value *answer;
    int outcome = nc_queue_usable(queue);
    if (outcome || !each)
        return outcome ? outcome : NEARCACHE_EINVAL;
    nc_args_add_string(&args, "CLIENT");
    nc_args_add_string(&args, "LIST");
    outcome = nc_queue_command(queue, &args, &answer);
    if (outcome)
        return outcome == NEARCACHE_EREMOTE ? NEARCACHE_ENOTSUP : outcome;
    outcome =
        nc_value_is_text(answer) ? each_worker(queue, answer->str, each, arg) : NEARCACHE_EPROTOCOL;
    nc_value_free(answer);
    return outcome;
}
