/* What becomes of an outage's writes when their cache is closed, and what is told of it. */
#include "coherence.h"

#include "lib/logged.h"

REDIS_SERVER_REQUIRED;

static struct redis_server server;
static struct nearcache *cache;
static struct nearcache_tier *tier;

static void set_up(void) { cr_assert(redis_server_start(&server, NULL)); }

static void tear_down(void) { redis_server_stop(&server); }

TestSuite(close, .init = set_up, .fini = tear_down, .timeout = 60);

/* Without waiting for the link. */
static void open_cache(void)
{
    struct nearcache_redis redis = NEARCACHE_REDIS_INIT;
    struct nearcache_config config = coherence_config();
    struct nearcache_tier_config things = coherence_tier_config();
    logged[0] = '\0';
    redis.url = server.unix_url;
    config.redis = &redis;
    config.log = on_log;
    config.log_level = NEARCACHE_LOG_WARNING;
    cr_assert_eq(nearcache_open(&cache, &config), 0);
    cr_assert_eq(nearcache_tier_open(cache, &things, &tier), 0);
}

/* Most of these are made before the link is up. */
Test(close, a_program_that_ends_soon_loses_no_write)
{
    char value[16];
    for (int i = 0; i < 50; i++) {
        snprintf(value, sizeof value, "%d", i);
        open_cache();
        cr_assert_geq(coherence_set(tier, "k", value), 0);
        cr_assert_eq(nearcache_close(cache, 10000000), 0);
        cr_assert(coherence_asks(&server, "GET thing:k", value), "round %d", i);
        cr_assert_str_eq(logged, "");
    }
}

Test(close, writes_that_are_lost_are_told)
{
    redis_server_kill(&server);
    open_cache();
    cr_expect_eq(coherence_set(tier, "a", "1"), NEARCACHE_LOCAL);
    cr_expect_eq(coherence_set(tier, "b", "1"), NEARCACHE_LOCAL);
    cr_expect_eq(nearcache_close(cache, 20000), 0);
    cr_expect(was_logged("writes that Redis did not take in time are lost: 2"), "%s", logged);
}

Test(close, the_end_of_a_live_link_is_no_loss)
{
    open_cache();
    cr_assert_eq(nearcache_wait(cache, 10000000), 0);
    cr_expect_eq(nearcache_close(cache, 0), 0);
    cr_expect_str_eq(logged, "");
}
