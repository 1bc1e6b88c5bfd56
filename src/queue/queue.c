#include "queue/queue.h"

#include "base/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

uint64_t nc_queue_now_ms(void) { return nc_clock_wall_us() / 1000; }

uint64_t nc_queue_deadline_ns(const struct nearcache_queue *queue)
{
    return nc_clock_deadline_ns(queue->timeout_us);
}

int nc_queue_usable(const struct nearcache_queue *queue)
{
    if (!queue)
        return NEARCACHE_EINVAL;
    return queue->pid == getpid() ? 0 : NEARCACHE_EFORK;
}

int nc_queue_refuse(const struct nearcache_queue *queue, const char *format, ...)
{
    char line[256];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    nc_log_write(&queue->log, NEARCACHE_LOG_ERROR, "queue %s: %s", queue->name, line);
    return NEARCACHE_EINVAL;
}

int nc_queue_check_json(const struct nearcache_queue *queue, const char *what, const void *json,
                        size_t bytes)
{
    size_t where = 0;
    if (!json && bytes == 0)
        return 0;
    if (!json)
        return NEARCACHE_EINVAL;
    if (bytes > NEARCACHE_JOB_DATA_BYTES) {
        nc_queue_refuse(queue, "%s has %zu bytes, more than allowed", what, bytes);
        return NEARCACHE_ETOOBIG;
    }
    if (nc_json_check(json, bytes, &where))
        return nc_queue_refuse(queue, "%s is not JSON, at byte %zu", what, where);
    return 0;
}

/* ---- talking --------------------------------------------------------------------------------- */

/* A Redis that evicts loses jobs without a trace: said once, after the first answer and in what is
 * left of the time for that. */
static void warn_of_eviction(struct nearcache_queue *queue, uint64_t deadline_ns)
{
    struct nc_args args = {0};
    struct nc_value *answer;
    if (atomic_load(&queue->warned) || atomic_exchange(&queue->warned, true))
        return;
    nc_args_add_string(&args, "INFO");
    nc_args_add_string(&args, "memory");
    int outcome = args.text.failed ? NEARCACHE_ENOMEM
                                   : nc_remote_command(queue->remote, &args, deadline_ns, &answer);
    nc_args_deinit(&args);
    if (outcome) {
        /* Where INFO is forbidden it stays so; else the next call asks. */
        atomic_store(&queue->warned, outcome == NEARCACHE_EREMOTE);
        return;
    }
    const char *policy = nc_value_is_text(answer) ? strstr(answer->str, "maxmemory_policy:") : NULL;
    if (policy && strncmp(policy, "maxmemory_policy:noeviction", 27) != 0)
        nc_log_write(&queue->log, NEARCACHE_LOG_WARNING,
                     "queue %s: Redis may evict (%.*s): jobs can be lost; use noeviction",
                     queue->name, (int)strcspn(policy, "\r\n"), policy);
    nc_value_free(answer);
}

int nc_queue_script(struct nearcache_queue *queue, enum nc_queue_script script,
                    struct nc_args *args, struct nc_value **answer)
{
    int outcome = NEARCACHE_ENOMEM;
    uint64_t deadline_ns = nc_queue_deadline_ns(queue);
    if (!args->text.failed)
        outcome = nc_remote_script(queue->remote, script, queue->keys, args, deadline_ns, answer);
    nc_args_deinit(args);
    if (outcome == 0)
        warn_of_eviction(queue, deadline_ns);
    return outcome;
}

int nc_queue_script_int(struct nearcache_queue *queue, enum nc_queue_script script,
                        struct nc_args *args, int64_t *number)
{
    struct nc_value *answer;
    int outcome = nc_queue_script(queue, script, args, &answer);
    if (outcome)
        return outcome;
    *number = nc_value_int(answer);
    nc_value_free(answer);
    return 0;
}

int nc_queue_command(struct nearcache_queue *queue, struct nc_args *args, struct nc_value **answer)
{
    int outcome = NEARCACHE_ENOMEM;
    uint64_t deadline_ns = nc_queue_deadline_ns(queue);
    if (!args->text.failed)
        outcome = nc_remote_command(queue->remote, args, deadline_ns, answer);
    nc_args_deinit(args);
    if (outcome == 0)
        warn_of_eviction(queue, deadline_ns);
    return outcome;
}

void nc_queue_add_key(const struct nearcache_queue *queue, struct nc_args *args, const char *suffix)
{
    struct nc_text key = {0};
    nc_text_add_string(&key, queue->keys);
    nc_text_add_string(&key, suffix);
    if (key.failed)
        args->text.failed = true;
    else
        nc_args_add(args, key.data, key.bytes);
    nc_text_deinit(&key);
}

/* ---- open and close -------------------------------------------------------------------------- */

static bool is_name(const char *name, size_t most)
{
    size_t bytes = name ? strlen(name) : 0;
    return bytes > 0 && bytes <= most && !strchr(name, ':');
}

static int copy_defaults(struct nearcache_queue *queue, const struct nearcache_job_options *how)
{
    struct nc_options options;
    struct nc_text json = {0};
    if (!how)
        return 0;
    if (nc_struct_copy(&queue->defaults, sizeof queue->defaults, how, sizeof *how))
        return NEARCACHE_EINVAL;
    nc_options_init(&options);
    int outcome = nc_options_resolve(&options, NULL, how, &json);
    if (outcome == NEARCACHE_EINVAL || outcome == NEARCACHE_ENOTSUP)
        nc_queue_refuse(queue, "default options: %s", options.why);
    else if (outcome == 0 && (options.job_id.bytes || options.delay_ms || options.timestamp_ms))
        outcome = nc_queue_refuse(queue, "an id, a delay and a timestamp cannot be defaults");
    nc_options_deinit(&options);
    nc_text_deinit(&json);
    if (outcome)
        return outcome;
    if (how->json) {
        queue->defaults_json = nc_text_copy(how->json, how->json_bytes);
        if (!queue->defaults_json)
            return NEARCACHE_ENOMEM;
        queue->defaults.json = queue->defaults_json;
    }
    queue->has_defaults = true;
    return 0;
}

static void destroy(struct nearcache_queue *queue)
{
    if (queue->remote)
        nc_remote_close(queue->remote);
    free(queue->defaults_json);
    free(queue->keys);
    free(queue->prefix);
    free(queue->name);
    free(queue);
}

static int fill(struct nearcache_queue *queue, const struct nearcache_redis *redis,
                const char *name, const struct nearcache_queue_config *config)
{
    const char *prefix = config->prefix ? config->prefix : NEARCACHE_QUEUE_PREFIX;
    struct nc_text keys = {0};
    nc_text_add_string(&keys, prefix);
    nc_text_add_string(&keys, ":");
    nc_text_add_string(&keys, name);
    nc_text_add_string(&keys, ":");
    queue->name = nc_text_copy(name, strlen(name));
    queue->prefix = nc_text_copy(prefix, strlen(prefix));
    queue->keys = keys.data;
    queue->timeout_us = config->timeout_us ? config->timeout_us : NEARCACHE_QUEUE_TIMEOUT_US;
    queue->max_events = config->max_events;
    queue->pid = getpid();
    queue->preset = -1;
    nc_log_init(&queue->log, config->log, config->log_arg, config->log_level);
    if (keys.failed || !queue->name || !queue->prefix)
        return NEARCACHE_ENOMEM;
    int outcome = copy_defaults(queue, config->defaults);
    return outcome ? outcome : nc_remote_open(&queue->remote, redis, &queue->log);
}

int nearcache_queue_open(struct nearcache_queue **out, const struct nearcache_redis *redis,
                         const char *name, const struct nearcache_queue_config *given)
{
    struct nearcache_queue_config config = NEARCACHE_QUEUE_CONFIG_INIT;
    struct nc_log log;
    if (!out || !redis || (given && nc_struct_copy(&config, sizeof config, given, sizeof config)))
        return NEARCACHE_EINVAL;
    nc_log_init(&log, config.log, config.log_arg, config.log_level);
    if (!is_name(name, NEARCACHE_QUEUE_NAME_BYTES)) {
        nc_log_write(&log, NEARCACHE_LOG_ERROR,
                     "the name of a queue has 1 to %u bytes and no colon",
                     NEARCACHE_QUEUE_NAME_BYTES);
        return NEARCACHE_EINVAL;
    }
    if (config.prefix && (!*config.prefix || strlen(config.prefix) > NEARCACHE_QUEUE_NAME_BYTES)) {
        nc_log_write(&log, NEARCACHE_LOG_ERROR, "the prefix of a queue has 1 to %u bytes",
                     NEARCACHE_QUEUE_NAME_BYTES);
        return NEARCACHE_EINVAL;
    }
    struct nearcache_queue *queue = calloc(1, sizeof *queue);
    if (!queue)
        return NEARCACHE_ENOMEM;
    int outcome = fill(queue, redis, name, &config);
    if (outcome) {
        destroy(queue);
        return outcome;
    }
    *out = queue;
    return 0;
}

int nearcache_queue_close(struct nearcache_queue *queue, uint64_t timeout_us)
{
    (void)timeout_us; /* calls are synchronous: nothing is in flight */
    if (!queue)
        return 0;
    int outcome = nc_queue_usable(queue);
    if (outcome) /* its thread is the parent's, and would be stopped there */
        return outcome;
    if (atomic_load(&queue->children) > 0)
        return NEARCACHE_EBUSY;
    destroy(queue);
    return 0;
}

int nearcache_queue_wait(struct nearcache_queue *queue, uint64_t timeout_us)
{
    struct nc_args args = {0};
    struct nc_value *answer;
    int outcome = nc_queue_usable(queue);
    if (outcome)
        return outcome;
    uint64_t deadline_ns = nc_clock_deadline_ns(timeout_us ? timeout_us : queue->timeout_us);
    nc_args_add_string(&args, "PING");
    for (;;) {
        outcome = args.text.failed ? NEARCACHE_ENOMEM
                                   : nc_remote_command(queue->remote, &args, deadline_ns, &answer);
        if (outcome == 0)
            nc_value_free(answer);
        if (outcome != NEARCACHE_EOFFLINK || nc_clock_io_ns() >= deadline_ns)
            break;
        usleep(10000); /* not reachable yet; the link paces its own attempts */
    }
    nc_args_deinit(&args);
    return outcome;
}

const char *nearcache_queue_name(const struct nearcache_queue *queue) { return queue->name; }
