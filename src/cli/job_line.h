/*
 * cli/job_line: one line of a file of jobs, {"name":...,"data":...,"opts":{...}}, taken apart
 * without changing a byte of the data. What stands in data and opts is checked by the library.
 */
#ifndef NC_CLI_JOB_LINE_H
#define NC_CLI_JOB_LINE_H

#include <stdbool.h>
#include <stddef.h>

/* Borrowed from the line, but for the name, which is decoded in place. */
struct cli_job_line {
    const char *name;
    const char *data; /* NULL: none */
    size_t data_bytes;
    const char *options; /* NULL: none */
    size_t options_bytes;
};

/* False with a reason in *why (static) when the line is not such an object. */
bool cli_job_line_parse(char *line, size_t bytes, struct cli_job_line *job, const char **why);

/* One JSON value and nothing else, as far as its end goes: the library looks closer. */
bool cli_job_line_is_value(const char *text);

#endif
