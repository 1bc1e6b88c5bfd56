/*
 * Batches of vectors read by several threads, of keys that many want at once and few of which stay
 * local, while some deadlines are far too short: rows are written by whatever thread reads their
 * reply, but never after the call of their owner has returned. Each row carries its key, and the
 * memory of the batch before must stay as its owner left it.
 *
 * An event loop does the same meanwhile, and another thread asks on its behalf: never after the
 * callback or the cancel.
 *
 *     vector_rows [threads] [seconds]
 */
#include <nearcache.h>
#include <nearcache/async.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
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
static struct nearcache *cache;
static struct nearcache_tier *tier;
static atomic_bool stop;
static atomic_ullong wrong, late, whole, given_up, cancelled;

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

/* What is asked for. */
struct batch {
    struct nearcache_read how;
    struct nearcache_name names[ROWS];
    char texts[ROWS][8];
    uint32_t keys[ROWS];
    int statuses[ROWS];
};

static void choose(struct batch *batch, uint32_t *random)
{
    bool short_time = step(random) % 4 == 0;
    batch->how = (struct nearcache_read)NEARCACHE_READ_INIT;
    batch->how.timeout_us = short_time ? 1 + step(random) % 200 : 5000000;
    for (int i = 0; i < ROWS; i++) {
        batch->keys[i] = step(random) % KEYS;
        batch->names[i].data = batch->texts[i];
        batch->names[i].bytes =
            (size_t)snprintf(batch->texts[i], sizeof batch->texts[i], "%u", batch->keys[i]);
    }
}

static void check(const struct batch *batch, const struct matrix *matrix)
{
    for (int i = 0; i < ROWS; i++) {
        bool good = batch->statuses[i] == 0;
        if (good)
            check_row(matrix->rows[i], batch->keys[i]);
        atomic_fetch_add_explicit(good ? &whole : &given_up, 1, memory_order_relaxed);
    }
}

static void read_some(struct matrix *matrix, uint32_t *random)
{
    struct batch batch;
    choose(&batch, random);
    nearcache_get_vectors(tier, batch.names, ROWS, &batch.how, matrix->rows, 0, NULL, NULL,
                          batch.statuses, NULL);
    check(&batch, matrix);
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

/* ---- the event loop ---- */

enum { CALLS = 24 };

struct call {
    struct call *next; /* at home */
    struct batch batch;
    struct matrix matrix;
};

/* Those that are not under way, the one that is so the longest first. */
static struct {
    pthread_mutex_t lock;
    struct call *first, **end;
    unsigned count;
} home = {PTHREAD_MUTEX_INITIALIZER, NULL, &home.first, 0};

static void come_home(struct call *call)
{
    memset(&call->matrix, LEFT, sizeof call->matrix);
    call->next = NULL;
    pthread_mutex_lock(&home.lock);
    *home.end = call;
    home.end = &call->next;
    home.count++;
    pthread_mutex_unlock(&home.lock);
}

/* NULL: too many are under way. */
static struct call *leave_home(void)
{
    pthread_mutex_lock(&home.lock);
    struct call *call = home.count > CALLS / 4 ? home.first : NULL;
    if (call) {
        home.first = call->next;
        home.count--;
    }
    pthread_mutex_unlock(&home.lock);
    if (call && !is_as_left(&call->matrix))
        atomic_fetch_add(&late, 1);
    return call;
}

static void on_end(void *arg, int status)
{
    struct call *call = arg;
    (void)status;
    check(&call->batch, &call->matrix);
    come_home(call);
}

/* False: nothing could be asked. */
static bool ask(uint32_t *random, struct call **call, nearcache_ticket *ticket)
{
    *ticket = 0;
    *call = leave_home();
    if (!*call)
        return false;
    struct batch *batch = &(*call)->batch;
    choose(batch, random);
    if (nearcache_get_vectors_async(tier, batch->names, ROWS, &batch->how, (*call)->matrix.rows, 0,
                                    batch->statuses, NULL, on_end, *call,
                                    ticket) != NEARCACHE_PENDING)
        on_end(*call, 0);
    return true;
}

static bool all_are_home(void)
{
    pthread_mutex_lock(&home.lock);
    bool all = home.count == CALLS;
    pthread_mutex_unlock(&home.lock);
    return all;
}

/* Cancels some, at once or when a part of their rows has come. */
static void *run_loop(void *arg)
{
    uint32_t random = 17;
    struct pollfd readable = {nearcache_fd(cache), POLLIN, 0};
    struct call *call = NULL, *last = NULL;
    nearcache_ticket ticket = 0, last_ticket = 0;
    (void)arg;
    while (!atomic_load(&stop) || !all_are_home()) {
        while (!atomic_load(&stop) && ask(&random, &call, &ticket)) {
            bool at_once = step(&random) % 2;
            nearcache_ticket unwanted = at_once ? ticket : last_ticket;
            if (unwanted && step(&random) % 4 == 0 && nearcache_cancel(cache, unwanted) == 0) {
                atomic_fetch_add(&cancelled, 1);
                come_home(at_once ? call : last);
            }
            last = call;
            last_ticket = ticket;
        }
        if (poll(&readable, 1, 1000) < 0 || nearcache_dispatch(cache, 0) < 0)
            abort();
    }
    return NULL;
}

static void *run_aside(void *arg)
{
    uint32_t random = 23;
    struct call *call;
    nearcache_ticket ticket;
    (void)arg;
    while (!atomic_load(&stop))
        if (!ask(&random, &call, &ticket))
            sched_yield();
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
    static struct call calls[CALLS];
    pthread_t ids[MOST_THREADS + 2];
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
    for (unsigned i = 0; i < CALLS; i++)
        come_home(&calls[i]);
    for (unsigned i = 0; i < threads + 2; i++)
        if (pthread_create(&ids[i], NULL,
                           i < threads    ? run
                           : i == threads ? run_loop
                                          : run_aside,
                           (void *)(uintptr_t)(i + 1)) != 0)
            return 1;
    uint64_t end_ns = wait_now_ns() + (uint64_t)seconds * 1000000000u;
    WAIT_UNTIL(wait_now_ns() >= end_ns, (uint64_t)seconds * 1000 + 1000);
    atomic_store(&stop, true);
    for (unsigned i = 0; i < threads + 2; i++)
        pthread_join(ids[i], NULL);
    if (nearcache_close(cache, 10000000) != 0)
        return 1;
    redis_server_stop(&server);
    printf("%llu rows, %llu given up, %llu calls cancelled, %llu wrong, %llu written late\n",
           atomic_load(&whole), atomic_load(&given_up), atomic_load(&cancelled),
           atomic_load(&wrong), atomic_load(&late));
    return atomic_load(&wrong) == 0 && atomic_load(&late) == 0 && atomic_load(&whole) > 0 ? 0 : 1;
}
