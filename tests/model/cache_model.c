/*
 * Random operations on a local-only cache against a naive map, on a fake clock.
 *
 *     NC_MODEL_SEED=42 tests/model/cache_model
 *
 * With room enough the cache must answer exactly as the map does. With a small capacity a value may
 * be missing, but what is answered must be the newest value, in its time. The seed is printed.
 */
#include "lib/fake_clock.h"

#include <criterion/criterion.h>
#include <nearcache.h>
#include <nearcache/metrics.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TIERS = 3, KEYS = 200, OPERATIONS = 20000, TICK_MS = 17, PINS = 64, JITTERY = 1 };

/* What the map knows of a key. */
struct known {
    bool here, old;
    uint32_t version, bytes;
    uint64_t end_ms;
};

/* One run. One thread. */
struct run {
    struct fake_clock clock;
    struct nearcache *cache;
    struct nearcache_tier *tiers[TIERS];
    struct known map[TIERS][KEYS];
    struct {
        struct nearcache_result result;
        uint32_t key, version;
    } pins[PINS];
    uint64_t random, seed, now_ms, hits, lost;
    uint32_t versions;
    bool exact; /* nothing is ever evicted */
};

static uint64_t step(struct run *run)
{
    run->random ^= run->random << 13;
    run->random ^= run->random >> 7;
    run->random ^= run->random << 17;
    return run->random;
}

static void fail(const struct run *run, const char *what)
{
    cr_assert_fail("%s (NC_MODEL_SEED=%llu)", what, (unsigned long long)run->seed);
}

/* The bytes of a value follow from its key and version. */
static void make(unsigned char *value, uint32_t bytes, uint32_t key, uint32_t version)
{
    for (uint32_t i = 0; i < bytes; i++)
        value[i] = (unsigned char)(key * 7 + version * 13 + i);
}

static bool is_made(const struct nearcache_result *r, uint32_t key, uint32_t version)
{
    const unsigned char *value = r->data;
    for (size_t i = 0; i < r->bytes; i++)
        if (value[i] != (unsigned char)(key * 7 + version * 13 + i))
            return false;
    return true;
}

/* Just around its end a value may be here or not: times are kept in ticks. */
static bool surely(const struct run *run, const struct known *k)
{
    return k->here && !k->old && k->end_ms > run->now_ms + 2 * TICK_MS;
}

static bool perhaps(const struct run *run, const struct known *k)
{
    return k->here && !k->old && k->end_ms > run->now_ms;
}

/* Nothing is evicted, and no jitter lets an end come earlier. */
static bool is_exact(const struct run *run, uint32_t tier) { return run->exact && tier != JITTERY; }

static void check_get(struct run *run, uint32_t tier, uint32_t key)
{
    struct known *k = &run->map[tier][key];
    struct nearcache_result r;
    int outcome = nearcache_get(run->tiers[tier], &key, sizeof key, NULL, &r);
    if (outcome == NEARCACHE_MISS) {
        if (is_exact(run, tier) && surely(run, k))
            fail(run, "a value is missing");
        run->lost += surely(run, k);
        return;
    }
    if (outcome != 0)
        fail(run, "a read failed");
    if (!perhaps(run, k))
        fail(run, "a value is here that should not be");
    if (r.bytes != k->bytes || !is_made(&r, key, k->version))
        fail(run, "a value is not the newest");
    if (r.ttl_ms != NEARCACHE_NONE && run->now_ms + r.ttl_ms > k->end_ms)
        fail(run, "a value says that it lives too long");
    run->hits++;
    uint32_t slot = (uint32_t)(step(run) % (2 * PINS));
    if (slot >= PINS) {
        nearcache_release(&r);
        return;
    }
    /* A pin of long ago: its value must be what it was. */
    if (run->pins[slot].result.data &&
        !is_made(&run->pins[slot].result, run->pins[slot].key, run->pins[slot].version))
        fail(run, "a pinned value changed");
    nearcache_release(&run->pins[slot].result);
    run->pins[slot].result = r;
    run->pins[slot].key = key;
    run->pins[slot].version = k->version;
}

static void do_set(struct run *run, uint32_t tier, uint32_t key)
{
    static unsigned char value[8192];
    struct nearcache_write how = NEARCACHE_WRITE_INIT;
    struct known *k = &run->map[tier][key];
    uint32_t bytes = (uint32_t)(step(run) % 10 ? step(run) % 300 : step(run) % sizeof value);
    how.ttl_ms = 200 + step(run) % 3000;
    make(value, bytes, key, ++run->versions);
    int outcome = nearcache_set(run->tiers[tier], &key, sizeof key, value, bytes, &how);
    if (outcome != 0)
        fail(run, "a write failed");
    *k = (struct known){outcome == 0, false, run->versions, bytes, run->now_ms + how.ttl_ms};
}

static void do_touch(struct run *run, uint32_t tier, uint32_t key)
{
    struct nearcache_write how = NEARCACHE_WRITE_INIT;
    struct known *k = &run->map[tier][key];
    how.ttl_ms = 200 + step(run) % 3000;
    int outcome = nearcache_touch(run->tiers[tier], &key, sizeof key, &how);
    /* Touching an old copy moves its end and leaves it old. */
    if (outcome == 0 && (!k->here || k->end_ms <= run->now_ms))
        fail(run, "what is not here was touched");
    if (outcome == NEARCACHE_MISS && is_exact(run, tier) && surely(run, k))
        fail(run, "what is here was not touched");
    if (outcome == 0)
        k->end_ms = run->now_ms + how.ttl_ms;
}

static void forget(struct run *run, uint32_t tier)
{
    for (uint32_t key = 0; key < KEYS; key++)
        run->map[tier][key].here = false;
}

static void operate(struct run *run)
{
    uint32_t tier = (uint32_t)(step(run) % TIERS), key = (uint32_t)(step(run) % KEYS);
    struct known *k = &run->map[tier][key];
    unsigned which = (unsigned)(step(run) % 100);
    if (which < 50) {
        check_get(run, tier, key);
    } else if (which < 80) {
        do_set(run, tier, key);
    } else if (which < 86) {
        nearcache_delete(run->tiers[tier], &key, sizeof key, NULL);
        k->here = false;
    } else if (which < 89) {
        nearcache_invalidate(run->tiers[tier], &key, sizeof key, NULL);
        k->here = false;
    } else if (which < 93) {
        do_touch(run, tier, key);
    } else if (which < 95) {
        if (nearcache_expire(run->tiers[tier], &key, sizeof key) == 0)
            k->old = true;
    } else if (step(run) % 100 == 0) {
        nearcache_clear(run->tiers[tier], 0, NULL);
        forget(run, tier);
    } else {
        uint64_t ms = step(run) % 60;
        fake_clock_advance_ms(&run->clock, ms);
        run->now_ms += ms;
    }
}

static void open_run(struct run *run, uint64_t entries, uint32_t shards,
                     enum nearcache_policy policy)
{
    static const char *const names[TIERS] = {"a", "b", "c"};
    struct nearcache_config config = NEARCACHE_CONFIG_INIT;
    config.clock = fake_clock_now;
    config.clock_arg = &run->clock;
    config.capacity_entries = entries;
    config.shards = shards;
    config.hash_seed = run->seed;
    if (nearcache_open(&run->cache, &config) != 0)
        fail(run, "no cache");
    for (int i = 0; i < TIERS; i++) {
        struct nearcache_tier_config tier = NEARCACHE_TIER_INIT;
        tier.name = names[i];
        tier.policy = policy;
        tier.jitter_percent = i == JITTERY ? 30 : NEARCACHE_NONE;
        tier.budget_share_percent = i == 2 ? 20 : 0;
        if (nearcache_tier_open(run->cache, &tier, &run->tiers[i]) != 0)
            fail(run, "no tier");
    }
}

static void run_once(uint64_t seed, uint64_t entries, uint32_t shards, enum nearcache_policy policy)
{
    struct run *run = calloc(1, sizeof *run);
    struct nearcache_metrics m = NEARCACHE_METRICS_INIT;
    run->seed = seed;
    run->random = seed | 1;
    run->exact = entries == 0;
    atomic_init(&run->clock.now_ns, FAKE_CLOCK_START_NS);
    open_run(run, entries, shards, policy);
    for (int i = 0; i < OPERATIONS; i++) {
        operate(run);
        if (entries && i % 64 == 0 && nearcache_metrics(run->cache, &m) == 0 && m.entries > entries)
            fail(run, "more entries than the capacity");
    }
    for (uint32_t i = 0; i < PINS; i++)
        nearcache_release(&run->pins[i].result);
    if (nearcache_pinned(run->cache) != 0)
        fail(run, "pins are left");
    if (run->hits < OPERATIONS / 100)
        fail(run, "hardly anything was ever found");
    if (nearcache_close(run->cache, 0) != 0)
        fail(run, "not closed");
    free(run);
}

static uint64_t choose_seed(void)
{
    const char *given = getenv("NC_MODEL_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    printf("cache_model: NC_MODEL_SEED=%llu\n", (unsigned long long)seed);
    fflush(stdout);
    return seed;
}

static void run_all(uint64_t entries)
{
    uint64_t seed = choose_seed();
    for (uint32_t shards = 1; shards <= 4; shards += 3) {
        run_once(seed, entries, shards, NEARCACHE_POLICY_LRU);
        run_once(seed, entries, shards, NEARCACHE_POLICY_AS3);
    }
}

Test(cache_model, with_room_for_all_it_answers_as_the_map_does) { run_all(0); }

Test(cache_model, with_half_the_room_it_forgets_but_never_lies) { run_all(300); }

Test(cache_model, with_hardly_any_room_it_forgets_but_never_lies) { run_all(64); }
