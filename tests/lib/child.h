/*
 * Child processes that never outlive the test: killed by the kernel when the thread that started
 * them ends, however it ends, and at exit. Only ever addressed by their own pid.
 *
 * Start children in the main thread of a test: the kernel counts the thread, not the process.
 */
#ifndef LIB_CHILD_H
#define LIB_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

/* The first executable of that name in $PATH. */
bool child_find(const char *program);

/*
 * argv[0] is looked up in $PATH when it has no slash. in, out, err: descriptors for the child, -1
 * for the parent's own; they stay open here. -1 with errno when there is no process; a program that
 * cannot be executed ends with status 127.
 */
pid_t child_start(const char *const *argv, int in, int out, int err);

/* True once, when the child has ended: it is reaped, and *status is that of waitpid. */
bool child_ended(pid_t pid, int *status);

/* Waits until the child has ended, kills it at the deadline; the status of waitpid. */
int child_wait(pid_t pid, int deadline_ms);

/* Kills and reaps. */
void child_kill(pid_t pid);

#endif
