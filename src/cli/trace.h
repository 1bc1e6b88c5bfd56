/*
 * cli/trace: a recorded sequence of look-ups: raw little-endian integers, optionally in gzip.
 * `.u64` files hold one key id a request, `.t32` files the seconds since the start.
 */
#ifndef NC_CLI_TRACE_H
#define NC_CLI_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CLI_TRACE_PROBLEM_BYTES 256

/* Read-only once loaded. */
struct cli_trace {
    uint64_t *ids;
    uint32_t *seconds; /* NULL without times; never runs backwards */
    size_t count;
    uint64_t unique;
};

/* `times_path` may be NULL. False: `problem`, and nothing to deinit. */
bool cli_trace_init(struct cli_trace *trace, const char *path, const char *times_path,
                    char problem[CLI_TRACE_PROBLEM_BYTES]);
void cli_trace_deinit(struct cli_trace *trace);

#endif
