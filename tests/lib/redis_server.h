/*
 * A private redis-server for a test: its own directory under $TMPDIR, a unix socket and a TCP port
 * of 127.0.0.1 that stays reserved while the server is down. It keeps nothing on disk unless asked,
 * never outlives the test (lib/child.h), and is only ever addressed by its pid.
 *
 *     REDIS_SERVER_REQUIRED;                          (at file level: without redis-server the
 *                                                      whole program ends with 77, skipped)
 *     struct redis_server server;
 *     cr_assert(redis_server_start(&server, NULL));
 *     redis.url = server.url;
 *     ...
 *     redis_server_stop(&server);
 *
 * Functions that return bool print one line to standard error when they fail.
 */
#ifndef LIB_REDIS_SERVER_H
#define LIB_REDIS_SERVER_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/types.h>

enum { REDIS_SERVER_ARGS_MAX = 48 };

/* One thread. */
struct redis_server {
    pid_t pid; /* 0: it is down */
    int port;
    int reserved; /* the socket that holds the port */
    char directory[64];
    char socket_path[96];
    char url[64];       /* redis://127.0.0.1:PORT/0 */
    char unix_url[112]; /* unix://PATH */
    const char *extra[REDIS_SERVER_ARGS_MAX];
};

/* Prints one line when there is none. */
bool redis_server_available(void);

/*
 * Starts it and waits until it answers PING. extra: more arguments of redis-server, NULL at the end
 * ({"--appendonly", "yes", NULL}), alive as long as the server; NULL for none. With --tls-cert-file
 * among them the port speaks TLS alone, and the unix socket plainly as ever; --masteruser and
 * --masterauth are also who the functions below log in as.
 */
bool redis_server_start(struct redis_server *server, const char *const *extra);

/* Its directory and port alone, for who has to know them first; redis_server_restart starts it. */
bool redis_server_prepare(struct redis_server *server, const char *const *extra);

/* What follows the name among its more arguments, NULL: it is not there. */
const char *redis_server_argument(const struct redis_server *server, const char *name);

/* Prepared, or after kill or shutdown: on the same port, socket and directory. */
bool redis_server_restart(struct redis_server *server);

/* SIGKILL. The port and the directory stay. */
void redis_server_kill(struct redis_server *server);
/* SIGTERM, which saves what it was told to keep; killed after 10 s. The port and directory stay. */
void redis_server_shutdown(struct redis_server *server);

/* A server that hangs: SIGSTOP, SIGCONT. Return once the state has changed. */
void redis_server_pause(struct redis_server *server);
void redis_server_resume(struct redis_server *server);

/* Kills it and removes all that it had. May be called twice. */
void redis_server_stop(struct redis_server *server);

/* A connection over the unix socket with a timeout of 5 s, for redisFree. NULL when there is none.
 */
redisContext *redis_server_connect(const struct redis_server *server);

/*
 * One command, printf-like as redisCommand. The answer as text: a string or status as it is, an
 * integer in decimals, "(nil)", "(error) ...", an array as its elements joined by spaces. For
 * free().
 */
char *redis_server_ask(const struct redis_server *server, const char *format, ...);

/*
 * For Criterion programs: skips the program, with status 77, when redis-server is not installed.
 * The declaration at the end takes the semicolon.
 */
#define REDIS_SERVER_REQUIRED                                                                      \
    ReportHook(PRE_ALL)(struct criterion_test_set * tests)                                         \
    {                                                                                              \
        (void)tests;                                                                               \
        if (!redis_server_available())                                                             \
            exit(77);                                                                              \
    }                                                                                              \
    struct redis_server

#endif
