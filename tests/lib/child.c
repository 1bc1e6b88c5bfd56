#include "lib/child.h"

#include "lib/wait_until.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHILDREN_MAX = 64 };

/* Guarded by nothing: one thread starts and ends children. */
static struct {
    pid_t owner; /* a fork of the test owns none of them */
    pid_t pids[CHILDREN_MAX];
} children;

static void forget(pid_t pid)
{
    for (int i = 0; i < CHILDREN_MAX; i++)
        if (children.pids[i] == pid)
            children.pids[i] = 0;
}

static void kill_all(void)
{
    if (children.owner != getpid())
        return;
    for (int i = 0; i < CHILDREN_MAX; i++)
        if (children.pids[i] != 0)
            child_kill(children.pids[i]);
}

static bool remember(pid_t pid)
{
    if (children.owner != getpid()) {
        memset(children.pids, 0, sizeof children.pids);
        children.owner = getpid();
        atexit(kill_all);
    }
    for (int i = 0; i < CHILDREN_MAX; i++)
        if (children.pids[i] == 0) {
            children.pids[i] = pid;
            return true;
        }
    return false;
}

bool child_find(const char *program)
{
    char *path = strdup(getenv("PATH") ? getenv("PATH") : "/usr/bin:/bin");
    char *rest = path, *folder, name[4096];
    bool found = false;

    while (!found && path && (folder = strsep(&rest, ":")))
        found = snprintf(name, sizeof name, "%s/%s", folder, program) < (int)sizeof name &&
                access(name, X_OK) == 0;
    free(path);
    return found;
}

static void run(const char *const *argv, const int files[3], pid_t parent)
{
    sigset_t none;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127); /* the parent ended before the line above */
    for (int i = 0; i < 3; i++)
        if (files[i] >= 0 && dup2(files[i], i) < 0)
            _exit(127);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    execvp(argv[0], (char *const *)argv);
    _exit(127);
}

pid_t child_start(const char *const *argv, int in, int out, int err)
{
    const int files[3] = {in, out, err};
    pid_t parent = getpid();
    pid_t pid = fork();

    if (pid == 0)
        run(argv, files, parent);
    if (pid > 0 && !remember(pid)) {
        child_kill(pid);
        errno = EAGAIN;
        return -1;
    }
    return pid;
}

bool child_ended(pid_t pid, int *status)
{
    if (waitpid(pid, status, WNOHANG) != pid)
        return false;
    forget(pid);
    return true;
}

int child_wait(pid_t pid, int deadline_ms)
{
    int status;

    if (WAIT_UNTIL(child_ended(pid, &status), deadline_ms))
        return status;
    child_kill(pid);
    return SIGKILL;
}

void child_kill(pid_t pid)
{
    int status;

    kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    forget(pid);
}
