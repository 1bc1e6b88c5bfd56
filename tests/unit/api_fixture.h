/*
 * A local-only cache on a fake clock for tests of the public functions: tier "t" without jitter,
 * whose local TTL is 10 s, and vector tier "v" of four f32. One thread opens and closes.
 */
#ifndef UNIT_API_FIXTURE_H
#define UNIT_API_FIXTURE_H

#include "lib/fake_clock.h"
#include "lib/wait_until.h"

#include <criterion/criterion.h>
#include <nearcache.h>
#include <nearcache/metrics.h>
#include <string.h>

enum { API_TTL_MS = 10000, API_TICK_MS = 17 };

static struct fake_clock api_clock;
static struct nearcache *api_cache;
static struct nearcache_tier *api_tier, *api_vectors;

static inline void api_open_with(struct nearcache_config *config)
{
    struct nearcache_tier_config t = NEARCACHE_TIER_INIT, v = NEARCACHE_TIER_INIT;
    atomic_store(&api_clock.now_ns, FAKE_CLOCK_START_NS);
    config->clock = fake_clock_now;
    config->clock_arg = &api_clock;
    cr_assert_eq(nearcache_open(&api_cache, config), 0);
    t.name = "t";
    t.prefix = "t:";
    t.redis_ttl_ms = API_TTL_MS;
    t.jitter_percent = NEARCACHE_NONE;
    cr_assert_eq(nearcache_tier_open(api_cache, &t, &api_tier), 0);
    v.name = "v";
    v.prefix = "v:";
    v.kind = NEARCACHE_VECTOR_F32;
    v.dimension = 4;
    cr_assert_eq(nearcache_tier_open(api_cache, &v, &api_vectors), 0);
}

static inline void api_open(void)
{
    struct nearcache_config config = NEARCACHE_CONFIG_INIT;
    api_open_with(&config);
}

/* Fails the test when a result is still pinned. */
static inline void api_close(void)
{
    if (api_cache)
        cr_assert_eq(nearcache_close(api_cache, 0), 0);
    api_cache = NULL;
}

static inline int api_set(const char *name, const char *value)
{
    return nearcache_set(api_tier, name, strlen(name), value, strlen(value), NULL);
}

/* The outcome of a get; on 0 compares the value and releases it. */
static inline int api_get_is(const char *name, const char *value)
{
    struct nearcache_result r;
    int outcome = nearcache_get(api_tier, name, strlen(name), NULL, &r);
    if (outcome == 0) {
        cr_expect_eq(r.bytes, strlen(value), "%s", name);
        cr_expect_eq(memcmp(r.data, value, strlen(value)), 0, "%s", name);
        cr_expect_eq(r.source, NEARCACHE_SOURCE_LOCAL);
        nearcache_release(&r);
    }
    return outcome;
}

static inline struct nearcache_metrics api_metrics(void)
{
    struct nearcache_metrics m = NEARCACHE_METRICS_INIT;
    cr_assert_eq(nearcache_metrics(api_cache, &m), 0);
    return m;
}

#endif
