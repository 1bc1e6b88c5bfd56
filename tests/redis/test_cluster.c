/* A cluster of three primaries with their replicas, and what of src/redis belongs to it. */
#include "base/clock.h"
#include "lib/link_fixture.h"
#include "lib/redis_cluster.h"
#include "lib/wait_until.h"
#include "redis/cluster.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

REDIS_SERVER_REQUIRED;

static struct redis_cluster cluster;

/* ---- a client ---- */

enum { PARTITIONS = 8 };

static struct nearcache_redis redis = NEARCACHE_REDIS_INIT;
static struct nc_redis_settings *settings;
static struct nc_cluster *map;
static struct nc_link *_Atomic links[NC_CLUSTER_LANES_MOST];
static uint32_t partition_slots[PARTITIONS];
static _Atomic unsigned moved[NC_CLUSTER_LANES_MOST];
static char logged[1 << 16];
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;

static void on_log(void *arg, enum nearcache_log_level level, const char *line)
{
    (void)arg;
    (void)level;
    pthread_mutex_lock(&log_lock);
    strncat(logged, line, sizeof logged - strlen(logged) - 2);
    strcat(logged, "\n");
    pthread_mutex_unlock(&log_lock);
}

static bool was_logged(const char *text)
{
    pthread_mutex_lock(&log_lock);
    bool found = strstr(logged, text) != NULL;
    pthread_mutex_unlock(&log_lock);
    return found;
}

static const struct nc_log to_test = {on_log, NULL, NEARCACHE_LOG_DEBUG};

static void on_lane(void *arg, unsigned lane)
{
    const struct nc_link_config config = {.settings = settings,
                                          .log = &to_test,
                                          .breaker_expiries = UINT64_MAX,
                                          .cluster = map,
                                          .lane = lane};
    struct nc_link *link;
    (void)arg;
    cr_assert_eq(nc_link_open(&link, &config), 0);
    cr_assert_eq(nc_link_start(link), 0);
    atomic_store(&links[lane], link);
}

static void on_moved(void *arg, unsigned lane)
{
    (void)arg;
    atomic_fetch_add(&moved[lane], 1);
}

/* With partitions or without. */
static void open_client(unsigned partitions)
{
    struct nc_cluster_config config = {.log = &to_test,
                                       .partition_slots = partition_slots,
                                       .partitions = partitions,
                                       .on_lane = on_lane,
                                       .on_moved = on_moved};
    redis.cluster = 1;
    redis.connections = 2;
    if (!redis.cluster_nodes)
        redis.cluster_nodes = cluster.list;
    cr_assert_eq(nc_redis_settings_create(&settings, &redis, &to_test), 0, "%s", logged);
    config.settings = settings;
    for (unsigned p = 0; p < partitions; p++) {
        char tag[16];
        partition_slots[p] = nc_slot_of(tag, (size_t)snprintf(tag, sizeof tag, "{nc:%u}", p));
    }
    cr_assert_eq(nc_cluster_open(&map, &config), 0);
    for (unsigned p = 0; p < partitions; p++)
        on_lane(NULL, p);
    cr_assert_eq(nc_cluster_start(map), 0);
}

static void close_client(void)
{
    if (!map)
        return;
    nc_cluster_stop(map);
    for (unsigned lane = 0; lane < NC_CLUSTER_LANES_MOST; lane++)
        if (links[lane])
            nc_link_close(links[lane], 0);
    nc_cluster_close(map);
    nc_redis_settings_destroy(settings);
    map = NULL;
}

static struct nc_link *link_of(const char *key)
{
    uint32_t lane = nc_cluster_lane(map, nc_slot_of(key, strlen(key)));
    return lane == NC_CLUSTER_NO_LANE ? NULL : atomic_load(&links[lane]);
}

/* Asks the lane of the key: GET without a value, SET with one. */
static int ask_key(struct seen *seen, uint64_t timeout_us, const char *key, const char *value)
{
    struct nc_link *link = link_of(key);
    if (!link)
        return NEARCACHE_EOFFLINK;
    return value ? ask(link, seen, timeout_us, "SET", key, value, NULL)
                 : ask(link, seen, timeout_us, "GET", key, NULL);
}

/* All lanes of the map answer. */
static bool is_up(unsigned lanes)
{
    struct seen seen;
    if (nc_cluster_lanes(map) < lanes)
        return false;
    for (unsigned lane = 0; lane < lanes; lane++) {
        struct nc_link *link = atomic_load(&links[lane]);
        if (!link || ask(link, &seen, 100000, "PING", NULL) != 0 || seen.type != NC_REPLY_STATUS)
            return false;
    }
    return true;
}

/* ---- begin, end ---- */

static void setup(void) { cr_assert(redis_cluster_start(&cluster, NULL)); }

static void teardown(void)
{
    close_client();
    redis_cluster_stop(&cluster);
}

TestSuite(cluster, .init = setup, .fini = teardown, .timeout = 120);

/* A key for a slot. */
static const char *key_in(uint32_t slot)
{
    static char key[32];
    for (unsigned i = 0; i == 0 || nc_slot_of(key, strlen(key)) != slot; i++)
        snprintf(key, sizeof key, "key%u", i);
    return key;
}

/* ---- the fixture itself ---- */

static void expect_at(int node, const char *key, const char *value)
{
    char *there = redis_server_ask(&cluster.node[node], "GET %s", key);
    cr_expect_str_eq(there, value);
    free(there);
}

Test(cluster, the_fixture_fails_over_and_moves_slots)
{
    int slot = (int)nc_slot_of("foo", 3), owner = redis_cluster_owner(&cluster, slot);
    cr_assert_eq(owner, 2);
    free(redis_server_ask(&cluster.node[owner], "SET foo 1"));
    cr_assert(redis_cluster_move_slot(&cluster, slot, owner, 0));
    cr_expect(WAIT_UNTIL(redis_cluster_owner(&cluster, slot) == 0, 10000));
    expect_at(0, "foo", "1");
    cr_assert(redis_cluster_wait_well(&cluster, true));
    cr_expect_eq(redis_cluster_kill(&cluster, 0), 3);
    expect_at(3, "foo", "1");
    cr_assert(redis_cluster_promote(&cluster, 4));
    cr_assert(redis_cluster_wait_well(&cluster, false));
}

/* ---- lanes ---- */

Test(cluster, every_slot_is_reached)
{
    struct seen seen;
    open_client(0);
    cr_assert(WAIT_UNTIL(is_up(3), 20000), "%s", logged);
    cr_expect_eq(nc_cluster_lanes(map), 3);
    for (uint32_t slot = 0; slot < NC_SLOTS; slot += slot % 64 == 0 ? 1 : 63) {
        const char *key = key_in(slot);
        cr_assert_eq(ask_key(&seen, 1000000, key, "v"), 0);
        cr_assert_eq(seen.type, NC_REPLY_STATUS, "slot %u: %s", slot, seen.text);
        cr_assert_eq(ask_key(&seen, 1000000, key, NULL), 0);
        cr_assert_str_eq(seen.text, "v");
    }
}

Test(cluster, dead_nodes_of_the_list_are_passed_over)
{
    static char list[256];
    /* Ports that are reserved and never listened on. */
    snprintf(list, sizeof list, "no.such.host.invalid,127.0.0.1:%s,%s", cluster.bus[0].port,
             strrchr(cluster.list, ',') + 1);
    redis_server_kill(&cluster.node[3]);
    redis.cluster_nodes = list;
    open_client(0);
    cr_assert(WAIT_UNTIL(is_up(3), 20000), "%s", logged);
}

Test(cluster, without_a_node_that_lives_calls_end_at_once_and_the_log_says_why)
{
    struct seen seen;
    for (int i = 0; i < REDIS_CLUSTER_NODES; i++)
        redis_server_kill(&cluster.node[i]);
    open_client(PARTITIONS);
    cr_expect(WAIT_UNTIL(was_logged("no node answers"), 20000), "%s", logged);
    cr_expect_eq(ask(links[0], &seen, 1000000, "PING", NULL), NEARCACHE_EOFFLINK);
    cr_expect_eq(nc_cluster_generation(map), 0);
    for (int i = 0; i < REDIS_CLUSTER_NODES; i++)
        cr_assert(redis_server_restart(&cluster.node[i]));
    cr_expect(WAIT_UNTIL(is_up(PARTITIONS), 30000), "%s", logged);
}

/* ---- failover ---- */

/* The primary that a lane's link is with answers to ROLE as one. */
static bool lane_writes(unsigned lane, const char *key)
{
    struct seen seen;
    return ask(links[lane], &seen, 1000000, "SET", key, "w", NULL) == 0 &&
           seen.type == NC_REPLY_STATUS;
}

Test(cluster, a_lane_follows_its_primary_to_the_replica)
{
    uint32_t slot = nc_slot_of("foo", 3);
    open_client(0);
    cr_assert(WAIT_UNTIL(is_up(3), 20000), "%s", logged);
    unsigned lane = nc_cluster_lane(map, slot), moved_before = atomic_load(&moved[lane]);
    cr_assert_geq(redis_cluster_kill(&cluster, redis_cluster_owner(&cluster, (int)slot)), 0);
    cr_expect(WAIT_UNTIL(lane_writes(lane, "foo"), 20000), "%s", logged);
    cr_expect_eq(nc_cluster_lane(map, slot), lane, "the same lane");
    cr_expect_eq(nc_cluster_lanes(map), 3);
    cr_expect_eq(atomic_load(&moved[lane]), moved_before, "no slot moved");
}

Test(cluster, partitions_follow_their_slots)
{
    open_client(PARTITIONS);
    cr_assert(WAIT_UNTIL(is_up(PARTITIONS), 20000), "%s", logged);
    int owner = redis_cluster_owner(&cluster, (int)partition_slots[0]), to = (owner + 1) % 3;
    for (unsigned p = 0; p < PARTITIONS; p++) {
        char key[24];
        snprintf(key, sizeof key, "{nc:%u}key", p);
        cr_expect(lane_writes(p, key), "%s", key);
    }
    cr_assert(redis_cluster_move_slot(&cluster, (int)partition_slots[0], owner, to));
    cr_expect(WAIT_UNTIL(lane_writes(0, "{nc:0}key"), 20000), "%s", logged);
    cr_assert(redis_cluster_wait_well(&cluster, true));
    cr_assert_geq(redis_cluster_kill(&cluster, to), 0);
    cr_expect(WAIT_UNTIL(lane_writes(0, "{nc:0}key"), 20000), "%s", logged);
}
