#include "cli/cli.h"

#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static _Atomic int interrupted; /* the signal's number; lock-free, so that handlers may */

void cli_error(const struct cli_command *command, const char *format, ...)
{
    va_list arguments;

    fprintf(stderr, "nearcache %s: ", command->name);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

void cli_log(void *arg, enum nearcache_log_level level, const char *line)
{
    static const char *const names[] = {"error", "warning", "info", "debug"};
    const struct cli_command *command = arg;

    fprintf(stderr, "nearcache %s: %s: %s\n", command->name, level < 4 ? names[level] : "log",
            line);
}

static void (*volatile at_second)(void);

static void note_signal(int number)
{
    /* Two may come at once, each to another thread. */
    if (atomic_exchange(&interrupted, number)) {
        if (at_second)
            at_second();
        _exit(CLI_INTERRUPTED);
    }
}

/* Never a second one: when a terminal is closed both the kernel and the shell send one. */
static void note_hang_up(int number)
{
    int none = 0;

    atomic_compare_exchange_strong(&interrupted, &none, number);
}

/* Ends the program as it would without us, when the handler has returned. */
static void quit(int number)
{
    at_second();
    signal(number, SIG_DFL);
    raise(number);
}

static void handle(int number, void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler}; /* no SA_RESTART: waits must end */

    sigemptyset(&action.sa_mask);
    sigaction(number, &action, NULL);
}

static bool is_ignored(int number)
{
    struct sigaction action;

    return sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

void cli_catch_interrupts(void)
{
    handle(SIGINT, note_signal);
    handle(SIGTERM, note_signal);
    if (!is_ignored(SIGHUP)) /* by nohup */
        handle(SIGHUP, note_hang_up);
    handle(SIGPIPE, SIG_IGN);
}

void cli_at_second_interrupt(void (*act)(void))
{
    at_second = act;
    if (!is_ignored(SIGQUIT))
        handle(SIGQUIT, quit);
}

bool cli_interrupted(void) { return interrupted != 0; }

uint64_t cli_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

void cli_pause_us(uint64_t us)
{
    struct timespec span = {.tv_sec = (time_t)(us / 1000000),
                            .tv_nsec = (long)(us % 1000000) * 1000};

    nanosleep(&span, NULL);
}
