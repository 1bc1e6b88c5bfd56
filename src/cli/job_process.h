/*
 * cli/job_process: runs a job as a command of the shell: data on its standard input, the result
 * from its standard output, the reason of a failure from the last line of its standard error.
 */
#ifndef NC_CLI_JOB_PROCESS_H
#define NC_CLI_JOB_PROCESS_H

#include <stdbool.h>
#include <stddef.h>

#include <nearcache/queue.h>

/* Makes room for so many commands at a time; the second interrupt kills those that run. Before the
 * first one. False: out of memory. */
bool cli_job_process_prepare(size_t most);

/* The outcome is said to the job; returns what the library returned for it. Any thread. */
int cli_job_process_run(const char *shell_command, struct nearcache_job *job);

#endif
