/* Edges of a local-only cache: far ends, absences with long names, callbacks that write, tables
 * that were outgrown. */
#include "unit/api_fixture.h"

#include "cache/cache.h"
#include "lib/local_cache.h"
#include "store/store.h"

static const uint64_t DAY_MS = 86400000;

TestSuite(local_edges, .timeout = 60, .fini = api_close);

Test(local_edges, a_touch_of_500_days_is_no_end)
{
    struct nearcache_write w = NEARCACHE_WRITE_INIT;
    api_open();
    w.ttl_ms = 500 * DAY_MS;
    cr_assert_eq(api_set("a", "1"), 0);
    cr_expect_eq(nearcache_touch(api_tier, "a", 1, &w), 0);
    cr_expect_eq(api_get_is("a", "1"), 0);
}

Test(local_edges, what_may_stand_in_for_ever_has_a_ttl_of_300_days)
{
    static struct local_cache local;
    struct local_cache_config config = {0};
    struct nearcache_tier_config t = NEARCACHE_TIER_INIT;
    const char *why;
    local_cache_open(&local, &config);
    t.name = "s";
    t.max_stale_ms = NEARCACHE_NONE;
    t.jitter_percent = NEARCACHE_NONE;
    cr_assert_eq(nc_cache_tier_open(&local.cache, &t, NULL, false, &local.tiers[1], &why), 0);
    for (uint64_t i = 0; i < 100; i++)
        cr_assert(local_cache_set(&local, 1, i, 10, 300 * DAY_MS));
    for (int i = 0; i < 100; i++)
        nc_cache_sweep(&local.cache); /* looks through all of so small an index */
    cr_expect_eq(local_cache_entries(&local), 100);
    local_cache_close(&local);
}

Test(local_edges, refresh_without_redis_is_the_same_alone_and_in_a_batch)
{
    struct nearcache_read how = NEARCACHE_READ_INIT;
    struct nearcache_name name = {"a", 1};
    struct nearcache_result r;
    int status = -1;
    api_open();
    how.refresh = 1;
    cr_assert_eq(api_set("a", "1"), 0);
    cr_expect_eq(nearcache_get(api_tier, "a", 1, &how, &r), 0);
    nearcache_release(&r);
    cr_expect_eq(nearcache_get_many(api_tier, &name, 1, &how, &r, &status), 0);
    cr_expect_eq(status, 0);
    nearcache_release(&r);
    cr_expect_eq(nearcache_exists(api_tier, "a", 1, &how), 0);
}

static int load_nothing(void *arg, const void *name, size_t bytes, struct nearcache_loaded *loaded)
{
    (void)arg, (void)name, (void)bytes, (void)loaded;
    return NEARCACHE_MISS;
}

Test(local_edges, absences_of_long_names_evict_no_values)
{
    struct nearcache_config config = NEARCACHE_CONFIG_INIT;
    static char value[1000], name[4000];
    struct nearcache_result r;
    config.budget_bytes = 4 << 20;
    config.shards = 1;
    api_open_with(&config);
    for (uint32_t i = 0; i < 1000; i++)
        cr_assert_eq(nearcache_set(api_tier, &i, sizeof i, value, sizeof value, NULL), 0);
    for (uint32_t i = 0; i < 4000; i++) {
        memcpy(name, &i, sizeof i);
        cr_assert_eq(
            nearcache_get_or_load(api_tier, name, sizeof name, NULL, load_nothing, NULL, &r),
            NEARCACHE_MISS);
    }
    for (uint32_t i = 0; i < 1000; i++) {
        cr_assert_eq(nearcache_get(api_tier, &i, sizeof i, NULL, &r), 0, "%u", i);
        nearcache_release(&r);
    }
}

static struct nearcache_tier *lower;

static void demote(void *arg, const struct nearcache_removal *removal)
{
    (void)arg;
    if (removal->tier != lower && removal->cause == NEARCACHE_CAUSE_EVICTED)
        nearcache_set(lower, removal->name, removal->name_bytes, removal->value,
                      removal->value_bytes, NULL);
}

Test(local_edges, what_is_told_may_write_what_it_is_told_of)
{
    struct nearcache_config config = NEARCACHE_CONFIG_INIT;
    struct nearcache_tier_config t = NEARCACHE_TIER_INIT;
    config.shards = 1;
    config.on_removal = demote;
    api_open_with(&config);
    t.name = "lower";
    cr_assert_eq(nearcache_tier_open(api_cache, &t, &lower), 0);
    for (uint32_t i = 0; i < 1000000; i++)
        nearcache_set(api_tier, &i, sizeof i, "v", 1, NULL); /* crashed: 100,000 calls deep */
}

Test(local_edges, outgrown_tables_go_where_nothing_is_removed)
{
    static struct local_cache local;
    struct local_cache_config config = {0};
    local_cache_open(&local, &config);
    for (uint64_t i = 0; i < 10000; i++)
        cr_assert(local_cache_set(&local, 0, i, 10, 0));
    for (int i = 0; i < 5; i++)
        nc_cache_sweep(&local.cache);
    cr_expect_eq(atomic_load(&local.cache.store.index_bytes),
                 nc_index_bytes(&local.cache.store.shards[0].index));
    cr_expect_null(local.cache.store.old_tables);
    local_cache_close(&local);
}

Test(local_edges, more_shards_than_the_budget_can_serve_are_fewer)
{
    struct nearcache_config config = NEARCACHE_CONFIG_INIT;
    config.budget_bytes = 1 << 20;
    config.shards = 65536;
    api_open_with(&config);
    cr_expect_eq(api_set("k", "v"), 0);
    cr_expect_eq(api_get_is("k", "v"), 0);
}

/* As many as a look at the clock is for, and more. */
Test(local_edges, clearing_ends_with_its_time_and_goes_on_with_the_next_call)
{
    uint64_t deleted, all = 0;
    int outcome = NEARCACHE_ETIMEOUT, calls = 0;
    api_open();
    for (uint32_t i = 0; i < 200000; i++)
        cr_assert_eq(nearcache_set(api_tier, &i, sizeof i, "v", 1, NULL), 0);
    uint64_t entries = api_metrics().entries;
    for (; outcome == NEARCACHE_ETIMEOUT; calls++, all += deleted)
        outcome = nearcache_clear(api_tier, calls < 2 ? 1 : 10000000, &deleted);
    cr_expect_eq(outcome, 0);
    cr_expect_gt(calls, 1);
    cr_expect_eq(all, entries);
    cr_expect_eq(api_metrics().entries, 0);
}
