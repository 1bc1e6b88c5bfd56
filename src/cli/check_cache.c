#include "cli/check.h"
#include "cli/latency.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINK_TIMEOUT_US UINT64_C(5000000)
#define DROP_TIMEOUT_NS UINT64_C(2000000000)
#define ROUNDS 20
#define BATCH 100
#define READS 200
#define TTL_MS 60000u
#define TTL_SLACK_MS 32u /* ages and times left are told in steps of 16 ms */
#define TRACKED "tracking-"

/* True, and a line in the report, when there are no caches to check with. */
static bool no_cache(struct cli_check *check, const char *name)
{
    if (check->second_tier)
        return false;
    cli_check_report(check, name, CLI_CHECK_SKIP, NULL, "needs the link");
    return true;
}

static void report_outcome(struct cli_check *check, const char *name, const char *doing,
                           int outcome)
{
    cli_check_report(check, name, CLI_CHECK_FAIL,
                     outcome == NEARCACHE_EREMOTE
                         ? "Redis answered with an error: see the lines above, and its log"
                         : NULL,
                     "%s: %s", doing, nearcache_strerror(outcome));
}

static int set_text(struct nearcache_tier *tier, const char *name, const char *value)
{
    struct nearcache_write how = NEARCACHE_WRITE_INIT;

    how.timeout_us = LINK_TIMEOUT_US;
    how.ttl_ms = TTL_MS;
    return nearcache_set(tier, name, strlen(name), value, strlen(value), &how);
}

/* Reads and compares: 0, NEARCACHE_MISS, an error, or NEARCACHE_EPROTOCOL for another value. */
static int expect_text(struct nearcache_tier *tier, const char *name, const char *value,
                       bool from_redis)
{
    struct nearcache_read how = NEARCACHE_READ_INIT;
    struct nearcache_result result;
    int outcome;

    how.timeout_us = LINK_TIMEOUT_US;
    how.refresh = from_redis;
    outcome = nearcache_get(tier, name, strlen(name), &how, &result);
    if (outcome)
        return outcome;
    if (result.bytes != strlen(value) || memcmp(result.data, value, result.bytes) != 0)
        outcome = NEARCACHE_EPROTOCOL;
    nearcache_release(&result);
    return outcome;
}

/* ---- the link -------------------------------------------------------------------------------- */

static int open_tracking_tier(struct cli_check *check, struct nearcache *cache)
{
    struct nearcache_tier_config config = NEARCACHE_TIER_INIT;
    char prefix[CLI_CHECK_KEY_BYTES];

    cli_check_key(check, TRACKED, prefix);
    config.name = "check_tracking";
    config.prefix = prefix;
    config.coherence = NEARCACHE_COHERENCE_TRACKING;
    config.redis_ttl_ms = TTL_MS;
    return nearcache_tier_open(cache, &config, &check->tracking_tier);
}

/* `tracking`: with the other tier too, before the link comes up, which would have to begin anew. */
static int open_one(struct cli_check *check, struct nearcache **cache, struct nearcache_tier **tier,
                    bool tracking)
{
    struct nearcache_tier_config config = NEARCACHE_TIER_INIT;
    struct nearcache_tier *opened;
    int outcome = nearcache_open(cache, &check->settings->config);

    if (outcome)
        return outcome;
    config.name = "check";
    config.prefix = check->prefix;
    config.redis_ttl_ms = TTL_MS;
    config.jitter_percent = NEARCACHE_NONE;
    outcome = nearcache_tier_open(*cache, &config, &opened);
    if (tracking)
        check->tracking_outcome = open_tracking_tier(check, *cache);
    if (outcome == 0)
        outcome = nearcache_wait(*cache, LINK_TIMEOUT_US);
    if (outcome == 0)
        *tier = opened;
    return outcome;
}

void cli_check_link(struct cli_check *check)
{
    uint64_t begin_ns = cli_now_ns();
    int outcome = open_one(check, &check->first, &check->first_tier, false);
    double ms = (double)(cli_now_ns() - begin_ns) / 1e6;

    if (outcome == 0)
        outcome = open_one(check, &check->second, &check->second_tier, check->may_track);
    if (outcome == 0) {
        cli_check_report(check, "link", CLI_CHECK_OK, NULL, "live in %.1f ms", ms);
        return;
    }
    if (!check->raw && outcome == NEARCACHE_ETIMEOUT)
        check->unreachable = true;
    pthread_mutex_lock(&check->log_lock);
    cli_check_report(
        check, "link", CLI_CHECK_FAIL,
        outcome == NEARCACHE_EAUTH ? "check user and password" : "is something refused above?",
        "%s%s%s", nearcache_strerror(outcome), check->log_line[0] ? "; " : "", check->log_line);
    pthread_mutex_unlock(&check->log_lock);
}

/* ---- values ---------------------------------------------------------------------------------- */

/* What a plain GET shows must be the caller's bytes. */
static bool plain_get_shows(struct cli_check *check, const char *key, const char *value)
{
    struct cli_reply answer;
    bool same;

    if (!check->raw)
        return true;
    answer = cli_raw_ask(check->raw, "GET %s", key);
    same = !answer.error && answer.reply->type == REDIS_REPLY_STRING &&
           answer.reply->len == strlen(value) &&
           memcmp(answer.reply->str, value, strlen(value)) == 0;
    cli_reply_free(&answer);
    return same;
}

void cli_check_set_get(struct cli_check *check)
{
    char key[CLI_CHECK_KEY_BYTES], name[CLI_CHECK_KEY_BYTES];
    int outcome;

    if (no_cache(check, "set and get"))
        return;
    cli_check_key(check, "value", key);
    cli_check_name(check, "value", name);
    outcome = set_text(check->first_tier, name, "first value");
    if (outcome) {
        report_outcome(check, "set and get", "set", outcome);
        return;
    }
    outcome = expect_text(check->first_tier, name, "first value", false);
    if (outcome == 0)
        outcome = expect_text(check->second_tier, name, "first value", true);
    if (outcome)
        report_outcome(check, "set and get", "get", outcome);
    else if (!plain_get_shows(check, key, "first value"))
        cli_check_report(check, "set and get", CLI_CHECK_FAIL, NULL,
                         "a plain GET shows another value");
    else
        cli_check_report(check, "set and get", CLI_CHECK_OK, NULL, "written here, read there%s",
                         check->raw ? ", plain GET agrees" : "");
}

void cli_check_ttl(struct cli_check *check)
{
    char key[CLI_CHECK_KEY_BYTES], name[CLI_CHECK_KEY_BYTES];
    struct nearcache_read how = NEARCACHE_READ_INIT;
    struct nearcache_result result = {.data = NULL};
    long long pttl_ms = -3;
    int outcome;

    if (no_cache(check, "expiry"))
        return;
    cli_check_key(check, "ttl", key);
    cli_check_name(check, "ttl", name);
    outcome = set_text(check->first_tier, name, "expires");
    how.refresh = 1;
    how.timeout_us = LINK_TIMEOUT_US;
    if (outcome == 0)
        outcome = nearcache_get(check->second_tier, name, strlen(name), &how, &result);
    if (outcome) {
        report_outcome(check, "expiry", "set and get", outcome);
        return;
    }
    nearcache_release(&result);
    if (check->raw) {
        struct cli_reply answer = cli_raw_ask(check->raw, "PTTL %s", key);

        if (!answer.error)
            pttl_ms = answer.reply->integer;
        cli_reply_free(&answer);
    }
    if ((check->raw && (pttl_ms <= 0 || pttl_ms > TTL_MS)) || result.ttl_ms == 0 ||
        result.ttl_ms > TTL_MS + TTL_SLACK_MS)
        cli_check_report(check, "expiry", CLI_CHECK_FAIL, NULL,
                         "set with %u ms, Redis has %lld ms, the copy %llu ms", TTL_MS, pttl_ms,
                         (unsigned long long)result.ttl_ms);
    else
        cli_check_report(check, "expiry", CLI_CHECK_OK, NULL,
                         "set with %u ms, the copy lives %llu ms", TTL_MS,
                         (unsigned long long)result.ttl_ms);
}

void cli_check_json(struct cli_check *check)
{
    static const char text[] =
        "{\"title\":\"caf\xc3\xa9 \\\"robe\\\"\",\"path\":\"a\\\\b\",\"sizes\":[36,38.5],"
        "\"nested\":{\"null\":null,\"line\":\"a\\nb\"},\"emoji\":\"\xf0\x9f\x91\x97\"}";
    char name[CLI_CHECK_KEY_BYTES], key[CLI_CHECK_KEY_BYTES];
    int outcome;

    if (no_cache(check, "JSON"))
        return;
    cli_check_name(check, "json", name);
    cli_check_key(check, "json", key);
    outcome = set_text(check->first_tier, name, text);
    if (outcome == 0)
        outcome = expect_text(check->second_tier, name, text, true);
    if (outcome)
        report_outcome(check, "JSON", "set and get", outcome);
    else if (!plain_get_shows(check, key, text))
        cli_check_report(check, "JSON", CLI_CHECK_FAIL, NULL, "a plain GET shows other bytes");
    else
        cli_check_report(check, "JSON", CLI_CHECK_OK, NULL, "%zu bytes come back the same",
                         sizeof text - 1);
}

void cli_check_pipeline(struct cli_check *check)
{
    char texts[BATCH][CLI_CHECK_KEY_BYTES], what[32];
    struct nearcache_item items[BATCH];
    struct nearcache_name names[BATCH];
    struct nearcache_result results[BATCH];
    struct nearcache_read read = NEARCACHE_READ_INIT;
    struct nearcache_write write = NEARCACHE_WRITE_INIT;
    int statuses[BATCH], outcome, wrong = 0;
    uint64_t begin_ns, middle_ns, end_ns;

    if (no_cache(check, "pipeline"))
        return;
    for (int i = 0; i < BATCH; i++) {
        snprintf(what, sizeof what, "batch-%d", i);
        cli_check_name(check, what, texts[i]);
        names[i] = (struct nearcache_name){texts[i], strlen(texts[i])};
        items[i] = (struct nearcache_item){
            .name = names[i], .value = texts[i], .value_bytes = strlen(texts[i]), .ttl_ms = TTL_MS};
    }
    write.timeout_us = read.timeout_us = LINK_TIMEOUT_US;
    read.refresh = 1;
    begin_ns = cli_now_ns();
    outcome = nearcache_set_many(check->first_tier, items, BATCH, &write, statuses);
    if (outcome) {
        report_outcome(check, "pipeline", "set_many", outcome);
        return;
    }
    middle_ns = cli_now_ns();
    outcome = nearcache_get_many(check->second_tier, names, BATCH, &read, results, statuses);
    end_ns = cli_now_ns();
    for (int i = 0; i < BATCH; i++)
        wrong += statuses[i] || results[i].bytes != names[i].bytes ||
                 memcmp(results[i].data, texts[i], names[i].bytes) != 0;
    nearcache_release_many(results, BATCH);
    for (int i = 0; i < BATCH; i++)
        nearcache_delete(check->first_tier, names[i].data, names[i].bytes, NULL);
    if (outcome)
        report_outcome(check, "pipeline", "get_many", outcome);
    else if (wrong)
        cli_check_report(check, "pipeline", CLI_CHECK_FAIL, NULL, "%d of %d values are wrong",
                         wrong, BATCH);
    else
        cli_check_report(check, "pipeline", CLI_CHECK_OK, NULL,
                         "%d keys written in %.1f ms, read in %.1f ms", BATCH,
                         (double)(middle_ns - begin_ns) / 1e6, (double)(end_ns - middle_ns) / 1e6);
}

/* ---- coherence ------------------------------------------------------------------------------- */

/* Waits until the old copy is gone; false: it is still served. */
static bool wait_for_drop(struct nearcache_tier *tier, const char *name, const char *old)
{
    uint64_t end_ns = cli_now_ns() + DROP_TIMEOUT_NS;
    struct nearcache_result result;
    bool is_old;

    do {
        if (nearcache_peek(tier, name, strlen(name), &result))
            return true;
        is_old = result.bytes == strlen(old) && memcmp(result.data, old, result.bytes) == 0;
        nearcache_release(&result);
        if (!is_old)
            return true;
    } while (cli_now_ns() < end_ns && !cli_interrupted());
    return false;
}

/* How a round writes: through another cache, or as another program would. */
static int write_foreign(struct cli_check *check, bool plainly, const char *key, const char *name,
                         const char *value)
{
    struct cli_reply answer;
    int outcome;

    if (!plainly)
        return set_text(check->first_tier, name, value);
    answer = cli_raw_ask(check->raw, "SET %s %s PX %u", key, value, TTL_MS);
    outcome = answer.error ? NEARCACHE_EREMOTE : 0;
    cli_reply_free(&answer);
    return outcome;
}

/*
 * Again and again: `tier` holds a copy, somebody else writes, the copy must go. Returns 0 with the
 * delays in *delays, an error, or NEARCACHE_EPROTOCOL when a copy stayed.
 */
static int run_rounds(struct cli_check *check, struct nearcache_tier *tier, bool plainly,
                      const char *key, const char *name, struct cli_latency *delays)
{
    char value[32] = "round 0", next[32];
    int outcome = write_foreign(check, plainly, key, name, value);

    for (int round = 1; outcome == 0 && round <= ROUNDS; round++) {
        uint64_t begin_ns;

        outcome = expect_text(tier, name, value, false);
        if (outcome)
            break;
        snprintf(next, sizeof next, "round %d", round);
        outcome = write_foreign(check, plainly, key, name, next);
        begin_ns = cli_now_ns();
        if (outcome)
            break;
        if (!wait_for_drop(tier, name, value))
            return NEARCACHE_EPROTOCOL;
        cli_latency_add(delays, cli_now_ns() - begin_ns);
        outcome = expect_text(tier, name, next, false);
        memcpy(value, next, sizeof value);
    }
    return outcome;
}

static void report_rounds(struct cli_check *check, const char *name, int outcome,
                          const struct cli_latency *delays)
{
    if (outcome == NEARCACHE_EPROTOCOL)
        cli_check_report(check, name, CLI_CHECK_FAIL,
                         "are messages allowed (ACL channels), and is it the same server?",
                         "an old copy stayed after another one's write");
    else if (outcome)
        report_outcome(check, name, "write and read", outcome);
    else
        cli_check_report(check, name, CLI_CHECK_OK, NULL,
                         "%d foreign writes, the copy gone after p50 %.0f us, at most %.0f us",
                         ROUNDS, (double)cli_latency_quantile_ns(delays, 0.5) / 1e3,
                         (double)delays->max_ns / 1e3);
}

void cli_check_pubsub(struct cli_check *check)
{
    char key[CLI_CHECK_KEY_BYTES], name[CLI_CHECK_KEY_BYTES];
    struct cli_latency *delays;
    int outcome;

    if (no_cache(check, "pub/sub"))
        return;
    cli_check_key(check, "pubsub", key);
    cli_check_name(check, "pubsub", name);
    delays = calloc(1, sizeof *delays);
    outcome =
        delays ? run_rounds(check, check->second_tier, false, key, name, delays) : NEARCACHE_ENOMEM;
    report_rounds(check, "pub/sub", outcome, delays);
    free(delays);
}

void cli_check_tracking(struct cli_check *check)
{
    struct cli_latency *delays;
    char key[CLI_CHECK_KEY_BYTES];
    int outcome;

    if (no_cache(check, "tracking"))
        return;
    if (!check->raw) {
        cli_check_report(check, "tracking", CLI_CHECK_SKIP, NULL, "needs a plain connection");
        return;
    }
    if (!check->tracking_tier) {
        cli_check_report(check, "tracking", CLI_CHECK_WARN,
                         "tiers that other programs write cannot be used", "%s",
                         check->may_track ? nearcache_strerror(check->tracking_outcome)
                                          : "the user may not");
        return;
    }
    cli_check_key(check, TRACKED "1", key);
    delays = calloc(1, sizeof *delays);
    outcome =
        delays ? run_rounds(check, check->tracking_tier, true, key, "1", delays) : NEARCACHE_ENOMEM;
    report_rounds(check, "tracking", outcome, delays);
    free(delays);
    nearcache_delete(check->tracking_tier, "1", 1, NULL);
}

/* ---- latency --------------------------------------------------------------------------------- */

static int measure(struct cli_check *check, const char *name, bool from_redis,
                   struct cli_latency *latency)
{
    int outcome = 0;

    for (int i = 0; outcome == 0 && i < READS; i++) {
        uint64_t begin_ns = cli_now_ns();

        outcome = expect_text(check->second_tier, name, "latency", from_redis);
        cli_latency_add(latency, cli_now_ns() - begin_ns);
    }
    return outcome;
}

void cli_check_latency(struct cli_check *check)
{
    struct cli_latency *hit = calloc(1, sizeof *hit), *miss = calloc(1, sizeof *miss);
    char name[CLI_CHECK_KEY_BYTES];
    int outcome = hit && miss ? 0 : NEARCACHE_ENOMEM;

    if (no_cache(check, "latency"))
        goto done;
    cli_check_name(check, "latency", name);
    if (outcome == 0)
        outcome = set_text(check->first_tier, name, "latency");
    if (outcome == 0)
        outcome = measure(check, name, true, miss);
    if (outcome == 0)
        outcome = measure(check, name, false, hit);
    if (outcome)
        report_outcome(check, "latency", "set and get", outcome);
    else
        cli_check_report(check, "latency", CLI_CHECK_OK, NULL,
                         "read from Redis p50 %.0f us, p99 %.0f us; local hit p50 %.2f us",
                         (double)cli_latency_quantile_ns(miss, 0.5) / 1e3,
                         (double)cli_latency_quantile_ns(miss, 0.99) / 1e3,
                         (double)cli_latency_quantile_ns(hit, 0.5) / 1e3);
done:
    free(hit);
    free(miss);
}
