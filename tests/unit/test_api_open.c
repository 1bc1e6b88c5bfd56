#include "unit/api_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void on_log(void *arg, enum nearcache_log_level level, const char *line)
{
    (void)level;
    snprintf(arg, 512, "%s", line);
}

/* Opening must fail with that outcome, say why, and leave the output alone. */
static void refuses(struct nearcache_config *config, int outcome)
{
    struct nearcache *cache = (struct nearcache *)0x1;
    char line[512] = "";
    config->log = on_log;
    config->log_arg = line;
    cr_expect_eq(nearcache_open(&cache, config), outcome);
    cr_expect_eq(cache, (struct nearcache *)0x1);
    cr_expect_neq(line[0], 0, "a refusal says why");
}

#define REFUSES(field, value, outcome)                                                             \
    do {                                                                                           \
        struct nearcache_config config_ = NEARCACHE_CONFIG_INIT;                                   \
        config_.field = value;                                                                     \
        refuses(&config_, outcome);                                                                \
    } while (0)

Test(api_open, all_defaults_are_a_local_only_cache)
{
    struct nearcache *cache;
    cr_assert_eq(nearcache_open(&cache, NULL), 0);
    cr_expect_eq(nearcache_link_state(cache), NEARCACHE_LINK_NONE);
    cr_expect_eq(nearcache_wait(cache, 0), 0);
    cr_expect_eq(nearcache_sync(cache, 0), 0);
    cr_expect_eq(nearcache_pinned(cache), 0);
    struct nearcache_metrics m = NEARCACHE_METRICS_INIT;
    cr_expect_eq(nearcache_metrics(cache, &m), 0);
    cr_expect_eq(m.bytes_budget, NEARCACHE_DEFAULT_BUDGET_BYTES);
    cr_expect_eq(nearcache_close(cache, 0), 0);
}

Test(api_open, options_out_of_their_range_are_refused_with_a_reason)
{
    struct nearcache *cache;
    cr_expect_eq(nearcache_open(NULL, NULL), NEARCACHE_EINVAL);
    REFUSES(budget_bytes, NEARCACHE_MIN_BUDGET_BYTES - 1, NEARCACHE_EINVAL);
    REFUSES(budget_bytes, UINT64_MAX, NEARCACHE_EINVAL);
    REFUSES(shards, 65537, NEARCACHE_EINVAL);
    REFUSES(deadline_us, NEARCACHE_NONE, NEARCACHE_EINVAL);
    REFUSES(heartbeat_ms, 1, NEARCACHE_EINVAL);
    REFUSES(lease_ms, NEARCACHE_NONE, NEARCACHE_EINVAL);
    REFUSES(lease_ms, 299, NEARCACHE_ECONFIG);
    REFUSES(name_space, "", NEARCACHE_EINVAL);
    REFUSES(name_space, "a b", NEARCACHE_EINVAL);
    REFUSES(loader_threads, 65, NEARCACHE_EINVAL);
    REFUSES(metrics_socket, "/nonexistent/folder/socket", NEARCACHE_EIO);
    struct nearcache_config level = NEARCACHE_CONFIG_INIT;
    level.log_level = (enum nearcache_log_level)9;
    cr_expect_eq(nearcache_open(&cache, &level), NEARCACHE_EINVAL);
}

Test(api_open, a_redis_that_cannot_be_meant_is_refused)
{
    static const char *const urls[] = {"http://localhost", "redis://h:99999", "redis://h/x",
                                       "unix://", "nonsense"};
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        struct nearcache_redis redis = NEARCACHE_REDIS_INIT;
        struct nearcache_config config = NEARCACHE_CONFIG_INIT;
        struct nearcache *cache = NULL;
        redis.url = urls[i];
        config.redis = &redis;
        int outcome = nearcache_open(&cache, &config);
        cr_expect(outcome == NEARCACHE_ECONFIG || outcome == NEARCACHE_EINVAL, "%s: %d", urls[i],
                  outcome);
        nearcache_close(outcome == 0 ? cache : NULL, 0);
    }
}

/* A struct of a newer header: longer, and its unknown tail must be zero. */
Test(api_open, a_longer_struct_is_accepted_while_its_tail_is_zero)
{
    struct {
        struct nearcache_config known;
        uint64_t tail;
    } newer = {NEARCACHE_CONFIG_INIT, 0};
    struct nearcache *cache;
    newer.known.size = sizeof newer;
    cr_assert_eq(nearcache_open(&cache, &newer.known), 0);
    nearcache_close(cache, 0);
    newer.tail = 1;
    cr_expect_eq(nearcache_open(&cache, &newer.known), NEARCACHE_EINVAL);
    newer.known.size = 0;
    cr_expect_eq(nearcache_open(&cache, &newer.known), NEARCACHE_EINVAL);
}

Test(api_open, a_shorter_struct_means_defaults_for_the_rest)
{
    struct nearcache_config config = NEARCACHE_CONFIG_INIT;
    struct nearcache *cache;
    config.shards = 70000; /* behind the end that the size says */
    config.size = offsetof(struct nearcache_config, shards);
    cr_assert_eq(nearcache_open(&cache, &config), 0);
    nearcache_close(cache, 0);
}

Test(api_open, closing_nothing_is_allowed)
{
    cr_expect_eq(nearcache_close(NULL, 0), 0);
    cr_expect_eq(nearcache_pinned(NULL), 0);
    cr_expect_eq(nearcache_link_state(NULL), NEARCACHE_LINK_NONE);
    cr_expect_eq(nearcache_wait(NULL, 0), NEARCACHE_EINVAL);
    cr_expect_eq(nearcache_sync(NULL, 0), NEARCACHE_EINVAL);
    nearcache_release(NULL);
    nearcache_release_many(NULL, 5);
}

Test(api_open, states_of_the_link_have_names)
{
    static const char *const names[] = {"none", "down", "connecting", "syncing", "live", "suspect"};
    for (int i = 0; i < 6; i++)
        cr_expect_str_eq(nearcache_link_name((enum nearcache_link)i), names[i]);
    cr_expect_str_eq(nearcache_link_name((enum nearcache_link)77), "unknown");
    cr_expect_str_eq(nearcache_version(), NEARCACHE_VERSION);
}

Test(api_open, the_environment_configures_redis)
{
    static const char *const all[] = {"REDIS_URL", "REDIS_HOST", "REDIS_PORT", "REDIS_PASSWORD",
                                      "REDIS_DB"};
    struct nearcache_redis redis = NEARCACHE_REDIS_INIT;
    for (int i = 0; i < 5; i++)
        unsetenv(all[i]);
    redis.port = 77;
    cr_expect_eq(nearcache_redis_from_env(&redis), NEARCACHE_MISS);
    cr_expect_eq(redis.port, 77, "untouched");
    cr_expect_eq(nearcache_redis_from_env(NULL), NEARCACHE_EINVAL);
    setenv("REDIS_HOST", "cache.example", 1);
    setenv("REDIS_PORT", "6380", 1);
    setenv("REDIS_PASSWORD", "secret", 1);
    setenv("REDIS_DB", "3", 1);
    cr_expect_eq(nearcache_redis_from_env(&redis), 0);
    cr_expect_str_eq(redis.host, "cache.example");
    cr_expect_eq(redis.port, 6380);
    cr_expect_str_eq(redis.password, "secret");
    cr_expect_eq(redis.database, 3);
    static const char *const bad[] = {"x", "65536", "-1", "1x", " 1"};
    for (int i = 0; i < 5; i++) {
        setenv("REDIS_PORT", bad[i], 1);
        cr_expect_eq(nearcache_redis_from_env(&redis), NEARCACHE_EINVAL, "%s", bad[i]);
    }
}

/* ---- tiers ---- */

static int open_tier(const struct nearcache_tier_config *config)
{
    struct nearcache_tier *tier = (struct nearcache_tier *)0x1;
    int outcome = nearcache_tier_open(api_cache, config, &tier);
    if (outcome != 0)
        cr_expect_eq(tier, (struct nearcache_tier *)0x1);
    return outcome;
}

#define TIER_REFUSES(field, value)                                                                 \
    do {                                                                                           \
        struct nearcache_tier_config tier_ = NEARCACHE_TIER_INIT;                                  \
        tier_.name = "x";                                                                          \
        tier_.field = value;                                                                       \
        cr_expect_eq(open_tier(&tier_), NEARCACHE_EINVAL, #field " " #value);                      \
    } while (0)

Test(api_open, tiers_out_of_their_range_are_refused, .init = api_open, .fini = api_close)
{
    static char long_prefix[257];
    memset(long_prefix, 'p', 256);
    TIER_REFUSES(name, NULL);
    TIER_REFUSES(name, "");
    TIER_REFUSES(name, "Upper");
    TIER_REFUSES(name, "1st");
    TIER_REFUSES(name, "a-b");
    TIER_REFUSES(name, "abcdefghijklmnopqrstuvwxyzabcdef");
    TIER_REFUSES(prefix, long_prefix);
    TIER_REFUSES(jitter_percent, 101);
    TIER_REFUSES(budget_share_percent, 101);
    TIER_REFUSES(eager_refresh_percent, 101);
    TIER_REFUSES(off_link, (enum nearcache_off_link)7);
    TIER_REFUSES(outage_writes, (enum nearcache_outage_writes)7);
    TIER_REFUSES(coherence, (enum nearcache_coherence)7);
    TIER_REFUSES(policy, (enum nearcache_policy)7);
    TIER_REFUSES(kind, (enum nearcache_kind)7);
    TIER_REFUSES(dimension, 8); /* of bytes */
    TIER_REFUSES(size, 3);
    cr_expect_eq(open_tier(NULL), NEARCACHE_EINVAL);
    struct nearcache_tier_config fine = NEARCACHE_TIER_INIT;
    fine.name = "x";
    cr_expect_eq(nearcache_tier_open(api_cache, &fine, NULL), NEARCACHE_EINVAL);
    cr_expect_eq(nearcache_tier_open(NULL, &fine, &api_tier), NEARCACHE_EINVAL);
    cr_expect_null(nearcache_tier_find(api_cache, "x"), "a refused tier is not there");
}

/* 16 shards of a mebibyte: told where somebody asked for more, and only there. */
Test(api_open, a_tier_whose_values_fit_no_shard_is_warned_of, .fini = api_close)
{
    struct nearcache_config config = NEARCACHE_CONFIG_INIT;
    struct nearcache_tier_config tier = NEARCACHE_TIER_INIT;
    static char line[512];
    config.budget_bytes = 16 << 20;
    config.shards = 16;
    config.log = on_log;
    config.log_arg = line;
    config.log_level = NEARCACHE_LOG_WARNING;
    api_open_with(&config);
    tier.name = "asks";
    tier.largest_local_bytes = 500000;
    cr_assert_eq(open_tier(&tier), 0);
    tier.name = "anything";
    tier.largest_local_bytes = NEARCACHE_NONE;
    cr_assert_eq(open_tier(&tier), 0);
    cr_expect_str_eq(line, "");
    tier.name = "more";
    tier.largest_local_bytes = 2 << 20;
    cr_assert_eq(open_tier(&tier), 0);
    cr_expect_not_null(strstr(line, "tier more: values of 2097152 bytes are not kept here"));
    tier.name = "rows";
    tier.largest_local_bytes = 0;
    tier.kind = NEARCACHE_VECTOR_F32;
    tier.dimension = 300000;
    cr_assert_eq(open_tier(&tier), 0);
    cr_expect_not_null(strstr(line, "tier rows: "));
}

Test(api_open, a_tier_is_found_by_its_name_which_is_taken_then, .init = api_open, .fini = api_close)
{
    struct nearcache_tier_config again = NEARCACHE_TIER_INIT;
    again.name = "t";
    cr_expect_eq(open_tier(&again), NEARCACHE_ECONFIG);
    cr_expect_eq(nearcache_tier_find(api_cache, "t"), api_tier);
    cr_expect_null(nearcache_tier_find(api_cache, "u"));
    cr_expect_null(nearcache_tier_find(api_cache, NULL));
    cr_expect_null(nearcache_tier_find(NULL, "t"));
    cr_expect_str_eq(nearcache_tier_name(api_tier), "t");
    cr_expect_str_eq(nearcache_tier_prefix(api_tier), "t:");
    cr_expect_eq(nearcache_tier_row_bytes(api_tier), 0);
    cr_expect_eq(nearcache_tier_row_bytes(api_vectors), 16);
    cr_expect_str_eq(nearcache_tier_name(NULL), "");
    cr_expect_str_eq(nearcache_tier_prefix(NULL), "");
    cr_expect_eq(nearcache_tier_row_bytes(NULL), 0);
}

Test(api_open, there_is_room_for_256_tiers, .init = api_open, .fini = api_close)
{
    struct nearcache_tier_config config = NEARCACHE_TIER_INIT;
    char name[32];
    config.name = name;
    for (int i = 2; i < (int)NEARCACHE_MAX_TIERS; i++) {
        snprintf(name, sizeof name, "tier_%d", i);
        cr_assert_eq(open_tier(&config), 0);
    }
    strcpy(name, "one_more");
    cr_expect_eq(open_tier(&config), NEARCACHE_ECONFIG);
    cr_expect_not_null(nearcache_tier_find(api_cache, "tier_255"));
}

Test(api_open, the_presets_are_those_of_the_service, .init = api_open, .fini = api_close)
{
    static const struct {
        const char *name, *prefix;
        uint64_t hours;
    } expected[] = {{"default", "", 1},
                    {"products", "product:", 6},
                    {"prompts", "prompt:", 24},
                    {"aesthetics", "aesthetic:", 0},
                    {"embeddings", "embedding:", 0},
                    {"sessions", "session:", 168},
                    {"marketplace", "marketplace:", 6}};
    for (int i = 0; i < 7; i++) {
        struct nearcache_tier_config config;
        struct nearcache_tier *tier;
        cr_assert_eq(nearcache_tier_preset((enum nearcache_preset)i, &config), 0);
        cr_expect_str_eq(config.name, expected[i].name);
        cr_expect_str_eq(config.prefix, expected[i].prefix);
        cr_expect_eq(config.redis_ttl_ms,
                     expected[i].hours ? expected[i].hours * 3600000 : NEARCACHE_NONE);
        cr_expect_eq(nearcache_tier_open_preset(api_cache, (enum nearcache_preset)i, &tier), 0);
        cr_expect_eq(nearcache_tier_row_bytes(tier), i == NEARCACHE_EMBEDDINGS ? 2048 : 0);
        cr_expect_eq(nearcache_tier_open_preset(api_cache, (enum nearcache_preset)i, &tier),
                     NEARCACHE_ECONFIG);
    }
    struct nearcache_tier_config config;
    cr_expect_eq(nearcache_tier_preset((enum nearcache_preset)7, &config), NEARCACHE_EINVAL);
    cr_expect_eq(nearcache_tier_preset(NEARCACHE_DEFAULT, NULL), NEARCACHE_EINVAL);
}

/* ---- lifetime ---- */

Test(api_open, two_caches_in_one_process_share_nothing, .init = api_open, .fini = api_close)
{
    struct nearcache *other;
    struct nearcache_tier *tier;
    struct nearcache_tier_config config = NEARCACHE_TIER_INIT;
    struct nearcache_result r;
    config.name = "t";
    cr_assert_eq(nearcache_open(&other, NULL), 0);
    cr_assert_eq(nearcache_tier_open(other, &config, &tier), 0);
    cr_assert_eq(api_set("k", "mine"), 0);
    cr_expect_eq(nearcache_get(tier, "k", 1, NULL, &r), NEARCACHE_MISS);
    cr_expect_eq(nearcache_close(other, 0), 0);
    cr_expect_eq(api_get_is("k", "mine"), 0);
}

Test(api_open, close_says_busy_while_a_result_is_pinned_and_its_bytes_stay, .init = api_open)
{
    struct nearcache_result r, none;
    cr_assert_eq(api_set("k", "pinned value"), 0);
    cr_assert_eq(nearcache_get(api_tier, "k", 1, NULL, &r), 0);
    cr_expect_eq(nearcache_pinned(api_cache), 1);
    cr_expect_eq(nearcache_close(api_cache, 0), NEARCACHE_EBUSY);
    cr_expect_eq(nearcache_close(api_cache, 0), NEARCACHE_EBUSY);
    cr_expect_eq(memcmp(r.data, "pinned value", 12), 0);
    cr_expect_eq(nearcache_get(api_tier, "k", 1, NULL, &none), NEARCACHE_ECLOSED);
    cr_expect_null(none.data);
    cr_expect_eq(nearcache_set(api_tier, "k", 1, "x", 1, NULL), NEARCACHE_ECLOSED);
    cr_expect_eq(nearcache_clear(api_tier, 0, NULL), NEARCACHE_ECLOSED);
    cr_expect_eq(nearcache_wait(api_cache, 0), NEARCACHE_ECLOSED);
    cr_expect_eq(nearcache_pinned(api_cache), 1);
    nearcache_release(&r);
    cr_expect_eq(nearcache_close(api_cache, 0), 0);
}

/* What the child of a fork sees, as its exit status: 0 is fine. */
static int in_child(void)
{
    struct nearcache_result r = {0};
    struct nearcache_metrics m = NEARCACHE_METRICS_INIT;
    struct nearcache *own;
    int bad = 0;
    bad |= nearcache_get(api_tier, "k", 1, NULL, &r) != NEARCACHE_EFORK;
    bad |= nearcache_peek(api_tier, "k", 1, &r) != NEARCACHE_EFORK;
    bad |= nearcache_exists(api_tier, "k", 1, NULL) != NEARCACHE_EFORK;
    bad |= nearcache_set(api_tier, "k", 1, "x", 1, NULL) != NEARCACHE_EFORK;
    bad |= nearcache_delete(api_tier, "k", 1, NULL) != NEARCACHE_EFORK;
    bad |= nearcache_touch(api_tier, "k", 1, NULL) != NEARCACHE_EFORK;
    bad |= nearcache_expire(api_tier, "k", 1) != NEARCACHE_EFORK;
    bad |= nearcache_invalidate(api_tier, "k", 1, NULL) != NEARCACHE_EFORK;
    bad |= nearcache_clear(api_tier, 0, NULL) != NEARCACHE_EFORK;
    bad |= nearcache_wait(api_cache, 0) != NEARCACHE_EFORK;
    bad |= nearcache_sync(api_cache, 0) != NEARCACHE_EFORK;
    bad |= nearcache_metrics(api_cache, &m) != NEARCACHE_EFORK;
    bad |= nearcache_close(api_cache, 0) != NEARCACHE_EFORK;
    bad |= nearcache_open(&own, NULL) != 0 || nearcache_close(own, 0) != 0;
    return bad;
}

Test(api_open, a_forked_child_gets_an_error_and_may_open_its_own, .init = api_open,
     .fini = api_close)
{
    int status;
    cr_assert_eq(api_set("k", "v"), 0);
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0)
        _exit(in_child());
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    cr_expect_eq(api_get_is("k", "v"), 0, "the parent goes on");
}
