/* A cluster of three primaries with their replicas, and what of src/redis belongs to it. */
#include "base/clock.h"
#include "lib/link_fixture.h"
#include "lib/logged.h"
#include "lib/redis_cluster.h"
#include "lib/wait_until.h"
#include "redis/fleet.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

REDIS_SERVER_REQUIRED;

static struct redis_cluster cluster;

/* ---- a client ---- */

enum { PARTITIONS = 8 };

static struct nearcache_redis redis = NEARCACHE_REDIS_INIT;
static struct nc_redis_settings *settings;
static struct nc_fleet *fleet;
static struct nc_cluster *map;
static struct nc_link *_Atomic links[NC_CLUSTER_LANES_MOST];
static uint32_t partition_slots[PARTITIONS];
static _Atomic unsigned moved[NC_CLUSTER_LANES_MOST];
static const struct nc_log to_test = {on_log, NULL, NEARCACHE_LOG_DEBUG};

/* ---- what lanes hear ---- */

static bool with_subscriber;
static char heard[64][64];
static _Atomic unsigned heard_count, subscribed;

static void on_message(void *arg, const char *channel, size_t channel_bytes, const char *payload,
                       size_t payload_bytes)
{
    (void)arg;
    unsigned i = atomic_load(&heard_count);
    if (i == 64 || !payload)
        return;
    snprintf(heard[i], sizeof heard[i], "%.*s=%.*s", (int)channel_bytes, channel,
             (int)payload_bytes, payload);
    atomic_store(&heard_count, i + 1);
}

static bool was_heard(const char *text)
{
    for (unsigned i = 0; i < atomic_load(&heard_count); i++)
        if (strcmp(heard[i], text) == 0)
            return true;
    return false;
}

static void on_up(void *arg, uint64_t generation)
{
    unsigned lane = (unsigned)(uintptr_t)arg;
    char name[32];
    const char *const channels[] = {name};
    struct nc_link *link;
    (void)generation;
    snprintf(name, sizeof name, "{nc:%u}channel", lane);
    while (!(link = atomic_load(&links[lane])))
        wait_a_little(0);
    if (nc_link_subscribe(link, channels, 1) != 0)
        nc_link_fail(link, "cannot subscribe");
    else
        atomic_fetch_add(&subscribed, 1);
}

static void on_lane(void *arg, unsigned lane)
{
    const struct nc_link_config config = {.settings = settings,
                                          .log = &to_test,
                                          .breaker_expiries = UINT64_MAX,
                                          .subscriber = with_subscriber,
                                          .on_up = with_subscriber ? on_up : NULL,
                                          .on_message = on_message,
                                          .arg = (void *)(uintptr_t)lane};
    struct nc_link *link;
    (void)arg;
    cr_assert_eq(nc_fleet_open_link(fleet, lane, &link, &config), 0);
    cr_assert_eq(nc_link_start(link), 0);
    atomic_store(&links[lane], link);
}

static void on_moved(void *arg, unsigned lane)
{
    (void)arg;
    atomic_fetch_add(&moved[lane], 1);
}

/* With partitions or without. */
static uint64_t guest_idle_ns;

static void open_client(unsigned partitions)
{
    struct nc_cluster_config config = {.log = &to_test,
                                       .partition_slots = partition_slots,
                                       .partitions = partitions,
                                       .on_lane = on_lane,
                                       .on_moved = on_moved,
                                       .guest_idle_ns = guest_idle_ns};
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
    cr_assert_eq(nc_fleet_open(&fleet, &config), 0);
    map = nc_fleet_cluster(fleet);
    for (unsigned p = 0; p < partitions; p++)
        on_lane(NULL, p);
    cr_assert_eq(nc_fleet_start(fleet), 0);
}

static void close_client(void)
{
    if (!map)
        return;
    nc_fleet_stop(fleet);
    for (unsigned lane = 0; lane < NC_CLUSTER_LANES_MOST; lane++)
        if (links[lane])
            nc_fleet_close_link(fleet, lane, links[lane], 0);
    nc_fleet_close(fleet);
    nc_redis_settings_destroy(settings);
    map = NULL;
}

static bool by_partitions; /* all load goes to partition 0 */

static struct nc_link *link_of(const char *key)
{
    if (by_partitions)
        return links[0];
    uint32_t lane = nc_cluster_lane(map, nc_slot_of(key, strlen(key)));
    return lane == NC_CLUSTER_NO_LANE ? NULL : atomic_load(&links[lane]);
}

static int finish(struct nc_link *link, struct nc_call *call, const char *key, uint64_t timeout_us)
{
    nc_call_in_slot(call, nc_slot_of(key, strlen(key)));
    int outcome = nc_link_call(link, call, NC_CALL_SINGLE, nc_clock_deadline_ns(timeout_us));
    nc_call_release(call);
    return outcome;
}

/* Asks the lane of the key: GET without a value, SET with one. */
static int ask_key(struct seen *seen, uint64_t timeout_us, const char *key, const char *value)
{
    struct nc_link *link = link_of(key);
    if (!link)
        return NEARCACHE_EOFFLINK;
    return finish(link,
                  value ? call_of(seen, "SET", key, value, NULL) : call_of(seen, "GET", key, NULL),
                  key, timeout_us);
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
    cr_expect(WAIT_UNTIL(was_logged("nobody listens there"), 20000), "%s", logged);
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

/* ---- messages ---- */

static bool hears(unsigned lane, const char *payload)
{
    char channel[32], expected[64];
    struct seen seen;
    snprintf(channel, sizeof channel, "{nc:%u}channel", lane);
    snprintf(expected, sizeof expected, "%s=%s", channel, payload);
    ask(links[lane], &seen, 1000000, "SPUBLISH", channel, payload, NULL);
    return was_heard(expected);
}

Test(cluster, partitions_hear_their_own_messages_wherever_their_slot_goes)
{
    with_subscriber = true;
    open_client(PARTITIONS);
    cr_assert(WAIT_UNTIL(is_up(PARTITIONS), 20000), "%s", logged);
    for (unsigned p = 0; p < PARTITIONS; p++)
        cr_expect(WAIT_UNTIL(hears(p, "hello"), 20000), "partition %u: %s", p, logged);
    int owner = redis_cluster_owner(&cluster, (int)partition_slots[0]), to = (owner + 1) % 3;
    unsigned before = atomic_load(&subscribed);
    cr_assert(redis_cluster_move_slot(&cluster, (int)partition_slots[0], owner, to));
    cr_expect(WAIT_UNTIL(atomic_load(&subscribed) > before, 20000), "%s", logged);
    cr_expect(WAIT_UNTIL(hears(0, "moved"), 20000), "%s", logged);
}

Test(cluster, each_lane_has_a_slot_for_keys_of_its_own)
{
    open_client(0);
    cr_assert(WAIT_UNTIL(is_up(3), 20000), "%s", logged);
    for (unsigned lane = 0; lane < 3; lane++) {
        char key[24];
        snprintf(key, sizeof key, "{%u}own", nc_slot_tag(nc_cluster_slot(map, lane)));
        cr_expect(lane_writes(lane, key), "%s", key);
    }
    cr_expect_eq(nc_cluster_slot(map, 7), NC_SLOTS);
}

/* ---- refusals ---- */

/* A lane that is not the slot's. */
static struct nc_link *wrong_link(uint32_t slot)
{
    return links[(nc_cluster_lane(map, slot) + 1) % 3];
}

Test(cluster, a_call_to_the_wrong_primary_finds_the_right_one)
{
    struct seen seen;
    open_client(0);
    cr_assert(WAIT_UNTIL(is_up(3), 20000), "%s", logged);
    struct nc_link *link = wrong_link(nc_slot_of("foo", 3));
    cr_assert_eq(finish(link, call_of(&seen, "SET", "foo", "1", NULL), "foo", 1000000), 0);
    cr_expect_str_eq(seen.text, "OK");
    struct nc_call *call = call_of(&seen, "GET", "foo", NULL);
    nc_call_in_slot(call, nc_slot_of("foo", 3));
    cr_assert_eq(nc_link_call(link, call, NC_CALL_BATCH, nc_clock_deadline_ns(1000000)), 0);
    cr_expect_str_eq(seen.text, "1");
    cr_expect(nc_call_was_moved(call));
    nc_call_release(call);
    cr_assert_eq(ask_key(&seen, 1000000, "foo", NULL), 0);
    cr_expect_str_eq(seen.text, "1");
    cr_assert_eq(ask(link, &seen, 1000000, "GET", "foo", NULL), 0);
    cr_expect(strncmp(seen.text, "MOVED", 5) == 0, "a call that names no slot: %s", seen.text);
    cr_expect_geq(atomic_load(&nc_link_stats(link)->redirects), 2u);
}

static _Atomic unsigned told;
static void on_done(void *arg, int status)
{
    (void)arg;
    atomic_fetch_add(&told, status == 0 ? 1 : 1000);
}

Test(cluster, a_redirected_call_that_nobody_waits_for_ends_too)
{
    struct seen seen;
    open_client(0);
    cr_assert(WAIT_UNTIL(is_up(3), 20000), "%s", logged);
    struct nc_link *link = wrong_link(nc_slot_of("foo", 3));
    for (int i = 0; i < 100; i++) {
        struct nc_call *call = call_of(NULL, "INCR", "foo", NULL);
        nc_call_in_slot(call, nc_slot_of("foo", 3));
        nc_call_expect(call, NULL, on_done, NULL);
        nc_link_submit(link, call, NC_CALL_SINGLE, nc_clock_deadline_ns(5000000));
        nc_call_release(call);
    }
    cr_expect(WAIT_UNTIL(atomic_load(&told) == 100, 20000), "%u", atomic_load(&told));
    cr_assert_eq(ask_key(&seen, 1000000, "foo", NULL), 0);
    cr_expect_str_eq(seen.text, "100", "each once");
}

Test(cluster, a_slot_on_its_way_is_asked_for_on_both_sides)
{
    struct seen seen;
    int slot = (int)nc_slot_of("foo", 3);
    open_client(0);
    cr_assert(WAIT_UNTIL(is_up(3), 20000), "%s", logged);
    cr_assert_eq(ask_key(&seen, 1000000, "{foo}here", "1"), 0);
    cr_assert(redis_cluster_begin_move(&cluster, slot, 2, 0));
    cr_assert_eq(ask_key(&seen, 1000000, "{foo}here", NULL), 0);
    cr_expect_str_eq(seen.text, "1");
    cr_assert_eq(ask_key(&seen, 1000000, "{foo}there", "2"), 0);
    cr_expect_str_eq(seen.text, "OK");
    cr_assert_eq(ask_key(&seen, 1000000, "{foo}there", NULL), 0);
    cr_expect_str_eq(seen.text, "2");
    /* Keys on both sides: the refusal is the answer, and inside the deadline. */
    struct nc_call *call = call_of(&seen, "MGET", "{foo}here", "{foo}there", NULL);
    uint64_t before_ns = nc_clock_io_ns();
    cr_assert_eq(finish(link_of("foo"), call, "foo", 300000), 0);
    cr_expect_eq(seen.type, NC_REPLY_ERROR);
    cr_expect(strncmp(seen.text, "TRYAGAIN", 8) == 0 || strncmp(seen.text, "ASK", 3) == 0, "%s",
              seen.text);
    cr_expect_lt(nc_clock_io_ns() - before_ns, 300 * NC_NS_PER_MS);
    /* A transaction is asked for as a whole. */
    call = nc_call_create();
    seen_init(&seen);
    nc_call_expect(call, &seen.sink, NULL, NULL);
    static const char *const words[] = {"MULTI", "GET {foo}there", "EXEC"};
    for (int i = 0; i < 3; i++) {
        const char *blank = strchr(words[i], ' ');
        nc_command_begin(nc_call_command(call), blank ? 2 : 1);
        nc_command_arg(nc_call_command(call), words[i],
                       blank ? (size_t)(blank - words[i]) : strlen(words[i]));
        if (blank)
            nc_command_arg(nc_call_command(call), blank + 1, strlen(blank + 1));
    }
    cr_assert_eq(finish(link_of("foo"), call, "foo", 1000000), 0);
    /* OK of the first MULTI; OK, QUEUED and [2] of the second. */
    cr_expect_eq(seen.parts, 5, "%u", seen.parts);
    cr_assert_geq(redis_cluster_move_keys(&cluster, slot, 2, 0, 100), 1);
    cr_assert(redis_cluster_end_move(&cluster, slot, 2, 0));
    cr_assert_eq(ask_key(&seen, 1000000, "{foo}here", NULL), 0);
    cr_expect_str_eq(seen.text, "1");
    cr_expect(WAIT_UNTIL(nc_cluster_lane(map, (uint32_t)slot) == nc_cluster_lane(map, 0), 5000));
    cr_expect_geq(atomic_load(&moved[0]) + atomic_load(&moved[1]) + atomic_load(&moved[2]), 2u);
}

static struct nc_primary at_port(unsigned port)
{
    struct nc_primary server = {.port = (uint16_t)port};
    cr_assert(nc_primary_put_host(&server, "127.0.0.1", 9));
    return server;
}

/* Refusals that name dead addresses cannot take all places for good. */
Test(cluster, guests_that_nobody_uses_make_room_for_others)
{
    struct nc_primary other = at_port(cluster.node[4].port);
    unsigned place;
    cr_assert(redis_cluster_part(&cluster, 4));
    guest_idle_ns = 200 * NC_NS_PER_MS;
    open_client(0);
    cr_assert(WAIT_UNTIL(is_up(3), 10000), "%s", logged);
    for (unsigned port = 1; port <= 8; port++) {
        struct nc_primary dead = at_port(port);
        nc_cluster_invite(map, &dead);
    }
    nc_cluster_invite(map, &other);
    cr_assert_null(nc_cluster_use_at(map, &other, 0, &place));
    cr_assert(WAIT_UNTIL(
        (nc_cluster_invite(map, &other), nc_cluster_use_at(map, &other, 0, &place) != NULL),
        20000));
    nc_cluster_end_use(map, place);
    close_client();
}

Test(cluster, a_node_that_gets_its_first_slot_is_asked_too)
{
    struct seen seen;
    int slot = (int)nc_slot_of("foo", 3);
    /* The replica becomes a primary without slots. */
    cr_assert(redis_cluster_part(&cluster, 5));
    open_client(0);
    cr_assert(WAIT_UNTIL(is_up(3), 20000), "%s", logged);
    cr_assert(redis_cluster_begin_move(&cluster, slot, 2, 5));
    cr_assert_eq(ask_key(&seen, 5000000, "{foo}new", "1"), 0);
    cr_expect_str_eq(seen.text, "OK");
    cr_assert(redis_cluster_end_move(&cluster, slot, 2, 5));
    cr_expect(WAIT_UNTIL(is_up(4), 20000), "%s", logged);
    cr_assert_eq(ask_key(&seen, 5000000, "{foo}new", NULL), 0);
    cr_expect_str_eq(seen.text, "1");
}

/* ---- under load ---- */

enum { LOADERS = 4, KEYS = 64 };

static struct {
    pthread_t thread;
    unsigned which;
    unsigned long calls, errors, late;
    char first_error[160];
    unsigned acknowledged[KEYS]; /* the newest value that was */
} loaders[LOADERS];
static _Atomic bool stop_load;
static const char *load_tag; /* NULL: keys all over */

static void load_key(char key[64], unsigned which, unsigned i)
{
    if (load_tag)
        snprintf(key, 64, "{%s}%u-%u", load_tag, which, i);
    else
        snprintf(key, 64, "key%u-%u", which, i);
}

static void count_error(unsigned which, const char *what, int outcome, const struct seen *seen)
{
    if (loaders[which].errors++ == 0)
        snprintf(loaders[which].first_error, sizeof loaders[which].first_error, "%s: %d %.100s",
                 what, outcome, seen->text);
}

/* Each key is written by one thread, so what it reads back is what it wrote. */
static void *load(void *arg)
{
    unsigned which = *(unsigned *)arg, value[KEYS] = {0};
    for (unsigned n = 0; !atomic_load(&stop_load); n++) {
        char key[64], text[16];
        struct seen seen;
        unsigned i = n % KEYS;
        uint64_t began_ns = nc_clock_io_ns();
        load_key(key, which, i);
        snprintf(text, sizeof text, "%u", ++value[i]);
        int outcome = ask_key(&seen, 1000000, key, text);
        if (outcome == 0 && seen.type == NC_REPLY_STATUS)
            loaders[which].acknowledged[i] = value[i];
        else
            count_error(which, "SET", outcome, &seen);
        uint64_t read_ns = nc_clock_io_ns();
        outcome = ask_key(&seen, 1000000, key, NULL);
        if (outcome != 0 || seen.type != NC_REPLY_BULK ||
            strtoul(seen.text, NULL, 10) < loaders[which].acknowledged[i])
            count_error(which, "GET", outcome, &seen);
        /* Each call has a second; what a loaded machine adds is not ours. */
        loaders[which].late += read_ns - began_ns > 1500 * NC_NS_PER_MS ||
                               nc_clock_io_ns() - read_ns > 1500 * NC_NS_PER_MS;
        loaders[which].calls += 2;
    }
    return NULL;
}

static void start_load(void)
{
    for (unsigned i = 0; i < LOADERS; i++) {
        loaders[i].which = i;
        cr_assert_eq(pthread_create(&loaders[i].thread, NULL, load, &loaders[i].which), 0);
    }
}

static void end_load(unsigned long *errors)
{
    *errors = 0;
    atomic_store(&stop_load, true);
    for (unsigned i = 0; i < LOADERS; i++) {
        pthread_join(loaders[i].thread, NULL);
        cr_expect_gt(loaders[i].calls, 0);
        cr_expect_eq(loaders[i].late, 0, "calls past their deadline");
        *errors += loaders[i].errors;
    }
}

static void move_under_load(void)
{
    unsigned long errors;
    int slot = (int)nc_slot_of(load_tag, strlen(load_tag)), from, to;
    start_load();
    for (int round = 0; round < 6; round++) {
        from = redis_cluster_owner(&cluster, slot);
        to = (from + 1) % 3;
        cr_assert(redis_cluster_begin_move(&cluster, slot, from, to));
        while (redis_cluster_move_keys(&cluster, slot, from, to, 5) > 0)
            poll(NULL, 0, 5);
        cr_assert(redis_cluster_end_move(&cluster, slot, from, to));
        cr_expect(WAIT_UNTIL(redis_cluster_owner(&cluster, slot) == to, 10000));
    }
    end_load(&errors);
    for (unsigned i = 0; i < LOADERS; i++)
        cr_expect_eq(loaders[i].errors, 0, "%lu of %lu calls: %s\n%s", loaders[i].errors,
                     loaders[i].calls, loaders[i].first_error, logged);
}

Test(cluster, a_slot_that_moves_under_load_costs_no_call)
{
    load_tag = "moving";
    open_client(0);
    cr_assert(WAIT_UNTIL(is_up(3), 20000), "%s", logged);
    move_under_load();
}

Test(cluster, a_partition_that_moves_under_load_costs_no_call)
{
    load_tag = "nc:0";
    by_partitions = true;
    open_client(PARTITIONS);
    cr_assert(WAIT_UNTIL(is_up(PARTITIONS), 20000), "%s", logged);
    move_under_load();
}

Test(cluster, a_failover_under_load_loses_nothing_that_the_replica_has)
{
    unsigned long errors;
    open_client(0);
    cr_assert(WAIT_UNTIL(is_up(3), 20000), "%s", logged);
    start_load();
    cr_assert(redis_cluster_promote(&cluster, 4));
    cr_assert(WAIT_UNTIL(is_up(3), 20000), "%s", logged);
    end_load(&errors);
    /* An ordered failover hands over all that was acknowledged. */
    for (unsigned which = 0; which < LOADERS; which++)
        for (unsigned i = 0; i < KEYS; i++) {
            char key[64];
            struct seen seen;
            load_key(key, which, i);
            if (loaders[which].acknowledged[i] == 0)
                continue;
            /* The links were seen up; one of them may be on its way to the new primary by now. */
            cr_assert(WAIT_UNTIL(ask_key(&seen, 5000000, key, NULL) == 0, 20000), "%s\n%s", key,
                      logged);
            cr_expect_geq(strtoul(seen.text, NULL, 10), loaders[which].acknowledged[i],
                          "%s: %d %s, first error of %lu: %s\n%s", key, seen.type, seen.text,
                          loaders[which].errors, loaders[which].first_error, logged);
        }
}

Test(cluster, when_a_primary_dies_under_load_every_call_still_ends_in_time)
{
    unsigned long errors;
    struct seen seen;
    open_client(0);
    cr_assert(WAIT_UNTIL(is_up(3), 20000), "%s", logged);
    start_load();
    cr_assert_geq(redis_cluster_kill(&cluster, 1), 0);
    cr_assert(WAIT_UNTIL(is_up(3), 20000), "%s", logged);
    for (uint32_t slot = 0; slot < NC_SLOTS; slot += 1024)
        cr_expect(WAIT_UNTIL(ask_key(&seen, 1000000, key_in(slot), "1") == 0 &&
                                 seen.type == NC_REPLY_STATUS,
                             20000),
                  "slot %u", slot);
    end_load(&errors);
    cr_expect_gt(errors, 0, "the dead primary's calls");
}
