/*
 * cli/progress: one line on standard error that says how far a long command is: bar, share, rate
 * and time left. Drawn on a terminal, or when asked for; at most five times a second.
 */
#ifndef NC_CLI_PROGRESS_H
#define NC_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

/* One thread. */
struct cli_progress {
    const char *unit; /* "rows" */
    uint64_t total;   /* 0: unknown */
    uint64_t begin;   /* done before: they say nothing about the rate */
    uint64_t start_ns;
    uint64_t drawn_ns;
    bool shown;
    bool terminal;
};

/* `always`: also when standard error is no terminal (then one line each time). */
void cli_progress_init(struct cli_progress *progress, const char *unit, uint64_t begin,
                       uint64_t total, bool always);
void cli_progress_update(struct cli_progress *progress, uint64_t done);
/* Draws the last state and ends the line. */
void cli_progress_finish(struct cli_progress *progress, uint64_t done);

#endif
