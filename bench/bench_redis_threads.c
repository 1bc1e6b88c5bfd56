/*
 * Many threads that miss: nearcache_get (100 ms deadline, the value inserted and another evicted)
 * over the shared connections, against hiredis with a connection per thread and with a pool of 8,
 * 256-byte values over TCP. All callers stand on one processor; the server on the same or another.
 */
#include <hiredis/hiredis.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <nearcache.h>

#include "lib/histogram.h"
#include "lib/output.h"
#include "lib/redis_server.h"
#include "lib/threads.h"
#include "lib/timer.h"

#define KEYS 20000u
#define VALUE_BYTES 256u
#define THREADS_MOST 64u
#define POOL 8u

struct variant {
    const char *name;
    unsigned threads;
    bool split;
    const char *goal_pool, *goal_own, *goal_p99; /* NULL: none */
};
static const struct variant variants[] = {
    {"2 threads, same", 2, false, NULL, "redis_2t_own_same", NULL},
    {"2 threads, split", 2, true, NULL, "redis_2t_own_split", NULL},
    {"4 threads, same", 4, false, NULL, "redis_4t_own_same", NULL},
    {"4 threads, split", 4, true, NULL, "redis_4t_own_split", NULL},
    {"8 threads, same", 8, false, NULL, "redis_8t_own_same", NULL},
    {"8 threads, split", 8, true, NULL, "redis_8t_own_split", NULL},
    {"16 threads, same", 16, false, "redis_16t_pool_same", "redis_16t_own_same", NULL},
    {"64 threads, same", 64, false, "redis_64t_pool_same", NULL, "redis_64t_pool_p99_same"},
};

/* What all threads share; guarded by the lock: which connections of the pool are free. */
static struct {
    struct nearcache *cache;
    struct nearcache_tier *tier;
    redisContext *own[THREADS_MOST], *pool[POOL], *free[POOL];
    unsigned free_count;
    pthread_mutex_t lock;
    pthread_cond_t given;
    atomic_int phase; /* 0: warm up, 1: measure, 2: stop */
} shared = {.lock = PTHREAD_MUTEX_INITIALIZER, .given = PTHREAD_COND_INITIALIZER};

/* One thread. */
struct caller {
    pthread_t id;
    unsigned index;
    void (*get)(struct caller *caller, unsigned key);
    uint64_t done;
    struct bench_histogram histogram;
};
static struct caller callers[THREADS_MOST];

static redisContext *connect_peer(const struct bench_redis *redis)
{
    redisContext *context = redisConnect("127.0.0.1", (int)redis->port);

    if (!context || context->err)
        bench_die("hiredis does not connect");
    return context;
}

static void fill(redisContext *context)
{
    char value[VALUE_BYTES];

    memset(value, 'v', sizeof value);
    for (unsigned i = 0; i < KEYS; i++)
        redisAppendCommand(context, "SET bench:%u %b PX 86400000", i, value, sizeof value);
    for (unsigned i = 0; i < KEYS; i++) {
        void *reply = NULL;

        if (redisGetReply(context, &reply) != REDIS_OK)
            bench_die("filling Redis failed");
        freeReplyObject(reply);
    }
}

/* ---- the candidates ---- */

static void get_ours(struct caller *caller, unsigned key)
{
    struct nearcache_result result;
    char name[16];
    int bytes = snprintf(name, sizeof name, "%u", key);
    int outcome = nearcache_get(shared.tier, name, (size_t)bytes, NULL, &result);

    (void)caller;
    if (outcome)
        bench_die("a get failed: %s", nearcache_strerror(outcome));
    nearcache_release(&result);
}

static void get_on(redisContext *context, unsigned key)
{
    redisReply *reply = redisCommand(context, "GET bench:%u", key);

    if (!reply || reply->type != REDIS_REPLY_STRING)
        bench_die("hiredis got something else");
    freeReplyObject(reply);
}

static void get_own(struct caller *caller, unsigned key) { get_on(shared.own[caller->index], key); }

static void get_pool(struct caller *caller, unsigned key)
{
    redisContext *context;

    (void)caller;
    pthread_mutex_lock(&shared.lock);
    while (shared.free_count == 0)
        pthread_cond_wait(&shared.given, &shared.lock);
    context = shared.free[--shared.free_count];
    pthread_mutex_unlock(&shared.lock);
    get_on(context, key);
    pthread_mutex_lock(&shared.lock);
    shared.free[shared.free_count++] = context;
    pthread_cond_signal(&shared.given);
    pthread_mutex_unlock(&shared.lock);
}

/* ---- a stretch ---- */

static void *call(void *arg)
{
    struct caller *caller = arg;
    unsigned key = caller->index * 311u;
    int phase;

    bench_pin(0);
    while ((phase = atomic_load_explicit(&shared.phase, memory_order_relaxed)) < 2) {
        uint64_t begin = bench_ticks();

        caller->get(caller, (key += 7919u) % KEYS);
        if (phase == 1) {
            bench_histogram_add(&caller->histogram, bench_ticks() - begin);
            caller->done++;
        }
    }
    return NULL;
}

static void rest(unsigned ms)
{
    const struct timespec time = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};

    nanosleep(&time, NULL);
}

/* Operations per second; *p99_us. */
static double stretch(const struct bench_options *options, unsigned threads,
                      void (*get)(struct caller *caller, unsigned key), double *p99_us)
{
    static struct bench_histogram all;
    uint64_t begin_ns, done = 0;

    bench_histogram_clear(&all);
    atomic_store(&shared.phase, 0);
    for (unsigned i = 0; i < threads; i++) {
        bench_histogram_clear(&callers[i].histogram);
        callers[i].index = i;
        callers[i].get = get;
        callers[i].done = 0;
        if (pthread_create(&callers[i].id, NULL, call, &callers[i]))
            bench_die("no thread");
    }
    rest(options->warm_ms);
    begin_ns = bench_clock_ns();
    atomic_store(&shared.phase, 1);
    rest(options->measure_ms);
    atomic_store(&shared.phase, 2);
    begin_ns = bench_clock_ns() - begin_ns;
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(callers[i].id, NULL);
        bench_histogram_merge(&all, &callers[i].histogram);
        done += callers[i].done;
    }
    *p99_us = bench_histogram_ns(&all, 0.99) / 1000.0;
    return (double)done * 1e9 / (double)begin_ns;
}

static void report(const char *goal, const struct bench_rounds *a, const struct bench_rounds *b)
{
    struct bench_summary ratio = bench_ratio(a, b);

    if (goal)
        bench_goal(goal, &ratio);
}

static void run_variant(const struct bench_options *options, struct bench_redis *redis,
                        const struct variant *v)
{
    struct bench_rounds ours = {0, {0}}, own = {0, {0}}, pool = {0, {0}}, again = {0, {0}};
    struct bench_rounds ours99 = {0, {0}}, own99 = {0, {0}}, pool99 = {0, {0}};
    double p99;

    bench_redis_pin(redis, v->split ? 1 : 0);
    for (int round = 0; round < options->rounds; round++) {
        bench_progress("%s: round %d of %d", v->name, round + 1, options->rounds);
        bench_rounds_add(&own, stretch(options, v->threads, get_own, &p99));
        bench_rounds_add(&own99, p99);
        bench_rounds_add(&ours, stretch(options, v->threads, get_ours, &p99));
        bench_rounds_add(&ours99, p99);
        bench_rounds_add(&pool, stretch(options, v->threads, get_pool, &p99));
        bench_rounds_add(&pool99, p99);
        bench_rounds_add(&again, stretch(options, v->threads, get_own, &p99));
    }
    bench_table(v->name, "gets/s");
    bench_row(v->name, "nearcache get", "gets/s", &ours);
    bench_row(v->name, "hiredis, connection per thread", "gets/s", &own);
    bench_row(v->name, "hiredis, pool of 8", "gets/s", &pool);
    bench_row(v->name, "nearcache get, p99", "us", &ours99);
    bench_row(v->name, "connection per thread, p99", "us", &own99);
    bench_row(v->name, "pool of 8, p99", "us", &pool99);
    report(v->goal_pool, &ours, &pool);
    report(v->goal_own, &ours, &own);
    report(v->goal_p99, &ours99, &pool99);
    struct bench_summary same = bench_ratio(&again, &own);
    bench_noise_same(&same);
}

static void open_all(const struct bench_redis *redis)
{
    struct nearcache_redis where = NEARCACHE_REDIS_INIT;
    struct nearcache_config config = NEARCACHE_CONFIG_INIT;
    struct nearcache_tier_config tier = NEARCACHE_TIER_INIT;

    for (unsigned i = 0; i < THREADS_MOST; i++)
        shared.own[i] = connect_peer(redis);
    for (unsigned i = 0; i < POOL; i++)
        shared.pool[i] = shared.free[shared.free_count++] = connect_peer(redis);
    fill(shared.own[0]);
    where.url = redis->tcp_url;
    config.redis = &where;
    config.capacity_entries = 2048; /* far fewer than the keys: nearly every get misses */
    config.deadline_us = 5000000;
    tier.name = "bench";
    tier.prefix = "bench:";
    tier.coherence = NEARCACHE_COHERENCE_NONE;
    tier.redis_ttl_ms = NEARCACHE_NONE; /* as the peers: the value alone */
    if (nearcache_open(&shared.cache, &config) ||
        nearcache_tier_open(shared.cache, &tier, &shared.tier) ||
        nearcache_wait(shared.cache, 5000000))
        bench_die("nearcache does not come up with Redis");
}

static void skip_all(const struct variant *v, const char *why)
{
    const char *const goals[] = {v->goal_pool, v->goal_own, v->goal_p99};

    for (unsigned i = 0; i < 3; i++)
        if (goals[i])
            bench_goal_skip(goals[i], why);
}

int main(int argc, char **argv)
{
    struct bench_options options =
        bench_begin(argc, argv, "redis_threads", "threads that miss against hiredis' connections");
    struct bench_redis redis;
    bool has = bench_redis_start(&redis);

    bench_pin(0); /* the link's thread stands where the callers do */
    if (has)
        open_all(&redis);
    for (unsigned i = 0; i < sizeof variants / sizeof *variants; i++) {
        if (!bench_wants(&options, variants[i].name))
            continue;
        if (!has)
            skip_all(&variants[i], "no redis-server on the PATH");
        else if (variants[i].split && bench_processors() < 2)
            skip_all(&variants[i], "one processor only");
        else
            run_variant(&options, &redis, &variants[i]);
    }
    if (has) {
        nearcache_close(shared.cache, 1000000);
        for (unsigned i = 0; i < THREADS_MOST; i++)
            redisFree(shared.own[i]);
        for (unsigned i = 0; i < POOL; i++)
            redisFree(shared.pool[i]);
        bench_redis_stop(&redis);
    }
    bench_end();
    return 0;
}
