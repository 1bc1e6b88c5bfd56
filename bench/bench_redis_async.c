/*
 * One thread with an event loop (libev) and 64 gets under way, each a miss: nearcache_get_async
 * through its adapter against hiredis' asynchronous API on a connection of its own, 256-byte values
 * over TCP. A callback asks for the next key. The loop stands on one processor; the server on the
 * same or another.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "lib/output.h"
#include "lib/redis_server.h"
#include "lib/threads.h"
#include "lib/timer.h"

struct variant {
    const char *name;
    unsigned in_flight;
    bool split;
    const char *goal; /* NULL: none */
};
static const struct variant variants[] = {
    {"async 64, same", 64, false, "redis_async_64_same"},
    {"async 64, split", 64, true, "redis_async_64_split"},
    {"async 1, split", 1, true, NULL},
    {"async 8, split", 8, true, NULL},
};
#define VARIANTS (sizeof variants / sizeof *variants)

static void skip_all(const char *why)
{
    for (unsigned i = 0; i < VARIANTS; i++)
        if (variants[i].goal)
            bench_goal_skip(variants[i].goal, why);
}

#if HAVE_LIBEV
#include <ev.h>
#include <hiredis/adapters/libev.h>
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <string.h>

#include <nearcache/adapters/libev.h>

#define KEYS 20000u
#define VALUE_BYTES 256u

/* One thread. */
static struct {
    struct ev_loop *loop;
    struct nearcache *cache;
    struct nearcache_tier *tier;
    redisAsyncContext *peer;
    unsigned key, in_flight;
    uint64_t done, until_ns; /* no new get after that */
} at;

/* The next key, until the time is over. The clock costs each the same. */
static bool next_name(char *name, size_t room, const char *prefix, int *bytes)
{
    if (bench_clock_ns() >= at.until_ns)
        return false;
    at.key = (at.key + 7919u) % KEYS;
    *bytes = snprintf(name, room, "%s%u", prefix, at.key);
    return true;
}

static void ended(void)
{
    at.done++;
    if (--at.in_flight == 0)
        ev_break(at.loop, EVBREAK_ONE);
}

/* ---- the candidates ---- */

static void ask_ours(void);

static void on_ours(void *arg, int status, struct nearcache_result *result)
{
    (void)arg;
    if (status)
        bench_die("a get failed: %s", nearcache_strerror(status));
    nearcache_release(result);
    ask_ours();
    ended();
}

static void ask_ours(void)
{
    struct nearcache_result result;
    char name[32];
    int bytes, outcome = 0;

    while (outcome == 0 && next_name(name, sizeof name, "", &bytes)) {
        outcome =
            nearcache_get_async(at.tier, name, (size_t)bytes, NULL, on_ours, NULL, &result, NULL);
        if (outcome == 0) {
            nearcache_release(&result);
            at.done++;
        } else if (outcome == NEARCACHE_PENDING) {
            at.in_flight++;
        } else {
            bench_die("a get failed: %s", nearcache_strerror(outcome));
        }
    }
}

static void ask_peer(void);

static void on_peer(redisAsyncContext *context, void *arg, void *arg2)
{
    redisReply *reply = arg;

    (void)context;
    (void)arg2;
    if (!reply || reply->type != REDIS_REPLY_STRING)
        bench_die("hiredis got something else");
    ask_peer();
    ended();
}

static void ask_peer(void)
{
    char name[32];
    int bytes;

    if (!next_name(name, sizeof name, "bench:", &bytes))
        return;
    if (redisAsyncCommand(at.peer, on_peer, NULL, "GET %b", name, (size_t)bytes) != REDIS_OK)
        bench_die("hiredis does not take a command");
    at.in_flight++;
}

/* ---- a stretch ---- */

static void run_for(unsigned ms, unsigned in_flight, void (*ask)(void))
{
    at.done = 0;
    at.in_flight = 0;
    at.until_ns = bench_clock_ns() + ms * UINT64_C(1000000);
    for (unsigned i = 0; i < in_flight; i++)
        ask();
    if (at.in_flight)
        ev_run(at.loop, 0);
}

/* Gets a second. */
static double stretch(const struct bench_options *options, unsigned in_flight, void (*ask)(void))
{
    run_for(options->warm_ms, in_flight, ask);
    uint64_t begin_ns = bench_clock_ns();
    run_for(options->measure_ms, in_flight, ask);
    return (double)at.done * 1e9 / (double)(bench_clock_ns() - begin_ns);
}

static void run_variant(const struct bench_options *options, struct bench_redis *redis,
                        const struct variant *v)
{
    struct bench_rounds ours = {0, {0}}, peer = {0, {0}}, again = {0, {0}};

    bench_redis_pin(redis, v->split ? 1 : 0);
    for (int round = 0; round < options->rounds; round++) {
        bench_progress("%s: round %d of %d", v->name, round + 1, options->rounds);
        bench_rounds_add(&peer, stretch(options, v->in_flight, ask_peer));
        bench_rounds_add(&ours, stretch(options, v->in_flight, ask_ours));
        bench_rounds_add(&again, stretch(options, v->in_flight, ask_peer));
    }
    bench_table(v->name, "gets/s");
    bench_row(v->name, "nearcache get_async", "gets/s", &ours);
    bench_row(v->name, "hiredis async", "gets/s", &peer);
    struct bench_summary ratio = bench_ratio(&ours, &peer), same = bench_ratio(&again, &peer);
    if (v->goal)
        bench_goal(v->goal, &ratio);
    bench_noise_same(&same);
}

static void on_peer_connect(const redisAsyncContext *context, int status)
{
    (void)context;
    if (status != REDIS_OK)
        bench_die("hiredis does not connect");
    ev_break(at.loop, EVBREAK_ONE);
}

static void fill(unsigned port)
{
    redisContext *context = redisConnect("127.0.0.1", (int)port);
    char value[VALUE_BYTES];

    if (!context || context->err)
        bench_die("hiredis does not connect");
    memset(value, 'v', sizeof value);
    for (unsigned i = 0; i < KEYS; i++)
        redisAppendCommand(context, "SET bench:%u %b PX 86400000", i, value, sizeof value);
    for (unsigned i = 0; i < KEYS; i++) {
        void *reply = NULL;

        if (redisGetReply(context, &reply) != REDIS_OK)
            bench_die("filling Redis failed");
        freeReplyObject(reply);
    }
    redisFree(context);
}

static void open_all(const struct bench_redis *redis, struct ev_io *watcher)
{
    struct nearcache_redis where = NEARCACHE_REDIS_INIT;
    struct nearcache_config config = NEARCACHE_CONFIG_INIT;
    struct nearcache_tier_config tier = NEARCACHE_TIER_INIT;

    fill(redis->port);
    at.loop = ev_loop_new(EVFLAG_AUTO);
    at.peer = redisAsyncConnect("127.0.0.1", (int)redis->port);
    if (!at.loop || !at.peer || at.peer->err)
        bench_die("hiredis does not connect");
    redisLibevAttach(at.loop, at.peer);
    redisAsyncSetConnectCallback(at.peer, on_peer_connect);
    ev_run(at.loop, 0);
    where.url = redis->tcp_url;
    config.redis = &where;
    config.capacity_entries = 2048; /* far fewer than the keys: nearly every get misses */
    config.deadline_us = 5000000;
    tier.name = "bench";
    tier.prefix = "bench:";
    tier.coherence = NEARCACHE_COHERENCE_NONE;
    if (nearcache_open(&at.cache, &config) || nearcache_tier_open(at.cache, &tier, &at.tier) ||
        nearcache_wait(at.cache, 5000000) || nearcache_libev_attach(at.cache, at.loop, watcher))
        bench_die("nearcache does not come up with Redis");
}

static void run_all(const struct bench_options *options)
{
    struct bench_redis redis;
    struct ev_io watcher;

    if (!bench_redis_start(&redis)) {
        skip_all("no redis-server on the PATH");
        return;
    }
    bench_pin(0); /* the cache's threads stand where the loop does */
    open_all(&redis, &watcher);
    for (unsigned i = 0; i < VARIANTS; i++) {
        if (!bench_wants(options, variants[i].name))
            continue;
        if (!variants[i].split || bench_processors() >= 2)
            run_variant(options, &redis, &variants[i]);
        else if (variants[i].goal)
            bench_goal_skip(variants[i].goal, "one processor only");
    }
    ev_io_stop(at.loop, &watcher);
    nearcache_close(at.cache, 1000000);
    redisAsyncFree(at.peer);
    ev_loop_destroy(at.loop);
    bench_redis_stop(&redis);
}

#else

static void run_all(const struct bench_options *options)
{
    (void)options;
    skip_all("built without libev");
}

#endif

int main(int argc, char **argv)
{
    struct bench_options options =
        bench_begin(argc, argv, "redis_async", "gets of an event loop against hiredis async");

    run_all(&options);
    bench_end();
    return 0;
}
