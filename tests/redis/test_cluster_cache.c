/* Caches over a cluster of three primaries with a replica each: keys in partitions with versions
 * and messages, and plain keys that every primary tracks. */
#include "redis/coherence.h"

#include "api/handle.h"
#include "cache/key.h"
#include "lib/redis_cluster.h"

#include <pthread.h>
#include <stdatomic.h>

REDIS_SERVER_REQUIRED;

enum { KEYS = 120, PARTITIONS = 5 };

static struct redis_cluster cluster;

static void setup(void) { cr_assert(redis_cluster_start(&cluster, NULL)); }
static void teardown(void) { redis_cluster_stop(&cluster); }

TestSuite(cluster_cache, .init = setup, .fini = teardown, .timeout = 240);

static struct nearcache *open_cache(uint32_t partitions, uint64_t deadline_us)
{
    struct nearcache_config config = coherence_config();
    struct nearcache_redis redis = NEARCACHE_REDIS_INIT;
    struct nearcache *cache = NULL;
    redis.cluster = 1;
    redis.cluster_nodes = cluster.list;
    redis.cluster_partitions = partitions;
    redis.connections = 1;
    config.redis = &redis;
    config.deadline_us = deadline_us;
    cr_assert_eq(nearcache_open(&cache, &config), 0);
    return cache;
}

static struct nearcache_tier *open_tier(struct nearcache *cache, enum nearcache_coherence coherence)
{
    struct nearcache_tier_config config = coherence_tier_config();
    struct nearcache_tier *tier = NULL;
    config.coherence = coherence;
    config.outage_writes = NEARCACHE_OUTAGE_JOURNAL;
    cr_assert_eq(nearcache_tier_open(cache, &config, &tier), 0);
    cr_assert_eq(nearcache_wait(cache, 30000000), 0);
    return tier;
}

static const char *name_of(int i)
{
    static _Thread_local char name[32];
    snprintf(name, sizeof name, "key-%d", i);
    return name;
}

static const char *value_of(int i, int round)
{
    static _Thread_local char value[32];
    snprintf(value, sizeof value, "value-%d-%d", i, round);
    return value;
}

/* How many of all keys a batch finds in the right state, and how many of them here. */
static int read_all(struct nearcache_tier *tier, int round, int *local)
{
    static char names[KEYS][32];
    struct nearcache_name keys[KEYS];
    struct nearcache_result results[KEYS];
    int statuses[KEYS], right = 0;
    for (int i = 0; i < KEYS; i++) {
        strcpy(names[i], name_of(i));
        keys[i] = (struct nearcache_name){names[i], strlen(names[i])};
    }
    nearcache_get_many(tier, keys, KEYS, NULL, results, statuses);
    *local = 0;
    for (int i = 0; i < KEYS; i++) {
        const char *value = value_of(i, round);
        right += statuses[i] == 0 && results[i].bytes == strlen(value) &&
                 memcmp(results[i].data, value, results[i].bytes) == 0;
        *local += results[i].source == NEARCACHE_SOURCE_LOCAL;
    }
    nearcache_release_many(results, KEYS);
    return right;
}

static void write_all(struct nearcache_tier *tier, int round)
{
    static char names[KEYS][32], values[KEYS][32];
    struct nearcache_item items[KEYS];
    int statuses[KEYS];
    for (int i = 0; i < KEYS; i++) {
        strcpy(names[i], name_of(i));
        strcpy(values[i], value_of(i, round));
        items[i] = (struct nearcache_item){.name = {names[i], strlen(names[i])},
                                           .value = values[i],
                                           .value_bytes = strlen(values[i])};
    }
    cr_assert_eq(nearcache_set_many(tier, items, KEYS, NULL, statuses), 0);
}

Test(cluster_cache, keys_in_partitions_are_found_versioned_and_told_to_others)
{
    struct nearcache *mine = open_cache(PARTITIONS, 5000000);
    struct nearcache *other = open_cache(PARTITIONS, 5000000);
    struct nearcache_tier *here = open_tier(mine, NEARCACHE_COHERENCE_PUBSUB);
    struct nearcache_tier *there = open_tier(other, NEARCACHE_COHERENCE_PUBSUB);
    enum nearcache_source source;
    int local;

    write_all(here, 1);
    cr_expect_eq(read_all(here, 1, &local), KEYS);
    cr_expect_eq(local, KEYS, "own writes stay: %d", local);
    cr_expect_eq(read_all(there, 1, &local), KEYS);
    cr_expect_eq(local, 0);
    cr_expect_eq(read_all(there, 1, &local), KEYS);
    cr_expect_eq(local, KEYS);

    for (int i = 0; i < KEYS; i += 2)
        cr_assert_eq(coherence_set(here, name_of(i), value_of(i, 2)), 0);
    cr_assert_eq(nearcache_sync(other, 10000000), 0);
    for (int i = 0; i < KEYS; i++) {
        cr_assert_eq(coherence_get(there, name_of(i), value_of(i, i % 2 ? 1 : 2), &source), 0);
        cr_expect_eq(source, i % 2 ? NEARCACHE_SOURCE_LOCAL : NEARCACHE_SOURCE_REMOTE);
    }
    cr_assert_eq(nearcache_delete(there, "key-1", 5, NULL), 0);
    cr_assert_eq(nearcache_sync(mine, 10000000), 0);
    cr_expect_eq(coherence_get(here, "key-1", NULL, NULL), NEARCACHE_MISS);
    nearcache_close(mine, 0);
    nearcache_close(other, 0);
}

Test(cluster_cache, a_prefix_is_deleted_in_all_partitions)
{
    struct nearcache *mine = open_cache(PARTITIONS, 5000000);
    struct nearcache *other = open_cache(PARTITIONS, 5000000);
    struct nearcache_tier *here = open_tier(mine, NEARCACHE_COHERENCE_PUBSUB);
    struct nearcache_tier *there = open_tier(other, NEARCACHE_COHERENCE_PUBSUB);
    uint64_t deleted = 0;
    int local;
    write_all(here, 1);
    cr_assert_eq(read_all(there, 1, &local), KEYS);
    cr_assert_eq(nearcache_delete_prefix(here, "key-1", 5, 10000000, &deleted), 0);
    cr_expect_eq(deleted, 1 + 10 + 20); /* key-1, key-10 to key-19, key-100 to key-119 */
    cr_assert_eq(nearcache_sync(other, 10000000), 0);
    cr_expect_eq(coherence_get(there, "key-113", NULL, NULL), NEARCACHE_MISS);
    cr_expect_eq(coherence_get(there, "key-23", value_of(23, 1), NULL), 0);
    nearcache_close(mine, 0);
    nearcache_close(other, 0);
}

/* ---- a batch whose lanes are written one after the other ---- */

struct batch {
    struct nearcache_tier *tier;
    struct nearcache_item items[2];
    int statuses[2];
};

static void *write_batch(void *arg)
{
    struct batch *batch = arg;
    nearcache_set_many(batch->tier, batch->items, 2, NULL, batch->statuses);
    return NULL;
}

/* The write of another one in this process: it lasts until it is landed. */
static struct nc_flight *occupy(struct nearcache_tier *tier, const char *name)
{
    struct nearcache *cache = tier->owner;
    struct nc_key key;
    bool leads;
    cr_assert_eq(nc_cache_key(tier, name, strlen(name), &key), 0);
    struct nc_flight *flight =
        nc_flight_join(&nc_sync_for(cache->sync, &key)->writes, &key, NULL, &leads);
    cr_assert(leads);
    return flight;
}

static void let_go(struct nc_flight *flight)
{
    nc_flight_land(flight, 0);
    nc_flight_release(flight);
}

Test(cluster_cache, a_batch_was_asked_for_once_whenever_its_lanes_have_their_turn)
{
    struct nearcache *cache = open_cache(PARTITIONS, 1000000);
    struct batch batch = {.tier = open_tier(cache, NEARCACHE_COHERENCE_PUBSUB)};
    struct nearcache_write hasty = NEARCACHE_WRITE_INIT;
    struct nc_flight *flights[2];
    char names[2][32];
    pthread_t thread;
    int last = 1;
    strcpy(names[0], name_of(0));
    while (nc_cache_lane_of(batch.tier, name_of(last), strlen(name_of(last))) ==
           nc_cache_lane_of(batch.tier, names[0], strlen(names[0])))
        last++;
    strcpy(names[1], name_of(last));
    for (int i = 0; i < 2; i++) {
        flights[i] = occupy(batch.tier, names[i]);
        batch.items[i] = (struct nearcache_item){
            .name = {names[i], strlen(names[i])}, .value = "older", .value_bytes = 5};
    }
    cr_assert_eq(pthread_create(&thread, NULL, write_batch, &batch), 0);
    const uint64_t asked_ns = wait_now_ns() + 200000000;
    cr_assert(WAIT_UNTIL(wait_now_ns() > asked_ns, 10000));
    /* One lane waits for its key, the other one's turn is still to come. */
    hasty.timeout_us = 20000;
    for (int i = 0; i < 2; i++)
        cr_assert_eq(nearcache_set(batch.tier, names[i], strlen(names[i]), "newer", 5, &hasty),
                     NEARCACHE_LOCAL);
    pthread_join(thread, NULL);
    for (int i = 0; i < 2; i++)
        cr_expect_eq(batch.statuses[i], NEARCACHE_LOCAL);
    for (int i = 0; i < 2; i++)
        let_go(flights[i]);
    cr_assert_eq(nearcache_wait(cache, 30000000), 0);
    for (int i = 0; i < 2; i++)
        cr_expect_eq(coherence_get(batch.tier, names[i], "newer", NULL), 0);
    nearcache_close(cache, 0);
}

/* What another program writes, through whichever node it is. */
static void write_foreign(const char *name, const char *value)
{
    char command[128];
    for (int node = 0; node < REDIS_CLUSTER_PRIMARIES; node++) {
        snprintf(command, sizeof command, "SET thing:%s %s", name, value);
        char *answer = redis_server_ask(&cluster.node[node], command);
        bool taken = answer && strcmp(answer, "OK") == 0;
        free(answer);
        if (taken)
            return;
    }
    cr_assert(false, "no node took %s", name);
}

Test(cluster_cache, plain_keys_are_tracked_on_every_primary)
{
    struct nearcache *cache = open_cache(0, 5000000);
    struct nearcache_tier *tier = open_tier(cache, NEARCACHE_COHERENCE_TRACKING);
    struct nearcache_write minute = NEARCACHE_WRITE_INIT;
    enum nearcache_source source;
    uint64_t deleted = 0;
    int local;

    write_all(tier, 1);
    cr_expect_eq(read_all(tier, 1, &local), KEYS);
    cr_expect(WAIT_UNTIL(read_all(tier, 1, &local) == KEYS && local == KEYS, 10000),
              "only %d of them are here", local);
    for (int i = 0; i < KEYS; i++) {
        write_foreign(name_of(i), value_of(i, 2));
        cr_assert(WAIT_UNTIL(coherence_get(tier, name_of(i), NULL, &source) == 0 &&
                                 source != NEARCACHE_SOURCE_LOCAL,
                             10000),
                  "key %d was written and the copy stays", i);
        cr_expect_eq(coherence_get(tier, name_of(i), value_of(i, 2), NULL), 0);
    }
    minute.ttl_ms = 60000;
    cr_expect_eq(nearcache_touch(tier, "key-7", 5, &minute), 0);
    cr_expect_eq(nearcache_touch(tier, "no such key", 11, &minute), NEARCACHE_MISS);
    cr_assert_eq(nearcache_delete(tier, "key-8", 5, NULL), 0);
    cr_expect_eq(coherence_get(tier, "key-8", NULL, NULL), NEARCACHE_MISS);
    cr_assert_eq(nearcache_delete_prefix(tier, "key-1", 5, 10000000, &deleted), 0);
    cr_expect_eq(deleted, 1 + 10 + 20);
    nearcache_close(cache, 0);
}

Test(cluster_cache, a_tier_that_needs_versions_is_refused_without_partitions)
{
    struct nearcache *cache = open_cache(0, 5000000);
    struct nearcache_tier_config config = coherence_tier_config();
    struct nearcache_tier *tier = NULL;
    cr_expect_eq(nearcache_tier_open(cache, &config, &tier), NEARCACHE_ECONFIG);
    config.coherence = NEARCACHE_COHERENCE_NONE;
    cr_expect_eq(nearcache_tier_open(cache, &config, &tier), 0);
    nearcache_close(cache, 0);
}

/* ---- under load, while the cluster changes ---- */

struct load {
    struct nearcache_tier *tier;
    _Atomic bool stop;
    bool outage; /* reads of what is not here may say that Redis is not */
    _Atomic uint64_t calls;
    uint64_t errors, late;
    int acknowledged[KEYS]; /* the last round that Redis has taken; each key has one writer */
    int first_error;
};

#define DEADLINE_US 400000u
#define SLACK_NS UINT64_C(250000000)

static void *run_load(void *arg)
{
    struct load *load = arg;
    for (int round = 1; !atomic_load(&load->stop); round++)
        for (int i = 0; i < KEYS && !atomic_load(&load->stop); i++) {
            uint64_t begin_ns = wait_now_ns();
            const char *value = value_of(i, round);
            int outcome = round % 3 == 0 ? coherence_get(load->tier, name_of(i), NULL, NULL)
                                         : nearcache_set(load->tier, name_of(i), strlen(name_of(i)),
                                                         value, strlen(value), NULL);
            bool away = outcome == NEARCACHE_EOFFLINK || outcome == NEARCACHE_ETIMEOUT;
            if (outcome == 0 && round % 3 != 0)
                load->acknowledged[i] = round;
            else if (outcome < 0 && !(load->outage && round % 3 == 0 && away) &&
                     load->errors++ == 0)
                load->first_error = outcome;
            load->late += wait_now_ns() - begin_ns > DEADLINE_US * UINT64_C(1000) + SLACK_NS;
            load->calls++;
        }
    return NULL;
}

static uint64_t calls_of(struct load *load) { return load->calls; }

static void expect_all_written(const struct load *load, struct nearcache_tier *there)
{
    for (int i = 0; i < KEYS; i++) {
        struct nearcache_result result;
        int round = 0, number = 0;
        cr_assert_eq(nearcache_get(there, name_of(i), strlen(name_of(i)), NULL, &result), 0);
        char text[64] = "";
        memcpy(text, result.data, result.bytes < 63 ? result.bytes : 63);
        cr_assert_eq(sscanf(text, "value-%d-%d", &number, &round), 2);
        cr_expect_eq(number, i);
        cr_expect_geq(round, load->acknowledged[i], "key %d: round %d was acknowledged, found %d",
                      i, load->acknowledged[i], round);
        nearcache_release(&result);
    }
}

static void migrate_under_load(uint32_t partitions, enum nearcache_coherence coherence)
{
    struct nearcache *mine = open_cache(partitions, DEADLINE_US);
    struct nearcache *other = open_cache(partitions, 5000000);
    /* A partition's link is made anew: a read that is under way then may end with it. */
    struct load load = {.tier = open_tier(mine, coherence), .outage = partitions > 0};
    struct nearcache_tier *there = open_tier(other, coherence);
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, run_load, &load), 0);
    cr_assert(WAIT_UNTIL(calls_of(&load) > 2 * KEYS, 30000));
    for (int i = 0; i < 6; i++) {
        char key[64];
        uint64_t before = calls_of(&load);
        if (partitions)
            snprintf(key, sizeof key, "{nc:%d}", i % (int)partitions);
        else
            snprintf(key, sizeof key, "thing:%s", name_of(i));
        char command[96];
        snprintf(command, sizeof command, "CLUSTER KEYSLOT %s", key);
        char *answer = redis_server_ask(&cluster.node[0], command);
        int slot = atoi(answer), from = redis_cluster_owner(&cluster, slot);
        free(answer);
        cr_assert(redis_cluster_move_slot(&cluster, slot, from, (from + 1) % 3));
        cr_assert(WAIT_UNTIL(calls_of(&load) > before + KEYS, 30000));
    }
    atomic_store(&load.stop, true);
    pthread_join(thread, NULL);
    cr_expect_eq(load.errors, 0, "%lu of %lu calls failed, first with %s",
                 (unsigned long)load.errors, (unsigned long)load.calls,
                 nearcache_strerror(load.first_error));
    cr_expect_eq(load.late, 0);
    cr_assert_eq(nearcache_wait(mine, 30000000), 0);
    cr_assert_eq(nearcache_wait(other, 30000000), 0);
    cr_expect_eq(coherence_metrics(mine).journal_queued, 0);
    expect_all_written(&load, there);
    nearcache_close(mine, 0);
    nearcache_close(other, 0);
}

Test(cluster_cache, partitions_move_to_other_primaries_under_load)
{
    migrate_under_load(PARTITIONS, NEARCACHE_COHERENCE_PUBSUB);
}

Test(cluster_cache, slots_of_plain_keys_move_under_load)
{
    migrate_under_load(0, NEARCACHE_COHERENCE_TRACKING);
}

/* The replica takes over; what it had not heard of yet Redis itself has lost. */
static void fail_over_under_load(uint32_t partitions, enum nearcache_coherence coherence)
{
    struct nearcache *mine = open_cache(partitions, DEADLINE_US);
    struct load load = {.tier = open_tier(mine, coherence), .outage = true};
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, run_load, &load), 0);
    cr_assert(WAIT_UNTIL(calls_of(&load) > 2 * KEYS, 30000));
    cr_assert_geq(redis_cluster_kill(&cluster, 1), 0);
    cr_expect_eq(nearcache_wait(mine, 60000000), 0);
    uint64_t before = calls_of(&load);
    cr_assert(WAIT_UNTIL(calls_of(&load) > before + 2 * KEYS, 60000));
    atomic_store(&load.stop, true);
    pthread_join(thread, NULL);
    cr_expect_eq(load.errors, 0, "%lu of %lu calls failed, first with %s",
                 (unsigned long)load.errors, (unsigned long)load.calls,
                 nearcache_strerror(load.first_error));
    cr_expect_eq(load.late, 0);
    cr_expect_eq(nearcache_wait(mine, 60000000), 0);
    cr_expect_eq(coherence_metrics(mine).journal_queued, 0);
    nearcache_close(mine, 0);
}

Test(cluster_cache, a_primary_dies_and_its_partitions_go_on)
{
    fail_over_under_load(PARTITIONS, NEARCACHE_COHERENCE_PUBSUB);
}

Test(cluster_cache, a_primary_dies_and_its_plain_keys_go_on)
{
    fail_over_under_load(0, NEARCACHE_COHERENCE_TRACKING);
}
