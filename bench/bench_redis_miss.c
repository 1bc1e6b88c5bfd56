/*
 * A lone caller's miss: one nearcache_get that goes to Redis (100 ms deadline, the value inserted
 * and another evicted), against hiredis' redisCommand("GET"), 256-byte values. Over TCP and a unix
 * socket; client and server on one processor (same) or one each (split). A tier without coherence
 * and expiry asks for the value alone, as the peer does; one with expiry also for PTTL, one with
 * pub/sub for the version, too, all of it in MULTI; then the peer sends such commands in one write.
 */
#include <hiredis/hiredis.h>
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

/* One thread. */
struct side {
    struct nearcache *cache;
    struct nearcache_tier *tier;
    redisContext *hiredis;
    unsigned next;
    bool expires; /* PTTL, too */
    bool pubsub;  /* and the version */
};

struct variant {
    const char *name;
    const char *goal; /* NULL: none */
    bool unix_socket;
    bool split;
    bool expires;
    bool pubsub;
};
static const struct variant variants[] = {
    {"TCP, split", "redis_miss_tcp_split", false, true, false, false},
    {"TCP, same", "redis_miss_tcp_same", false, false, false, false},
    {"unix, split", "redis_miss_unix_split", true, true, false, false},
    {"unix, same", "redis_miss_unix_same", true, false, false, false},
    {"TCP, split, TTL", NULL, false, true, true, false},
    {"TCP, same, TTL", NULL, false, false, true, false},
    {"TCP, split, pub/sub", "redis_miss_tcp_split_pubsub", false, true, true, true},
    {"unix, split, pub/sub", "redis_miss_unix_split_pubsub", true, true, true, true},
};

static void fill(redisContext *hiredis)
{
    char value[VALUE_BYTES];

    memset(value, 'v', sizeof value);
    for (unsigned i = 0; i < KEYS; i++)
        redisAppendCommand(hiredis, "SET bench:%u %b PX 86400000", i, value, sizeof value);
    for (unsigned i = 0; i < KEYS; i++) {
        void *reply = NULL;

        if (redisGetReply(hiredis, &reply) != REDIS_OK)
            bench_die("filling Redis failed");
        freeReplyObject(reply);
    }
}

static void open_side(struct side *side, const struct bench_redis *redis,
                      const struct variant *variant)
{
    struct nearcache_redis where = NEARCACHE_REDIS_INIT;
    struct nearcache_config config = NEARCACHE_CONFIG_INIT;
    struct nearcache_tier_config tier = NEARCACHE_TIER_INIT;

    memset(side, 0, sizeof *side);
    side->expires = variant->expires;
    side->pubsub = variant->pubsub;
    side->hiredis = variant->unix_socket ? redisConnectUnix(redis->socket_path)
                                         : redisConnect("127.0.0.1", (int)redis->port);
    if (!side->hiredis || side->hiredis->err)
        bench_die("hiredis does not connect");
    fill(side->hiredis);
    where.url = variant->unix_socket ? redis->unix_url : redis->tcp_url;
    config.redis = &where;
    config.capacity_entries = 2048; /* far fewer than the keys: every get misses */
    tier.name = "bench";
    tier.prefix = "bench:";
    tier.coherence = variant->pubsub ? NEARCACHE_COHERENCE_PUBSUB : NEARCACHE_COHERENCE_NONE;
    if (!variant->expires)
        tier.redis_ttl_ms = NEARCACHE_NONE;
    if (nearcache_open(&side->cache, &config) ||
        nearcache_tier_open(side->cache, &tier, &side->tier) ||
        nearcache_wait(side->cache, 5000000))
        bench_die("nearcache does not come up with Redis");
}

static void close_side(struct side *side)
{
    nearcache_close(side->cache, 1000000);
    redisFree(side->hiredis);
}

static void get_ours(struct side *side)
{
    struct nearcache_result result;
    char name[16];
    int bytes = snprintf(name, sizeof name, "%u", side->next++ % KEYS);
    int outcome = nearcache_get(side->tier, name, (size_t)bytes, NULL, &result);

    if (outcome || result.bytes != VALUE_BYTES)
        bench_die("a get failed: %s", nearcache_strerror(outcome));
    if (result.source != NEARCACHE_SOURCE_REMOTE)
        bench_die("a get did not miss");
    nearcache_release(&result);
}

static void take_reply(struct side *side, bool value)
{
    redisReply *reply = NULL;

    if (redisGetReply(side->hiredis, (void **)&reply) != REDIS_OK || !reply)
        bench_die("hiredis lost its connection");
    if (value && (reply->type != REDIS_REPLY_STRING || (size_t)reply->len != VALUE_BYTES))
        bench_die("hiredis got something else");
    freeReplyObject(reply);
}

static void get_hiredis(struct side *side)
{
    unsigned i = side->next++ % KEYS;
    redisReply *reply;

    if (!side->expires) {
        reply = redisCommand(side->hiredis, "GET bench:%u", i);
        if (!reply || reply->type != REDIS_REPLY_STRING)
            bench_die("hiredis got something else");
        freeReplyObject(reply);
        return;
    }
    redisAppendCommand(side->hiredis, "GET bench:%u", i);
    redisAppendCommand(side->hiredis, "PTTL bench:%u", i);
    if (side->pubsub)
        redisAppendCommand(side->hiredis, "HGET nc:s s");
    take_reply(side, true);
    take_reply(side, false);
    if (side->pubsub)
        take_reply(side, false);
}

static void stretch(struct side *side, void (*get)(struct side *), unsigned ms,
                    struct bench_histogram *histogram)
{
    uint64_t begin, end = bench_clock_ns() + (uint64_t)ms * 1000000u;

    bench_histogram_clear(histogram);
    do {
        begin = bench_ticks();
        get(side);
        bench_histogram_add(histogram, bench_ticks() - begin);
    } while (bench_clock_ns() < end);
}

static void run_variant(const struct bench_options *options, struct bench_redis *redis,
                        const struct variant *variant)
{
    static struct bench_histogram histogram;
    struct bench_rounds ours = {0, {0}}, theirs = {0, {0}}, again = {0, {0}};
    struct bench_rounds ours99 = {0, {0}}, theirs99 = {0, {0}};
    struct bench_summary ratio, same;
    struct side side;

    bench_redis_pin(redis, variant->split ? 1 : 0);
    bench_pin(variant->split ? 1 : 0); /* the cache's own threads stay with the server */
    open_side(&side, redis, variant);
    bench_pin(0);
    for (int round = 0; round < options->rounds; round++) {
        uint64_t delay_ns = bench_run_delay_ns(), begin_ns = bench_clock_ns();

        bench_progress("%s: round %d of %d", variant->name, round + 1, options->rounds);
        stretch(&side, get_hiredis, options->warm_ms, &histogram);
        stretch(&side, get_hiredis, options->measure_ms, &histogram);
        bench_rounds_add(&theirs, bench_histogram_ns(&histogram, 0.5) / 1000.0);
        bench_rounds_add(&theirs99, bench_histogram_ns(&histogram, 0.99) / 1000.0);
        stretch(&side, get_ours, options->warm_ms, &histogram);
        stretch(&side, get_ours, options->measure_ms, &histogram);
        bench_rounds_add(&ours, bench_histogram_ns(&histogram, 0.5) / 1000.0);
        bench_rounds_add(&ours99, bench_histogram_ns(&histogram, 0.99) / 1000.0);
        stretch(&side, get_hiredis, options->measure_ms, &histogram);
        bench_rounds_add(&again, bench_histogram_ns(&histogram, 0.5) / 1000.0);
        if (variant->split) /* on one processor waiting for the server is the work */
            bench_noise_stolen((double)(bench_run_delay_ns() - delay_ns) /
                               (double)(bench_clock_ns() - begin_ns));
    }
    bench_table(variant->name, "us");
    bench_row(variant->name, "nearcache get, p50", "us", &ours);
    bench_row(variant->name,
              variant->pubsub    ? "hiredis GET + PTTL + HGET, p50"
              : variant->expires ? "hiredis GET + PTTL, p50"
                                 : "hiredis redisCommand GET, p50",
              "us", &theirs);
    bench_row(variant->name, "nearcache get, p99", "us", &ours99);
    bench_row(variant->name, "hiredis, p99", "us", &theirs99);
    ratio = bench_ratio(&ours, &theirs);
    if (variant->goal)
        bench_goal(variant->goal, &ratio);
    same = bench_ratio(&again, &theirs);
    bench_noise_same(&same);
    close_side(&side);
}

int main(int argc, char **argv)
{
    struct bench_options options =
        bench_begin(argc, argv, "redis_miss", "a lone miss against hiredis redisCommand");
    struct bench_redis redis;

    if (!bench_redis_start(&redis)) {
        for (unsigned i = 0; i < sizeof variants / sizeof *variants; i++)
            if (variants[i].goal)
                bench_goal_skip(variants[i].goal, "no redis-server on the PATH");
        bench_end();
        return 0;
    }
    for (unsigned i = 0; i < sizeof variants / sizeof *variants; i++) {
        if (!bench_wants(&options, variants[i].name))
            continue;
        if (!variants[i].split || bench_processors() > 1)
            run_variant(&options, &redis, &variants[i]);
        else if (variants[i].goal)
            bench_goal_skip(variants[i].goal, "one processor only");
    }
    bench_redis_stop(&redis);
    bench_end();
    return 0;
}
