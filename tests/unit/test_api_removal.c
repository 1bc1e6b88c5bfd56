/* What leaves a local-only cache, and why: the callback's causes, clear, prefixes, the budget. */
#include "unit/api_fixture.h"

#include <stdlib.h>

struct removals {
    _Atomic unsigned count[5];
    char name[64], value[64];
    bool reenter, absent;
};
static struct removals removals;

static void on_removal(void *arg, const struct nearcache_removal *removal)
{
    struct removals *r = arg;
    if (removal->name_bytes < sizeof r->name && removal->value_bytes < sizeof r->value) {
        memcpy(r->name, removal->name, removal->name_bytes);
        r->name[removal->name_bytes] = 0;
        if (removal->value)
            memcpy(r->value, removal->value, removal->value_bytes);
        r->value[removal->value ? removal->value_bytes : 0] = 0;
    }
    r->absent = !removal->value;
    if (r->reenter) {
        r->reenter = false;
        cr_expect_eq(nearcache_set(removal->tier, "from callback", 13, "x", 1, NULL), 0);
    }
    r->count[removal->cause]++;
}

static void open_counting(void)
{
    struct nearcache_config config = NEARCACHE_CONFIG_INIT;
    memset(&removals, 0, sizeof removals);
    config.on_removal = on_removal;
    config.on_removal_arg = &removals;
    config.budget_bytes = 2 << 20;
    api_open_with(&config);
}

TestSuite(api_removal, .init = open_counting, .fini = api_close);

Test(api_removal, a_newer_value_replaces_the_older)
{
    cr_assert_eq(api_set("k", "old"), 0);
    cr_expect_eq(removals.count[NEARCACHE_CAUSE_REPLACED], 0);
    cr_assert_eq(api_set("k", "new"), 0);
    cr_expect_eq(removals.count[NEARCACHE_CAUSE_REPLACED], 1);
    cr_expect_str_eq(removals.name, "k");
    cr_expect_str_eq(removals.value, "old");
    cr_expect_eq(api_metrics().removed_replaced, 1);
}

Test(api_removal, deletes_and_invalidations_say_invalidated)
{
    api_set("a", "1");
    api_set("b", "2");
    cr_expect_eq(nearcache_delete(api_tier, "a", 1, NULL), 0);
    cr_expect_eq(nearcache_invalidate(api_tier, "b", 1, NULL), 0);
    cr_expect_eq(nearcache_invalidate(api_tier, "none", 4, NULL), 0);
    cr_expect_eq(removals.count[NEARCACHE_CAUSE_INVALIDATED], 2);
    cr_expect_eq(api_get_is("b", ""), NEARCACHE_MISS);
}

Test(api_removal, clear_takes_its_tier_alone_and_counts)
{
    uint64_t deleted = 77;
    float row[4] = {0};
    cr_expect_eq(nearcache_clear(api_tier, 0, &deleted), 0);
    cr_expect_eq(deleted, 0);
    for (int i = 0; i < 100; i++)
        nearcache_set(api_tier, &i, sizeof i, "v", 1, NULL);
    cr_assert_eq(nearcache_set(api_vectors, "k", 1, row, sizeof row, NULL), 0);
    cr_expect_eq(nearcache_clear(api_tier, 0, &deleted), 0);
    cr_expect_eq(deleted, 100);
    cr_expect_eq(removals.count[NEARCACHE_CAUSE_CLEARED], 100);
    cr_expect_eq(nearcache_exists(api_vectors, "k", 1, NULL), 0);
    cr_expect_eq(nearcache_clear(api_tier, 0, NULL), 0);
}

Test(api_removal, a_prefix_takes_the_names_that_begin_with_it)
{
    uint64_t deleted = 0;
    api_set("user:1", "a");
    api_set("user:12", "b");
    api_set("user", "c");
    api_set("users", "d");
    cr_expect_eq(nearcache_delete_prefix(api_tier, "user:", 5, 0, &deleted), 0);
    cr_expect_eq(deleted, 2);
    cr_expect_eq(api_get_is("user:1", ""), NEARCACHE_MISS);
    cr_expect_eq(api_get_is("user", "c"), 0);
    cr_expect_eq(api_get_is("users", "d"), 0);
    cr_expect_eq(nearcache_delete_prefix(api_tier, "t:", 2, 0, &deleted), 0);
    cr_expect_eq(deleted, 0, "the tier's own prefix is no part of a name");
    cr_expect_eq(nearcache_delete_prefix(api_tier, "", 0, 0, &deleted), 0);
    cr_expect_eq(deleted, 2, "every name begins with nothing");
}

Test(api_removal, time_over_says_expired)
{
    api_set("k", "v");
    fake_clock_advance_ms(&api_clock, API_TTL_MS + API_TICK_MS);
    cr_expect(WAIT_UNTIL(removals.count[NEARCACHE_CAUSE_EXPIRED] == 1, 10000));
}

Test(api_removal, what_is_written_after_its_time_replaces_nothing)
{
    cr_assert_eq(api_set("k", "old"), 0);
    fake_clock_advance_ms(&api_clock, API_TTL_MS + API_TICK_MS);
    cr_assert_eq(api_set("k", "new"), 0);
    cr_expect_eq(removals.count[NEARCACHE_CAUSE_REPLACED], 0);
    cr_expect_eq(removals.count[NEARCACHE_CAUSE_EXPIRED], 1);
}

static int load_nothing(void *arg, const void *name, size_t bytes, struct nearcache_loaded *loaded)
{
    (void)arg;
    (void)name;
    (void)bytes;
    (void)loaded;
    return NEARCACHE_MISS;
}

Test(api_removal, absences_are_no_keys_that_were_deleted)
{
    struct nearcache_result r;
    uint64_t deleted = 7;
    cr_assert_eq(api_set("p1", "v"), 0);
    cr_assert_eq(nearcache_get_or_load(api_tier, "p2", 2, NULL, load_nothing, NULL, &r),
                 NEARCACHE_MISS);
    cr_assert_eq(nearcache_get(api_tier, "p2", 2, NULL, &r), NEARCACHE_MISS);
    cr_assert_eq(r.source, NEARCACHE_SOURCE_NEGATIVE);
    cr_expect_eq(nearcache_delete_prefix(api_tier, "p", 1, 0, &deleted), 0);
    cr_expect_eq(deleted, 1);
    cr_expect_eq(nearcache_get(api_tier, "p2", 2, NULL, &r), NEARCACHE_MISS);
    cr_expect_eq(r.source, NEARCACHE_SOURCE_MISS);
}

Test(api_removal, bytes_that_run_short_say_evicted_and_the_budget_holds)
{
    char value[1000];
    memset(value, 'v', sizeof value);
    for (int i = 0; i < 5000; i++) {
        cr_assert_eq(nearcache_set(api_tier, &i, sizeof i, value, sizeof value, NULL), 0);
        struct nearcache_metrics m = api_metrics();
        /* What a write takes is given back right after it: one entry may be above. */
        cr_assert_leq(m.bytes_used, m.bytes_budget + 4096, "%d writes", i);
    }
    cr_expect_gt(removals.count[NEARCACHE_CAUSE_EVICTED], 2000);
    cr_expect_gt(api_metrics().entries, 500);
    cr_expect_eq(api_metrics().entries + removals.count[NEARCACHE_CAUSE_EVICTED], 5000);
}

Test(api_removal, closing_says_cleared)
{
    api_set("k", "v");
    cr_assert_eq(nearcache_close(api_cache, 0), 0);
    api_cache = NULL;
    cr_expect_eq(removals.count[NEARCACHE_CAUSE_CLEARED], 1);
}

Test(api_removal, a_callback_may_call_back_into_the_cache)
{
    api_set("k", "old");
    removals.reenter = true;
    cr_assert_eq(api_set("k", "new"), 0);
    cr_expect_eq(api_get_is("from callback", "x"), 0);
}

static int no_such_thing(void *arg, const void *name, size_t bytes, struct nearcache_loaded *loaded)
{
    (void)arg, (void)name, (void)bytes, (void)loaded;
    return NEARCACHE_MISS;
}

Test(api_removal, a_remembered_absence_leaves_without_a_value)
{
    struct nearcache_result r;
    cr_assert_eq(nearcache_get_or_load(api_tier, "gone", 4, NULL, no_such_thing, NULL, &r),
                 NEARCACHE_MISS);
    cr_assert_eq(nearcache_delete(api_tier, "gone", 4, NULL), 0);
    cr_expect_eq(removals.count[NEARCACHE_CAUSE_INVALIDATED], 1);
    cr_expect_str_eq(removals.name, "gone");
    cr_expect(removals.absent);
}

Test(api_removal, a_capacity_in_entries_is_kept, .init = NULL)
{
    struct nearcache_config config = NEARCACHE_CONFIG_INIT;
    config.capacity_entries = 64;
    config.shards = 1;
    api_open_with(&config);
    for (int i = 0; i < 1000; i++) {
        cr_assert_eq(nearcache_set(api_tier, &i, sizeof i, "v", 1, NULL), 0);
        cr_assert_leq(api_metrics().entries, 64);
    }
    cr_expect_eq(api_metrics().entries, 64);
    cr_expect_eq(api_metrics().removed_evicted, 1000 - 64);
}
