/*
 * Batches of vectors read by several threads, of keys that many want at once and few of which stay
 * local, while some deadlines are far too short: rows are written by whatever thread reads their
 * reply, but never after the call of their owner has returned. Each row carries its key, and the
 * memory of the batch before must stay as its owner left it.
 *
 *     vector_rows [threads] [seconds]
 */
#include <nearcache.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/redis_server.h"
#include "lib/wait_until.h"

enum { KEYS = 300, ROWS = 96, DIMENSION = 64, MOST_THREADS = 64, LEFT = 0xEE };

struct matrix {
    uint32_t rows[ROWS][DIMENSION];
};

/* Thread-safe. */
static struct nearcache_tier *tier;
static atomic_bool stop;
static atomic_ullong wrong, late, whole, given_up;

static uint32_t step(uint32_t *random)
{
    *random = *random * 1664525u + 1013904223u;
    return *random >> 8;
}

static void check_row(const uint32_t *row, uint32_t key)
{
    for (int i = 0; i < DIMENSION; i++)
        if (row[i] != key) {
            atomic_fetch_add(&wrong, 1);
            return;
        }
}

static void read_some(struct matrix *matrix, uint32_t *random)
{
    struct nearcache_read how = NEARCACHE_READ_INIT;
    struct nearcache_name names[ROWS];
    char texts[ROWS][8];
    uint32_t keys[ROWS];
    int statuses[ROWS];
    bool short_time = step(random) % 4 == 0;
    for (int i = 0; i < ROWS; i++) {
        keys[i] = step(random) % KEYS;
        names[i].data = texts[i];
        names[i].bytes = (size_t)snprintf(texts[i], sizeof texts[i], "%u", keys[i]);
    }
    how.timeout_us = short_time ? 1 + step(random) % 200 : 5000000;
    nearcache_get_vectors(tier, names, ROWS, &how, matrix->rows, 0, NULL, NULL, statuses, NULL);
    for (int i = 0; i < ROWS; i++) {
        if (statuses[i] == 0)
            check_row(matrix->rows[i], keys[i]);
        atomic_fetch_add_explicit(statuses[i] == 0 ? &whole : &given_up, 1, memory_order_relaxed);
    }
}

static bool is_as_left(const struct matrix *matrix)
{
    const unsigned char *bytes = (const unsigned char *)matrix;
    for (size_t i = 0; i < sizeof *matrix; i++)
        if (bytes[i] != LEFT)
            return false;
    return true;
}

static void *run(void *arg)
{
    uint32_t random = (uint32_t)(uintptr_t)arg * 7919u;
    struct matrix *matrices = malloc(2 * sizeof *matrices);
    if (!matrices)
        abort();
    memset(matrices, LEFT, 2 * sizeof *matrices);
    for (unsigned i = 0; !atomic_load(&stop); i++) {
        read_some(&matrices[i % 2], &random);
        memset(&matrices[i % 2], LEFT, sizeof *matrices);
        if (!is_as_left(&matrices[(i + 1) % 2]))
            atomic_fetch_add(&late, 1);
    }
    free(matrices);
    return NULL;
}

static bool fill(struct redis_server *server)
{
    redisContext *redis = redisConnectUnix(server->socket_path);
    uint32_t row[DIMENSION];
    bool good = redis && !redis->err;
    for (uint32_t key = 0; good && key < KEYS; key++) {
        for (int i = 0; i < DIMENSION; i++)
            row[i] = key;
        redisReply *reply = redisCommand(redis, "SET v:%u %b", key, row, sizeof row);
        good = reply != NULL;
        freeReplyObject(reply);
    }
    redisFree(redis);
    return good;
}

int main(int argc, char **argv)
{
    unsigned threads = argc > 1 ? (unsigned)atoi(argv[1]) : 4;
    unsigned seconds = argc > 2 ? (unsigned)atoi(argv[2]) : 2;
    struct nearcache_redis redis = NEARCACHE_REDIS_INIT;
    struct nearcache_config config = NEARCACHE_CONFIG_INIT;
    struct nearcache_tier_config tier_config = NEARCACHE_TIER_INIT;
    struct nearcache *cache;
    pthread_t ids[MOST_THREADS];
    struct redis_server server;
    if (!redis_server_available())
        return 77;
    if (threads > MOST_THREADS || !redis_server_start(&server, NULL) || !fill(&server))
        return 1;
    redis.url = server.unix_url;
    config.redis = &redis;
    config.capacity_entries = KEYS / 4;
    config.breaker_expiries = NEARCACHE_NONE;
    tier_config.name = "v";
    tier_config.prefix = "v:";
    tier_config.redis_ttl_ms = NEARCACHE_NONE;
    tier_config.kind = NEARCACHE_VECTOR_F32;
    tier_config.dimension = DIMENSION;
    if (nearcache_open(&cache, &config) != 0 ||
        nearcache_tier_open(cache, &tier_config, &tier) != 0 ||
        nearcache_wait(cache, 20000000) != 0)
        return 1;
    for (unsigned i = 0; i < threads; i++)
        if (pthread_create(&ids[i], NULL, run, (void *)(uintptr_t)(i + 1)) != 0)
            return 1;
    uint64_t end_ns = wait_now_ns() + (uint64_t)seconds * 1000000000u;
    WAIT_UNTIL(wait_now_ns() >= end_ns, (uint64_t)seconds * 1000 + 1000);
    atomic_store(&stop, true);
    for (unsigned i = 0; i < threads; i++)
        pthread_join(ids[i], NULL);
    if (nearcache_close(cache, 10000000) != 0)
        return 1;
    redis_server_stop(&server);
    printf("%llu rows, %llu given up, %llu wrong, %llu written late\n", atomic_load(&whole),
           atomic_load(&given_up), atomic_load(&wrong), atomic_load(&late));
    return atomic_load(&wrong) == 0 && atomic_load(&late) == 0 && atomic_load(&whole) > 0 ? 0 : 1;
}
