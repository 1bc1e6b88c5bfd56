/* Time in a local-only cache: TTLs, ages, jitter, touch, expire. Only the fake clock moves it. */
#include "unit/api_fixture.h"

#include <stdio.h>

TestSuite(api_expiry, .init = api_open, .fini = api_close);

static int set_for(const char *name, uint64_t ttl_ms)
{
    struct nearcache_write how = NEARCACHE_WRITE_INIT;
    how.ttl_ms = ttl_ms;
    return nearcache_set(api_tier, name, strlen(name), "v", 1, &how);
}

static int touch_for(const char *name, uint64_t ttl_ms)
{
    struct nearcache_write how = NEARCACHE_WRITE_INIT;
    how.ttl_ms = ttl_ms;
    return nearcache_touch(api_tier, name, strlen(name), &how);
}

Test(api_expiry, a_value_is_over_after_its_tiers_ttl_and_not_before)
{
    cr_assert_eq(api_set("k", "v"), 0);
    fake_clock_advance_ms(&api_clock, API_TTL_MS - 2 * API_TICK_MS);
    cr_expect_eq(api_get_is("k", "v"), 0);
    fake_clock_advance_ms(&api_clock, 2 * API_TICK_MS);
    cr_expect_eq(api_get_is("k", ""), NEARCACHE_MISS);
    cr_expect_eq(nearcache_exists(api_tier, "k", 1, NULL), NEARCACHE_MISS);
}

Test(api_expiry, a_call_may_give_a_shorter_ttl)
{
    cr_assert_eq(set_for("k", 1000), 0);
    fake_clock_advance_ms(&api_clock, 1000 - 2 * API_TICK_MS);
    cr_expect_eq(api_get_is("k", "v"), 0);
    fake_clock_advance_ms(&api_clock, 2 * API_TICK_MS);
    cr_expect_eq(api_get_is("k", ""), NEARCACHE_MISS);
}

Test(api_expiry, a_call_may_give_a_longer_ttl_or_none)
{
    cr_assert_eq(set_for("long", 6 * API_TTL_MS), 0);
    cr_assert_eq(set_for("for ever", NEARCACHE_NONE), 0);
    cr_assert_eq(api_set("touched", "v"), 0);
    cr_expect_eq(touch_for("touched", 6 * API_TTL_MS), 0);
    fake_clock_advance_ms(&api_clock, 6 * API_TTL_MS - 2 * API_TICK_MS);
    cr_expect_eq(api_get_is("long", "v"), 0);
    cr_expect_eq(api_get_is("touched", "v"), 0);
    fake_clock_advance_ms(&api_clock, 2 * API_TICK_MS);
    cr_expect_eq(api_get_is("long", ""), NEARCACHE_MISS);
    cr_expect_eq(api_get_is("touched", ""), NEARCACHE_MISS);
    cr_expect_eq(api_get_is("for ever", "v"), 0);
}

Test(api_expiry, results_say_their_age_and_what_is_left)
{
    struct nearcache_result r;
    cr_assert_eq(api_set("k", "v"), 0);
    fake_clock_advance_ms(&api_clock, 4000);
    cr_assert_eq(nearcache_get(api_tier, "k", 1, NULL, &r), 0);
    cr_expect_geq(r.age_ms + API_TICK_MS, 4000);
    cr_expect_leq(r.age_ms, 4000 + API_TICK_MS);
    cr_expect_leq(r.ttl_ms, 6000);
    cr_expect_geq(r.ttl_ms + 2 * API_TICK_MS, 6000);
    nearcache_release(&r);
}

Test(api_expiry, a_ttl_of_none_never_ends)
{
    struct nearcache_tier_config config = NEARCACHE_TIER_INIT;
    struct nearcache_tier *tier;
    struct nearcache_result r;
    config.name = "forever";
    config.redis_ttl_ms = NEARCACHE_NONE;
    cr_assert_eq(nearcache_tier_open(api_cache, &config, &tier), 0);
    cr_assert_eq(nearcache_set(tier, "k", 1, "v", 1, NULL), 0);
    /* Past the span of the entries' 32-bit ticks. */
    for (int year = 0; year < 5; year++) {
        fake_clock_advance_ms(&api_clock, UINT64_C(365) * 86400 * 1000);
        cr_assert_eq(nearcache_get(tier, "k", 1, NULL, &r), 0, "year %d", year);
        cr_expect_eq(r.ttl_ms, NEARCACHE_NONE);
        nearcache_release(&r);
    }
}

Test(api_expiry, the_smaller_of_both_ttls_counts_without_redis)
{
    static const uint64_t ttls[][3] = {{5000, 1000, 1000}, {1000, 5000, 1000}};
    for (int i = 0; i < 2; i++) {
        struct nearcache_tier_config config = NEARCACHE_TIER_INIT;
        struct nearcache_tier *tier;
        struct nearcache_result r;
        char name[32];
        snprintf(name, sizeof name, "both_%d", i);
        config.name = name;
        config.redis_ttl_ms = ttls[i][0];
        config.local_ttl_ms = ttls[i][1];
        config.jitter_percent = NEARCACHE_NONE;
        cr_assert_eq(nearcache_tier_open(api_cache, &config, &tier), 0);
        cr_assert_eq(nearcache_set(tier, "k", 1, "v", 1, NULL), 0);
        cr_assert_eq(nearcache_get(tier, "k", 1, NULL, &r), 0);
        cr_expect_leq(r.ttl_ms, ttls[i][2]);
        cr_expect_gt(r.ttl_ms, ttls[i][2] - 2 * API_TICK_MS);
        nearcache_release(&r);
    }
}

Test(api_expiry, jitter_takes_off_up_to_its_share_and_never_adds)
{
    struct nearcache_tier_config config = NEARCACHE_TIER_INIT;
    struct nearcache_tier *tier;
    uint64_t least = UINT64_MAX, most = 0;
    config.name = "jitter";
    config.redis_ttl_ms = 20000;
    config.jitter_percent = 50;
    cr_assert_eq(nearcache_tier_open(api_cache, &config, &tier), 0);
    for (int i = 0; i < 1000; i++) {
        struct nearcache_result r;
        cr_assert_eq(nearcache_set(tier, &i, sizeof i, "v", 1, NULL), 0);
        cr_assert_eq(nearcache_get(tier, &i, sizeof i, NULL, &r), 0);
        least = r.ttl_ms < least ? r.ttl_ms : least;
        most = r.ttl_ms > most ? r.ttl_ms : most;
        nearcache_release(&r);
    }
    cr_expect_leq(most, 20000);
    cr_expect_geq(least + 2 * API_TICK_MS, 10000);
    cr_expect_gt(most, 18000);
    cr_expect_lt(least, 12000);
}

Test(api_expiry, jitter_never_takes_more_than_ten_seconds)
{
    struct nearcache_tier_config config = NEARCACHE_TIER_INIT;
    struct nearcache_tier *tier;
    config.name = "jitter";
    config.redis_ttl_ms = 86400000;
    config.jitter_percent = 100;
    cr_assert_eq(nearcache_tier_open(api_cache, &config, &tier), 0);
    for (int i = 0; i < 300; i++) {
        struct nearcache_result r;
        cr_assert_eq(nearcache_set(tier, &i, sizeof i, "v", 1, NULL), 0);
        cr_assert_eq(nearcache_get(tier, &i, sizeof i, NULL, &r), 0);
        cr_assert_geq(r.ttl_ms + 2 * API_TICK_MS, 86400000 - NEARCACHE_MAX_JITTER_MS);
        nearcache_release(&r);
    }
}

Test(api_expiry, touch_moves_the_end_and_keeps_the_value)
{
    cr_expect_eq(touch_for("k", 1000), NEARCACHE_MISS);
    cr_assert_eq(set_for("k", 1000), 0);
    fake_clock_advance_ms(&api_clock, 900);
    cr_expect_eq(touch_for("k", 5000), 0);
    fake_clock_advance_ms(&api_clock, 4900);
    cr_expect_eq(api_get_is("k", "v"), 0);
    fake_clock_advance_ms(&api_clock, 100);
    cr_expect_eq(api_get_is("k", ""), NEARCACHE_MISS);
    cr_expect_eq(touch_for("k", 5000), NEARCACHE_MISS, "what is over is not brought back");
}

Test(api_expiry, touch_may_shorten_or_take_the_end_away)
{
    struct nearcache_result r;
    cr_assert_eq(api_set("k", "v"), 0);
    cr_expect_eq(touch_for("k", 100), 0);
    fake_clock_advance_ms(&api_clock, 100);
    cr_expect_eq(api_get_is("k", ""), NEARCACHE_MISS);
    cr_assert_eq(api_set("k", "v"), 0);
    cr_expect_eq(touch_for("k", NEARCACHE_NONE), 0);
    cr_assert_eq(nearcache_get(api_tier, "k", 1, NULL, &r), 0);
    cr_expect_eq(r.ttl_ms, NEARCACHE_NONE);
    nearcache_release(&r);
}

Test(api_expiry, no_ttl_passes_a_local_one_that_was_asked_for)
{
    struct nearcache_tier_config config = NEARCACHE_TIER_INIT;
    struct nearcache_write how = NEARCACHE_WRITE_INIT;
    struct nearcache_tier *tier;
    struct nearcache_result r;
    config.name = "short";
    config.local_ttl_ms = 1000;
    cr_assert_eq(nearcache_tier_open(api_cache, &config, &tier), 0);
    how.ttl_ms = NEARCACHE_NONE;
    cr_assert_eq(nearcache_set(tier, "k", 1, "v", 1, &how), 0);
    cr_assert_eq(nearcache_touch(tier, "k", 1, &how), 0);
    cr_assert_eq(nearcache_get(tier, "k", 1, NULL, &r), 0);
    cr_expect_leq(r.ttl_ms, 1000);
    nearcache_release(&r);
}

Test(api_expiry, expire_makes_a_copy_old)
{
    struct nearcache_result r;
    cr_expect_eq(nearcache_expire(api_tier, "k", 1), NEARCACHE_MISS);
    cr_assert_eq(api_set("k", "v"), 0);
    cr_expect_eq(nearcache_expire(api_tier, "k", 1), 0);
    cr_expect_eq(nearcache_get(api_tier, "k", 1, NULL, &r), NEARCACHE_MISS);
    cr_expect_eq(nearcache_peek(api_tier, "k", 1, &r), NEARCACHE_MISS);
    cr_assert_eq(api_set("k", "w"), 0);
    cr_expect_eq(api_get_is("k", "w"), 0);
}

Test(api_expiry, memory_comes_back_without_anybody_touching_the_keys)
{
    uint64_t before = api_metrics().bytes_used;
    for (int i = 0; i < 2000; i++)
        cr_assert_eq(nearcache_set(api_tier, &i, sizeof i, &i, sizeof i, NULL), 0);
    cr_expect_eq(api_metrics().entries, 2000);
    fake_clock_advance_ms(&api_clock, API_TTL_MS + 2 * API_TICK_MS);
    cr_expect(WAIT_UNTIL(api_metrics().entries == 0, 10000));
    /* What is gone is told of when the shard's lock has been let go. */
    cr_expect(WAIT_UNTIL(api_metrics().removed_expired >= 2000, 10000));
    cr_expect_eq(api_metrics().removed_expired, 2000);
    cr_expect_eq(api_metrics().bytes_entries, 0);
    cr_expect_leq(api_metrics().bytes_used, before + (1 << 20));
}
