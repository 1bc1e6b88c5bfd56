/*
 * One thread with an event loop (libev) and 64 calls under way, each for what is not here:
 * nearcache/async.h through its adapter against hiredis' asynchronous API on a connection of its
 * own, over TCP. A callback asks for the next. The loop stands on one processor; the server on the
 * same or another.
 *
 *     async     gets of 256 bytes against GET
 *     many      batches of 32 of them against MGET
 *     vectors   batches of 256 rows of 2 KiB, 8 under way, against MGET
 *     set       writes of 256 bytes against SET; set, pubsub: versioned and told to all
 *
 * Rates count keys.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "lib/output.h"
#include "lib/redis_server.h"
#include "lib/threads.h"
#include "lib/timer.h"

enum kind { GET, MANY, VECTORS, SET, SET_PUBSUB };
struct variant {
    const char *name;
    enum kind kind;
    unsigned in_flight;
    bool split;
    const char *goal; /* NULL: none */
};
static const struct variant variants[] = {
    {"async 64, same", GET, 64, false, "redis_async_64_same"},
    {"async 64, split", GET, 64, true, "redis_async_64_split"},
    {"async 1, split", GET, 1, true, NULL},
    {"async 8, split", GET, 8, true, NULL},
    {"many 64, same", MANY, 64, false, NULL},
    {"many 64, split", MANY, 64, true, NULL},
    {"many 1, split", MANY, 1, true, NULL},
    {"vectors 8, same", VECTORS, 8, false, NULL},
    {"vectors 8, split", VECTORS, 8, true, NULL},
    {"set 64, same", SET, 64, false, NULL},
    {"set 64, split", SET, 64, true, NULL},
    {"set 1, split", SET, 1, true, NULL},
    {"set 64, pubsub, split", SET_PUBSUB, 64, true, NULL},
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
#include <stdlib.h>
#include <string.h>

#include <nearcache/adapters/libev.h>

#define KEYS 20000u
#define VALUE_BYTES 256u
#define ROW_BYTES 2048u
#define IN_FLIGHT_MOST 64u
#define BATCH_MOST 256u

/* One call under way. */
struct slot {
    char text[BATCH_MOST][16];
    struct nearcache_name names[BATCH_MOST];
    struct nearcache_result results[BATCH_MOST];
    int statuses[BATCH_MOST];
    char *matrix; /* NULL: not used yet */
};

/* One thread. */
static struct {
    struct ev_loop *loop;
    struct nearcache *cache;
    struct nearcache_tier *gets, *many, *vectors, *sets, *told; /* of the kinds, in their order */
    redisAsyncContext *peer;
    enum kind kind;
    unsigned key, in_flight, batch;
    uint64_t done, until_ns; /* no new call after that */
    struct slot slots[IN_FLIGHT_MOST];
} at;

static bool is_over(void) { return bench_clock_ns() >= at.until_ns; }

/* The next keys; peers need the prefix in front. */
static void name_next(struct slot *slot, const char *prefix)
{
    for (unsigned i = 0; i < at.batch; i++) {
        at.key = (at.key + 7919u) % KEYS;
        slot->names[i].data = slot->text[i];
        slot->names[i].bytes =
            (size_t)snprintf(slot->text[i], sizeof slot->text[i], "%s%u", prefix, at.key);
    }
}

static void ended(void)
{
    at.done += at.batch;
    if (--at.in_flight == 0)
        ev_break(at.loop, EVBREAK_ONE);
}

static void check(int status)
{
    if (status)
        bench_die("a call failed: %s", nearcache_strerror(status));
}

/* ---- the candidates ---- */

static const char value[VALUE_BYTES];

static void ask_ours(struct slot *slot);

static void on_get(void *arg, int status, struct nearcache_result *result)
{
    check(status);
    nearcache_release(result);
    ask_ours(arg);
    ended();
}

static void on_end(void *arg, int status)
{
    struct slot *slot = arg;

    check(status);
    if (at.kind == MANY)
        nearcache_release_many(slot->results, at.batch);
    ask_ours(slot);
    ended();
}

/* One call; its outcome. */
static int call_ours(struct slot *slot)
{
    const struct nearcache_name *name = slot->names;
    int outcome;

    name_next(slot, "");
    switch (at.kind) {
    case GET:
        outcome = nearcache_get_async(at.gets, name->data, name->bytes, NULL, on_get, slot,
                                      slot->results, NULL);
        if (outcome == 0)
            nearcache_release(slot->results);
        return outcome;
    case MANY:
        outcome = nearcache_get_many_async(at.many, name, at.batch, NULL, slot->results,
                                           slot->statuses, on_end, slot, NULL);
        if (outcome == 0)
            nearcache_release_many(slot->results, at.batch);
        return outcome;
    case VECTORS:
        return nearcache_get_vectors_async(at.vectors, name, at.batch, NULL, slot->matrix, 0,
                                           slot->statuses, NULL, on_end, slot, NULL);
    default:
        return nearcache_set_async(at.kind == SET ? at.sets : at.told, name->data, name->bytes,
                                   value, sizeof value, NULL, on_end, slot, NULL);
    }
}

static void ask_ours(struct slot *slot)
{
    int outcome = 0;

    while (outcome == 0 && !is_over()) {
        outcome = call_ours(slot);
        if (outcome == 0)
            at.done += at.batch;
        else if (outcome == NEARCACHE_PENDING)
            at.in_flight++;
        else
            check(outcome);
    }
}

static void ask_peer(struct slot *slot);

static void on_peer(redisAsyncContext *context, void *arg, void *arg2)
{
    redisReply *reply = arg;
    static const int wanted[] = {REDIS_REPLY_STRING, REDIS_REPLY_ARRAY, REDIS_REPLY_ARRAY,
                                 REDIS_REPLY_STATUS, REDIS_REPLY_STATUS};

    (void)context;
    if (!reply || reply->type != wanted[at.kind])
        bench_die("hiredis got something else");
    if (at.kind == VECTORS) /* who joins rows wants them side by side */
        for (unsigned i = 0; i < at.batch; i++)
            memcpy(((struct slot *)arg2)->matrix + i * ROW_BYTES, reply->element[i]->str,
                   ROW_BYTES);
    ask_peer(arg2);
    ended();
}

static void ask_peer(struct slot *slot)
{
    const char *words[BATCH_MOST + 1] = {"MGET"};
    size_t bytes[BATCH_MOST + 1] = {4};
    int outcome;

    if (is_over())
        return;
    name_next(slot, at.kind == VECTORS ? "row:" : "bench:");
    for (unsigned i = 0; i < at.batch; i++) {
        words[1 + i] = slot->names[i].data;
        bytes[1 + i] = slot->names[i].bytes;
    }
    if (at.kind == GET)
        outcome = redisAsyncCommand(at.peer, on_peer, slot, "GET %b", words[1], bytes[1]);
    else if (at.kind >= SET)
        outcome = redisAsyncCommand(at.peer, on_peer, slot, "SET %b %b", words[1], bytes[1], value,
                                    sizeof value);
    else
        outcome = redisAsyncCommandArgv(at.peer, on_peer, slot, (int)at.batch + 1, words, bytes);
    if (outcome != REDIS_OK)
        bench_die("hiredis does not take a command");
    at.in_flight++;
}

/* ---- a stretch ---- */

static void run_for(unsigned ms, unsigned in_flight, void (*ask)(struct slot *slot))
{
    at.done = 0;
    at.in_flight = 0;
    at.until_ns = bench_clock_ns() + ms * UINT64_C(1000000);
    for (unsigned i = 0; i < in_flight; i++)
        ask(&at.slots[i]);
    if (at.in_flight)
        ev_run(at.loop, 0);
}

/* Keys a second. */
static double stretch(const struct bench_options *options, unsigned in_flight,
                      void (*ask)(struct slot *slot))
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

    at.kind = v->kind;
    at.batch = v->kind == MANY ? 32 : v->kind == VECTORS ? BATCH_MOST : 1;
    bench_redis_pin(redis, v->split ? 1 : 0);
    for (int round = 0; round < options->rounds; round++) {
        bench_progress("%s: round %d of %d", v->name, round + 1, options->rounds);
        bench_rounds_add(&peer, stretch(options, v->in_flight, ask_peer));
        bench_rounds_add(&ours, stretch(options, v->in_flight, ask_ours));
        bench_rounds_add(&again, stretch(options, v->in_flight, ask_peer));
    }
    bench_table(v->name, "keys/s");
    bench_row(v->name, "nearcache", "keys/s", &ours);
    bench_row(v->name, "hiredis async", "keys/s", &peer);
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
    static char row[ROW_BYTES];

    if (!context || context->err)
        bench_die("hiredis does not connect");
    for (unsigned i = 0; i < KEYS; i++) {
        redisAppendCommand(context, "SET bench:%u %b PX 86400000", i, value, sizeof value);
        redisAppendCommand(context, "SET row:%u %b", i, row, sizeof row);
    }
    for (unsigned i = 0; i < 2 * KEYS; i++) {
        void *reply = NULL;

        if (redisGetReply(context, &reply) != REDIS_OK)
            bench_die("filling Redis failed");
        freeReplyObject(reply);
    }
    redisFree(context);
}

static struct nearcache_tier *open_tier(const char *name, enum kind kind)
{
    struct nearcache_tier_config config = NEARCACHE_TIER_INIT;
    struct nearcache_tier *tier;

    config.name = name;
    config.prefix = kind == VECTORS ? "row:" : "bench:";
    config.coherence = NEARCACHE_COHERENCE_NONE;
    if (kind == SET_PUBSUB)
        config.coherence = NEARCACHE_COHERENCE_PUBSUB;
    if (kind != GET)
        config.redis_ttl_ms = NEARCACHE_NONE;
    if (kind == VECTORS) {
        config.kind = NEARCACHE_VECTOR_F32;
        config.dimension = ROW_BYTES / 4;
    }
    check(nearcache_tier_open(at.cache, &config, &tier));
    return tier;
}

static void open_all(const struct bench_redis *redis, struct ev_io *watcher)
{
    struct nearcache_redis where = NEARCACHE_REDIS_INIT;
    struct nearcache_config config = NEARCACHE_CONFIG_INIT;

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
    check(nearcache_open(&at.cache, &config));
    at.gets = open_tier("gets", GET);
    at.many = open_tier("many", MANY);
    at.vectors = open_tier("vectors", VECTORS);
    at.sets = open_tier("sets", SET);
    at.told = open_tier("told", SET_PUBSUB);
    check(nearcache_wait(at.cache, 5000000));
    check(nearcache_libev_attach(at.cache, at.loop, watcher));
    for (unsigned i = 0; i < IN_FLIGHT_MOST; i++)
        if (!(at.slots[i].matrix = malloc((size_t)BATCH_MOST * ROW_BYTES)))
            bench_die("out of memory");
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
    for (unsigned i = 0; i < IN_FLIGHT_MOST; i++)
        free(at.slots[i].matrix);
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
        bench_begin(argc, argv, "redis_async", "calls of an event loop against hiredis async");

    run_all(&options);
    bench_end();
    return 0;
}
