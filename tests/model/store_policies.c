/*
 * Random operations against a map: what the cache has was put there and not deleted since, nothing
 * that has an end is found behind it, every removal is told once and for a reason, capacity and
 * budget hold at every step, and at the end all is accounted for. Over all policies, one shard and
 * several, entries and bytes.
 */
#include "lib/local_cache.h"

#include "base/hash.h"
#include "cache/drop.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#define KEYS 600
#define STEPS 30000
#define GRACE_MS 17 /* a tick */

struct model_key {
    bool here; /* by the told removals */
    size_t bytes;
    uint64_t ends_ms; /* 0: never */
};

struct model {
    struct local_cache cache;
    struct model_key keys[LOCAL_CACHE_TIERS][KEYS];
    uint64_t state, now_ms;
    uint64_t told[LOCAL_CACHE_CAUSES];
    bool setting; /* the removal of the old value is not the key's end */
    uint32_t setting_tier;
    uint64_t setting_id;
};

static uint64_t below(struct model *m, uint64_t limit) { return nc_hash_step(&m->state) % limit; }

static void on_removal(void *arg, uint32_t tier, uint64_t id, enum nearcache_cause cause)
{
    struct model *m = arg;
    m->told[cause]++;
    if (m->setting && m->setting_tier == tier && m->setting_id == id)
        return;
    cr_assert(m->keys[tier][id].here, "key %lu left twice", (unsigned long)id);
    if (cause == NEARCACHE_CAUSE_EXPIRED) {
        uint64_t ends_ms = m->keys[tier][id].ends_ms;
        cr_assert(ends_ms && ends_ms <= m->now_ms + GRACE_MS, "key %lu expired early",
                  (unsigned long)id);
    }
    m->keys[tier][id].here = false;
}

static void do_set(struct model *m, uint32_t tier, uint64_t id)
{
    static const uint64_t ttls_ms[] = {0, 0, 50, 400, 3000, 100000};
    struct model_key *key = &m->keys[tier][id];
    size_t bytes = below(m, 20) == 0 ? below(m, 60000) : below(m, 300);
    uint64_t ttl_ms = ttls_ms[below(m, 6)];
    m->setting = true;
    m->setting_tier = tier;
    m->setting_id = id;
    cr_assert(local_cache_set(&m->cache, tier, id, bytes, ttl_ms));
    m->setting = false;
    key->here = true;
    key->bytes = bytes;
    key->ends_ms = ttl_ms ? m->now_ms + ttl_ms : 0;
}

static void do_get(struct model *m, uint32_t tier, uint64_t id)
{
    const struct model_key *key = &m->keys[tier][id];
    int64_t found = local_cache_get(&m->cache, tier, id);
    if (found < 0) {
        cr_assert(!key->here || (key->ends_ms && key->ends_ms <= m->now_ms + GRACE_MS),
                  "key %lu is lost", (unsigned long)id);
        return;
    }
    cr_assert(key->here, "key %lu is back", (unsigned long)id);
    cr_assert_eq((size_t)found, key->bytes);
    cr_assert(!key->ends_ms || m->now_ms < key->ends_ms, "key %lu is over", (unsigned long)id);
}

static void step(struct model *m, uint32_t tiers)
{
    uint32_t tier = (uint32_t)below(m, tiers);
    /* A few are used much more than the others, and now and then there is a scan. */
    uint64_t id = below(m, 3) ? below(m, 1 + below(m, KEYS)) : below(m, KEYS), values;
    switch (below(m, 40)) {
    case 0:
        local_cache_drop(&m->cache, tier, id);
        cr_assert_not(m->keys[tier][id].here);
        break;
    case 1:
        m->now_ms += below(m, 40);
        atomic_store(&m->cache.clock.now_ns, m->now_ms * 1000000);
        break;
    case 2:
        if (below(m, 4) == 0)
            local_cache_sweep(&m->cache);
        else if (below(m, 100) == 0)
            nc_cache_drop_prefix(m->cache.tiers[tier], &id, 1, UINT64_MAX, &values);
        break;
    default:
        if (below(m, 2))
            do_set(m, tier, id);
        else
            do_get(m, tier, id);
    }
}

static void check(struct model *m, uint64_t entries_most)
{
    struct nc_store_usage usage = local_cache_usage(&m->cache);
    uint64_t here = 0;
    cr_assert_leq(usage.used_bytes, usage.budget_bytes);
    for (int tier = 0; tier < LOCAL_CACHE_TIERS; tier++)
        here += (uint64_t)m->cache.here[tier];
    cr_assert_eq(usage.entries, here);
    if (entries_most)
        cr_assert_leq(here, entries_most);
}

static void run(enum nearcache_policy policy, uint64_t entries, uint64_t budget_bytes,
                uint32_t shards, uint32_t tiers)
{
    struct model *m = calloc(1, sizeof *m);
    cr_assert(m);
    const char *given = getenv("NC_MODEL_SEED");
    m->state = given ? strtoull(given, NULL, 10) : nc_hash_random();
    printf("NC_MODEL_SEED=%llu policy %d\n", (unsigned long long)m->state, policy);
    fflush(stdout);
    m->now_ms = FAKE_CLOCK_START_NS / 1000000;
    local_cache_open(
        &m->cache, &(struct local_cache_config){.entries = entries,
                                                .budget_bytes = budget_bytes,
                                                .shards = shards,
                                                .tiers = tiers,
                                                .policies = {policy, policy, NEARCACHE_POLICY_LRU},
                                                .shares = {0, tiers > 1 ? 30 : 0, 10},
                                                .on_removal = on_removal,
                                                .arg = m});
    for (int i = 0; i < STEPS; i++) {
        step(m, tiers);
        if (i % 16 == 0)
            check(m, entries);
    }
    local_cache_close(&m->cache);
    for (uint32_t tier = 0; tier < tiers; tier++)
        for (uint64_t id = 0; id < KEYS; id++)
            cr_assert_not(m->keys[tier][id].here, "key %lu was never told of", (unsigned long)id);
    free(m);
}

TestSuite(store_policies, .timeout = 120);

Test(store_policies, lru_by_entries) { run(NEARCACHE_POLICY_LRU, 100, 0, 1, 1); }
Test(store_policies, lru_by_bytes) { run(NEARCACHE_POLICY_LRU, 0, 1 << 20, 1, 2); }
Test(store_policies, lru_in_shards) { run(NEARCACHE_POLICY_LRU, 201, 0, 4, 3); }
Test(store_policies, as3_by_entries) { run(NEARCACHE_POLICY_AS3, 100, 0, 1, 1); }
Test(store_policies, as3_by_bytes) { run(NEARCACHE_POLICY_AS3, 0, 1 << 20, 1, 2); }
Test(store_policies, as3_in_shards) { run(NEARCACHE_POLICY_AS3, 201, 0, 4, 3); }
Test(store_policies, as3_of_one_entry) { run(NEARCACHE_POLICY_AS3, 1, 0, 1, 1); }
