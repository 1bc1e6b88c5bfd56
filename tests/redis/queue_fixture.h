/*
 * Queues on a redis-server of the test's own: opened by name and closed at its end, what Redis
 * answers as text, and a worker whose handler does what a job's data says. One thread, but for the
 * handler's counters.
 */
#ifndef TESTS_QUEUE_FIXTURE_H
#define TESTS_QUEUE_FIXTURE_H

#include "lib/redis_server.h"
#include "lib/wait_until.h"

#include <criterion/criterion.h>
#include <nearcache/queue.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE_MS 20000

static struct redis_server server;
static struct nearcache_redis redis = NEARCACHE_REDIS_INIT;
static struct nearcache_queue *queue;
static char last_log[512];

static void note_log(void *arg, enum nearcache_log_level level, const char *line)
{
    (void)arg;
    (void)level;
    snprintf(last_log, sizeof last_log, "%s", line);
}

static inline struct nearcache_queue *open_queue(const char *name,
                                                 const struct nearcache_job_options *defaults)
{
    struct nearcache_queue_config config = NEARCACHE_QUEUE_CONFIG_INIT;
    struct nearcache_queue *opened = NULL;
    config.log = note_log;
    config.log_level = NEARCACHE_LOG_WARNING;
    config.defaults = defaults;
    cr_assert_eq(nearcache_queue_open(&opened, &redis, name, &config), 0);
    return opened;
}

static inline void queue_setup(void)
{
    cr_assert(redis_server_start(&server, NULL));
    redis.url = server.unix_url;
    queue = open_queue("q", NULL);
}

static inline void queue_teardown(void)
{
    cr_expect_eq(nearcache_queue_close(queue, 0), 0);
    redis_server_stop(&server);
}

/* Redis says exactly `wanted`. */
static inline bool says(const char *wanted, const char *format, ...)
{
    char command[256];
    va_list list;
    va_start(list, format);
    vsnprintf(command, sizeof command, format, list);
    va_end(list);
    char *answer = redis_server_ask(&server, command);
    bool same = answer && strcmp(answer, wanted) == 0;
    if (!same)
        fprintf(stderr, "%s: %s, not %s\n", command, answer ? answer : "nothing", wanted);
    free(answer);
    return same;
}

/* The same without a word: for waiting. */
static inline bool has_become(const char *wanted, const char *command)
{
    char *answer = redis_server_ask(&server, command);
    bool same = answer && strcmp(answer, wanted) == 0;
    free(answer);
    return same;
}

static inline long long number(const char *command)
{
    char *answer = redis_server_ask(&server, command);
    long long value = answer ? atoll(answer) : -1;
    free(answer);
    return value;
}

/* One job with these options as BullMQ's JSON; its id. */
static inline struct nearcache_job_id add(const char *data, const char *options)
{
    struct nearcache_job_options how = NEARCACHE_JOB_OPTIONS_INIT;
    struct nearcache_job_id id;
    how.json = options;
    how.json_bytes = options ? strlen(options) : 0;
    cr_assert_eq(nearcache_queue_add(queue, "n", data, data ? strlen(data) : 0, &how, &id), 0, "%s",
                 last_log);
    return id;
}

static inline struct nearcache_queue_stats stats_of(struct nearcache_queue *of)
{
    struct nearcache_queue_stats stats = {0};
    cr_assert_eq(nearcache_queue_stats(of, &stats), 0);
    return stats;
}

#endif
