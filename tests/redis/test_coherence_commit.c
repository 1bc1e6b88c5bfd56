/* Group commit: writes that come at the same time share a call, and stay apart otherwise. */
#include "coherence.h"

#include <pthread.h>
#include <stdatomic.h>

REDIS_SERVER_REQUIRED;

enum { WRITERS = 16 };

static struct redis_server server;
static struct nearcache *cache;
static struct nearcache_tier *tier;
static atomic_uint begun;

static void set_up(void)
{
    cr_assert(redis_server_start(&server, NULL));
    cache = coherence_open(&server, coherence_config());
    tier = coherence_tier(cache, coherence_tier_config());
}

static void tear_down(void)
{
    cr_assert_eq(nearcache_close(cache, 0), 0);
    redis_server_stop(&server);
}

TestSuite(coherence_commit, .init = set_up, .fini = tear_down, .timeout = 60);

struct writer {
    pthread_t thread;
    unsigned number;
    uint64_t timeout_us;
    int outcome;
};

static void *write_one(void *arg)
{
    struct writer *writer = arg;
    struct nearcache_write how = NEARCACHE_WRITE_INIT;
    char name[16], value[16];
    snprintf(name, sizeof name, "%u", writer->number);
    snprintf(value, sizeof value, "value %u", writer->number);
    how.timeout_us = writer->timeout_us;
    atomic_fetch_add(&begun, 1);
    writer->outcome = nearcache_set(tier, name, strlen(name), value, strlen(value), &how);
    return NULL;
}

static redisContext *subscribe(void)
{
    redisContext *context = redis_server_connect(&server);
    cr_assert_not_null(context);
    freeReplyObject(redisCommand(context, "SUBSCRIBE nc:0:inv"));
    return context;
}

/* The number of keys of the next message. */
static unsigned keys_of_message(redisContext *context)
{
    redisReply *reply = NULL;
    unsigned keys = 0;
    cr_assert_eq(redisGetReply(context, (void **)&reply), REDIS_OK);
    cr_assert_eq(reply->elements, 3);
    cr_assert_eq(sscanf(reply->element[2]->str, "1 W %*s %*s %*s %u", &keys), 1, "%s",
                 reply->element[2]->str);
    freeReplyObject(reply);
    return keys;
}

Test(coherence_commit, writes_that_wait_for_another_share_one_call_and_one_message)
{
    struct writer writers[WRITERS] = {0};
    redisContext *messages = subscribe();
    redis_server_pause(&server);
    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i].number = i;
        writers[i].timeout_us = 20000000;
        cr_assert_eq(pthread_create(&writers[i].thread, NULL, write_one, &writers[i]), 0);
    }
    /* Those that come after the first wait for it; were one late, it would be a call more. */
    cr_expect(WAIT_UNTIL(atomic_load(&begun) == WRITERS, 10000));
    redis_server_resume(&server);
    for (unsigned i = 0; i < WRITERS; i++) {
        pthread_join(writers[i].thread, NULL);
        cr_expect_eq(writers[i].outcome, 0);
    }
    unsigned messages_seen = 0;
    for (unsigned keys = 0; keys < WRITERS; messages_seen++)
        keys += keys_of_message(messages);
    cr_expect_lt(messages_seen, WRITERS, "%u messages", messages_seen);
    for (unsigned i = 0; i < WRITERS; i++) {
        char name[16], value[16], command[32];
        enum nearcache_source source;
        snprintf(name, sizeof name, "%u", i);
        snprintf(value, sizeof value, "value %u", i);
        snprintf(command, sizeof command, "GET thing:%u", i);
        cr_expect(coherence_asks(&server, command, value));
        cr_expect_eq(coherence_get(tier, name, value, &source), 0);
        cr_expect_eq(source, NEARCACHE_SOURCE_LOCAL, "own writes stay cached");
    }
    redisFree(messages);
}

Test(coherence_commit, a_write_of_a_group_leaves_at_its_own_deadline)
{
    struct writer patient[2] = {{.number = 1, .timeout_us = 20000000},
                                {.number = 2, .timeout_us = 20000000}};
    struct writer hasty = {.number = 3, .timeout_us = 50000};
    redis_server_pause(&server);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(pthread_create(&patient[i].thread, NULL, write_one, &patient[i]), 0);
    write_one(&hasty);
    cr_expect_eq(hasty.outcome, NEARCACHE_LOCAL);
    redis_server_resume(&server);
    for (int i = 0; i < 2; i++) {
        pthread_join(patient[i].thread, NULL);
        cr_expect_eq(patient[i].outcome, 0);
    }
    cr_assert_eq(nearcache_wait(cache, 20000000), 0);
    cr_expect(coherence_asks(&server, "MGET thing:1 thing:2 thing:3", "value 1 value 2 value 3"));
}

Test(coherence_commit, a_script_that_redis_forgot_is_brought_back)
{
    struct writer writers[WRITERS] = {0};
    cr_assert(coherence_asks(&server, "SCRIPT FLUSH", "OK"));
    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i].number = i;
        cr_assert_eq(pthread_create(&writers[i].thread, NULL, write_one, &writers[i]), 0);
    }
    for (unsigned i = 0; i < WRITERS; i++) {
        pthread_join(writers[i].thread, NULL);
        cr_expect_eq(writers[i].outcome, 0);
    }
}

Test(coherence_commit, a_batch_has_one_message_and_a_status_per_key)
{
    struct nearcache_item items[3] = {
        {{"a", 1}, "1", 1, 0}, {{"b", 1}, "2", 1, 60000}, {{"c", 1}, "3", 1, NEARCACHE_NONE}};
    int statuses[3] = {-1, -1, -1};
    redisContext *messages = subscribe();
    cr_assert_eq(nearcache_set_many(tier, items, 3, NULL, statuses), 0);
    cr_expect_eq(keys_of_message(messages), 3);
    for (int i = 0; i < 3; i++)
        cr_expect_eq(statuses[i], 0);
    cr_expect(coherence_asks(&server, "MGET thing:a thing:b thing:c", "1 2 3"));
    cr_expect(coherence_asks(&server, "PTTL thing:c", "-1"));
    redisFree(messages);
}

/* Three keys without expiry in one call. */
static void write_batch(const char *value)
{
    struct nearcache_item items[3] = {{{"a", 1}, value, 1, NEARCACHE_NONE},
                                      {{"b", 1}, value, 1, NEARCACHE_NONE},
                                      {{"c", 1}, value, 1, NEARCACHE_NONE}};
    int statuses[3] = {-1, -1, -1};
    redisContext *messages = subscribe();
    cr_assert_eq(nearcache_set_many(tier, items, 3, NULL, statuses), 0);
    cr_expect_eq(keys_of_message(messages), 3);
    for (int i = 0; i < 3; i++)
        cr_expect_eq(statuses[i], 0);
    redisFree(messages);
}

Test(coherence_commit, a_batch_without_expiry_is_set_at_once_where_that_is_allowed)
{
    free(redis_server_ask(&server, "SET thing:a old PX 100000"));
    write_batch("1");
    cr_expect(coherence_asks(&server, "MGET thing:a thing:b thing:c", "1 1 1"));
    cr_expect(coherence_asks(&server, "PTTL thing:a", "-1"));
    cr_expect(coherence_asks(&server, "ZCARD nc:w", "4"), "the keys and the mark");
    cr_assert(coherence_asks(&server, "ACL SETUSER default -mset", "OK"));
    write_batch("2");
    cr_expect(coherence_asks(&server, "ACL SETUSER default +mset", "OK"));
    cr_expect(coherence_asks(&server, "MGET thing:a thing:b thing:c", "2 2 2"));
    cr_expect(coherence_asks(&server, "ZCARD nc:w", "4"));
}

Test(coherence_commit, of_a_call_with_a_late_key_the_others_are_applied)
{
    struct writer hasty = {.number = 7, .timeout_us = 100000};
    struct writer patient = {.number = 8, .timeout_us = 20000000},
                  first = {.number = 9, .timeout_us = 20000000};
    redis_server_pause(&server);
    cr_assert_eq(pthread_create(&first.thread, NULL, write_one, &first), 0);
    cr_assert_eq(pthread_create(&patient.thread, NULL, write_one, &patient), 0);
    write_one(&hasty);
    cr_assert_eq(hasty.outcome, NEARCACHE_LOCAL);
    cr_assert_eq(
        nearcache_set(tier, "7", 1, "newer", 5,
                      &(struct nearcache_write){sizeof(struct nearcache_write), 100000, 0}),
        NEARCACHE_LOCAL);
    redis_server_resume(&server);
    pthread_join(first.thread, NULL);
    pthread_join(patient.thread, NULL);
    cr_expect_eq(first.outcome, 0);
    cr_expect_eq(patient.outcome, 0);
    cr_assert_eq(nearcache_wait(cache, 20000000), 0);
    cr_expect(coherence_asks(&server, "GET thing:7", "newer"), "the older write came after all");
}
