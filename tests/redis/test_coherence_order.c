/* Writes of a key that end in another order than they were asked for: the newest one wins. */
#include "coherence.h"

#include "sync/lua_scripts.h"

#include "api/handle.h"
#include "cache/key.h"
#include "sync/fetch.h"

#include <pthread.h>

REDIS_SERVER_REQUIRED;

enum { LONG_US = 20000000, SHORT_US = 20000 };

static struct redis_server server;
static struct nearcache *cache;
static struct nearcache_tier *tier;
static _Atomic unsigned refusals;
static uint64_t load_lease_ms;

/* What is written in answer to a refusal; NULL: nothing. */
static const char *answer_to_refusal;
static _Atomic int answered = -1000;

static void on_refusal(void *arg, const struct nearcache_refusal *refusal)
{
    (void)arg;
    if (answer_to_refusal) {
        const size_t bytes = strlen(answer_to_refusal);
        struct nearcache_item items[] = {
            {{refusal->name, refusal->name_bytes}, answer_to_refusal, bytes, 0},
            {{"b", 1}, answer_to_refusal, bytes, 0}};
        int statuses[2];
        answered = nearcache_set_many(refusal->tier, items, 2, NULL, statuses);
    }
    refusals++;
}

/* What is read in answer to a removal; NULL: nothing. */
static const char *_Atomic read_at_removal;
static _Atomic int source_at_removal = -1;

static void on_removal(void *arg, const struct nearcache_removal *removal)
{
    enum nearcache_source source = NEARCACHE_SOURCE_STALE;
    const char *name = read_at_removal;
    (void)arg;
    if (!name)
        return;
    read_at_removal = NULL;
    /* At first the write is in doubt for a moment. */
    WAIT_UNTIL(coherence_get(removal->tier, name, "newer", &source) == 0 &&
                   source != NEARCACHE_SOURCE_STALE,
               2000);
    source_at_removal = source;
}

static void set_up(void)
{
    static const char *const may_sleep[] = {"--enable-debug-command", "yes", NULL};
    cr_assert(redis_server_start(&server, may_sleep));
}
static void tear_down(void) { redis_server_stop(&server); }

TestSuite(coherence_order, .init = set_up, .fini = tear_down, .timeout = 60);

/* A cache that a server which stands does not bring off the link: only the writes know of it. */
static void open_with(enum nearcache_coherence coherence, uint64_t heartbeat_ms, uint64_t lease_ms)
{
    struct nearcache_config config = coherence_config();
    struct nearcache_tier_config tier_config = coherence_tier_config();
    config.heartbeat_ms = heartbeat_ms;
    config.lease_ms = lease_ms;
    config.breaker_expiries = NEARCACHE_NONE;
    config.on_refusal = on_refusal;
    config.on_removal = on_removal;
    tier_config.coherence = coherence;
    tier_config.load_lease_ms = load_lease_ms;
    cache = coherence_open(&server, config);
    tier = coherence_tier(cache, tier_config);
}

static void open_patiently(enum nearcache_coherence coherence)
{
    open_with(coherence, 10000, 60000);
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

/* What is there before the cache comes is announced to nobody: that would drop the copy, at any
 * time after. */
static void open_on_a_value(enum nearcache_coherence coherence)
{
    cr_assert(coherence_asks(&server, "SET thing:a first", "OK"));
    open_patiently(coherence);
}

/* The server stands, and the write has dropped the copy: it has the key, nobody else may send. */
static void begin_under_way(struct writer *writer, void *(*run)(void *))
{
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
    open_on_a_value(coherence);
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
    open_on_a_value(NEARCACHE_COHERENCE_PUBSUB);
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

/* `another`: what is taken takes the place of what the change waits for. */
static void change(void *(*run)(void *), bool another)
{
    struct writer older = {.value = "older", .timeout_us = LONG_US};
    struct writer changer = {.timeout_us = LONG_US};
    open_on_a_value(NEARCACHE_COHERENCE_PUBSUB);
    begin_under_way(&older, write_it);
    cr_assert_eq(write_within("a", another ? "new" : "newer", SHORT_US), NEARCACHE_LOCAL);
    cr_assert_eq(pthread_create(&changer.thread, NULL, run, &changer), 0);
    if (another)
        cr_assert_eq(write_within("a", "newer", 10 * SHORT_US), NEARCACHE_LOCAL);
    redis_server_resume(&server);
    cr_expect_eq(end_under_way(&older), 0);
    cr_expect_eq(end_under_way(&changer), 0);
    cr_assert(WAIT_UNTIL(coherence_metrics(cache).journal_queued == 0, 20000));
    cr_expect(coherence_asks(&server, "GET thing:a", "newer"));
    settle_and_close();
}

Test(coherence_order, what_was_taken_is_written_before_the_key_is_invalidated)
{
    change(invalidate_it, false);
}

Test(coherence_order, what_was_taken_is_written_before_the_key_is_touched)
{
    change(touch_it, false);
}

Test(coherence_order, what_is_taken_while_an_invalidation_waits_is_written_before_it)
{
    change(invalidate_it, true);
}

Test(coherence_order, what_is_taken_while_a_touch_waits_is_written_before_it)
{
    change(touch_it, true);
}

/* ---- both are taken ---- */

static void take_both(enum nearcache_coherence coherence)
{
    struct writer writer = {.value = "older", .timeout_us = 15 * SHORT_US};
    open_on_a_value(coherence);
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

/* ---- an older write that is applied, and nobody hears of it ---- */

enum { DOUBT_US = 2000000 };

/* A write of somebody else: the next version, another value. */
static const char foreign_write[] =
    "local s = string.format('%.0f', redis.call('HGET', KEYS[1], 's') + 1) "
    "redis.call('HSET', KEYS[1], 's', s) redis.call('ZADD', KEYS[2], s, 'kthing:a') "
    "return redis.call('SET', 'thing:a', 'foreign')";

/* The server takes the older write in time, but answers after its deadline: what it does next takes
 * so long. The newer one was asked for before that. */
static void lose_an_answer(bool foreign)
{
    struct writer writer = {.value = "older", .timeout_us = DOUBT_US};
    redisContext *next = redis_server_connect(&server);
    int sent = 0;
    cr_assert_not_null(next);
    open_on_a_value(NEARCACHE_COHERENCE_PUBSUB);
    begin_under_way(&writer, write_it);
    cr_assert_eq(write_within("a", "newer", SHORT_US), NEARCACHE_LOCAL);
    if (foreign)
        redisAppendCommand(next, "EVAL %s 2 nc:s nc:w", foreign_write);
    redisAppendCommand(next, "DEBUG SLEEP 3");
    while (!sent)
        cr_assert_eq(redisBufferWrite(next, &sent), REDIS_OK);
    redis_server_resume(&server);
    cr_expect_eq(end_under_way(&writer), NEARCACHE_LOCAL);
    cr_assert(WAIT_UNTIL(coherence_metrics(cache).journal_queued == 0, 20000));
    redisFree(next);
}

Test(coherence_order, what_was_taken_outlives_an_older_write_whose_answer_was_lost)
{
    lose_an_answer(false);
    cr_expect(coherence_asks(&server, "GET thing:a", "newer"));
    settle_and_close();
}

Test(coherence_order, what_somebody_else_wrote_behind_both_outlives_them)
{
    lose_an_answer(true);
    cr_expect(coherence_asks(&server, "GET thing:a", "foreign"));
    cr_expect_eq(refusals, 1);
    cr_expect_eq(coherence_metrics(cache).journal_refused, 1);
    cr_assert_eq(nearcache_close(cache, 0), 0);
}

/* It is told on the link's thread, which has the key while it replays. */
Test(coherence_order, who_is_told_of_a_refusal_may_write_the_key_again)
{
    answer_to_refusal = "again";
    lose_an_answer(true);
    cr_assert(WAIT_UNTIL(refusals == 1, 20000));
    cr_expect_eq(answered, 0);
    cr_expect(coherence_asks(&server, "MGET thing:a thing:b", "again again"));
    cr_assert_eq(nearcache_close(cache, 0), 0);
}

/* ---- what was asked for before and comes behind ---- */

static void *read_it(void *arg)
{
    struct writer *reader = arg;
    struct nearcache_read how = NEARCACHE_READ_INIT;
    struct nearcache_result result;
    how.timeout_us = reader->timeout_us;
    reader->outcome = nearcache_get(tier, "a", 1, &how, &result);
    nearcache_release(&result);
    return NULL;
}

Test(coherence_order, an_answer_that_is_older_than_what_was_taken_is_not_kept)
{
    struct writer reader = {.timeout_us = LONG_US};
    struct nearcache_result result;
    open_patiently(NEARCACHE_COHERENCE_PUBSUB);
    cr_assert(coherence_asks(&server, "SET thing:a first", "OK"));
    /* It answers reads and keeps the replay waiting. */
    cr_assert(coherence_asks(&server, "CLIENT PAUSE 60000 WRITE", "OK"));
    redis_server_pause(&server);
    cr_assert_eq(pthread_create(&reader.thread, NULL, read_it, &reader), 0);
    cr_assert_eq(write_within("a", "newer", SHORT_US), NEARCACHE_LOCAL);
    redis_server_resume(&server);
    cr_expect_eq(end_under_way(&reader), 0);
    cr_assert_eq(nearcache_peek(tier, "a", 1, &result), 0);
    cr_expect(result.bytes == 5 && memcmp(result.data, "newer", 5) == 0);
    nearcache_release(&result);
    cr_assert(coherence_asks(&server, "CLIENT UNPAUSE", "OK"));
    settle_and_close();
}

/* The copy was read behind the write and goes when that is taken; who is told of it reads the key.
 */
Test(coherence_order, who_is_told_of_a_removal_may_read_what_was_taken)
{
    struct writer writer = {.value = "newer", .timeout_us = 25 * SHORT_US};
    open_patiently(NEARCACHE_COHERENCE_PUBSUB);
    cr_assert_eq(write_within("a", "first", LONG_US), 0);
    cr_assert(is_here("a"));
    cr_assert(coherence_asks(&server, "CLIENT PAUSE 60000 WRITE", "OK"));
    cr_assert_eq(pthread_create(&writer.thread, NULL, write_it, &writer), 0);
    cr_assert(WAIT_UNTIL(!is_here("a"), 10000));
    cr_assert_eq(coherence_get(tier, "a", "first", NULL), 0);
    read_at_removal = "a";
    cr_assert(WAIT_UNTIL(coherence_metrics(cache).journal_queued == 1, 10000));
    cr_assert(coherence_asks(&server, "CLIENT UNPAUSE", "OK"));
    cr_expect_eq(end_under_way(&writer), NEARCACHE_LOCAL);
    cr_expect_neq(source_at_removal, -1);
    cr_expect_neq(source_at_removal, NEARCACHE_SOURCE_STALE);
    settle_and_close();
}

static void refresh(const char *name)
{
    struct nc_key key;
    cr_assert_eq(nc_cache_key(tier, name, strlen(name), &key), 0);
    nc_fetch_refresh(cache->sync, &key);
}

/* A hit in the last part of its TTL, just before the write was taken. */
Test(coherence_order, what_was_taken_is_not_hidden_by_a_refresh)
{
    struct nearcache_result result;
    open_patiently(NEARCACHE_COHERENCE_PUBSUB);
    cr_assert(coherence_asks(&server, "MSET thing:a first thing:b first", "OK"));
    cr_assert(coherence_asks(&server, "CLIENT PAUSE 60000 WRITE", "OK"));
    cr_assert_eq(write_within("a", "newer", SHORT_US), NEARCACHE_LOCAL);
    refresh("a");
    refresh("b");
    cr_assert(WAIT_UNTIL(is_here("b"), 10000));
    cr_assert_eq(nearcache_peek(tier, "a", 1, &result), 0);
    cr_expect(result.bytes == 5 && memcmp(result.data, "newer", 5) == 0);
    nearcache_release(&result);
    cr_assert(coherence_asks(&server, "CLIENT UNPAUSE", "OK"));
    settle_and_close();
}

/* ---- a link that is not proven ---- */

Test(coherence_order, while_what_was_taken_cannot_be_written_its_key_is_not_changed)
{
    struct nearcache_write how = NEARCACHE_WRITE_INIT;
    open_with(NEARCACHE_COHERENCE_PUBSUB, 600, 3000);
    cr_assert_eq(write_within("a", "first", LONG_US), 0);
    /* No heartbeat comes through. */
    cr_assert(coherence_asks(&server, "CLIENT PAUSE 60000 WRITE", "OK"));
    cr_assert_eq(write_within("a", "newer", SHORT_US), NEARCACHE_LOCAL);
    cr_assert(WAIT_UNTIL(nearcache_link_state(cache) == NEARCACHE_LINK_SUSPECT, 10000));
    /* At once: what is sent is not answered. */
    how.timeout_us = 20 * SHORT_US;
    how.ttl_ms = 30000;
    cr_expect_eq(nearcache_touch(tier, "a", 1, &how), NEARCACHE_EOFFLINK);
    how.ttl_ms = 0;
    cr_expect_eq(nearcache_invalidate(tier, "a", 1, &how), NEARCACHE_EOFFLINK);
    cr_assert(coherence_asks(&server, "CLIENT UNPAUSE", "OK"));
    cr_assert(WAIT_UNTIL(coherence_metrics(cache).journal_queued == 0, 20000));
    cr_expect(coherence_asks(&server, "GET thing:a", "newer"));
    settle_and_close();
}

/* ---- what a loader makes ---- */

static _Atomic bool loads, may_end, loaded_it, ended;

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
    loaded_it = true;
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
    ended = true;
    return NULL;
}

Test(coherence_order, what_was_taken_while_a_loader_made_a_value_outlives_it)
{
    struct writer loader = {.timeout_us = LONG_US};
    open_patiently(NEARCACHE_COHERENCE_PUBSUB);
    cr_assert_eq(pthread_create(&loader.thread, NULL, load_it, &loader), 0);
    cr_assert(WAIT_UNTIL(loads, 10000));
    redis_server_pause(&server);
    may_end = true;
    cr_assert(WAIT_UNTIL(loaded_it, 10000));
    cr_assert_eq(write_within("a", "newer", 5 * SHORT_US), NEARCACHE_LOCAL);
    redis_server_resume(&server);
    cr_expect_eq(end_under_way(&loader), 0);
    cr_expect_eq(coherence_get(tier, "a", "newer", NULL), 0);
    cr_assert(WAIT_UNTIL(coherence_metrics(cache).journal_queued == 0, 20000));
    cr_expect(coherence_asks(&server, "GET thing:a", "newer"));
    settle_and_close();
}

static int load_nothing(void *arg, const void *name, size_t name_bytes,
                        struct nearcache_loaded *loaded)
{
    int outcome = load_slowly(arg, name, name_bytes, loaded);
    return outcome == 0 ? NEARCACHE_MISS : outcome;
}

static void *look_for_it(void *arg)
{
    struct writer *writer = arg;
    struct nearcache_read how = NEARCACHE_READ_INIT;
    struct nearcache_result result;
    how.timeout_us = writer->timeout_us;
    writer->outcome = nearcache_get_or_load(tier, "a", 1, &how, load_nothing, NULL, &result);
    nearcache_release(&result);
    return NULL;
}

/* Between the read that missed and the loader: it waits to be the one that loads. */
Test(coherence_order, what_was_taken_before_a_loader_found_nothing_is_what_is_read)
{
    struct writer loader = {.timeout_us = 50 * SHORT_US};
    struct nearcache_result result = {0};
    load_lease_ms = 60000;
    open_patiently(NEARCACHE_COHERENCE_PUBSUB);
    /* It answers reads and keeps the lease waiting, and the replay. */
    cr_assert(coherence_asks(&server, "CLIENT PAUSE 60000 WRITE", "OK"));
    cr_assert_eq(pthread_create(&loader.thread, NULL, look_for_it, &loader), 0);
    cr_assert(WAIT_UNTIL(nearcache_peek(tier, "a", 1, &result) == NEARCACHE_MISS &&
                             result.source == NEARCACHE_SOURCE_NEGATIVE,
                         10000));
    cr_assert_eq(write_within("a", "newer", SHORT_US), NEARCACHE_LOCAL);
    cr_expect_not(loads, "the write came in between");
    cr_assert(WAIT_UNTIL(loads, 10000));
    may_end = true;
    cr_expect_eq(end_under_way(&loader), NEARCACHE_MISS);
    cr_expect_eq(nearcache_peek(tier, "a", 1, &result), 0);
    cr_expect(result.bytes == 5 && memcmp(result.data, "newer", 5) == 0);
    nearcache_release(&result);
    cr_assert(coherence_asks(&server, "CLIENT UNPAUSE", "OK"));
    settle_and_close();
}

/* Redis has used up the caller's time before the loader was asked, and then goes away. */
Test(coherence_order, what_a_loader_made_waits_for_no_server_that_is_gone)
{
    struct writer loader = {.timeout_us = SHORT_US};
    open_patiently(NEARCACHE_COHERENCE_PUBSUB);
    redis_server_pause(&server);
    may_end = true;
    cr_assert_eq(pthread_create(&loader.thread, NULL, load_it, &loader), 0);
    cr_assert(WAIT_UNTIL(loaded_it, 10000));
    redis_server_kill(&server);
    cr_assert(WAIT_UNTIL(ended, 10000));
    cr_expect_eq(end_under_way(&loader), 0);
    cr_assert_eq(nearcache_close(cache, 1000), 0);
}

/* A turn is asked for when the caller's time is over already. */
Test(coherence_order, what_a_loader_makes_does_not_wait_for_a_turn_that_nobody_gives)
{
    struct writer loader = {.timeout_us = SHORT_US};
    load_lease_ms = 60000;
    open_patiently(NEARCACHE_COHERENCE_PUBSUB);
    redis_server_pause(&server);
    may_end = true;
    cr_assert_eq(pthread_create(&loader.thread, NULL, load_it, &loader), 0);
    cr_expect(WAIT_UNTIL(ended, 10000));
    redis_server_resume(&server);
    cr_expect_eq(end_under_way(&loader), 0);
    settle_and_close();
}

/* The loader's value is written after the write was taken, but was asked for before. Which of the
 * two has the key first once the older write is done is open; that both are written is not. */
Test(coherence_order, what_was_taken_outlives_what_a_loader_made_before)
{
    struct writer writer = {.timeout_us = LONG_US};
    struct writer older = {.value = "older", .timeout_us = LONG_US};
    cr_assert(coherence_asks(&server, "SET thing:z first", "OK"));
    open_patiently(NEARCACHE_COHERENCE_TRACKING);
    cr_assert_eq(pthread_create(&writer.thread, NULL, load_it, &writer), 0);
    cr_assert(WAIT_UNTIL(loads, 10000));
    cr_assert(WAIT_UNTIL(coherence_get(tier, "z", NULL, NULL) == 0 && is_here("z"), 10000));
    cr_assert(coherence_asks(&server, "SET thing:a first", "OK"));
    cr_assert(coherence_asks(&server, "SET thing:z second", "OK"));
    cr_assert(WAIT_UNTIL(!is_here("z"), 10000)); /* and what was announced before is heard */
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

/* ---- where keys stand alone ---- */

/* Nobody waits for it any more, and it reaches a server that stood. */
Test(coherence_order, a_replay_that_was_given_up_is_not_applied)
{
    static const char *const not_after[] = {"1", "99999999999999999"}; /* us since 1970 */
    static const char *const left[] = {"(nil)", "late"};
    redisContext *redis = redis_server_connect(&server);
    cr_assert_not_null(redis);
    for (int i = 0; i < 2; i++) {
        redisReply *reply = redisCommand(redis, "EVAL %s 1 thing:a s late 0 n %s",
                                         nc_lua_replay_tracked_1, not_after[i]);
        cr_assert(reply && reply->type == REDIS_REPLY_ARRAY && reply->elements == 3);
        cr_expect_eq(reply->element[0]->integer, i == 0 ? 4 : 1);
        cr_expect(coherence_asks(&server, "GET thing:a", left[i]));
        freeReplyObject(reply);
    }
    redisFree(redis);
}
