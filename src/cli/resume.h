/*
 * cli/resume: a small file that remembers how far a load got, so that it can go on there.
 */
#ifndef NC_CLI_RESUME_H
#define NC_CLI_RESUME_H

#include <stdbool.h>
#include <stdint.h>

enum cli_resume_result {
    CLI_RESUME_NONE,  /* there is no such file: begin */
    CLI_RESUME_FOUND, /* *row is where to go on */
    CLI_RESUME_OTHER, /* it is about something else, or is no such file */
    CLI_RESUME_FAILED /* errno */
};

/* `about` is one line that tells jobs apart. */
enum cli_resume_result cli_resume_read(const char *path, const char *about, uint64_t *row);
/* Replaces the file as a whole. False: errno. */
bool cli_resume_write(const char *path, const char *about, uint64_t row);

#endif
