/* What a cache keeps and gives while Redis is slow or away, and how it comes back. */
#include "coherence.h"

#include <pthread.h>
#include <time.h>

REDIS_SERVER_REQUIRED;

static struct redis_server server;

static void set_up(void) { cr_assert(redis_server_start(&server, NULL)); }
static void tear_down(void) { redis_server_stop(&server); }

TestSuite(coherence_outage, .init = set_up, .fini = tear_down, .timeout = 60);

/* ---- after a gap ---- */

enum { KEYS = 12000, CHANGED = 10000 };

/* Versions of ten keys each, as another process' batches, of which no message came through. */
static const char missed_writes[] =
    "local s = tonumber(redis.call('HGET', KEYS[1], 's')) "
    "for i = 0, ARGV[1] - 1 do "
    "  if i % 10 == 0 then s = s + 1 end "
    "  redis.call('SET', 'thing:' .. i, 'newer') "
    "  redis.call('ZADD', KEYS[2], string.format('%.0f', s), 'kthing:' .. i) "
    "end "
    "redis.call('HSET', KEYS[1], 's', string.format('%.0f', s)) "
    "return 'OK'";

static void fill(struct nearcache_tier *tier)
{
    for (int i = 0; i < KEYS; i += 60) {
        struct nearcache_item items[60];
        char names[60][16];
        int statuses[60];
        for (int j = 0; j < 60; j++) {
            int bytes = snprintf(names[j], sizeof names[j], "%d", i + j);
            items[j] = (struct nearcache_item){{names[j], (size_t)bytes}, "old", 3, 0};
        }
        cr_assert_eq(nearcache_set_many(tier, items, 60, NULL, statuses), 0);
    }
}

Test(coherence_outage, a_long_list_of_missed_keys_is_asked_for_in_parts)
{
    struct nearcache *cache = coherence_open(&server, coherence_config());
    struct nearcache_tier *tier = coherence_tier(cache, coherence_tier_config());
    enum nearcache_source source;
    fill(tier);
    char *answer = redis_server_ask(&server, "EVAL %s 2 nc:s nc:w %d", missed_writes, CHANGED);
    cr_assert_str_eq(answer, "OK");
    free(answer);
    cr_assert_eq(nearcache_sync(cache, 10000000), 0);
    for (int i = 0; i < KEYS; i++) {
        char name[16];
        struct nearcache_result result;
        int bytes = snprintf(name, sizeof name, "%d", i);
        if (i < CHANGED && i % 500 != 0)
            continue; /* reading all of them again would only take time */
        cr_assert_eq(nearcache_get(tier, name, (size_t)bytes, NULL, &result), 0);
        source = result.source;
        nearcache_release(&result);
        cr_assert_eq(source, i < CHANGED ? NEARCACHE_SOURCE_REMOTE : NEARCACHE_SOURCE_LOCAL, "%d",
                     i);
    }
    struct nearcache_metrics metrics = coherence_metrics(cache);
    cr_expect_eq(metrics.epochs, 0);
    cr_expect_eq(metrics.removed_invalidated, CHANGED);
    cr_assert_eq(nearcache_close(cache, 0), 0);
}

/* ---- writes of an outage where other programs write too ---- */

static _Atomic unsigned refusals;

static void on_refusal(void *arg, const struct nearcache_refusal *refusal)
{
    (void)arg;
    refusals += refusal->outcome == NEARCACHE_EREFUSED;
}

static struct nearcache_tier_config tracking_config(void)
{
    struct nearcache_tier_config config = coherence_tier_config();
    config.coherence = NEARCACHE_COHERENCE_TRACKING;
    return config;
}

/* The announcement of a write elsewhere may overtake the read that follows it. */
static bool is_local(struct nearcache_tier *tier, const char *name, const char *value)
{
    enum nearcache_source source = NEARCACHE_SOURCE_MISS;
    return coherence_get(tier, name, value, &source) == 0 && source == NEARCACHE_SOURCE_LOCAL;
}

static int set_within(struct nearcache_tier *tier, const char *name, const char *value,
                      uint64_t timeout_us)
{
    struct nearcache_write how = NEARCACHE_WRITE_INIT;
    how.timeout_us = timeout_us;
    return nearcache_set(tier, name, strlen(name), value, strlen(value), &how);
}

Test(coherence_outage, a_tracked_key_that_is_as_it_was_seen_takes_the_write_of_an_outage)
{
    struct nearcache *cache = coherence_open(&server, coherence_config());
    struct nearcache_tier *tier = coherence_tier(cache, tracking_config());
    cr_assert(coherence_asks(&server, "SET thing:a 1", "OK"));
    cr_assert(WAIT_UNTIL(is_local(tier, "a", "1"), 5000));
    cr_assert_eq(coherence_get(tier, "gone", NULL, NULL), NEARCACHE_MISS);
    redis_server_pause(&server);
    cr_expect_eq(set_within(tier, "a", "2", 20000), NEARCACHE_LOCAL);
    cr_expect_eq(set_within(tier, "a", "3", 20000), NEARCACHE_LOCAL);
    cr_expect_eq(set_within(tier, "gone", "4", 20000), NEARCACHE_LOCAL);
    redis_server_resume(&server);
    cr_assert_eq(nearcache_wait(cache, 20000000), 0);
    cr_expect(coherence_asks(&server, "MGET thing:a thing:gone", "3 4"));
    cr_expect_eq(coherence_metrics(cache).journal_refused, 0);
    cr_assert_eq(nearcache_close(cache, 0), 0);
}

Test(coherence_outage, a_tracked_key_that_is_not_as_it_was_seen_keeps_its_value)
{
    struct nearcache_config config = coherence_config();
    config.on_refusal = on_refusal;
    struct nearcache *cache = coherence_open(&server, config);
    struct nearcache_tier *tier = coherence_tier(cache, tracking_config());
    cr_assert(coherence_asks(&server, "SET thing:a 1", "OK"));
    cr_assert(WAIT_UNTIL(is_local(tier, "a", "1"), 5000));
    redis_server_pause(&server);
    cr_expect_eq(set_within(tier, "a", "2", 20000), NEARCACHE_LOCAL);
    cr_expect_eq(set_within(tier, "unseen", "3", 20000), NEARCACHE_LOCAL);
    redis_server_kill(&server); /* it keeps nothing: comes back without the key */
    cr_assert(redis_server_restart(&server));
    cr_assert_eq(nearcache_wait(cache, 20000000), 0);
    cr_expect(coherence_asks(&server, "EXISTS thing:a thing:unseen", "0"));
    cr_expect_eq(refusals, 2);
    cr_expect_eq(coherence_metrics(cache).journal_refused, 2);
    cr_assert_eq(nearcache_close(cache, 0), 0);
}

/* ---- fail-safe ---- */

static int make_value(void *arg, const void *name, size_t name_bytes,
                      struct nearcache_loaded *loaded)
{
    (void)arg;
    (void)name;
    (void)name_bytes;
    loaded->data = "made";
    loaded->bytes = 4;
    return 0;
}

static int fail_to_make(void *arg, const void *name, size_t name_bytes,
                        struct nearcache_loaded *loaded)
{
    (void)arg;
    (void)name;
    (void)name_bytes;
    (void)loaded;
    return -1;
}

static bool is_over(struct nearcache_tier *tier)
{
    return coherence_get(tier, "a", NULL, NULL) == NEARCACHE_MISS;
}

static int load_again(struct nearcache_tier *tier, enum nearcache_source *source)
{
    struct nearcache_result result;
    int outcome = nearcache_get_or_load(tier, "a", 1, NULL, fail_to_make, NULL, &result);
    *source = result.source;
    if (outcome == 0)
        cr_expect(result.bytes == 4 && memcmp(result.data, "made", 4) == 0);
    nearcache_release(&result);
    return outcome;
}

Test(coherence_outage, a_copy_whose_time_is_over_stands_in_for_a_loader_that_fails)
{
    struct nearcache_tier_config config = coherence_tier_config();
    struct nearcache *cache = coherence_open(&server, coherence_config());
    struct nearcache_result result;
    enum nearcache_source source;
    config.redis_ttl_ms = 300;
    config.max_stale_ms = 60000;
    struct nearcache_tier *tier = coherence_tier(cache, config);
    config.name = "others";
    config.prefix = "other:";
    config.max_stale_ms = 0;
    struct nearcache_tier *other = coherence_tier(cache, config);
    cr_assert_eq(nearcache_get_or_load(tier, "a", 1, NULL, make_value, NULL, &result), 0);
    nearcache_release(&result);
    cr_assert_eq(nearcache_get_or_load(other, "a", 1, NULL, make_value, NULL, &result), 0);
    nearcache_release(&result);
    cr_assert(WAIT_UNTIL(is_over(tier) && is_over(other), 10000));
    /* Maintenance has its memory back of the tier that keeps nothing. */
    cr_assert(WAIT_UNTIL(
        coherence_metrics(cache).removed_expired + coherence_metrics(cache).removed_replaced >= 1,
        20000));
    cr_expect_eq(load_again(tier, &source), 0);
    cr_expect_eq(source, NEARCACHE_SOURCE_STALE);
    cr_expect_eq(load_again(other, &source), NEARCACHE_ELOADER);
    /* No older than the caller allows. */
    struct nearcache_read how = NEARCACHE_READ_INIT;
    how.max_stale_ms = NEARCACHE_NONE;
    cr_expect_eq(nearcache_get_or_load(tier, "a", 1, &how, fail_to_make, NULL, &result),
                 NEARCACHE_ELOADER);
    cr_assert_eq(nearcache_close(cache, 0), 0);
}

/* ---- coming back ---- */

static _Atomic uint64_t live_ns;

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void on_live(void *arg, enum nearcache_link state)
{
    (void)arg;
    if (state == NEARCACHE_LINK_LIVE)
        live_ns = now_ns();
}

/* 1,000 writes need 15 pauses of 8 ms between their 16 rounds; none less is allowed. */
Test(coherence_outage, a_full_journal_comes_back_at_a_bounded_rate)
{
    struct nearcache_config config = coherence_config();
    config.on_link = on_live;
    config.breaker_expiries = NEARCACHE_NONE;
    struct nearcache *cache = coherence_open(&server, config);
    struct nearcache_tier *tier = coherence_tier(cache, coherence_tier_config());
    redis_server_kill(&server);
    cr_assert(WAIT_UNTIL(nearcache_link_state(cache) != NEARCACHE_LINK_LIVE, 10000));
    for (int i = 0; i < 1000; i++) {
        char name[16];
        snprintf(name, sizeof name, "%d", i);
        cr_assert_eq(coherence_set(tier, name, "1"), NEARCACHE_LOCAL);
    }
    cr_assert(redis_server_restart(&server));
    cr_assert(WAIT_UNTIL(coherence_metrics(cache).journal_queued == 0, 20000));
    cr_expect_geq(now_ns() - live_ns, 15 * 8000000u);
    cr_expect_eq(coherence_metrics(cache).journal_replayed, 1000);
    cr_assert_eq(nearcache_close(cache, 0), 0);
}

/* ---- expiry ---- */

static int load_for_a_second(void *arg, const void *name, size_t name_bytes,
                             struct nearcache_loaded *loaded)
{
    (void)arg;
    (void)name;
    (void)name_bytes;
    loaded->data = "made";
    loaded->bytes = 4;
    loaded->ttl_ms = 1000;
    return 0;
}

Test(coherence_outage, a_tier_without_expiry_refuses_a_ttl_that_its_readers_would_not_know)
{
    struct nearcache_tier_config config = coherence_tier_config();
    struct nearcache *cache = coherence_open(&server, coherence_config());
    struct nearcache_write how = NEARCACHE_WRITE_INIT;
    struct nearcache_item items[] = {{{"a", 1}, "1", 1, 1000}, {{"b", 1}, "1", 1, 0}};
    struct nearcache_result result;
    int statuses[2];
    config.redis_ttl_ms = NEARCACHE_NONE;
    struct nearcache_tier *tier = coherence_tier(cache, config);
    how.ttl_ms = 1000;
    cr_expect_eq(nearcache_set(tier, "a", 1, "1", 1, &how), NEARCACHE_EINVAL);
    cr_expect_eq(nearcache_touch(tier, "a", 1, &how), NEARCACHE_EINVAL);
    cr_expect_eq(nearcache_set_many(tier, items, 2, NULL, statuses), NEARCACHE_EINVAL);
    cr_expect_eq(statuses[0], NEARCACHE_EINVAL);
    cr_expect_eq(statuses[1], 0);
    cr_expect_eq(nearcache_get_or_load(tier, "c", 1, NULL, load_for_a_second, NULL, &result),
                 NEARCACHE_EINVAL);
    cr_expect_eq(coherence_get(tier, "a", NULL, NULL), NEARCACHE_MISS);
    how.ttl_ms = NEARCACHE_NONE;
    cr_expect_eq(nearcache_set(tier, "a", 1, "1", 1, &how), 0);
    cr_assert_eq(nearcache_close(cache, 0), 0);
}

/* ---- soft timeout, eager refresh ---- */

Test(coherence_outage, with_an_old_copy_at_hand_a_slow_redis_is_waited_for_softly)
{
    struct nearcache_tier_config config = coherence_tier_config();
    struct nearcache *cache = coherence_open(&server, coherence_config());
    struct nearcache_name names[2] = {{"a", 1}, {"b", 1}};
    struct nearcache_result results[2];
    enum nearcache_source source;
    int statuses[2];
    config.soft_timeout_us = 20000;
    struct nearcache_tier *tier = coherence_tier(cache, config);
    cr_assert_eq(coherence_set(tier, "a", "1"), 0);
    cr_assert_eq(coherence_set(tier, "b", "2"), 0);
    cr_assert_eq(nearcache_expire(tier, "a", 1), 0);
    cr_assert_eq(nearcache_expire(tier, "b", 1), 0);
    redis_server_pause(&server);
    cr_expect_eq(coherence_get(tier, "a", "1", &source), 0);
    cr_expect_eq(source, NEARCACHE_SOURCE_STALE);
    cr_expect_eq(nearcache_get_many(tier, names, 2, NULL, results, statuses), 0);
    for (int i = 0; i < 2; i++) {
        cr_expect_eq(statuses[i], 0);
        cr_expect_eq(results[i].source, NEARCACHE_SOURCE_STALE);
    }
    nearcache_release_many(results, 2);
    redis_server_resume(&server);
    /* The reads went on, and what they brought is fresh. */
    cr_expect(WAIT_UNTIL(
        nearcache_peek(tier, "a", 1, &results[0]) == 0 &&
            (nearcache_release(&results[0]), results[0].source == NEARCACHE_SOURCE_LOCAL),
        10000));
    cr_assert_eq(nearcache_close(cache, 0), 0);
}

Test(coherence_outage, leaving_softly_does_not_open_the_breaker)
{
    struct nearcache_tier_config config = coherence_tier_config();
    struct nearcache_config slow_beat = coherence_config();
    slow_beat.heartbeat_ms = 10000; /* the link's own deadlines stay out of it */
    slow_beat.lease_ms = 30000;
    slow_beat.breaker_expiries = 1;
    struct nearcache *cache = coherence_open(&server, slow_beat);
    enum nearcache_source source;
    config.soft_timeout_us = 20000;
    struct nearcache_tier *tier = coherence_tier(cache, config);
    for (int i = 0; i < 3; i++) {
        char name[2] = {(char)('a' + i), 0};
        cr_assert_eq(coherence_set(tier, name, "1"), 0);
        cr_assert_eq(nearcache_expire(tier, name, 1), 0);
    }
    redis_server_pause(&server);
    for (int i = 0; i < 3; i++) {
        char name[2] = {(char)('a' + i), 0};
        cr_expect_eq(coherence_get(tier, name, "1", &source), 0);
        cr_expect_eq(source, NEARCACHE_SOURCE_STALE);
    }
    cr_expect_eq(coherence_metrics(cache).breaker_opens, 0);
    redis_server_resume(&server);
    cr_assert_eq(nearcache_close(cache, 0), 0);
}

Test(coherence_outage, a_hit_late_in_its_time_is_refreshed_by_one_read)
{
    struct nearcache_tier_config config = coherence_tier_config();
    struct nearcache *cache = coherence_open(&server, coherence_config());
    enum nearcache_source source;
    config.coherence = NEARCACHE_COHERENCE_NONE;
    config.local_ttl_ms = 4000;
    config.eager_refresh_percent = 90;
    config.jitter_percent = NEARCACHE_NONE;
    struct nearcache_tier *tier = coherence_tier(cache, config);
    cr_assert_eq(coherence_set(tier, "a", "1"), 0);
    cr_assert(coherence_asks(&server, "SET thing:a 2", "OK"));
    struct nearcache_result result;
    bool newer = false;
    /* Only hits: each is answered from here, and one of them brings the new value. */
    cr_assert(WAIT_UNTIL(nearcache_get(tier, "a", 1, NULL, &result) == 0 &&
                             (source = result.source, newer = *(const char *)result.data == '2',
                              nearcache_release(&result), source == NEARCACHE_SOURCE_LOCAL) &&
                             newer,
                         3500));
    cr_assert_eq(nearcache_close(cache, 0), 0);
}
