#include "lib/proc.h"

#include "lib/child.h"
#include "lib/wait_until.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void close_both(const int files[2])
{
    close(files[0]);
    close(files[1]);
}

bool proc_start(struct proc *proc, const char *const *argv)
{
    int in[2], out[2];

    proc->pid = 0;
    proc->used = 0;
    if (pipe2(in, O_CLOEXEC) != 0)
        goto failed;
    if (pipe2(out, O_CLOEXEC) != 0)
        goto failed_out;
    proc->pid = child_start(argv, in[0], out[1], -1);
    if (proc->pid < 0)
        goto failed_start;
    signal(SIGPIPE, SIG_IGN); /* a program that has ended is found by the write that fails */
    close(in[0]);
    close(out[1]);
    proc->to = in[1];
    proc->from = out[0];
    return true;

failed_start:
    proc->pid = 0;
    close_both(out);
failed_out:
    close_both(in);
failed:
    perror("proc: start");
    return false;
}

bool proc_send(struct proc *proc, const char *line)
{
    char text[65536];
    int bytes = snprintf(text, sizeof text, "%s\n", line);
    ssize_t written = 0;

    if (bytes < (int)sizeof text)
        for (ssize_t done = 0; done < bytes; done += written) {
            written = write(proc->to, text + done, (size_t)(bytes - done));
            if (written < 0)
                break;
        }
    if (bytes >= (int)sizeof text || written < 0) {
        fprintf(stderr, "proc: cannot send: %s\n", line);
        return false;
    }
    return true;
}

/* Takes the first line out of proc->text. */
static bool take_line(struct proc *proc)
{
    char *end = memchr(proc->text, '\n', proc->used);
    size_t bytes;

    if (!end)
        return false;
    bytes = (size_t)(end - proc->text);
    memcpy(proc->line, proc->text, bytes);
    proc->line[bytes] = '\0';
    proc->used -= bytes + 1;
    memmove(proc->text, end + 1, proc->used);
    return true;
}

const char *proc_read(struct proc *proc, int deadline_ms)
{
    uint64_t end_ns = wait_now_ns() + (uint64_t)deadline_ms * 1000000u;

    while (!take_line(proc)) {
        struct pollfd ready = {.fd = proc->from, .events = POLLIN};
        uint64_t now_ns = wait_now_ns();
        ssize_t bytes;

        if (now_ns >= end_ns || proc->used == sizeof proc->text ||
            poll(&ready, 1, (int)((end_ns - now_ns) / 1000000u) + 1) < 0)
            return NULL;
        if (ready.revents == 0)
            continue;
        bytes = read(proc->from, proc->text + proc->used, sizeof proc->text - proc->used);
        if (bytes <= 0)
            return NULL;
        proc->used += (size_t)bytes;
    }
    return proc->line;
}

bool proc_expect(struct proc *proc, const char *line, int deadline_ms)
{
    const char *answer = proc_read(proc, deadline_ms);

    if (answer && strcmp(answer, line) == 0)
        return true;
    fprintf(stderr, "proc: expected: %s\nproc: answer:   %s\n", line, answer ? answer : "(none)");
    return false;
}

static int reap(struct proc *proc, int deadline_ms)
{
    int status = child_wait(proc->pid, deadline_ms);

    proc->pid = 0;
    close(proc->from);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int proc_finish(struct proc *proc, int deadline_ms)
{
    close(proc->to);
    return reap(proc, deadline_ms);
}

int proc_signal(struct proc *proc, int signal, int deadline_ms)
{
    int status;

    kill(proc->pid, signal);
    status = reap(proc, deadline_ms);
    close(proc->to);
    return status;
}
