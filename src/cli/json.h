/*
 * cli/json: writes one JSON object as a stream, with escapes, commas and indentation.
 *
 * The caller pairs begin and end; a name is given inside of an object and is NULL inside of an
 * array. Bytes that are not UTF-8 become U+FFFD, numbers that are not finite become null. A writer
 * without a file writes nothing, so that callers need no branches.
 */
#ifndef NC_CLI_JSON_H
#define NC_CLI_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define CLI_JSON_DEPTH 16

/* One thread. */
struct cli_json {
    FILE *out; /* NULL: silent */
    unsigned depth;
    bool empty[CLI_JSON_DEPTH]; /* nothing was written on this level yet */
};

void cli_json_init(struct cli_json *json, FILE *out);

void cli_json_begin_object(struct cli_json *json, const char *name);
void cli_json_end_object(struct cli_json *json);
void cli_json_begin_array(struct cli_json *json, const char *name);
void cli_json_end_array(struct cli_json *json);

void cli_json_text(struct cli_json *json, const char *name, const char *text);
void cli_json_bytes(struct cli_json *json, const char *name, const char *text, size_t bytes);
void cli_json_number(struct cli_json *json, const char *name, uint64_t number);
void cli_json_signed(struct cli_json *json, const char *name, int64_t number);
/* With as many digits after the point as said. */
void cli_json_real(struct cli_json *json, const char *name, double number, int digits);
void cli_json_bool(struct cli_json *json, const char *name, bool yes);
/* A value that is JSON already. */
void cli_json_raw(struct cli_json *json, const char *name, const char *text, size_t bytes);
void cli_json_null(struct cli_json *json, const char *name);

#endif
