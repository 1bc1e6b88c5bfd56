/*
 * A redis-server of the bench's own: private directory, a unix socket and a free port, no
 * persistence, ended by its pid.
 */
#ifndef BENCH_REDIS_SERVER_H
#define BENCH_REDIS_SERVER_H

#include <stdbool.h>
#include <sys/types.h>

/* One thread. */
struct bench_redis {
    pid_t pid;
    unsigned port;
    char directory[64];
    char socket_path[96];
    char tcp_url[64];
    char unix_url[128];
};

/* False when there is no redis-server on the PATH or it does not answer within 5 s. */
bool bench_redis_start(struct bench_redis *redis);
void bench_redis_stop(struct bench_redis *redis);
/* Moves all its threads to the `index`-th processor that this process may use. */
void bench_redis_pin(struct bench_redis *redis, unsigned index);

#endif
