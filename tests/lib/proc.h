/*
 * A program driven line by line over pipes, with deadlines; made for `nearcache shell`.
 *
 *     struct proc shell;
 *     const char *const argv[] = {"./nearcache", "shell", NULL};
 *     cr_assert(proc_start(&shell, argv));
 *     cr_assert(proc_send(&shell, "set k v 1000"));
 *     cr_assert(proc_expect(&shell, "OK", 5000));
 *     cr_assert_eq(proc_finish(&shell, 5000), 0);
 *
 * Functions that return bool print one line to standard error when they fail.
 */
#ifndef LIB_PROC_H
#define LIB_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* One thread. */
struct proc {
    pid_t pid; /* 0: it has ended */
    int to;
    int from;
    size_t used; /* bytes in text, of which the first line is the next */
    char text[65536];
    char line[65536]; /* the last line that was read */
};

/* Standard error stays that of the test. */
bool proc_start(struct proc *proc, const char *const *argv);

/* Writes the line and a newline. */
bool proc_send(struct proc *proc, const char *line);

/* The next line without its newline, in proc->line; NULL at the deadline or at the end. */
const char *proc_read(struct proc *proc, int deadline_ms);

/* Reads a line and compares it; both are printed when they differ. */
bool proc_expect(struct proc *proc, const char *line, int deadline_ms);

/* Closes its standard input and waits: the exit status, or 128 + signal. Killed at the deadline. */
int proc_finish(struct proc *proc, int deadline_ms);

/* Sends the signal and waits as proc_finish does. */
int proc_signal(struct proc *proc, int signal, int deadline_ms);

#endif
