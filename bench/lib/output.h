/*
 * What a bench prints, in four forms that all say the same:
 *   a table for people on stdout, progress on stderr,
 *   `GOAL name value q1 q3 rounds` and `SKIP name reason` lines on stdout for the goals driver,
 *   JSON, one object a line, appended to the file of `--json` for the report.
 * The thresholds are not here: bench/goals.txt holds them, a bench only measures.
 */
#ifndef BENCH_OUTPUT_H
#define BENCH_OUTPUT_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/stats.h"

/* Read-only after bench_begin. */
struct bench_options {
    const char *bench; /* the program's name without bench_ */
    const char *json;  /* NULL: none */
    const char *only;  /* run cases whose name contains this; NULL: all */
    bool quick;        /* shorter stretches, smaller sets: a look, not a result */
    int rounds;
    unsigned max_threads;
    unsigned warm_ms;
    unsigned measure_ms;
};

/* Parses the options, calibrates the timer, opens the JSON file. Exits on --help or nonsense. */
struct bench_options bench_begin(int argc, char **argv, const char *bench, const char *what);
/* Prints the noise statement and closes the file. */
void bench_end(void);

/* True unless --only rules the case out. */
bool bench_wants(const struct bench_options *options, const char *name);

/* A table: one title, then rows of median and spread. */
void bench_table(const char *title, const char *unit);
void bench_row(const char *group, const char *series, const char *unit,
               const struct bench_rounds *rounds);

/* A point of a plot of the report. `ylow` and `yhigh` may equal y. */
struct bench_plot {
    const char *id, *title, *xlabel, *ylabel;
    bool xlog, ylog;
};
void bench_point(const struct bench_plot *plot, const char *series, double x, double y, double ylow,
                 double yhigh);

void bench_goal(const char *name, const struct bench_summary *ratio);
void bench_goal_skip(const char *name, const char *reason);
void bench_skip(const char *what, const char *reason);

/* Noise: the ratio of a candidate against itself, and time that other work took. */
void bench_noise_same(const struct bench_summary *ratio);
void bench_noise_stolen(double share);

void bench_progress(const char *format, ...) __attribute__((format(printf, 1, 2)));
void bench_die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

#endif
