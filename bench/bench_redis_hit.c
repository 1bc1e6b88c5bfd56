/*
 * What a near cache is for: a local hit of 4 KiB against the same value fetched from Redis with
 * hiredis GET, and against the cache hit of the service that this library was first made for
 * (Node, ioredis GET + JSON.parse; measured when NODE_MODULES names a folder with ioredis).
 */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <nearcache.h>

#include "lib/output.h"
#include "lib/redis_server.h"
#include "lib/threads.h"
#include "lib/timer.h"

#define KEYS 1000u
#define VALUE_BYTES 4096u

/* A JSON object of exactly VALUE_BYTES, so that the Node side has something to parse. */
static void make_value(char value[VALUE_BYTES + 1], unsigned id)
{
    int at = snprintf(value, VALUE_BYTES, "{\"id\":%u,\"items\":[", id);

    for (int i = 0; at < (int)VALUE_BYTES - 96; i++)
        at += snprintf(value + at, VALUE_BYTES - (size_t)at,
                       "%s{\"title\":\"product %d\",\"price\":%d.5,\"stock\":true}", i ? "," : "",
                       i, i * 7);
    at += snprintf(value + at, VALUE_BYTES - (size_t)at, "],\"pad\":\"");
    memset(value + at, 'p', VALUE_BYTES - (size_t)at);
    memcpy(value + VALUE_BYTES - 2, "\"}", 3);
}

static double hits_ns(struct nearcache_tier *tier, unsigned ms)
{
    uint64_t begin = bench_clock_ns(), end = begin + (uint64_t)ms * 1000000u, now, hits = 0;
    unsigned sum = 0;

    do {
        for (unsigned i = 0; i < 256; i++, hits++) {
            struct nearcache_result result;
            char name[16];
            int bytes = snprintf(name, sizeof name, "%u", (unsigned)(hits * 37u % KEYS));

            if (nearcache_get(tier, name, (size_t)bytes, NULL, &result))
                bench_die("a hit missed");
            sum += ((const unsigned char *)result.data)[0] +
                   ((const unsigned char *)result.data)[VALUE_BYTES - 1];
            nearcache_release(&result);
        }
        now = bench_clock_ns();
    } while (now < end);
    if (sum == 0)
        bench_die("values are empty");
    return (double)(now - begin) / (double)hits;
}

static double hiredis_ns(redisContext *hiredis, unsigned ms)
{
    uint64_t begin = bench_clock_ns(), end = begin + (uint64_t)ms * 1000000u, now, gets = 0;

    do {
        redisReply *reply = redisCommand(hiredis, "GET bench:%u", (unsigned)(gets++ * 37u % KEYS));

        if (!reply || reply->type != REDIS_REPLY_STRING || (size_t)reply->len != VALUE_BYTES)
            bench_die("hiredis got something else");
        freeReplyObject(reply);
        now = bench_clock_ns();
    } while (now < end);
    return (double)(now - begin) / (double)gets;
}

/* A long-lived node that measures one stretch for each line it is sent. */
struct node {
    pid_t pid;
    FILE *to, *from;
};

static bool start_node(struct node *node, const struct bench_redis *redis, const char *script)
{
    int in[2], out[2];
    char line[64], port[16];

    snprintf(port, sizeof port, "%u", redis->port);
    if (pipe(in) || pipe(out) || (node->pid = fork()) < 0)
        return false;
    if (node->pid == 0) {
        dup2(in[0], STDIN_FILENO);
        dup2(out[1], STDOUT_FILENO);
        close(in[1]);
        close(out[0]);
        execlp("node", "node", script, port, (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    node->to = fdopen(in[1], "w");
    node->from = fdopen(out[0], "r");
    return node->to && node->from && fgets(line, sizeof line, node->from) &&
           !strcmp(line, "ready\n");
}

static double node_ns(struct node *node, unsigned ms)
{
    double ns = 0.0;

    fprintf(node->to, "%u\n", ms);
    fflush(node->to);
    if (fscanf(node->from, "%lf", &ns) != 1)
        bench_die("node gave up");
    return ns;
}

static void run(const struct bench_options *options, struct bench_redis *redis)
{
    struct bench_rounds ours = {0, {0}}, theirs = {0, {0}}, nodes = {0, {0}}, again = {0, {0}};
    struct nearcache_redis where = NEARCACHE_REDIS_INIT;
    struct nearcache_config config = NEARCACHE_CONFIG_INIT;
    struct nearcache_tier_config tier_config = NEARCACHE_TIER_INIT;
    struct nearcache *cache;
    struct nearcache_tier *tier;
    redisContext *hiredis = redisConnect("127.0.0.1", (int)redis->port);
    const char *script = getenv("BENCH_IOREDIS");
    struct node node = {0, NULL, NULL};
    struct bench_summary ratio;
    bool with_node;
    char value[VALUE_BYTES + 1];

    where.url = redis->tcp_url;
    config.redis = &where;
    tier_config.name = "bench";
    tier_config.prefix = "bench:";
    if (!hiredis || hiredis->err || nearcache_open(&cache, &config) ||
        nearcache_tier_open(cache, &tier_config, &tier) || nearcache_wait(cache, 5000000))
        bench_die("no connection to Redis");
    for (unsigned i = 0; i < KEYS; i++) {
        char name[16];
        int bytes = snprintf(name, sizeof name, "%u", i);

        make_value(value, i);
        if (nearcache_set(tier, name, (size_t)bytes, value, VALUE_BYTES, NULL))
            bench_die("a set failed");
    }
    with_node = script && *script && start_node(&node, redis, script);
    bench_pin(0);
    for (int round = 0; round < options->rounds; round++) {
        bench_progress("round %d of %d", round + 1, options->rounds);
        bench_rounds_add(&theirs, hiredis_ns(hiredis, options->measure_ms * 2u));
        bench_rounds_add(&ours, hits_ns(tier, options->measure_ms));
        if (with_node)
            bench_rounds_add(&nodes, node_ns(&node, options->measure_ms * 4u));
        bench_rounds_add(&again, hiredis_ns(hiredis, options->measure_ms * 2u));
    }
    bench_table("4 KiB: local hit against a fetch", "ns");
    bench_row("4 KiB", "nearcache, local hit", "ns", &ours);
    bench_row("4 KiB", "hiredis GET", "ns", &theirs);
    ratio = bench_ratio(&again, &theirs);
    bench_noise_same(&ratio);
    ratio = bench_ratio(&theirs, &ours);
    bench_goal("local_hit_hiredis_get", &ratio);
    if (with_node) {
        bench_row("4 KiB", "ioredis GET + JSON.parse (Node)", "ns", &nodes);
        ratio = bench_ratio(&nodes, &ours);
        bench_goal("local_hit_ioredis", &ratio);
        fclose(node.to);
        fclose(node.from);
        waitpid(node.pid, NULL, 0);
    } else {
        bench_goal_skip("local_hit_ioredis",
                        "node with ioredis not found (make bench-goals NODE_MODULES=DIR)");
    }
    redisFree(hiredis);
    nearcache_close(cache, 1000000);
}

int main(int argc, char **argv)
{
    struct bench_options options =
        bench_begin(argc, argv, "redis_hit", "a local hit of 4 KiB against a fetch from Redis");
    struct bench_redis redis;

    if (bench_redis_start(&redis)) {
        run(&options, &redis);
        bench_redis_stop(&redis);
    } else {
        bench_goal_skip("local_hit_hiredis_get", "no redis-server on the PATH");
        bench_goal_skip("local_hit_ioredis", "no redis-server on the PATH");
    }
    bench_end();
    return 0;
}
