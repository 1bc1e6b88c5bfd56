#include "lib/local_cache.h"

#include "cache/drop.h"
#include "cache/fill.h"
#include "cache/find.h"
#include "cache/key.h"

#include <criterion/criterion.h>
#include <string.h>

static struct local_cache cache;

static const enum nearcache_policy policies[] = {NEARCACHE_POLICY_LRU, NEARCACHE_POLICY_AS3};

TestSuite(store, .timeout = 60);

static uint64_t used_bytes(void)
{
    struct nc_store_usage usage = local_cache_usage(&cache);
    cr_assert_leq(usage.used_bytes, usage.budget_bytes);
    return usage.used_bytes;
}

/* ---- capacity ---- */

Test(store, a_capacity_in_entries_is_exact)
{
    static const uint64_t capacities[] = {1, 2, 3, 7, 34, 1000};
    for (unsigned p = 0; p < 2; p++)
        for (unsigned c = 0; c < sizeof capacities / sizeof *capacities; c++) {
            local_cache_open(&cache, &(struct local_cache_config){.entries = capacities[c],
                                                                  .policies = {policies[p]}});
            for (uint64_t i = 0; i < 4 * capacities[c] + 10; i++) {
                local_cache_use(&cache, 0, i % 3 ? i : i / 2, 8);
                cr_assert_leq((uint64_t)cache.here[0], capacities[c]);
            }
            cr_assert_eq(local_cache_entries(&cache), capacities[c], "%lu of %lu",
                         (unsigned long)local_cache_entries(&cache), (unsigned long)capacities[c]);
            local_cache_close(&cache);
        }
}

Test(store, shards_together_hold_the_capacity_and_no_more)
{
    local_cache_open(&cache, &(struct local_cache_config){.entries = 1003, .shards = 8});
    for (uint64_t id = 0; id < 20000; id++) {
        local_cache_use(&cache, 0, id, 8);
        cr_assert_leq(cache.here[0], 1003);
    }
    cr_assert_eq(local_cache_entries(&cache), 1003);
    local_cache_close(&cache);
}

Test(store, a_budget_in_bytes_is_never_exceeded)
{
    for (unsigned p = 0; p < 2; p++) {
        local_cache_open(&cache, &(struct local_cache_config){.budget_bytes = 4 << 20,
                                                              .policies = {policies[p]}});
        for (uint64_t id = 0; id < 30000; id++) {
            local_cache_use(&cache, 0, id, (size_t)(id * 7919 % 3000));
            if (id % 100 == 0)
                used_bytes();
        }
        cr_assert_gt(cache.bytes[0], 1 << 20, "%ld bytes of values", (long)cache.bytes[0]);
        local_cache_close(&cache);
    }
}

Test(store, what_is_filed_of_an_entry_is_within_the_budget_too)
{
    for (unsigned p = 0; p < 2; p++) {
        local_cache_open(&cache, &(struct local_cache_config){.budget_bytes = 2 << 20,
                                                              .policies = {policies[p]}});
        for (uint64_t id = 0; id < 60000; id++) {
            cr_assert(local_cache_set(&cache, 0, id, 8, id < 30000 ? 0 : 1000 + id * 7919 % 90000));
            used_bytes();
        }
        local_cache_close(&cache);
    }
}

Test(store, the_smallest_budget_works)
{
    for (unsigned p = 0; p < 2; p++) {
        local_cache_open(&cache, &(struct local_cache_config){.budget_bytes = 1 << 20,
                                                              .policies = {policies[p]}});
        for (uint64_t id = 0; id < 20000; id++)
            local_cache_use(&cache, 0, id, 100);
        used_bytes();
        cr_assert_gt(local_cache_entries(&cache), 500);
        local_cache_close(&cache);
    }
}

Test(store, one_huge_value_takes_the_room_it_needs_and_gives_it_back)
{
    for (unsigned p = 0; p < 2; p++) {
        local_cache_open(&cache, &(struct local_cache_config){.budget_bytes = 8 << 20,
                                                              .policies = {policies[p]}});
        for (uint64_t id = 0; id < 20000; id++)
            local_cache_use(&cache, 0, id, 200);
        cr_assert(local_cache_set(&cache, 0, 999999, 2 << 20, 0));
        cr_assert_eq(local_cache_get(&cache, 0, 999999), 2 << 20);
        used_bytes();
        for (uint64_t id = 20000; id < 100000; id++)
            local_cache_use(&cache, 0, id, 200);
        used_bytes();
        local_cache_close(&cache);
    }
}

Test(store, a_value_larger_than_the_budget_is_refused_and_changes_nothing)
{
    for (unsigned p = 0; p < 2; p++) {
        local_cache_open(&cache, &(struct local_cache_config){.budget_bytes = 2 << 20,
                                                              .policies = {policies[p]}});
        for (uint64_t id = 0; id < 100; id++)
            local_cache_use(&cache, 0, id, 100);
        cr_assert_not(local_cache_set(&cache, 0, 5000, 3 << 20, 0));
        cr_assert_lt(local_cache_get(&cache, 0, 5000), 0);
        for (uint64_t id = 0; id < 100; id++)
            cr_assert_eq(local_cache_get(&cache, 0, id), 100);
        local_cache_close(&cache);
    }
}

/* ---- shares ---- */

/* Tier 0 has a working set that fits its share; tier 1 floods. */
static uint64_t hits_beside_a_flood(const struct local_cache_config *config)
{
    uint64_t hits = 0, next = 0;
    local_cache_open(&cache, config);
    for (uint64_t round = 0; round < 60; round++)
        for (uint64_t id = 0; id < 150; id++) {
            hits += round >= 10 && local_cache_use(&cache, 0, id, 8);
            if (round < 10)
                local_cache_use(&cache, 0, id, 8);
            for (int i = 0; i < 20; i++)
                local_cache_use(&cache, 1, next++, 8);
        }
    local_cache_close(&cache);
    return hits;
}

Test(store, a_tier_with_a_share_is_not_starved_by_a_large_one)
{
    for (unsigned p = 0; p < 2; p++) {
        uint64_t hits =
            hits_beside_a_flood(&(struct local_cache_config){.entries = 1000,
                                                             .tiers = 2,
                                                             .policies = {policies[p], policies[p]},
                                                             .shares = {20, 0}});
        cr_assert_eq(hits, 50 * 150, "%lu of 7500", (unsigned long)hits);
    }
}

Test(store, a_share_of_bytes_is_kept_too)
{
    uint64_t hits = hits_beside_a_flood(
        &(struct local_cache_config){.budget_bytes = 1 << 20, .tiers = 2, .shares = {20, 0}});
    cr_assert_eq(hits, 50 * 150, "%lu of 7500", (unsigned long)hits);
}

Test(store, tiers_of_different_policies_keep_their_shares)
{
    uint64_t hits = hits_beside_a_flood(
        &(struct local_cache_config){.entries = 1000,
                                     .tiers = 2,
                                     .policies = {NEARCACHE_POLICY_LRU, NEARCACHE_POLICY_AS3},
                                     .shares = {20, 50}});
    cr_assert_eq(hits, 50 * 150, "%lu of 7500", (unsigned long)hits);
}

Test(store, a_share_that_nobody_uses_is_lent_and_taken_back)
{
    local_cache_open(
        &cache, &(struct local_cache_config){.entries = 1000, .tiers = 3, .shares = {30, 30, 0}});
    for (uint64_t id = 0; id < 3000; id++)
        local_cache_use(&cache, 0, id, 8);
    cr_assert_eq(cache.here[0], 1000, "all of it is lent");
    for (uint64_t id = 0; id < 3000; id++)
        local_cache_use(&cache, 1, id, 8);
    cr_assert(cache.here[0] >= 300 && cache.here[0] <= 700, "%ld", (long)cache.here[0]);
    for (uint64_t id = 0; id < 3000; id++)
        local_cache_use(&cache, 2, id, 8);
    for (int tier = 0; tier < 2; tier++)
        cr_assert_geq(cache.here[tier], 300, "%ld", (long)cache.here[tier]);
    cr_assert_eq(cache.here[0] + cache.here[1] + cache.here[2], 1000);
    local_cache_close(&cache);
}

Test(store, shares_of_more_than_all_are_kept_in_proportion)
{
    local_cache_open(
        &cache, &(struct local_cache_config){.entries = 1000, .tiers = 2, .shares = {100, 100}});
    for (uint64_t id = 0; id < 3000; id++)
        for (uint32_t tier = 0; tier < 2; tier++)
            local_cache_use(&cache, tier, id, 8);
    cr_assert(cache.here[0] >= 499 && cache.here[0] <= 501, "%ld", (long)cache.here[0]);
    local_cache_close(&cache);
}

Test(store, a_tier_that_is_cleared_gives_its_room_to_others)
{
    local_cache_open(&cache,
                     &(struct local_cache_config){.entries = 1000, .tiers = 2, .shares = {50, 50}});
    for (uint64_t id = 0; id < 2000; id++)
        for (uint32_t tier = 0; tier < 2; tier++)
            local_cache_use(&cache, tier, id, 8);
    nc_cache_tier_epoch(cache.tiers[0]);
    for (int i = 0; i < 60; i++)
        local_cache_sweep(&cache);
    cr_assert_eq(cache.here[0], 0);
    for (uint64_t id = 5000; id < 7000; id++)
        local_cache_use(&cache, 1, id, 8);
    cr_assert_eq(cache.here[1], 1000);
    local_cache_close(&cache);
}

/* ---- time ---- */

Test(store, what_is_over_goes_before_anybody_who_is_not)
{
    for (unsigned p = 0; p < 2; p++) {
        local_cache_open(&cache,
                         &(struct local_cache_config){.entries = 1000, .policies = {policies[p]}});
        for (uint64_t id = 0; id < 500; id++)
            cr_assert(local_cache_set(&cache, 0, id, 8, 0));
        for (uint64_t id = 500; id < 1000; id++)
            cr_assert(local_cache_set(&cache, 0, id, 8, 60000));
        fake_clock_advance_ms(&cache.clock, 61000);
        for (uint64_t id = 2000; id < 2500; id++)
            cr_assert(local_cache_set(&cache, 0, id, 8, 0));
        for (uint64_t id = 0; id < 500; id++)
            cr_assert_eq(local_cache_get(&cache, 0, id), 8);
        cr_assert_eq(local_cache_removed(&cache, NEARCACHE_CAUSE_EVICTED), 0);
        cr_assert_eq(local_cache_removed(&cache, NEARCACHE_CAUSE_EXPIRED), 500);
        local_cache_close(&cache);
    }
}

Test(store, memory_of_what_is_over_comes_back_without_a_touch)
{
    local_cache_open(&cache, &(struct local_cache_config){.shards = 4});
    for (uint64_t id = 0; id < 20000; id++)
        cr_assert(local_cache_set(&cache, 0, id, 100, 1000 + id % 5000));
    uint64_t before = used_bytes();
    fake_clock_advance_ms(&cache.clock, 10000);
    local_cache_sweep(&cache);
    cr_assert_eq(local_cache_entries(&cache), 0);
    cr_assert_lt(used_bytes(), before - 20000 * 100);
    local_cache_close(&cache);
}

Test(store, a_jump_of_the_clock_by_a_year_is_survived)
{
    local_cache_open(&cache, &(struct local_cache_config){.entries = 1000});
    for (uint64_t id = 0; id < 1000; id++)
        cr_assert(local_cache_set(&cache, 0, id, 8, 1000 + id * 1000));
    fake_clock_advance_ms(&cache.clock, (uint64_t)365 * 86400 * 1000);
    for (uint64_t id = 0; id < 1000; id++)
        cr_assert_lt(local_cache_get(&cache, 0, id), 0);
    local_cache_sweep(&cache);
    cr_assert_eq(local_cache_entries(&cache), 0);
    for (uint64_t id = 0; id < 1000; id++)
        cr_assert(local_cache_set(&cache, 0, id, 8, 1000));
    cr_assert_eq(cache.here[0], 1000);
    local_cache_close(&cache);
}

Test(store, a_clock_that_runs_backwards_loses_nobody)
{
    local_cache_open(&cache, &(struct local_cache_config){.entries = 1000});
    for (uint64_t id = 0; id < 500; id++)
        cr_assert(local_cache_set(&cache, 0, id, 8, 60000));
    fake_clock_advance(&cache.clock, -UINT64_C(500000000000));
    for (uint64_t id = 500; id < 1000; id++)
        cr_assert(local_cache_set(&cache, 0, id, 8, 60000));
    for (uint64_t id = 0; id < 1000; id++)
        cr_assert_eq(local_cache_get(&cache, 0, id), 8);
    fake_clock_advance_ms(&cache.clock, 700000);
    local_cache_sweep(&cache);
    cr_assert_eq(local_cache_entries(&cache), 0);
    local_cache_close(&cache);
}

Test(store, a_touched_entry_lives_until_its_new_end)
{
    local_cache_open(&cache, &(struct local_cache_config){.entries = 1000});
    cr_assert(local_cache_set(&cache, 0, 7, 8, 1000));
    cr_assert(local_cache_set(&cache, 0, 8, 8, 1000));
    local_cache_touch(&cache, 0, 7, 60000);
    fake_clock_advance_ms(&cache.clock, 30000);
    local_cache_sweep(&cache);
    cr_assert_eq(local_cache_entries(&cache), 1);
    cr_assert_eq(local_cache_get(&cache, 0, 7), 8);
    fake_clock_advance_ms(&cache.clock, 40000);
    local_cache_sweep(&cache);
    cr_assert_eq(local_cache_entries(&cache), 0);
    local_cache_close(&cache);
}

Test(store, writing_a_key_again_and_again_hoards_nothing)
{
    local_cache_open(&cache, &(struct local_cache_config){.entries = 1000});
    for (uint64_t i = 0; i < 2000; i++)
        cr_assert(local_cache_set(&cache, 0, i % 100, 8, 3600000));
    uint64_t before = used_bytes();
    for (uint64_t i = 0; i < 100000; i++) {
        cr_assert(local_cache_set(&cache, 0, i % 100, 8, 3600000));
        fake_clock_advance_ms(&cache.clock, i % 20 == 0 ? 17 : 0);
    }
    cr_assert_lt(used_bytes(), before + 16384, "%lu before, %lu after", (unsigned long)before,
                 (unsigned long)used_bytes());
    local_cache_close(&cache);
}

/* ---- moving ---- */

static void put_with_end(struct nc_key *key, nc_tick end)
{
    struct nc_cache_thread *self = nc_cache_self(&cache.cache);
    struct nc_entry *entry = nc_cache_entry_create(self, key, 8, false);
    cr_assert(entry);
    memset(nc_entry_value(entry), 0, 8);
    nc_cache_entry_times(self, key, entry, nc_clock_now_ns(&cache.cache.clock), 3600 * NC_NS_PER_S);
    atomic_store(&entry->expiry_tick, end);
    cr_assert(nc_cache_fill(self, key, NULL, entry));
}

Test(store, two_keys_of_one_hash_that_end_together_are_not_filed_ever_more_often)
{
    struct nc_key key;
    local_cache_open(&cache, &(struct local_cache_config){.budget_bytes = 64 << 20});
    struct nearcache_tier *tier = cache.tiers[0];
    nc_tick end = nc_tick_of(nc_clock_now_ns(&cache.cache.clock) + 3600 * NC_NS_PER_S);
    for (uint64_t id = 0; id < 2; id++) {
        nc_cache_key(tier, &id, sizeof id, &key);
        key.hash = key.hash >> 32 << 32 | 12345; /* the lower half is what is filed */
        put_with_end(&key, end);
    }
    for (uint64_t i = 0; i < 300000; i++) {
        uint64_t id = 2 + i % 1000;
        nc_cache_key(tier, &id, sizeof id, &key);
        put_with_end(&key, end + 1 + (nc_tick)(i % 3001)); /* a new one each time */
    }
    cr_assert_leq(cache.cache.store.shards[0].expiry.filed, 5000);
    cr_assert(nc_cache_deinit(&cache.cache)); /* who counts what comes saw none of it */
}

static uint64_t last_evicted;
static bool in_order;

static void watch_order(void *arg, uint32_t tier, uint64_t id, enum nearcache_cause cause)
{
    (void)arg;
    (void)tier;
    if (cause != NEARCACHE_CAUSE_EVICTED)
        return;
    in_order = in_order && id >= last_evicted;
    last_evicted = id;
}

Test(store, memory_between_few_entries_comes_back_and_nobody_loses_his_place)
{
    enum { KEPT = 16 };
    for (unsigned p = 0; p < 2; p++) {
        struct nearcache_result held = {0};
        uint64_t count = 0;
        local_cache_open(&cache, &(struct local_cache_config){.budget_bytes = 16 << 20,
                                                              .policies = {policies[p]},
                                                              .on_removal = watch_order});
        last_evicted = 0;
        in_order = true;
        while (local_cache_removed(&cache, NEARCACHE_CAUSE_EVICTED) == 0)
            cr_assert(local_cache_set(&cache, 0, count++, 64, 0));
        struct nc_key key;
        uint64_t pinned = count / 2 / KEPT * KEPT;
        uint64_t evicted = local_cache_removed(&cache, NEARCACHE_CAUSE_EVICTED);
        cr_assert_eq(nc_cache_key(cache.tiers[0], &pinned, sizeof pinned, &key), 0);
        cr_assert_eq(nc_cache_find(nc_cache_self(&cache.cache), &key, false, 0, &held),
                     NC_FOUND_FRESH);
        uint64_t before = nc_arena_resident(&cache.cache.store.arena);
        for (uint64_t id = 1; id < count; id++)
            if (id % KEPT != 0)
                local_cache_drop(&cache, 0, id);
        for (int i = 0; i < 60; i++) /* it takes its time */
            local_cache_sweep(&cache);
        uint64_t after = nc_arena_resident(&cache.cache.store.arena);
        cr_expect_lt(after, before / 2, "%lu of %lu", (unsigned long)after, (unsigned long)before);
        cr_expect_eq(*(const unsigned char *)held.data, (unsigned char)(pinned * 31));
        nc_cache_release(&held);
        cr_expect_eq(local_cache_removed(&cache, NEARCACHE_CAUSE_EVICTED), evicted);
        if (policies[p] == NEARCACHE_POLICY_AS3)
            for (uint64_t id = pinned; id < count; id += KEPT)
                cr_assert_eq(local_cache_get(&cache, 0, id), 64);
        for (uint64_t id = count; id < 3 * count; id++)
            cr_assert(local_cache_set(&cache, 0, id, 64, 0));
        if (policies[p] == NEARCACHE_POLICY_LRU)
            cr_expect(in_order, "the oldest go first, wherever they stand");
        local_cache_close(&cache);
    }
}

/* The sizes of values, over six powers of two, become ever larger and small again, while a part of
 * the keys is read far more often than others: nearly empty runs stay behind everywhere. The sweep
 * seldom comes, as on a busy machine. */
Test(store, memory_stays_within_a_tenth_of_the_budget_while_sizes_change)
{
    enum { BUDGET = 64 << 20, KEYS = 500000, PHASES = 5, PUT = 4 * BUDGET };
    for (unsigned p = 0; p < 2; p++) {
        uint64_t most = 0, random = 1;
        local_cache_open(&cache, &(struct local_cache_config){.budget_bytes = BUDGET,
                                                              .policies = {policies[p]}});
        for (unsigned phase = 0, count = 0; phase < PHASES; phase++)
            for (uint64_t put = 0; put < PUT && count < 600000 * (phase + 1); count++) {
                uint64_t draw = nc_hash_step(&random), id = (draw >> 20) % KEYS * (draw & 7) / 7;
                size_t least = (size_t)1 << (phase % 4 * 3 + (draw >> 8) % 6);
                size_t bytes = least + (draw >> 48) % least;
                if ((draw >> 12 & 15) < 9) {
                    local_cache_get(&cache, 0, id);
                } else if ((draw >> 12 & 15) < 15) {
                    cr_assert(local_cache_set(&cache, 0, id, bytes, 0));
                    put += bytes + 128;
                } else {
                    local_cache_drop(&cache, 0, id);
                }
                uint64_t held = nc_arena_resident(&cache.cache.store.arena);
                most = held > most ? held : most;
                if (count % 20000 == 0)
                    local_cache_sweep(&cache);
            }
        cr_expect_leq(most, BUDGET / 10 * 11, "%.3f", (double)most / BUDGET);
        local_cache_close(&cache);
    }
}
