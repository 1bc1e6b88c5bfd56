/* Clearing, and what others do meanwhile. */
#include "coherence.h"

#include <pthread.h>

REDIS_SERVER_REQUIRED;

enum { KEYS = 20000, PATIENT_US = 20000000 };

static struct redis_server server;
static struct nearcache_tier *here, *there;
static _Atomic bool cleared;

static void set_up(void) { cr_assert(redis_server_start(&server, NULL)); }
static void tear_down(void) { redis_server_stop(&server); }

TestSuite(coherence_clear, .init = set_up, .fini = tear_down, .timeout = 60);

static struct nearcache *open_patiently(struct nearcache_tier **tier)
{
    struct nearcache_config config = coherence_config();
    config.deadline_us = PATIENT_US;
    /* A busy machine is not taken for a Redis that does not answer. */
    config.heartbeat_ms = 500;
    config.lease_ms = 60000;
    config.breaker_expiries = NEARCACHE_NONE;
    struct nearcache *cache = coherence_open(&server, config);
    *tier = coherence_tier(cache, coherence_tier_config());
    return cache;
}

static void fill(void)
{
    char *made = redis_server_ask(&server, "EVAL %s 0 %d",
                                  "for i = 0, ARGV[1] - 1 do "
                                  "redis.call('SET', 'thing:' .. i, 'old') end return 'OK'",
                                  KEYS);
    cr_assert_str_eq(made, "OK");
    free(made);
}

static void *clear_it(void *arg)
{
    uint64_t deleted;
    *(int *)arg = nearcache_clear(here, PATIENT_US, &deleted);
    cleared = true;
    return NULL;
}

static bool has(struct nearcache_tier *tier, int number)
{
    struct nearcache_result result;
    char name[16];
    int bytes = snprintf(name, sizeof name, "%d", number);
    int outcome = nearcache_get(tier, name, (size_t)bytes, NULL, &result);
    nearcache_release(&result);
    return outcome == 0;
}

/* How many of the keys there are, for a tier. */
static int count_keys(struct nearcache_tier *tier)
{
    int found = 0;
    for (int i = 0; i < KEYS; i++)
        found += has(tier, i);
    return found;
}

/* The subscriber that came last; 0: none. */
static long newest_subscriber(void)
{
    char *list = redis_server_ask(&server, "CLIENT LIST TYPE pubsub"), *at = list, *id = NULL;
    cr_assert_not_null(list);
    for (; (at = strstr(at, "id=")); at++)
        if (at == list || at[-1] == '\n')
            id = at + 3;
    long number = id ? strtol(id, NULL, 10) : 0;
    free(list);
    return number;
}

/* Both read while the keys go: such copies are newer than the CLEAR itself. `cut`: the other
 * process does not hear of all that is swept. */
static void read_while_clearing(bool cut)
{
    pthread_t thread;
    int outcome = -1;
    struct nearcache *mine = open_patiently(&here);
    const long own = newest_subscriber();
    struct nearcache *other = open_patiently(&there);
    fill();
    cr_assert_eq(pthread_create(&thread, NULL, clear_it, &outcome), 0);
    for (int i = 0; !cleared; i = (i + 1) % KEYS) {
        has(there, i);
        has(here, i);
        long newest = cut && i % 300 == 299 ? newest_subscriber() : own;
        if (newest != own)
            free(redis_server_ask(&server, "CLIENT KILL ID %ld", newest));
    }
    pthread_join(thread, NULL);
    cr_assert_eq(outcome, 0, "%s", nearcache_strerror(outcome));
    cr_expect_eq(count_keys(here), 0, "who cleared sees it at once");
    cr_assert_eq(nearcache_wait(other, PATIENT_US), 0);
    cr_assert_eq(nearcache_sync(other, PATIENT_US), 0);
    cr_expect_eq(count_keys(there), 0);
    cr_expect_eq(coherence_metrics(other).epochs, 0);
    cr_assert_eq(nearcache_close(other, 0), 0);
    cr_assert_eq(nearcache_close(mine, 0), 0);
}

Test(coherence_clear, what_was_read_before_it_was_swept_is_not_kept) { read_while_clearing(false); }

Test(coherence_clear, nor_by_who_did_not_hear_of_it) { read_while_clearing(true); }

/* ---- what changes a key without its value ---- */

static void change_while_clearing(bool touch)
{
    pthread_t thread;
    int outcome = -1;
    unsigned changed = 0;
    struct nearcache_write minute = NEARCACHE_WRITE_INIT;
    struct nearcache *mine = open_patiently(&here);
    struct nearcache *other = open_patiently(&there);
    minute.ttl_ms = 60000;
    cr_assert_eq(coherence_set(here, "one", "old"), 0);
    fill();
    cr_assert_eq(pthread_create(&thread, NULL, clear_it, &outcome), 0);
    for (int i = 0; !cleared; i = (i + 1) % KEYS) {
        char name[16];
        size_t bytes = (size_t)snprintf(name, sizeof name, "%d", i);
        int one = touch ? nearcache_touch(there, name, bytes, &minute)
                        : nearcache_invalidate(there, name, bytes, NULL);
        cr_assert(one == 0 || one == NEARCACHE_MISS);
        changed += one == 0;
    }
    pthread_join(thread, NULL);
    cr_assert_gt(changed, 0);
    cr_assert_eq(outcome, 0);
    cr_expect_eq(count_keys(here), 0);
    cr_assert_eq(nearcache_close(other, 0), 0);
    cr_assert_eq(nearcache_close(mine, 0), 0);
}

Test(coherence_clear, a_touch_does_not_save_what_was_there_before) { change_while_clearing(true); }

Test(coherence_clear, nor_does_an_invalidation) { change_while_clearing(false); }

/* ---- more is written meanwhile than the index holds ---- */

/* As if the index had just been trimmed, once the CLEAR has begun to sweep. */
static const char trim[] = "local v = redis.call('HMGET', 'nc:s', 's', 'cleared') "
                           "if v[2] == '0' or v[1] == v[2] then return 0 end "
                           "redis.call('HSET', 'nc:s', 'floor', v[1]) return redis.call('DBSIZE')";

Test(coherence_clear, nothing_is_left_where_the_index_was_trimmed_meanwhile)
{
    pthread_t thread;
    int outcome = -1;
    long left = 0;
    struct nearcache *mine = open_patiently(&here);
    cr_assert_eq(coherence_set(here, "one", "old"), 0);
    fill();
    cr_assert_eq(pthread_create(&thread, NULL, clear_it, &outcome), 0);
    while (left == 0 && !cleared) {
        char *answer = redis_server_ask(&server, "EVAL %s 0", trim);
        cr_assert_not_null(answer);
        left = strtol(answer, NULL, 10);
        free(answer);
    }
    pthread_join(thread, NULL);
    cr_assert_gt(left, KEYS / 10, "there was much to do yet");
    cr_assert_eq(outcome, 0);
    cr_expect_eq(count_keys(here), 0);
    cr_expect(coherence_asks(&server, "DBSIZE", "2"), "nothing but the cache's own");
    cr_assert_eq(nearcache_close(mine, 0), 0);
}
