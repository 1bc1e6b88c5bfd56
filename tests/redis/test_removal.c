/* On_removal calls back: whatever removed the entry, and wherever, its thread waits for nothing of
 * its own. */
#include "coherence.h"

#include "lib/async_fixture.h"

#include <pthread.h>

REDIS_SERVER_REQUIRED;

/* A call that waits for itself takes all of the former. */
enum { LONG_US = 5000000, AT_ONCE_MS = 2500 };

/* What the callback does, once for each removal that it does not cause itself. */
static void (*_Atomic act)(const struct nearcache_removal *removal);
static _Atomic unsigned acted, outcomes_wrong;
static _Atomic bool acting;
static pthread_t acted_on;

static void on_removal(void *arg, const struct nearcache_removal *removal)
{
    (void)arg;
    void (*what)(const struct nearcache_removal *removal) = act;
    if (!what || acting)
        return;
    acting = true;
    what(removal);
    acting = false;
    acted_on = pthread_self();
    acted++;
}

/* One connection: whoever reads there reads for all. */
static void set_up(void)
{
    struct nearcache_config config = coherence_config();
    struct nearcache_redis redis = NEARCACHE_REDIS_INIT;
    cr_assert(redis_server_start(&server, NULL));
    redis.connections = 1;
    config.redis = &redis;
    config.capacity_entries = 4;
    config.shards = 1;
    config.on_removal = on_removal;
    cache = open_cache_with(&config, LONG_US);
    tier = coherence_tier(cache, coherence_tier_config());
}

static void tear_down(void)
{
    act = NULL;
    cr_expect_eq(outcomes_wrong, 0);
    cr_assert_eq(nearcache_close(cache, 0), 0);
    redis_server_stop(&server);
}

TestSuite(removal, .init = set_up, .fini = tear_down, .timeout = 60);

static void check(int outcome, int expected)
{
    if (outcome != expected) {
        fprintf(stderr, "called back: %s\n", nearcache_strerror(outcome));
        outcomes_wrong++;
    }
}

static uint64_t began_ns;

static void begin(void (*what)(const struct nearcache_removal *removal))
{
    acted = 0;
    act = what;
    began_ns = wait_now_ns();
}

static void expect_at_once(unsigned times)
{
    act = NULL;
    cr_expect_lt((wait_now_ns() - began_ns) / 1000000, AT_ONCE_MS, "it waited for itself");
    cr_expect_geq(acted, times, "called back %u times", acted);
}

/* The key that was removed. */
static void read_and_write(const struct nearcache_removal *removal)
{
    struct nearcache_result result;
    int outcome = nearcache_get(removal->tier, removal->name, removal->name_bytes, NULL, &result);
    if (outcome == 0 && (result.bytes != 6 || memcmp(result.data, "second", 6) != 0))
        check(NEARCACHE_ETYPE, 0);
    nearcache_release(&result);
    check(outcome, 0);
    check(nearcache_set(removal->tier, removal->name, removal->name_bytes, "third", 5, NULL), 0);
}

Test(removal, of_a_write_the_key_may_be_read_and_written)
{
    cr_assert_eq(coherence_set(tier, "k", "first"), 0);
    begin(read_and_write);
    cr_expect_eq(coherence_set(tier, "k", "second"), 0);
    expect_at_once(1);
    cr_expect_eq(coherence_get(tier, "k", "third", NULL), 0);
    cr_expect(coherence_asks(&server, "GET thing:k", "third"));
}

static void read_absence(const struct nearcache_removal *removal)
{
    struct nearcache_result result;
    check(nearcache_get(removal->tier, removal->name, removal->name_bytes, NULL, &result),
          NEARCACHE_MISS);
    check(nearcache_set(removal->tier, removal->name, removal->name_bytes, "third", 5, NULL), 0);
}

Test(removal, of_a_delete_the_key_may_be_read_and_written)
{
    cr_assert_eq(coherence_set(tier, "k", "first"), 0);
    begin(read_absence);
    cr_expect_eq(nearcache_delete(tier, "k", 1, NULL), 0);
    expect_at_once(1);
    cr_expect(coherence_asks(&server, "GET thing:k", "third"));
}

static void write_all(const struct nearcache_removal *removal)
{
    struct nearcache_item items[3] = {
        {{"a", 1}, "third", 5, 0}, {{"b", 1}, "third", 5, 0}, {{"c", 1}, "third", 5, 0}};
    int statuses[3];
    check(nearcache_set_many(removal->tier, items, 3, NULL, statuses), 0);
}

Test(removal, of_a_batch_all_its_keys_may_be_written)
{
    struct nearcache_item items[3] = {
        {{"a", 1}, "first", 5, 0}, {{"b", 1}, "first", 5, 0}, {{"c", 1}, "first", 5, 0}};
    int statuses[3];
    cr_assert_eq(nearcache_set_many(tier, items, 3, NULL, statuses), 0);
    begin(write_all);
    cr_expect_eq(nearcache_set_many(tier, items, 3, NULL, statuses), 0);
    expect_at_once(3);
    cr_expect(coherence_asks(&server, "MGET thing:a thing:b thing:c", "third third third"));
}

/* The loop's thread reads the reply. */
static void write_in_loop(void (*what)(const struct nearcache_removal *removal))
{
    struct got got = {0};
    wait_for_loop();
    cr_assert_eq(coherence_set(tier, "k", "first"), 0);
    begin(what);
    cr_assert_eq(nearcache_set_async(tier, "k", 1, "second", 6, NULL, on_end, &got, NULL),
                 NEARCACHE_PENDING);
    loop_until(&got.calls, 1);
    cr_expect_eq(got.status, 0);
    expect_at_once(1);
    cr_expect(pthread_equal(acted_on, pthread_self()));
}

Test(removal, of_an_event_loops_write_other_keys_may_be_written) { write_in_loop(write_all); }

static void write_same(const struct nearcache_removal *removal)
{
    check(nearcache_set(removal->tier, removal->name, removal->name_bytes, "again", 5, NULL), 0);
}

Test(removal, of_an_event_loops_write_the_same_key_may_be_written)
{
    write_in_loop(write_same);
    cr_expect(coherence_asks(&server, "GET thing:k", "again"));
}

static void set_foreign(unsigned count)
{
    char command[48];
    for (unsigned i = 0; i < count; i++) {
        snprintf(command, sizeof command, "SET thing:%u value", i);
        cr_assert(coherence_asks(&server, command, "OK"));
    }
}

/* What a read puts in takes the place of others; who is told of that has just read the reply. */
Test(removal, of_a_reads_eviction_the_evicted_key_may_be_written)
{
    char name[16];
    set_foreign(12);
    begin(write_same);
    for (unsigned i = 0; i < 12; i++) {
        snprintf(name, sizeof name, "%u", i);
        cr_expect_eq(coherence_get(tier, name, NULL, NULL), 0);
    }
    expect_at_once(1);
}

/* The same where its caller had no more time, so that the link's thread reads the reply. */
Test(removal, of_a_late_reads_eviction_the_evicted_key_may_be_written)
{
    struct nearcache_read hasty = NEARCACHE_READ_INIT;
    struct nearcache_result result;
    char name[16];
    set_foreign(5);
    for (unsigned i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "%u", i);
        cr_assert_eq(coherence_get(tier, name, NULL, NULL), 0);
    }
    hasty.timeout_us = 20000;
    redis_server_pause(&server);
    cr_expect_eq(nearcache_get(tier, "4", 1, &hasty, &result), NEARCACHE_ETIMEOUT);
    begin(write_same);
    redis_server_resume(&server);
    cr_expect(WAIT_UNTIL(acted > 0, 10000));
    expect_at_once(1);
}

static int load(void *arg, const void *name, size_t name_bytes, struct nearcache_loaded *loaded)
{
    (void)arg;
    (void)name;
    (void)name_bytes;
    loaded->data = "second";
    loaded->bytes = 6;
    return 0;
}

static void load_again(const struct nearcache_removal *removal)
{
    struct nearcache_result result;
    check(nearcache_get_or_load(removal->tier, removal->name, removal->name_bytes, NULL, load, NULL,
                                &result),
          0);
    nearcache_release(&result);
}

Test(removal, of_what_a_loader_made_other_keys_may_be_loaded)
{
    char name[16];
    begin(load_again);
    for (unsigned i = 0; i < 12; i++) {
        struct nearcache_result result;
        snprintf(name, sizeof name, "%u", i);
        cr_expect_eq(nearcache_get_or_load(tier, name, strlen(name), NULL, load, NULL, &result), 0);
        nearcache_release(&result);
    }
    expect_at_once(1);
}
