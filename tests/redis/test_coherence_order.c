/* Writes of a key that end in another order than they were asked for: the newest one wins. */
#include "coherence.h"

#include <pthread.h>

REDIS_SERVER_REQUIRED;

enum { LONG_US = 20000000, SHORT_US = 20000 };

static struct redis_server server;
static struct nearcache *cache;
static struct nearcache_tier *tier;
static _Atomic unsigned refusals;

static void on_refusal(void *arg, const struct nearcache_refusal *refusal)
{
    (void)arg;
    (void)refusal;
    refusals++;
}

static void set_up(void) { cr_assert(redis_server_start(&server, NULL)); }
static void tear_down(void) { redis_server_stop(&server); }

TestSuite(coherence_order, .init = set_up, .fini = tear_down, .timeout = 60);

/* A cache that a server which stands does not bring off the link: only the writes know of it. */
static void open_patiently(enum nearcache_coherence coherence)
{
    struct nearcache_config config = coherence_config();
    struct nearcache_tier_config tier_config = coherence_tier_config();
    config.heartbeat_ms = 10000;
    config.lease_ms = 60000;
    config.breaker_expiries = NEARCACHE_NONE;
    config.on_refusal = on_refusal;
    tier_config.coherence = coherence;
    cache = coherence_open(&server, config);
    tier = coherence_tier(cache, tier_config);
}

/* Everything is written; nothing was refused. */
static void settle_and_close(void)
{
    struct nearcache_metrics metrics;
    cr_assert(WAIT_UNTIL(coherence_metrics(cache).journal_queued == 0, 20000));
    metrics = coherence_metrics(cache);
    cr_expect_eq(metrics.journal_refused, 0);
    cr_expect_eq(metrics.journal_dropped, 0);
    cr_expect_eq(refusals, 0);
    cr_assert_eq(nearcache_close(cache, 0), 0);
}

/* ---- a write that is under way ---- */

struct writer {
    pthread_t thread;
    const char *value; /* NULL: a delete */
    uint64_t timeout_us;
    int outcome;
};

static int write_within(const char *name, const char *value, uint64_t timeout_us)
{
    struct nearcache_write how = NEARCACHE_WRITE_INIT;
    how.timeout_us = timeout_us;
    return value ? nearcache_set(tier, name, strlen(name), value, strlen(value), &how)
                 : nearcache_delete(tier, name, strlen(name), &how);
}

static void *write_it(void *arg)
{
    struct writer *writer = arg;
    writer->outcome = write_within("a", writer->value, writer->timeout_us);
    return NULL;
}

static bool is_here(const char *name)
{
    struct nearcache_result result;
    int outcome = nearcache_peek(tier, name, strlen(name), &result);
    nearcache_release(&result);
    return outcome == 0;
}

/* The server stands, and the write has dropped the copy: it has the key, nobody else may send. */
static void begin_under_way(struct writer *writer, void *(*run)(void *))
{
    cr_assert(coherence_asks(&server, "SET thing:a first", "OK"));
    cr_assert(WAIT_UNTIL(coherence_get(tier, "a", NULL, NULL) == 0 && is_here("a"), 10000));
    redis_server_pause(&server);
    cr_assert_eq(pthread_create(&writer->thread, NULL, run, writer), 0);
    cr_assert(WAIT_UNTIL(!is_here("a"), 10000));
}

static int end_under_way(struct writer *writer)
{
    pthread_join(writer->thread, NULL);
    return writer->outcome;
}

static void overtake(enum nearcache_coherence coherence, const char *older, const char *newer,
                     const char *expected)
{
    struct writer writer = {.value = older, .timeout_us = LONG_US};
    open_patiently(coherence);
    begin_under_way(&writer, write_it);
    cr_assert_eq(write_within("a", newer, SHORT_US), NEARCACHE_LOCAL);
    redis_server_resume(&server);
    cr_expect_eq(end_under_way(&writer), 0);
    /* What was taken is what is read, before it is written and after. */
    cr_expect_eq(coherence_get(tier, "a", newer, NULL), newer ? 0 : NEARCACHE_MISS);
    cr_assert(WAIT_UNTIL(coherence_metrics(cache).journal_queued == 0, 20000));
    cr_expect(coherence_asks(&server, "GET thing:a", expected));
    cr_expect_eq(coherence_get(tier, "a", newer, NULL), newer ? 0 : NEARCACHE_MISS);
    settle_and_close();
}

Test(coherence_order, what_was_taken_outlives_an_older_write_that_is_acknowledged)
{
    overtake(NEARCACHE_COHERENCE_PUBSUB, "older", "newer", "newer");
}

Test(coherence_order, a_delete_that_was_taken_outlives_it)
{
    overtake(NEARCACHE_COHERENCE_PUBSUB, "older", NULL, "(nil)");
}

Test(coherence_order, what_was_taken_outlives_an_older_delete)
{
    overtake(NEARCACHE_COHERENCE_PUBSUB, NULL, "newer", "newer");
}

Test(coherence_order, where_others_write_too_it_outlives_an_older_write)
{
    overtake(NEARCACHE_COHERENCE_TRACKING, "older", "newer", "newer");
}

Test(coherence_order, where_others_write_too_it_outlives_an_older_delete)
{
    overtake(NEARCACHE_COHERENCE_TRACKING, NULL, "newer", "newer");
}

/* ---- batches ---- */

static int set_both(const char *value, uint64_t timeout_us)
{
    struct nearcache_item items[] = {{{"a", 1}, value, strlen(value), 0},
                                     {{"b", 1}, value, strlen(value), 0}};
    struct nearcache_write how = NEARCACHE_WRITE_INIT;
    int statuses[2];
    how.timeout_us = timeout_us;
    nearcache_set_many(tier, items, 2, &how, statuses);
    return statuses[0] == statuses[1] ? statuses[0] : NEARCACHE_EPROTOCOL;
}

static void *set_both_of(void *arg)
{
    struct writer *writer = arg;
    writer->outcome = set_both(writer->value, writer->timeout_us);
    return NULL;
}

Test(coherence_order, a_batch_that_was_taken_outlives_an_older_one)
{
    struct writer writer = {.value = "older", .timeout_us = LONG_US};
    open_patiently(NEARCACHE_COHERENCE_PUBSUB);
    begin_under_way(&writer, set_both_of);
    cr_assert_eq(set_both("newer", SHORT_US), NEARCACHE_LOCAL);
    redis_server_resume(&server);
    cr_expect_eq(end_under_way(&writer), 0);
    cr_assert(WAIT_UNTIL(coherence_metrics(cache).journal_queued == 0, 20000));
    cr_expect(coherence_asks(&server, "MGET thing:a thing:b", "newer newer"));
    settle_and_close();
}

/* ---- what changes a key without its value ---- */

static void *invalidate_it(void *arg)
{
    struct writer *writer = arg;
    struct nearcache_write how = NEARCACHE_WRITE_INIT;
    how.timeout_us = writer->timeout_us;
    writer->outcome = nearcache_invalidate(tier, "a", 1, &how);
    return NULL;
}

static void *touch_it(void *arg)
{
    struct writer *writer = arg;
    struct nearcache_write how = NEARCACHE_WRITE_INIT;
    how.timeout_us = writer->timeout_us;
    how.ttl_ms = 30000;
    writer->outcome = nearcache_touch(tier, "a", 1, &how);
    return NULL;
}

static void change(void *(*run)(void *))
{
    struct writer older = {.value = "older", .timeout_us = LONG_US};
    struct writer changer = {.timeout_us = LONG_US};
    open_patiently(NEARCACHE_COHERENCE_PUBSUB);
    begin_under_way(&older, write_it);
    cr_assert_eq(write_within("a", "newer", SHORT_US), NEARCACHE_LOCAL);
    cr_assert_eq(pthread_create(&changer.thread, NULL, run, &changer), 0);
    redis_server_resume(&server);
    cr_expect_eq(end_under_way(&older), 0);
    cr_expect_eq(end_under_way(&changer), 0);
    cr_assert(WAIT_UNTIL(coherence_metrics(cache).journal_queued == 0, 20000));
    cr_expect(coherence_asks(&server, "GET thing:a", "newer"));
    settle_and_close();
}

Test(coherence_order, what_was_taken_is_written_before_the_key_is_invalidated)
{
    change(invalidate_it);
}

Test(coherence_order, what_was_taken_is_written_before_the_key_is_touched) { change(touch_it); }

/* ---- both are taken ---- */

static void take_both(enum nearcache_coherence coherence)
{
    struct writer writer = {.value = "older", .timeout_us = 15 * SHORT_US};
    open_patiently(coherence);
    begin_under_way(&writer, write_it);
    cr_assert_eq(write_within("a", "newer", SHORT_US), NEARCACHE_LOCAL);
    cr_expect_eq(end_under_way(&writer), NEARCACHE_LOCAL);
    redis_server_resume(&server);
    cr_assert(WAIT_UNTIL(coherence_metrics(cache).journal_queued == 0, 20000));
    cr_expect(coherence_asks(&server, "GET thing:a", "newer"));
    settle_and_close();
}

Test(coherence_order, an_older_write_that_is_taken_later_leaves_the_newer_one)
{
    take_both(NEARCACHE_COHERENCE_PUBSUB);
}

Test(coherence_order, where_others_write_too_it_leaves_the_newer_one)
{
    take_both(NEARCACHE_COHERENCE_TRACKING);
}

/* ---- what a loader makes ---- */

static _Atomic bool loads, may_end;

static int load_slowly(void *arg, const void *name, size_t name_bytes,
                       struct nearcache_loaded *loaded)
{
    (void)arg;
    (void)name;
    (void)name_bytes;
    loads = true;
    if (!WAIT_UNTIL(may_end, 10000))
        return -1;
    loaded->data = "loaded";
    loaded->bytes = 6;
    return 0;
}

static void *load_it(void *arg)
{
    struct writer *writer = arg;
    struct nearcache_result result;
    struct nearcache_read how = NEARCACHE_READ_INIT;
    how.timeout_us = writer->timeout_us;
    writer->outcome = nearcache_get_or_load(tier, "a", 1, &how, load_slowly, NULL, &result);
    nearcache_release(&result);
    return NULL;
}

/* The loader's value is written after the write was taken, but was asked for before. Which of the
 * two has the key first once the older write is done is open; that both are written is not. */
Test(coherence_order, what_was_taken_outlives_what_a_loader_made_before)
{
    struct writer writer = {.timeout_us = LONG_US};
    struct writer older = {.value = "older", .timeout_us = LONG_US};
    open_patiently(NEARCACHE_COHERENCE_TRACKING);
    cr_assert_eq(pthread_create(&writer.thread, NULL, load_it, &writer), 0);
    cr_assert(WAIT_UNTIL(loads, 10000));
    begin_under_way(&older, write_it);
    cr_assert_eq(write_within("a", "newer", SHORT_US), NEARCACHE_LOCAL);
    may_end = true;
    redis_server_resume(&server);
    cr_expect_eq(end_under_way(&older), 0);
    cr_expect_eq(end_under_way(&writer), 0);
    cr_assert(WAIT_UNTIL(coherence_metrics(cache).journal_queued == 0, 20000));
    cr_expect_eq(coherence_metrics(cache).journal_replayed, 1);
    settle_and_close();
}

/* ---- the other way round ---- */

Test(coherence_order, what_was_taken_goes_with_a_newer_write_that_is_acknowledged)
{
    struct writer writer = {.value = "newer", .timeout_us = LONG_US};
    open_patiently(NEARCACHE_COHERENCE_PUBSUB);
    cr_assert(coherence_asks(&server, "SET thing:a first", "OK"));
    redis_server_pause(&server);
    cr_assert_eq(write_within("a", "older", SHORT_US), NEARCACHE_LOCAL);
    cr_assert_eq(pthread_create(&writer.thread, NULL, write_it, &writer), 0);
    redis_server_resume(&server);
    cr_expect_eq(end_under_way(&writer), 0);
    cr_expect_eq(coherence_metrics(cache).journal_queued, 0);
    cr_expect(coherence_asks(&server, "GET thing:a", "newer"));
    settle_and_close();
}
