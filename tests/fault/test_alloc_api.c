/* Each allocation of each public call fails once: an error or the documented outcome, never a
 * crash, and what was there before is there after. Local-only and with a server. */
#include "nearcache.h"
#include "nearcache/async.h"
#include "nearcache/metrics.h"

#include "lib/alloc_fail.h"
#include "lib/redis_server.h"

#include <criterion/criterion.h>
#include <string.h>

REDIS_SERVER_REQUIRED;

enum { PATIENT_US = 20000000, ENOUGH = 5000 };

static struct redis_server server;
static struct nearcache *cache;
static struct nearcache_tier *tier, *vectors;

static int open_one(struct nearcache **opened, bool with_redis)
{
    struct nearcache_redis redis = NEARCACHE_REDIS_INIT;
    struct nearcache_config config = NEARCACHE_CONFIG_INIT;
    redis.url = server.unix_url;
    config.redis = with_redis ? &redis : NULL;
    config.deadline_us = PATIENT_US;
    config.shards = 1;
    return nearcache_open(opened, &config);
}

static int open_tier(struct nearcache *in, const char *name, enum nearcache_kind kind,
                     struct nearcache_tier **opened)
{
    struct nearcache_tier_config config = NEARCACHE_TIER_INIT;
    char prefix[32];
    snprintf(prefix, sizeof prefix, "%s:", name);
    config.name = name;
    config.prefix = prefix;
    config.redis_ttl_ms = 600000;
    config.kind = kind;
    config.dimension = kind == NEARCACHE_BYTES ? 0 : 16;
    return nearcache_tier_open(in, &config, opened);
}

static void set_up_with(bool with_redis)
{
    cr_assert(redis_server_start(&server, NULL));
    cr_assert_eq(open_one(&cache, with_redis), 0);
    cr_assert_eq(nearcache_wait(cache, PATIENT_US), 0);
    cr_assert_eq(open_tier(cache, "t", NEARCACHE_BYTES, &tier), 0);
    cr_assert_eq(open_tier(cache, "v", NEARCACHE_VECTOR_F32, &vectors), 0);
    cr_assert_eq(nearcache_set(tier, "kept", 4, "before", 6, NULL), 0);
}

static void tear_down(void)
{
    struct nearcache_result result;
    cr_assert_eq(nearcache_get(tier, "kept", 4, NULL, &result), 0);
    cr_assert_arr_eq(result.data, "before", 6);
    nearcache_release(&result);
    cr_assert_eq(nearcache_pinned(cache), 0);
    cr_assert_eq(nearcache_close(cache, 0), 0);
    redis_server_stop(&server);
}

/* Every public call once, over keys that are new in each round. Not one outcome but 0, a miss or
 * ENOMEM is right; a call that ended well did what it says. */
static bool fine(int outcome)
{
    return outcome == 0 || outcome == NEARCACHE_MISS || outcome == NEARCACHE_ENOMEM;
}

static int load(void *arg, const void *name, size_t bytes, struct nearcache_loaded *loaded)
{
    (void)arg;
    (void)name;
    (void)bytes;
    loaded->data = "loaded";
    loaded->bytes = 6;
    return 0;
}

static void all_calls(unsigned round)
{
    char name[32], other[32];
    size_t bytes = (size_t)snprintf(name, sizeof name, "n%u", round);
    size_t other_bytes = (size_t)snprintf(other, sizeof other, "o%u", round);
    struct nearcache_result result, results[2];
    const struct nearcache_name names[2] = {{name, bytes}, {other, other_bytes}};
    float matrix[2][16] = {{1}};
    int statuses[2];
    char text[65536];
    size_t text_bytes;
    int set = nearcache_set(tier, name, bytes, "value", 5, NULL);
    cr_assert(fine(set), "set: %s", nearcache_strerror(set));
    int got = nearcache_get(tier, name, bytes, NULL, &result);
    cr_assert(fine(got), "get: %s", nearcache_strerror(got));
    if (set == 0 && got == 0)
        cr_assert_arr_eq(result.data, "value", 5);
    nearcache_release(&result);
    cr_assert(fine(nearcache_get_many(tier, names, 2, NULL, results, statuses)));
    nearcache_release_many(results, 2);
    cr_assert(fine(nearcache_exists(tier, other, other_bytes, NULL)));
    int loaded = nearcache_get_or_load(tier, other, other_bytes, NULL, load, NULL, &result);
    cr_assert(fine(loaded), "get_or_load: %s", nearcache_strerror(loaded));
    nearcache_release(&result);
    cr_assert(fine(nearcache_touch(tier, name, bytes, NULL)));
    cr_assert(fine(nearcache_set_vectors(vectors, names, 2, matrix, 0, NULL, statuses)));
    cr_assert(fine(
        nearcache_get_vectors(vectors, names, 2, NULL, matrix, 0, NULL, NULL, statuses, NULL)));
    cr_assert(fine(nearcache_delete(tier, name, bytes, NULL)));
    cr_assert(fine(nearcache_invalidate(tier, other, other_bytes, NULL)));
    int outcome = nearcache_metrics_json(cache, text, sizeof text, &text_bytes);
    cr_assert(fine(outcome), "metrics: %s", nearcache_strerror(outcome));
}

/* How many allocations there are. */
static unsigned fail_each(enum alloc_fail_mode mode)
{
    for (unsigned n = 0; n < ENOUGH; n++) {
        alloc_fail_at(n, mode);
        all_calls(n);
        if (!alloc_fail_end())
            return n; /* no n-th allocation: all of them have failed once */
    }
    cr_assert_fail("more than %d allocations in one round", ENOUGH);
    return ENOUGH;
}

Test(alloc_api, each_allocation_of_a_local_cache, .timeout = 100)
{
    set_up_with(false);
    fail_each(ALLOC_FAIL_ONCE);
    tear_down();
}

Test(alloc_api, each_allocation_and_all_later_ones_of_a_local_cache, .timeout = 100)
{
    set_up_with(false);
    fail_each(ALLOC_FAIL_ON);
    tear_down();
}

Test(alloc_api, each_allocation_of_the_calling_thread_with_a_server, .timeout = 100)
{
    set_up_with(true);
    cr_assert_gt(fail_each(ALLOC_FAIL_ONCE), 0);
    tear_down();
}

Test(alloc_api, opening_fails_whole_or_works, .timeout = 100)
{
    set_up_with(false);
    for (unsigned with_redis = 0; with_redis < 2; with_redis++)
        for (unsigned n = 0; n < ENOUGH; n++) {
            struct nearcache *opened = NULL;
            struct nearcache_tier *own;
            alloc_fail_at(n, ALLOC_FAIL_ONCE);
            int outcome = open_one(&opened, with_redis);
            int tier_outcome = outcome == 0 ? open_tier(opened, "x", NEARCACHE_BYTES, &own) : 0;
            bool failed = alloc_fail_end();
            cr_assert(outcome == 0 || outcome == NEARCACHE_ENOMEM, "%s",
                      nearcache_strerror(outcome));
            cr_assert(tier_outcome == 0 || tier_outcome == NEARCACHE_ENOMEM);
            if (outcome == 0)
                cr_assert_eq(nearcache_close(opened, 0), 0);
            if (!failed)
                break;
        }
    tear_down();
}

static void on_get(void *arg, int status, struct nearcache_result *result)
{
    (void)status;
    nearcache_release(result);
    ++*(unsigned *)arg;
}

Test(alloc_api, an_asynchronous_call_fails_at_once_or_calls_back, .timeout = 100)
{
    unsigned calls = 0, pending = 0;
    set_up_with(true);
    for (unsigned n = 0; n < ENOUGH; n++) {
        struct nearcache_result result;
        char name[32];
        size_t bytes = (size_t)snprintf(name, sizeof name, "a%u", n);
        alloc_fail_at(n, ALLOC_FAIL_ONCE);
        int outcome = nearcache_get_async(tier, name, bytes, NULL, on_get, &calls, &result, NULL);
        bool failed = alloc_fail_end();
        cr_assert(outcome == NEARCACHE_PENDING || outcome == NEARCACHE_ENOMEM, "%s",
                  nearcache_strerror(outcome));
        pending += outcome == NEARCACHE_PENDING;
        if (!failed)
            break;
    }
    while (calls < pending)
        cr_assert_geq(nearcache_dispatch(cache, 0), 0);
    tear_down();
}

static void on_end(void *arg, int status)
{
    cr_assert(fine(status), "%s", nearcache_strerror(status));
    ++*(unsigned *)arg;
}

/* Not the second half of a call: only what was given to it, and what it said. */
static bool fails_or_is_pending(int outcome)
{
    return outcome == NEARCACHE_PENDING || outcome == NEARCACHE_ENOMEM;
}

struct batch {
    unsigned calls, pending;
    struct nearcache_result results[3];
    float matrix[3][16];
    int many[3], rows[3];
};

/* Each on keys of its own; the first one of each batch is here. */
static void ask_asynchronously(struct batch *batch, unsigned round)
{
    char one[32], two[32];
    size_t one_bytes = (size_t)snprintf(one, sizeof one, "x%u", round);
    size_t two_bytes = (size_t)snprintf(two, sizeof two, "y%u", round);
    const struct nearcache_name names[3] = {{"kept", 4}, {one, one_bytes}, {two, two_bytes}};
    const int outcomes[] = {
        nearcache_get_many_async(tier, names, 3, NULL, batch->results, batch->many, on_end,
                                 &batch->calls, NULL),
        nearcache_get_vectors_async(vectors, names, 3, NULL, batch->matrix, 0, batch->rows, NULL,
                                    on_end, &batch->calls, NULL),
        nearcache_set_async(tier, one, one_bytes, "value", 5, NULL, on_end, &batch->calls, NULL),
        nearcache_delete_async(tier, two, two_bytes, NULL, on_end, &batch->calls, NULL),
    };
    for (unsigned i = 0; i < sizeof outcomes / sizeof outcomes[0]; i++) {
        cr_assert(fails_or_is_pending(outcomes[i]), "%u: %s", i, nearcache_strerror(outcomes[i]));
        batch->pending += outcomes[i] == NEARCACHE_PENDING;
    }
    for (unsigned i = 0; i < 3; i++) {
        if (outcomes[0] == NEARCACHE_ENOMEM)
            cr_assert(batch->many[i] == NEARCACHE_ENOMEM && !batch->results[i].data);
        if (outcomes[1] == NEARCACHE_ENOMEM)
            cr_assert_eq(batch->rows[i], NEARCACHE_ENOMEM);
    }
}

static void fail_each_asynchronous(enum alloc_fail_mode mode, unsigned first)
{
    for (unsigned n = 0; n < ENOUGH; n++) {
        struct batch batch = {0};
        alloc_fail_at(n, mode);
        ask_asynchronously(&batch, first + n);
        bool failed = alloc_fail_end();
        while (batch.calls < batch.pending)
            cr_assert_geq(nearcache_dispatch(cache, 0), 0);
        nearcache_release_many(batch.results, 3);
        if (!failed)
            return;
    }
    cr_assert_fail("more than %d allocations in one round", ENOUGH);
}

Test(alloc_api, asynchronous_batches_and_writes_fail_at_once_or_call_back, .timeout = 100)
{
    set_up_with(true);
    fail_each_asynchronous(ALLOC_FAIL_ONCE, 0);
    fail_each_asynchronous(ALLOC_FAIL_ON, ENOUGH);
    /* Again, carried by the loop: its connection is there by now. */
    fail_each_asynchronous(ALLOC_FAIL_ONCE, 2 * ENOUGH);
    fail_each_asynchronous(ALLOC_FAIL_ON, 3 * ENOUGH);
    tear_down();
}
