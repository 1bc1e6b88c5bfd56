#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "lib/redis_server.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/threads.h"
#include "lib/timer.h"

/* Free now; nobody promises that it stays so, but the server's own bind says when it did not. */
static unsigned free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t bytes = sizeof address;
    unsigned port = 0;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return 0;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
        getsockname(fd, (struct sockaddr *)&address, &bytes) == 0)
        port = ntohs(address.sin_port);
    close(fd);
    return port;
}

static void run_server(const struct bench_redis *redis)
{
    char port[16];
    int quiet = open("/dev/null", O_WRONLY);

    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a bench that fails leaves no server behind */
    snprintf(port, sizeof port, "%u", redis->port);
    dup2(quiet, STDOUT_FILENO);
    dup2(quiet, STDERR_FILENO);
    execlp("redis-server", "redis-server", "--port", port, "--bind", "127.0.0.1", "--unixsocket",
           redis->socket_path, "--dir", redis->directory, "--save", "", "--appendonly", "no",
           (char *)NULL);
    _exit(127);
}

static bool answers(const struct bench_redis *redis)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char reply[8];
    bool alive = false;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return false;
    snprintf(address.sun_path, sizeof address.sun_path, "%s", redis->socket_path);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
        write(fd, "PING\r\n", 6) == 6)
        alive = read(fd, reply, sizeof reply) > 0 && reply[0] == '+';
    close(fd);
    return alive;
}

bool bench_redis_start(struct bench_redis *redis)
{
    struct timespec pause = {0, 20000000L};
    uint64_t deadline_ns = bench_clock_ns() + 5000000000u;
    int status;

    memset(redis, 0, sizeof *redis);
    snprintf(redis->directory, sizeof redis->directory, "/tmp/nearcache-bench-XXXXXX");
    if (!mkdtemp(redis->directory))
        return false;
    redis->port = free_port();
    snprintf(redis->socket_path, sizeof redis->socket_path, "%s/s", redis->directory);
    snprintf(redis->tcp_url, sizeof redis->tcp_url, "redis://127.0.0.1:%u", redis->port);
    snprintf(redis->unix_url, sizeof redis->unix_url, "unix://%s", redis->socket_path);
    redis->pid = fork();
    if (redis->pid == 0)
        run_server(redis);
    while (redis->pid > 0 && bench_clock_ns() < deadline_ns) {
        if (answers(redis))
            return true;
        if (waitpid(redis->pid, &status, WNOHANG) == redis->pid)
            redis->pid = 0;
        clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
    }
    bench_redis_stop(redis);
    return false;
}

void bench_redis_stop(struct bench_redis *redis)
{
    if (redis->pid > 0) {
        kill(redis->pid, SIGKILL);
        waitpid(redis->pid, NULL, 0);
    }
    redis->pid = 0;
    if (redis->directory[0]) {
        unlink(redis->socket_path);
        rmdir(redis->directory);
    }
}

void bench_redis_pin(struct bench_redis *redis, unsigned index)
{
    char path[64];
    cpu_set_t cpus;
    struct dirent *task;
    DIR *tasks;

    bench_pin(index);
    sched_getaffinity(0, sizeof cpus, &cpus);
    bench_unpin();
    snprintf(path, sizeof path, "/proc/%d/task", (int)redis->pid);
    if (!(tasks = opendir(path)))
        return;
    while ((task = readdir(tasks)))
        if (atoi(task->d_name))
            sched_setaffinity(atoi(task->d_name), sizeof cpus, &cpus);
    closedir(tasks);
}
