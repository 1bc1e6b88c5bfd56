/* One loader at a time across processes. */
#include "coherence.h"

#include <pthread.h>
#include <stdatomic.h>

REDIS_SERVER_REQUIRED;

static struct redis_server server;
static atomic_uint loads;

static void set_up(void) { cr_assert(redis_server_start(&server, NULL)); }
static void tear_down(void) { redis_server_stop(&server); }

TestSuite(coherence_lease, .init = set_up, .fini = tear_down, .timeout = 60);

static struct nearcache_tier_config lease_config(uint64_t lease_ms)
{
    struct nearcache_tier_config config = coherence_tier_config();
    config.load_lease_ms = lease_ms;
    return config;
}

/* Takes until the other process has come to wait for it. */
static int load_slowly(void *arg, const void *name, size_t name_bytes,
                       struct nearcache_loaded *loaded)
{
    struct nearcache *other = arg;
    (void)name;
    (void)name_bytes;
    atomic_fetch_add(&loads, 1);
    if (other)
        WAIT_UNTIL(coherence_metrics(other).redis_commands > 30, 10000);
    loaded->data = "made";
    loaded->bytes = 4;
    return 0;
}

struct reader {
    pthread_t thread;
    struct nearcache_tier *tier;
    struct nearcache *other;
    int outcome;
    bool right;
};

static void *read_or_load(void *arg)
{
    struct reader *reader = arg;
    struct nearcache_result result;
    reader->outcome =
        nearcache_get_or_load(reader->tier, "a", 1, NULL, load_slowly, reader->other, &result);
    reader->right =
        reader->outcome == 0 && result.bytes == 4 && memcmp(result.data, "made", 4) == 0;
    nearcache_release(&result);
    return NULL;
}

Test(coherence_lease, of_two_processes_one_loads_and_the_other_waits_for_its_value)
{
    struct nearcache *caches[2];
    struct reader readers[2] = {0};
    for (int i = 0; i < 2; i++) {
        caches[i] = coherence_open(&server, coherence_config());
        readers[i].tier = coherence_tier(caches[i], lease_config(30000));
    }
    for (int i = 0; i < 2; i++) {
        readers[i].other = caches[1 - i];
        cr_assert_eq(pthread_create(&readers[i].thread, NULL, read_or_load, &readers[i]), 0);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(readers[i].thread, NULL);
        cr_expect_eq(readers[i].outcome, 0);
        cr_expect(readers[i].right);
    }
    cr_expect_eq(atomic_load(&loads), 1);
    cr_expect(coherence_asks(&server, "EXISTS nc:l:thing:a", "0"), "the lease was given back");
    for (int i = 0; i < 2; i++)
        cr_assert_eq(nearcache_close(caches[i], 0), 0);
}

Test(coherence_lease, a_lease_whose_holder_died_ends_by_itself)
{
    struct nearcache *cache = coherence_open(&server, coherence_config());
    struct reader reader = {.tier = coherence_tier(cache, lease_config(30000))};
    cr_assert(coherence_asks(&server, "SET nc:l:thing:a somebody PX 400", "OK"));
    read_or_load(&reader);
    cr_expect(reader.right);
    cr_expect_eq(atomic_load(&loads), 1);
    cr_assert_eq(nearcache_close(cache, 0), 0);
}

Test(coherence_lease, waiting_for_another_process_ends_at_the_deadline)
{
    struct nearcache *cache = coherence_open(&server, coherence_config());
    struct nearcache_tier *tier = coherence_tier(cache, lease_config(30000));
    struct nearcache_read how = NEARCACHE_READ_INIT;
    struct nearcache_result result;
    how.timeout_us = 200000;
    cr_assert(coherence_asks(&server, "SET nc:l:thing:a somebody PX 60000", "OK"));
    uint64_t begin_ns = wait_now_ns();
    cr_expect_eq(nearcache_get_or_load(tier, "a", 1, &how, load_slowly, NULL, &result),
                 NEARCACHE_ETIMEOUT);
    cr_expect_lt(wait_now_ns() - begin_ns, UINT64_C(10000000000));
    cr_expect_eq(atomic_load(&loads), 0);
    cr_assert_eq(nearcache_close(cache, 0), 0);
}
