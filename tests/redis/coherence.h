/*
 * What the coherence tests share: a cache over a test's own server, a reader of its invalidation
 * channel, short calls. One thread, but for the cache.
 */
#ifndef TESTS_REDIS_COHERENCE_H
#define TESTS_REDIS_COHERENCE_H

#include <criterion/criterion.h>
#include <nearcache.h>
#include <nearcache/metrics.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/redis_server.h"
#include "lib/wait_until.h"

/* The defaults of these tests: quick heartbeats, deadlines that a busy machine keeps. */
static inline struct nearcache_config coherence_config(void)
{
    struct nearcache_config config = NEARCACHE_CONFIG_INIT;
    config.deadline_us = 5000000;
    config.heartbeat_ms = 20;
    return config;
}

static inline struct nearcache *coherence_open(const struct redis_server *server,
                                               struct nearcache_config config)
{
    struct nearcache_redis redis = NEARCACHE_REDIS_INIT;
    struct nearcache *cache = NULL;
    redis.url = server->unix_url;
    config.redis = &redis;
    cr_assert_eq(nearcache_open(&cache, &config), 0);
    return cache;
}

static inline struct nearcache_tier_config coherence_tier_config(void)
{
    struct nearcache_tier_config config = NEARCACHE_TIER_INIT;
    config.name = "things";
    config.prefix = "thing:";
    return config;
}

static inline struct nearcache_tier *coherence_tier(struct nearcache *cache,
                                                    struct nearcache_tier_config config)
{
    struct nearcache_tier *tier = NULL;
    cr_assert_eq(nearcache_tier_open(cache, &config, &tier), 0);
    cr_assert_eq(nearcache_wait(cache, 10000000), 0);
    return tier;
}

static inline int coherence_set(struct nearcache_tier *tier, const char *name, const char *value)
{
    return nearcache_set(tier, name, strlen(name), value, strlen(value), NULL);
}

/* The outcome of a get; its source, unless NULL; the value must be `expected`, unless NULL. */
static inline int coherence_get(struct nearcache_tier *tier, const char *name, const char *expected,
                                enum nearcache_source *source)
{
    struct nearcache_result result;
    int outcome = nearcache_get(tier, name, strlen(name), NULL, &result);
    if (outcome == 0 && expected)
        cr_assert(
            result.bytes == strlen(expected) && memcmp(result.data, expected, result.bytes) == 0,
            "%s is %.*s, not %s", name, (int)result.bytes, (const char *)result.data, expected);
    if (source)
        *source = result.source;
    nearcache_release(&result);
    return outcome;
}

static inline struct nearcache_metrics coherence_metrics(struct nearcache *cache)
{
    struct nearcache_metrics metrics = NEARCACHE_METRICS_INIT;
    cr_assert_eq(nearcache_metrics(cache, &metrics), 0);
    return metrics;
}

/* The server answers and the text is as expected. */
static inline bool coherence_asks(const struct redis_server *server, const char *command,
                                  const char *expected)
{
    char *answer = redis_server_ask(server, command);
    bool same = answer && strcmp(answer, expected) == 0;
    if (!same)
        fprintf(stderr, "%s: %s, not %s\n", command, answer ? answer : "nothing", expected);
    free(answer);
    return same;
}

#endif
