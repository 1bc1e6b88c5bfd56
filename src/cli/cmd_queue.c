/* cli/cmd_queue: the table of the subcommands of "nearcache queue". */
#include "cli/queue.h"

#include <stdio.h>
#include <string.h>

#define PATIENCE_US 5000000
#define STEP_US 50000

static const struct cli_command *const subcommands[] = {
    &cli_queue_add,      &cli_queue_work,      &cli_queue_stats,      &cli_queue_list,
    &cli_queue_job,      &cli_queue_retry,     &cli_queue_promote,    &cli_queue_remove,
    &cli_queue_clean,    &cli_queue_pause,     &cli_queue_resume,     &cli_queue_drain,
    &cli_queue_schedule, &cli_queue_schedules, &cli_queue_unschedule, &cli_queue_events,
    &cli_queue_cron,
};

#define SUBCOMMAND_COUNT (sizeof subcommands / sizeof subcommands[0])

/* "queue add" -> "add" */
static const char *short_name(const struct cli_command *subcommand)
{
    return strchr(subcommand->name, ' ') + 1;
}

static void print_help(FILE *out)
{
    fputs("usage: nearcache queue SUBCOMMAND [OPTIONS] [ARGUMENTS]\n\nsubcommands:\n", out);
    for (size_t i = 0; i < SUBCOMMAND_COUNT; i++)
        fprintf(out, "  %-11s %s\n", short_name(subcommands[i]), subcommands[i]->summary);
    fputs("\n'nearcache queue SUBCOMMAND --help' lists the options of one.\n", out);
}

static int run(const struct cli_command *self, int argc, char **argv)
{
    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        print_help(stdout);
        return CLI_FINE;
    }
    for (size_t i = 0; argc > 1 && i < SUBCOMMAND_COUNT; i++)
        if (strcmp(short_name(subcommands[i]), argv[1]) == 0)
            return subcommands[i]->run(subcommands[i], argc - 1, argv + 1);
    if (argc > 1)
        cli_error(self, "no subcommand '%s'", argv[1]);
    print_help(stderr);
    return CLI_USAGE;
}

const struct cli_command cli_cmd_queue = {
    .name = "queue",
    .arguments = "SUBCOMMAND ...",
    .summary = "job queues that BullMQ shares: add, work, look, order, schedule",
    .run = run,
};

int cli_queue_open_more(struct cli_queue *at, const char *name, struct nearcache_queue **queue)
{
    struct nearcache_queue_config config = NEARCACHE_QUEUE_CONFIG_INIT;

    config.prefix = at->prefix;
    config.log = cli_log;
    config.log_arg = (void *)(uintptr_t)at->command;
    config.log_level = NEARCACHE_LOG_WARNING;
    int outcome = nearcache_queue_open(queue, &at->settings.redis, name, &config);

    if (outcome == 0)
        return CLI_GO_ON;
    cli_error(at->command, "cannot open queue %s: %s", name, nearcache_strerror(outcome));
    return outcome == NEARCACHE_ENOMEM || outcome == NEARCACHE_EIO ? CLI_WRONG : CLI_USAGE;
}

int cli_queue_wait(const struct cli_queue *at)
{
    uint64_t end_ns = cli_now_ns() + PATIENCE_US * UINT64_C(1000), step_us = STEP_US;
    int outcome = NEARCACHE_ETIMEOUT;

    /* In short steps, so that an interruption is noticed; longer ones where Redis takes its time.
     */
    for (uint64_t now_ns; !cli_interrupted() && (now_ns = cli_now_ns()) < end_ns;) {
        uint64_t left_us = (end_ns - now_ns) / 1000 + 1;
        outcome = nearcache_queue_wait(at->queue, step_us < left_us ? step_us : left_us);
        if (outcome == NEARCACHE_ETIMEOUT)
            step_us *= 2;
        else if (outcome != NEARCACHE_EOFFLINK)
            break;
    }
    if (outcome == 0)
        return CLI_GO_ON;
    return cli_interrupted() ? CLI_INTERRUPTED : cli_queue_finish(at, outcome, "Redis");
}

int cli_queue_open(struct cli_queue *at, const struct cli_command *command, const char *name)
{
    at->command = command;
    int outcome = cli_settings_init(&at->settings, command, &at->redis);

    at->has_settings = true;
    if (outcome != CLI_GO_ON)
        return outcome;
    cli_settings_default_redis(&at->settings);
    outcome = cli_queue_open_more(at, name, &at->queue);
    return outcome == CLI_GO_ON ? cli_queue_wait(at) : outcome;
}

void cli_queue_close(struct cli_queue *at)
{
    nearcache_queue_close(at->queue, 0);
    at->queue = NULL;
    if (at->has_settings)
        cli_settings_deinit(&at->settings);
    at->has_settings = false;
}

int cli_queue_status(int outcome)
{
    switch (outcome) {
    case NEARCACHE_OK:
        return CLI_FINE;
    case NEARCACHE_EOFFLINK:
    case NEARCACHE_ETIMEOUT:
    case NEARCACHE_EAUTH:
        return CLI_UNREACHABLE;
    case NEARCACHE_EINVAL:
    case NEARCACHE_ENOTSUP:
    case NEARCACHE_ETOOBIG:
        return CLI_USAGE;
    default:
        return CLI_WRONG;
    }
}

int cli_queue_finish(const struct cli_queue *at, int outcome, const char *what)
{
    if (outcome == NEARCACHE_MISS)
        cli_error(at->command, "%s: there is none", what);
    else if (outcome == NEARCACHE_EREFUSED)
        cli_error(at->command, "%s: refused: not possible in its state", what);
    else if (outcome != NEARCACHE_OK)
        cli_error(at->command, "%s: %s", what, nearcache_strerror(outcome));
    return cli_queue_status(outcome);
}
