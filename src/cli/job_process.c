#include "cli/job_process.h"

#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MOST_OUTPUT_BYTES (64u << 20)
#define ERROR_BYTES 4096     /* of the end of standard error */
#define LOOK_US 200000       /* how often a running command looks for cancellation */
#define FIRST_LOOK_US 50     /* after one that has closed all its outputs */
#define ROUNDS_AFTER_END 256 /* enough for full pipes */

extern char **environ;

/* One thread. A running command. */
struct process {
    struct nearcache_job *job;
    pid_t pid;
    int in, out, err; /* our ends; -1: closed */
    size_t written;   /* of the data */
    char *output;
    size_t output_bytes, output_room;
    bool too_much;
    char errors[ERROR_BYTES];
    size_t error_bytes;
    bool told_to_end;
    bool ended; /* and waited for */
    int status;
};

static void close_end(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* ---- what runs, for who has to end it at once ------------------------------------------------ */

/* Process groups, 0: free. Read by the signal handler; made before and never freed. */
static _Atomic pid_t *groups;
static size_t group_count;
/* Commands that may run before their group stands there; a thread counts only while no signal
 * comes to it. Both sequential: who starts one and who ends them all each see the other. */
static _Atomic uint32_t starting;
static _Atomic bool ending;

#define START_MS 2000 /* how long the end waits for those */

static void kill_all(void)
{
    atomic_store(&ending, true);
    for (int i = 0; i < START_MS && atomic_load(&starting); i++)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    for (size_t i = 0; i < group_count; i++) {
        pid_t group = atomic_load(&groups[i]);
        if (group > 0)
            kill(-group, SIGKILL);
    }
}

bool cli_job_process_prepare(size_t most)
{
    /* Ignored by inheritance, it would make exit statuses vanish. */
    signal(SIGCHLD, SIG_DFL);
    groups = calloc(most, sizeof *groups);
    if (!groups)
        return false;
    group_count = most;
    cli_at_second_interrupt(kill_all);
    return true;
}

/* What the end of all killed has not failed: nothing more is said of jobs, they become stalled. Who
 * has waited for such a command sees the mark, which was set before the kill. */
static void stop_if_ending(void)
{
    while (atomic_load(&ending))
        pause();
}

static void replace_group(pid_t is, pid_t becomes)
{
    for (size_t i = 0; i < group_count; i++) {
        pid_t expected = is;
        if (atomic_compare_exchange_strong(&groups[i], &expected, becomes))
            return;
    }
}

/* ---- starting -------------------------------------------------------------------------------- */

#define OWN_VARIABLES 4

static const char *const own_names[OWN_VARIABLES] = {"NEARCACHE_JOB_ID", "NEARCACHE_JOB_NAME",
                                                     "NEARCACHE_ATTEMPTS_MADE", "NEARCACHE_QUEUE"};

static char *variable(const char *name, const char *value)
{
    size_t bytes = strlen(name) + strlen(value) + 2;
    char *text = malloc(bytes);

    if (text)
        snprintf(text, bytes, "%s=%s", name, value);
    return text;
}

static void free_environment(char **list)
{
    for (int i = 0; list && i < OWN_VARIABLES; i++)
        free(list[i]);
    free(list);
}

static bool is_own(const char *entry)
{
    size_t bytes = strcspn(entry, "=");

    for (int i = 0; i < OWN_VARIABLES; i++)
        if (strlen(own_names[i]) == bytes && memcmp(entry, own_names[i], bytes) == 0)
            return true;
    return false;
}

/* The job's variables, and of our environment the others: of two with one name shells take the
 * first, or the last. */
static char **make_environment(const struct nearcache_job_info *info)
{
    char attempts[16];
    const char *const values[OWN_VARIABLES] = {info->id, info->name, attempts, info->queue};
    size_t count = 0;

    while (environ[count])
        count++;
    char **list = calloc(count + OWN_VARIABLES + 1, sizeof *list);

    if (!list)
        return NULL;
    snprintf(attempts, sizeof attempts, "%u", info->attempts_made);
    for (int i = 0; i < OWN_VARIABLES; i++)
        list[i] = variable(own_names[i], values[i]);
    char **end = list + OWN_VARIABLES;
    for (size_t i = 0; i < count; i++)
        if (!is_own(environ[i]))
            *end++ = environ[i];
    if (list[0] && list[1] && list[2] && list[3])
        return list;
    free_environment(list);
    return NULL;
}

/* In a process group of its own: an interrupt on the terminal lets running jobs finish. */
static int set_attributes(posix_spawnattr_t *attributes)
{
    sigset_t none, defaults;

    sigemptyset(&none);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE);
    sigaddset(&defaults, SIGINT);
    sigaddset(&defaults, SIGTERM);
    return posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                                    POSIX_SPAWN_SETSIGDEF) ||
           posix_spawnattr_setpgroup(attributes, 0) ||
           posix_spawnattr_setsigmask(attributes, &none) ||
           posix_spawnattr_setsigdefault(attributes, &defaults);
}

static int spawn(struct process *process, const char *shell_command, const int ends[6], char **list)
{
    char name[] = "sh", option[] = "-c";
    char *const argv[] = {name, option, (char *)(uintptr_t)shell_command, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;

    if (posix_spawn_file_actions_init(&actions))
        return -1;
    if (posix_spawnattr_init(&attributes)) {
        posix_spawn_file_actions_destroy(&actions);
        return -1;
    }
    int failed = posix_spawn_file_actions_adddup2(&actions, ends[0], 0) ||
                 posix_spawn_file_actions_adddup2(&actions, ends[3], 1) ||
                 posix_spawn_file_actions_adddup2(&actions, ends[5], 2) ||
                 set_attributes(&attributes) ||
                 posix_spawn(&process->pid, "/bin/sh", &actions, &attributes, argv, list);

    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return failed ? -1 : 0;
}

/* No command is started of which the end of all would not know. */
static int spawn_known(struct process *process, const char *shell_command, const int ends[6],
                       char **list)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    atomic_fetch_add(&starting, 1);
    int failed = atomic_load(&ending) || spawn(process, shell_command, ends, list);
    if (!failed)
        replace_group(0, process->pid);
    atomic_fetch_sub(&starting, 1);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed ? -1 : 0;
}

static int start(struct process *process, const char *shell_command)
{
    int ends[6] = {-1, -1, -1, -1, -1, -1}; /* read and write end: in, out, err */
    char **list = make_environment(nearcache_job_info(process->job));
    int failed = !list || pipe2(ends, O_CLOEXEC) || pipe2(ends + 2, O_CLOEXEC) ||
                 pipe2(ends + 4, O_CLOEXEC) || spawn_known(process, shell_command, ends, list);

    free_environment(list);
    close_end(&ends[0]);
    close_end(&ends[3]);
    close_end(&ends[5]);
    process->in = ends[1];
    process->out = ends[2];
    process->err = ends[4];
    if (failed)
        return -1;
    fcntl(process->in, F_SETFL, O_NONBLOCK);
    return 0;
}

/* ---- running --------------------------------------------------------------------------------- */

static void feed(struct process *process)
{
    const struct nearcache_job_info *info = nearcache_job_info(process->job);
    ssize_t n =
        write(process->in, info->data + process->written, info->data_bytes - process->written);

    if (n >= 0)
        process->written += (size_t)n;
    /* A command need not read its input: a closed pipe is fine. */
    if ((n < 0 && errno != EAGAIN && errno != EINTR) || process->written == info->data_bytes)
        close_end(&process->in);
}

static void take_output(struct process *process)
{
    if (process->output_room - process->output_bytes < 4096) {
        size_t room = process->output_room ? process->output_room * 2 : 8192;
        char *larger = room > MOST_OUTPUT_BYTES ? NULL : realloc(process->output, room);
        if (!larger) {
            process->too_much = true;
            close_end(&process->out);
            return;
        }
        process->output = larger;
        process->output_room = room;
    }
    ssize_t n = read(process->out, process->output + process->output_bytes,
                     process->output_room - process->output_bytes);

    if (n > 0)
        process->output_bytes += (size_t)n;
    else if (n == 0 || errno != EINTR)
        close_end(&process->out);
}

/* The end of it is kept: the last line is what counts. */
static void take_errors(struct process *process)
{
    char chunk[ERROR_BYTES];
    ssize_t n = read(process->err, chunk, sizeof chunk);

    if (n <= 0) {
        if (n == 0 || errno != EINTR)
            close_end(&process->err);
        return;
    }
    size_t fresh = (size_t)n, keep = ERROR_BYTES - fresh;

    if (keep > process->error_bytes)
        keep = process->error_bytes;
    memmove(process->errors, process->errors + process->error_bytes - keep, keep);
    memcpy(process->errors + keep, chunk, fresh);
    process->error_bytes = keep + fresh;
}

static void look_for_end(struct process *process)
{
    if (process->ended)
        return;
    pid_t got = waitpid(process->pid, &process->status, WNOHANG);
    if (got < 0 && errno == ECHILD)
        process->status = 255 << 8; /* taken by somebody else: how it ended is lost */
    else if (got != process->pid)
        return;
    process->ended = true;
    replace_group(process->pid, 0);
}

static bool has_open_end(const struct process *process)
{
    return process->in >= 0 || process->out >= 0 || process->err >= 0;
}

/* Waits until something happens: poll's result. Without a pipe nothing wakes us when the command
 * ends, as most do at once after they have closed all: looks become rarer. */
static int wait_for_news(const struct process *process, struct pollfd polled[3], long *quiet_us)
{
    long us = process->ended ? 0 : LOOK_US;

    if (!process->ended && !has_open_end(process)) {
        us = *quiet_us;
        *quiet_us = us < LOOK_US / 2 ? us * 2 : LOOK_US;
    }
    return ppoll(polled, 3, &(struct timespec){.tv_nsec = us * 1000}, NULL);
}

/* Until the command has ended and what it left in its outputs is read: what it started in the
 * background may keep them open for ever. */
static void drive(struct process *process)
{
    long quiet_us = FIRST_LOOK_US;

    for (int rounds = 0; !process->ended || has_open_end(process);) {
        struct pollfd polled[3] = {
            {process->in, POLLOUT, 0}, {process->out, POLLIN, 0}, {process->err, POLLIN, 0}};
        int got = wait_for_news(process, polled, &quiet_us);

        if (process->ended && (got == 0 || ++rounds > ROUNDS_AFTER_END))
            return;
        look_for_end(process);

        if (got > 0 && polled[0].revents)
            feed(process);
        if (got > 0 && polled[1].revents)
            take_output(process);
        if (got > 0 && polled[2].revents)
            take_errors(process);
        if (!process->told_to_end && !process->ended && nearcache_job_cancelled(process->job)) {
            kill(-process->pid, SIGTERM);
            process->told_to_end = true;
        }
    }
}

/* ---- the outcome ----------------------------------------------------------------------------- */

/* The last line of standard error that is not empty, cut out in place; NULL when there is none. */
static const char *last_line(struct process *process)
{
    char *begin = process->errors;
    size_t end = process->error_bytes;

    while (end > 0 && strchr(" \t\r\n", begin[end - 1]))
        end--;
    if (end == 0)
        return NULL;
    size_t at = end;

    while (at > 0 && begin[at - 1] != '\n')
        at--;
    if (end == ERROR_BYTES) {
        memmove(begin, begin + 1, --end);
        at -= at > 0;
    }
    begin[end] = 0;
    return begin + at;
}

static int fail(struct process *process, int status)
{
    const char *line = last_line(process);
    char text[64];

    if (!line && WIFSIGNALED(status))
        snprintf(text, sizeof text, "the command was ended by signal %d", WTERMSIG(status));
    else if (!line)
        snprintf(text, sizeof text, "the command exited with %d", WEXITSTATUS(status));
    return nearcache_job_fail(process->job, line ? line : text, 0);
}

static int finish(struct process *process, int status)
{
    size_t begin = 0, end = process->output_bytes;

    if (process->too_much)
        return nearcache_job_fail(process->job, "the command wrote more than 64 MiB", 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return fail(process, status);
    while (end > 0 && strchr(" \t\r\n", process->output[end - 1]))
        end--;
    while (begin < end && strchr(" \t\r\n", process->output[begin]))
        begin++;
    if (begin == end)
        return nearcache_job_return(process->job, NULL, 0);
    return nearcache_job_return(process->job, process->output + begin, end - begin);
}

int cli_job_process_run(const char *shell_command, struct nearcache_job *job)
{
    struct process process = {.job = job, .in = -1, .out = -1, .err = -1};
    int outcome;

    if (start(&process, shell_command) == 0) {
        drive(&process);
        stop_if_ending();
        outcome = finish(&process, process.status);
    } else {
        stop_if_ending();
        outcome = nearcache_job_fail(job, "the command could not be started", 0);
    }
    close_end(&process.in);
    close_end(&process.out);
    close_end(&process.err);
    free(process.output);
    return outcome;
}
