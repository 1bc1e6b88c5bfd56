/* The three queues of the fashion search service, with their names, defaults and schedules. */
#include "queue/queue.h"

#include <stdlib.h>
#include <string.h>

#define DAY_MS UINT64_C(86400000)
#define CLEAN_LIMIT 100

static const struct preset {
    const char *name, *job_name, *cron;
    uint32_t attempts;
    uint64_t backoff_ms, keep_completed, keep_failed;
} presets[] = {
    [NEARCACHE_QUEUE_PRODUCTS] = {"product-refresh", "refresh-products", "0 2 * * *", 3, 1000, 100,
                                  500},
    [NEARCACHE_QUEUE_EMBEDDINGS] = {"embedding-computation", "compute-embedding", NULL, 2, 2000, 50,
                                    200},
    [NEARCACHE_QUEUE_ANALYTICS] = {"analytics-processing", "process-analytics", "0 0 * * *", 1, 0,
                                   20, 100},
};

int nearcache_queue_open_preset(struct nearcache_queue **queue, const struct nearcache_redis *redis,
                                enum nearcache_preset_queue which,
                                const struct nearcache_queue_config *given)
{
    struct nearcache_queue_config config = NEARCACHE_QUEUE_CONFIG_INIT;
    struct nearcache_job_options defaults = NEARCACHE_JOB_OPTIONS_INIT;
    if (which > NEARCACHE_QUEUE_ANALYTICS)
        return NEARCACHE_EINVAL;
    if (given && (nc_struct_copy(&config, sizeof config, given, sizeof config) || config.defaults))
        return NEARCACHE_EINVAL;
    const struct preset *preset = &presets[which];
    config.size = sizeof config;
    defaults.attempts = preset->attempts;
    if (preset->backoff_ms) {
        defaults.backoff = NEARCACHE_BACKOFF_EXPONENTIAL;
        defaults.backoff_delay_ms = preset->backoff_ms;
    }
    defaults.complete = (struct nearcache_keep){NEARCACHE_KEEP_SOME, preset->keep_completed, 0, 0};
    defaults.fail = (struct nearcache_keep){NEARCACHE_KEEP_SOME, preset->keep_failed, 0, 0};
    config.defaults = &defaults;
    int outcome = nearcache_queue_open(queue, redis, preset->name, &config);
    if (outcome == 0)
        (*queue)->preset = (int)which;
    return outcome;
}

static const struct preset *preset_of(const struct nearcache_queue *queue, int wanted)
{
    if (!queue || queue->preset < 0 || (wanted >= 0 && queue->preset != wanted))
        return NULL;
    return &presets[queue->preset];
}

static void add_member(struct nc_text *json, const char *name, const char *value)
{
    if (!value)
        return;
    nc_text_add_format(json, "%s\"%s\":", json->bytes > 1 ? "," : "", name);
    nc_json_add_string(json, value, strlen(value));
}

int nearcache_queue_schedule_preset(struct nearcache_queue *queue, const char *tz, int64_t *next_ms)
{
    static const char all[] = "{\"marketplace\":\"amazon\"}";
    static const char daily[] = "{\"type\":\"daily\"}";
    struct nearcache_schedule schedule = NEARCACHE_SCHEDULE_INIT;
    const struct preset *preset = preset_of(queue, -1);
    if (!preset)
        return NEARCACHE_EINVAL;
    if (!preset->cron)
        return NEARCACHE_ENOTSUP;
    bool is_analytics = queue->preset == NEARCACHE_QUEUE_ANALYTICS;
    schedule.cron = preset->cron;
    schedule.tz = tz;
    schedule.job_name = preset->job_name;
    schedule.data = is_analytics ? daily : all;
    schedule.data_bytes = is_analytics ? sizeof daily - 1 : sizeof all - 1;
    return nearcache_queue_schedule(queue, is_analytics ? "daily-analytics" : "daily-refresh",
                                    &schedule, next_ms);
}

/* ---- product-refresh ------------------------------------------------------------------------- */

static void write_refresh(struct nc_text *json, const char *marketplace, const char *category,
                          uint64_t limit)
{
    nc_text_add_string(json, "{");
    add_member(json, "marketplace", marketplace);
    add_member(json, "category", category);
    if (limit)
        nc_text_add_format(json, ",\"limit\":%llu", (unsigned long long)limit);
    nc_text_add_string(json, "}");
}

int nearcache_queue_refresh_products(struct nearcache_queue *queue, const char *marketplace,
                                     const char *category, uint64_t limit,
                                     struct nearcache_job_id *id)
{
    static const char *const all[] = {"top", "bottom", "shoes", "accessories"};
    struct nearcache_job_options how = NEARCACHE_JOB_OPTIONS_INIT;
    struct nearcache_job_spec jobs[4];
    struct nearcache_job_id ids[4];
    struct nc_text data[4] = {{0}};
    const struct preset *preset = preset_of(queue, NEARCACHE_QUEUE_PRODUCTS);
    size_t count = category ? 1 : 4;
    if (!preset || !marketplace ||
        (strcmp(marketplace, "amazon") != 0 && strcmp(marketplace, "flipkart") != 0))
        return NEARCACHE_EINVAL;
    how.priority = category ? 1 : 2;
    int outcome = 0;
    for (size_t i = 0; i < count; i++) {
        write_refresh(&data[i], marketplace, category ? category : all[i], category ? limit : 100);
        if (data[i].failed)
            outcome = NEARCACHE_ENOMEM;
        jobs[i] = (struct nearcache_job_spec){preset->job_name, data[i].data, data[i].bytes, &how};
    }
    if (outcome == 0)
        outcome = nearcache_queue_add_many(queue, jobs, count, ids, NULL);
    if (outcome == 0 && id)
        *id = ids[count - 1];
    for (size_t i = 0; i < count; i++)
        nc_text_deinit(&data[i]);
    return outcome;
}

/* ---- embedding-computation ------------------------------------------------------------------- */

static void write_embedding(struct nc_text *json, const struct nearcache_embedding_request *request)
{
    nc_text_add_string(json, "{");
    add_member(json, "productId", request->product_id);
    add_member(json, "imageUrl", request->image_url);
    add_member(json, "title", request->title);
    add_member(json, "category", request->category);
    nc_text_add_string(json, "}");
}

int nearcache_queue_compute_embeddings(struct nearcache_queue *queue,
                                       const struct nearcache_embedding_request *requests,
                                       size_t count, unsigned fresh, struct nearcache_job_id *ids)
{
    struct nearcache_job_options how = NEARCACHE_JOB_OPTIONS_INIT;
    const struct preset *preset = preset_of(queue, NEARCACHE_QUEUE_EMBEDDINGS);
    if (!preset || (!requests && count))
        return NEARCACHE_EINVAL;
    for (size_t i = 0; i < count; i++)
        if (!requests[i].product_id)
            return NEARCACHE_EINVAL;
    if (count == 0)
        return 0;
    how.priority = fresh ? 0 : count == 1 ? 1 : 2;
    struct nearcache_job_spec *jobs = calloc(count, sizeof *jobs);
    struct nc_text *data = calloc(count, sizeof *data);
    int outcome = jobs && data ? 0 : NEARCACHE_ENOMEM;
    for (size_t i = 0; i < count && !outcome; i++) {
        write_embedding(&data[i], &requests[i]);
        if (data[i].failed)
            outcome = NEARCACHE_ENOMEM;
        else
            jobs[i] =
                (struct nearcache_job_spec){preset->job_name, data[i].data, data[i].bytes, &how};
    }
    if (!outcome)
        outcome = nearcache_queue_add_many(queue, jobs, count, ids, NULL);
    for (size_t i = 0; data && i < count; i++)
        nc_text_deinit(&data[i]);
    free(data);
    free(jobs);
    return outcome;
}

/* ---- analytics-processing -------------------------------------------------------------------- */

int nearcache_queue_process_analytics(struct nearcache_queue *queue, const char *type,
                                      const char *start_date, const char *end_date,
                                      const char *metrics, struct nearcache_job_id *id)
{
    static const char *const types[] = {"daily", "weekly", "monthly", "custom"};
    const struct preset *preset = preset_of(queue, NEARCACHE_QUEUE_ANALYTICS);
    struct nc_text json = {0};
    bool is_known = false;
    for (size_t i = 0; type && i < sizeof types / sizeof types[0]; i++)
        is_known = is_known || strcmp(type, types[i]) == 0;
    if (!preset || !is_known)
        return NEARCACHE_EINVAL;
    if (metrics && nc_queue_check_json(queue, "metrics", metrics, strlen(metrics)))
        return NEARCACHE_EINVAL;
    nc_text_add_string(&json, "{");
    add_member(&json, "type", type);
    add_member(&json, "startDate", start_date);
    add_member(&json, "endDate", end_date);
    if (metrics)
        nc_text_add_format(&json, ",\"metrics\":%s", metrics);
    nc_text_add_string(&json, "}");
    int outcome =
        json.failed ? NEARCACHE_ENOMEM
                    : nearcache_queue_add(queue, preset->job_name, json.data, json.bytes, NULL, id);
    nc_text_deinit(&json);
    return outcome;
}

int nearcache_queue_clean_preset(struct nearcache_queue *queue, uint64_t *removed)
{
    uint64_t completed = 0, failed = 0;
    int outcome =
        nearcache_queue_clean(queue, NEARCACHE_JOB_COMPLETED, 7 * DAY_MS, CLEAN_LIMIT, &completed);
    if (outcome == 0)
        outcome =
            nearcache_queue_clean(queue, NEARCACHE_JOB_FAILED, 30 * DAY_MS, CLEAN_LIMIT, &failed);
    if (removed)
        *removed = completed + failed;
    return outcome;
}
