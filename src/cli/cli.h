/*
 * cli/cli: what all subcommands share: the table's row, exit codes, messages, interruption.
 *
 * The program is a plain user of the public headers. Results go to standard output, everything
 * else to standard error. A new subcommand is one file cmd_NAME.c and one row in main.c.
 */
#ifndef NC_CLI_CLI_H
#define NC_CLI_CLI_H

#include <nearcache.h>

#include <stdbool.h>
#include <stdint.h>

enum cli_exit {
    CLI_FINE = 0,
    CLI_WRONG = 1, /* something was found wrong, or is partial */
    CLI_USAGE = 2,
    CLI_UNREACHABLE = 3, /* Redis is */
    CLI_INTERRUPTED = 130
};

struct cli_command {
    const char *name;
    const char *arguments; /* what follows the options, for the usage line; may be "" */
    const char *summary;   /* one line */
    const char *details;   /* for --help; may be NULL */
    /* argv[0] is the command's name. Returns an enum cli_exit. */
    int (*run)(const struct cli_command *self, int argc, char **argv);
};

/* "nearcache NAME: text" on standard error. */
void cli_error(const struct cli_command *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The log callback of a cache opened by a command; `arg` is the struct cli_command. */
void cli_log(void *arg, enum nearcache_log_level level, const char *line);

/*
 * From here on the first SIGINT, SIGTERM or SIGHUP is only noted, and ends waits with EINTR; a
 * second one, but for SIGHUP, ends the program at once. A pipe whose reader left is a write error,
 * not a signal.
 */
void cli_catch_interrupts(void);
bool cli_interrupted(void);
/* What the second one, or SIGQUIT, does before the program ends; in a signal handler. */
void cli_at_second_interrupt(void (*act)(void));

/* CLOCK_MONOTONIC. */
uint64_t cli_now_ns(void);
/* Waits, at most until a signal arrives. */
void cli_pause_us(uint64_t us);

extern const struct cli_command cli_cmd_bench;
extern const struct cli_command cli_cmd_check;
extern const struct cli_command cli_cmd_export;
extern const struct cli_command cli_cmd_load;
extern const struct cli_command cli_cmd_metrics;
extern const struct cli_command cli_cmd_queue;
extern const struct cli_command cli_cmd_replay;
extern const struct cli_command cli_cmd_shell;
extern const struct cli_command cli_cmd_stats;

#endif
