/*
 * cli/queue: what the subcommands of "nearcache queue" share: their options, opening a queue, and
 * how an outcome becomes a message and an exit status.
 */
#ifndef NC_CLI_QUEUE_H
#define NC_CLI_QUEUE_H

#include "cli/json.h"
#include "cli/settings.h"

#include <nearcache/queue.h>

/* One thread. All zero at first; close it in every case. */
struct cli_queue {
    const struct cli_command *command;
    struct cli_redis_options redis;
    const char *prefix;
    bool json;
    struct cli_settings settings;
    bool has_settings;
    struct nearcache_queue *queue;
};

#define CLI_QUEUE_OPTIONS(at)                                                                      \
    CLI_REDIS_OPTIONS(&(at)->redis),                                                               \
        {"prefix", CLI_TEXT, "P", "how keys begin; default bull", &(at)->prefix, 0, 0, NULL},      \
    {                                                                                              \
        "json", CLI_FLAG, NULL, "one JSON object on standard output", &(at)->json, 0, 0, NULL      \
    }

/* Opens the queue and waits for Redis; complains itself. CLI_GO_ON or an exit status. */
int cli_queue_open(struct cli_queue *at, const struct cli_command *command, const char *name);
/* One more queue with the same settings, for a command that has several. */
int cli_queue_open_more(struct cli_queue *at, const char *name, struct nearcache_queue **queue);
void cli_queue_close(struct cli_queue *at);
/* Waits until Redis answers; complains itself. CLI_GO_ON or an exit status. */
int cli_queue_wait(const struct cli_queue *at);

/* The exit status of an outcome. */
int cli_queue_status(int outcome);
/* Says what went wrong with `what` (a job id, a queue) and returns the exit status; 0 is fine. */
int cli_queue_finish(const struct cli_queue *at, int outcome, const char *what);

extern const struct cli_command cli_queue_add, cli_queue_work, cli_queue_stats, cli_queue_list,
    cli_queue_job, cli_queue_retry, cli_queue_promote, cli_queue_remove, cli_queue_clean,
    cli_queue_pause, cli_queue_resume, cli_queue_drain, cli_queue_schedule, cli_queue_schedules,
    cli_queue_unschedule, cli_queue_events, cli_queue_cron;

#endif
