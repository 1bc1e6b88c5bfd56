#include "lib/redis_server.h"

#include "lib/child.h"
#include "lib/wait_until.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { START_MS = 20000, STOP_MS = 10000, ARGS = 20 };

bool redis_server_available(void)
{
    if (child_find("redis-server"))
        return true;
    fprintf(stderr, "redis-server is not installed; on Debian: apt-get install redis-server\n");
    return false;
}

/*
 * Binds a free port without SO_REUSEADDR, so that nobody shares it, and sets the option afterwards:
 * it lets redis-server, which sets it too, listen where this socket is bound but never listens.
 */
static bool reserve_port(struct redis_server *server)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    int one = 1;

    server->reserved = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (server->reserved < 0 ||
        bind(server->reserved, (struct sockaddr *)&address, sizeof address) != 0 ||
        setsockopt(server->reserved, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
        getsockname(server->reserved, (struct sockaddr *)&address, &bytes) != 0) {
        perror("redis_server: a free port");
        return false;
    }
    server->port = ntohs(address.sin_port);
    return true;
}

static bool make_directory(struct redis_server *server)
{
    const char *parent = getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
    int bytes = snprintf(server->directory, sizeof server->directory, "%s/redis.XXXXXX", parent);

    if (bytes >= (int)sizeof server->directory)
        strcpy(server->directory, "/tmp/redis.XXXXXX"); /* too long for a unix socket */
    if (!mkdtemp(server->directory)) {
        perror("redis_server: a directory");
        server->directory[0] = '\0';
        return false;
    }
    return true;
}

static void show_log(const struct redis_server *server)
{
    char line[512], path[96];
    FILE *log;

    snprintf(path, sizeof path, "%s/log", server->directory);
    log = fopen(path, "r");
    while (log && fgets(line, sizeof line, log))
        fprintf(stderr, "redis-server: %s", line);
    if (log)
        fclose(log);
}

const char *redis_server_argument(const struct redis_server *server, const char *name)
{
    for (int i = 0; server->extra[i]; i++)
        if (strcmp(server->extra[i], name) == 0)
            return server->extra[i + 1];
    return NULL;
}

static bool log_in(const struct redis_server *server, redisContext *redis)
{
    const char *user = redis_server_argument(server, "--masteruser");
    redisReply *reply;
    bool done;

    if (!user)
        return true;
    reply = redisCommand(redis, "AUTH %s %s", user, redis_server_argument(server, "--masterauth"));
    done = reply && reply->type == REDIS_REPLY_STATUS;
    if (reply)
        freeReplyObject(reply);
    return done;
}

redisContext *redis_server_connect(const struct redis_server *server)
{
    const struct timeval timeout = {.tv_sec = 5};
    redisContext *redis = redisConnectUnixWithTimeout(server->socket_path, timeout);

    if (redis && !redis->err && redisSetTimeout(redis, timeout) == REDIS_OK &&
        log_in(server, redis))
        return redis;
    if (redis)
        redisFree(redis);
    return NULL;
}

/* PONG, not -LOADING; or it has ended, and server->pid is 0. */
static bool answers_or_ended(struct redis_server *server)
{
    redisContext *redis;
    redisReply *reply;
    bool pong;
    int status;

    if (child_ended(server->pid, &status)) {
        server->pid = 0;
        return true;
    }
    redis = redis_server_connect(server);
    if (!redis)
        return false;
    reply = redisCommand(redis, "PING");
    pong = reply && reply->type == REDIS_REPLY_STATUS;
    if (reply)
        freeReplyObject(reply);
    redisFree(redis);
    return pong;
}

static pid_t launch(const struct redis_server *server)
{
    char port[16], log_path[96];
    bool tls = redis_server_argument(server, "--tls-cert-file") != NULL;
    const char *argv[ARGS + REDIS_SERVER_ARGS_MAX] = {
        "redis-server",
        "--bind",
        "127.0.0.1",
        tls ? "--tls-port" : "--port",
        port,
        "--unixsocket",
        server->socket_path,
        "--dir",
        server->directory,
        "--save",
        "",
        "--appendonly",
        "no",
        "--daemonize",
        "no",
    };
    int count = 15, log;
    pid_t pid;

    if (tls) {
        argv[count++] = "--port";
        argv[count++] = "0";
    }
    for (int i = 0; server->extra[i]; i++)
        argv[count++] = server->extra[i];
    snprintf(port, sizeof port, "%d", server->port);
    snprintf(log_path, sizeof log_path, "%s/log", server->directory);
    log = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    pid = log < 0 ? -1 : child_start(argv, -1, log, log);
    if (log >= 0)
        close(log);
    return pid;
}

bool redis_server_restart(struct redis_server *server)
{
    server->pid = launch(server);
    if (server->pid < 0) {
        perror("redis_server: start");
        server->pid = 0;
        return false;
    }
    if (WAIT_UNTIL(answers_or_ended(server), START_MS) && server->pid != 0)
        return true;
    fprintf(stderr, "redis_server: it %s\n", server->pid ? "does not answer" : "ended");
    show_log(server);
    redis_server_kill(server);
    return false;
}

bool redis_server_prepare(struct redis_server *server, const char *const *extra)
{
    memset(server, 0, sizeof *server);
    server->reserved = -1;
    if (!redis_server_available())
        return false;
    for (int i = 0; extra && extra[i]; i++) {
        if (i == REDIS_SERVER_ARGS_MAX - 1) {
            fprintf(stderr, "redis_server: too many arguments\n");
            return false;
        }
        server->extra[i] = extra[i];
    }
    if (!make_directory(server) || !reserve_port(server)) {
        redis_server_stop(server);
        return false;
    }
    snprintf(server->socket_path, sizeof server->socket_path, "%s/socket", server->directory);
    snprintf(server->url, sizeof server->url, "redis://127.0.0.1:%d/0", server->port);
    snprintf(server->unix_url, sizeof server->unix_url, "unix://%s", server->socket_path);
    return true;
}

bool redis_server_start(struct redis_server *server, const char *const *extra)
{
    if (!redis_server_prepare(server, extra))
        return false;
    if (redis_server_restart(server))
        return true;
    redis_server_stop(server);
    return false;
}

void redis_server_kill(struct redis_server *server)
{
    if (server->pid == 0)
        return;
    child_kill(server->pid);
    server->pid = 0;
}

void redis_server_shutdown(struct redis_server *server)
{
    if (server->pid == 0)
        return;
    kill(server->pid, SIGTERM);
    child_wait(server->pid, STOP_MS);
    server->pid = 0;
}

static void change_state(const struct redis_server *server, int signal, int options)
{
    siginfo_t info;

    kill(server->pid, signal);
    waitid(P_PID, (id_t)server->pid, &info, options);
}

void redis_server_pause(struct redis_server *server) { change_state(server, SIGSTOP, WSTOPPED); }

void redis_server_resume(struct redis_server *server) { change_state(server, SIGCONT, WCONTINUED); }

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *position)
{
    (void)info;
    (void)kind;
    (void)position;
    return remove(path);
}

void redis_server_stop(struct redis_server *server)
{
    redis_server_kill(server);
    if (server->directory[0])
        nftw(server->directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    server->directory[0] = '\0';
    if (server->reserved >= 0)
        close(server->reserved);
    server->reserved = -1;
}

static void write_reply(FILE *to, const redisReply *reply)
{
    switch (reply->type) {
    case REDIS_REPLY_INTEGER:
        fprintf(to, "%lld", reply->integer);
        break;
    case REDIS_REPLY_NIL:
        fputs("(nil)", to);
        break;
    case REDIS_REPLY_ARRAY:
        for (size_t i = 0; i < reply->elements; i++) {
            if (i > 0)
                fputc(' ', to);
            write_reply(to, reply->element[i]);
        }
        break;
    case REDIS_REPLY_ERROR:
        fputs("(error) ", to);
        __attribute__((fallthrough));
    default:
        fwrite(reply->str, 1, reply->len, to);
    }
}

char *redis_server_ask(const struct redis_server *server, const char *format, ...)
{
    redisContext *redis = redis_server_connect(server);
    redisReply *reply = NULL;
    char *text = NULL;
    size_t bytes;
    va_list arguments;
    FILE *to;

    va_start(arguments, format);
    if (redis)
        reply = redisvCommand(redis, format, arguments);
    va_end(arguments);
    to = open_memstream(&text, &bytes);
    if (reply)
        write_reply(to, reply);
    else
        fputs("(error) no answer", to);
    fclose(to);
    if (reply)
        freeReplyObject(reply);
    if (redis)
        redisFree(redis);
    return text;
}
