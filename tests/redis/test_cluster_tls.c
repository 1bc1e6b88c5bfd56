/* Caches over a cluster that speaks TLS alone and lets nobody in without a user and a password. */
#include "redis/coherence.h"

#include "lib/authority.h"
#include "lib/child.h"
#include "lib/logged.h"
#include "lib/redis_cluster.h"

#include <pthread.h>

REDIS_SERVER_REQUIRED;

#define USER "fleet"
#define PASSWORD "hunter2"

enum { KEYS = 120, PARTITIONS = 5 };

static struct authority ours;
static struct redis_cluster cluster;
static struct nearcache_redis redis = NEARCACHE_REDIS_INIT;

/* One writes, the other reads from Redis and hears of it. */
static struct client {
    struct nearcache *cache;
    struct nearcache_tier *tier;
} mine, other;
/* ---- begin, end ---- */

/* The default user is off: who does not log in may do nothing. */
static void start_cluster(void)
{
    static char cert[128], key[128];
    cr_assert(authority_create(&ours));
    cr_assert(authority_sign(&ours, "node", "IP:127.0.0.1", 2));
    authority_path(&ours, "node.pem", cert);
    authority_path(&ours, "node.key", key);
    const char *const extra[] = {"--tls-cert-file",
                                 cert,
                                 "--tls-key-file",
                                 key,
                                 "--tls-ca-cert-file",
                                 ours.ca_file,
                                 "--tls-auth-clients",
                                 "no",
                                 "--tls-cluster",
                                 "yes",
                                 "--tls-replication",
                                 "yes",
                                 "--user",
                                 USER,
                                 "on",
                                 ">" PASSWORD,
                                 "~*",
                                 "&*",
                                 "+@all",
                                 "--user",
                                 "default",
                                 "off",
                                 "--masteruser",
                                 USER,
                                 "--masterauth",
                                 PASSWORD,
                                 NULL};
    cr_assert(redis_cluster_start(&cluster, extra));
}

static void setup(void)
{
    if (!child_find("openssl"))
        cr_skip_test("the openssl command is missing; on Debian: apt-get install openssl");
    start_cluster();
    redis.cluster = 1;
    redis.cluster_nodes = cluster.list;
    redis.connections = 1;
    redis.tls = 1;
    redis.tls_ca_file = ours.ca_file;
    redis.username = USER;
    redis.password = PASSWORD;
}

static void teardown(void)
{
    nearcache_close(mine.cache, 0);
    nearcache_close(other.cache, 0);
    redis_cluster_stop(&cluster);
    authority_destroy(&ours);
    cr_expect_not(was_logged(PASSWORD));
}

TestSuite(cluster_tls, .init = setup, .fini = teardown, .timeout = 240);

static void open_cache(struct client *client)
{
    struct nearcache_config config = coherence_config();
    config.redis = &redis;
    config.log = on_log;
    config.log_level = NEARCACHE_LOG_INFO;
    cr_assert_eq(nearcache_open(&client->cache, &config), 0);
}

/* Keys in partitions, with versions and messages; else plain ones, which every primary tracks. */
static void open_client(struct client *client, uint32_t partitions)
{
    struct nearcache_tier_config config = coherence_tier_config();
    redis.cluster_partitions = partitions;
    open_cache(client);
    config.coherence = partitions ? NEARCACHE_COHERENCE_PUBSUB : NEARCACHE_COHERENCE_TRACKING;
    cr_assert_eq(nearcache_tier_open(client->cache, &config, &client->tier), 0);
    cr_assert_eq(nearcache_wait(client->cache, 30000000), 0, "%s", logged);
}

static void open_clients(uint32_t partitions)
{
    open_client(&mine, partitions);
    open_client(&other, partitions);
}

static uint64_t epochs_of(const struct client *client)
{
    struct nearcache_metrics metrics = NEARCACHE_METRICS_INIT;
    cr_assert_eq(nearcache_metrics(client->cache, &metrics), 0);
    return metrics.epochs;
}

/* A link that has not heard of the change yet is live, but not for long. `mine_had`, `other_had`:
 * epochs before it. */
static void wait_for_both(uint64_t mine_had, uint64_t other_had)
{
    cr_assert(WAIT_UNTIL(epochs_of(&mine) > mine_had, 60000), "%s", logged);
    cr_assert(WAIT_UNTIL(epochs_of(&other) > other_had, 60000), "%s", logged);
    cr_assert_eq(nearcache_wait(mine.cache, 60000000), 0, "%s", logged);
    cr_assert_eq(nearcache_wait(other.cache, 60000000), 0, "%s", logged);
}

/* ---- keys of all lanes ---- */

static char names[KEYS][32], values[KEYS][32];

static void name_values(int round)
{
    for (int i = 0; i < KEYS; i++) {
        snprintf(names[i], sizeof names[i], "key-%d", i);
        snprintf(values[i], sizeof values[i], "value-%d-%d", i, round);
    }
}

static void write_batch(int round)
{
    struct nearcache_item items[KEYS];
    int statuses[KEYS];
    name_values(round);
    for (int i = 0; i < KEYS; i++)
        items[i] = (struct nearcache_item){.name = {names[i], strlen(names[i])},
                                           .value = values[i],
                                           .value_bytes = strlen(values[i])};
    cr_assert_eq(nearcache_set_many(mine.tier, items, KEYS, NULL, statuses), 0, "%s", logged);
}

static void write_singly(int round)
{
    name_values(round);
    for (int i = 0; i < KEYS; i++)
        cr_assert_eq(coherence_set(mine.tier, names[i], values[i]), 0, "%s: %s", names[i], logged);
}

/* What is told of a plain key has no number to wait for (nearcache_sync): it is read again. */
static bool batch_is_right(void)
{
    struct nearcache_name keys[KEYS];
    struct nearcache_result results[KEYS];
    int statuses[KEYS], right = 0;
    for (int i = 0; i < KEYS; i++)
        keys[i] = (struct nearcache_name){names[i], strlen(names[i])};
    cr_expect_eq(nearcache_get_many(other.tier, keys, KEYS, NULL, results, statuses), 0);
    for (int i = 0; i < KEYS; i++)
        right += statuses[i] == 0 && results[i].bytes == strlen(values[i]) &&
                 memcmp(results[i].data, values[i], results[i].bytes) == 0;
    nearcache_release_many(results, KEYS);
    return right == KEYS;
}

static bool is_right(int i)
{
    struct nearcache_result result;
    bool right = nearcache_get(other.tier, names[i], strlen(names[i]), NULL, &result) == 0 &&
                 result.bytes == strlen(values[i]) &&
                 memcmp(result.data, values[i], result.bytes) == 0;
    nearcache_release(&result);
    return right;
}

static void write_and_read(int round)
{
    write_batch(round);
    cr_expect(WAIT_UNTIL(batch_is_right(), 10000), "%s", logged);
    write_singly(round + 1);
    for (int i = 0; i < KEYS; i++)
        cr_expect(WAIT_UNTIL(is_right(i), 10000), "%s: %s", names[i], logged);
}

static unsigned long keys_at(int node)
{
    char *answer = redis_server_ask(&cluster.node[node], "DBSIZE");
    unsigned long keys = strtoul(answer, NULL, 10);
    free(answer);
    return keys;
}

static void use_every_lane(uint32_t partitions)
{
    open_clients(partitions);
    write_and_read(1);
    for (int node = 0; node < REDIS_CLUSTER_PRIMARIES; node++)
        cr_expect_gt(keys_at(node), 0u, "node %d", node);
}

Test(cluster_tls, every_partition_is_written_and_read) { use_every_lane(PARTITIONS); }

Test(cluster_tls, plain_keys_of_every_primary_are_written_and_read) { use_every_lane(0); }

/* ---- while the cluster changes ---- */

static void fail_over(uint32_t partitions)
{
    open_clients(partitions);
    write_and_read(1);
    uint64_t mine_had = epochs_of(&mine), other_had = epochs_of(&other);
    cr_assert_geq(redis_cluster_kill(&cluster, 1), 0);
    wait_for_both(mine_had, other_had);
    write_and_read(3);
}

Test(cluster_tls, partitions_follow_their_primary_to_the_replica) { fail_over(PARTITIONS); }

Test(cluster_tls, plain_keys_follow_their_primary_to_the_replica) { fail_over(0); }

static int slot_of(const char *key)
{
    char *answer = redis_server_ask(&cluster.node[0], "CLUSTER KEYSLOT %s", key);
    int slot = atoi(answer);
    free(answer);
    return slot;
}

/* Whether any node has answered so. */
static bool was_answered(const char *error)
{
    bool answered = false;
    for (int i = 0; i < REDIS_CLUSTER_NODES; i++) {
        char *stats = redis_server_ask(&cluster.node[i], "INFO errorstats");
        answered = answered || strstr(stats, error) != NULL;
        free(stats);
    }
    return answered;
}

/* The map may be learned before the next call is made: then nobody is sent on, and it moves again.
 */
static void expect_sent_on(void)
{
    int slot = slot_of("thing:key-0"), rounds = 0;
    open_clients(0);
    name_values(1);
    while (!was_answered("errorstat_MOVED") && ++rounds <= 20) {
        int from = redis_cluster_owner(&cluster, slot);
        cr_assert_eq(coherence_set(mine.tier, names[0], values[0]), 0, "%s", logged);
        cr_assert(redis_cluster_move_slot(&cluster, slot, from, (from + 1) % 3));
        name_values(1 + rounds);
        cr_assert_eq(coherence_set(mine.tier, names[0], values[0]), 0, "%s", logged);
        cr_assert(WAIT_UNTIL(redis_cluster_owner(&cluster, slot) == (from + 1) % 3, 20000));
    }
    cr_expect_leq(rounds, 20, "nobody was sent on");
    cr_expect(WAIT_UNTIL(is_right(0), 10000), "%s", logged);
}

Test(cluster_tls, a_call_is_sent_on_to_where_its_slot_went) { expect_sent_on(); }

/* MOVED names a port alone: the host is that of who says so. */
Test(cluster_tls, a_call_is_sent_on_by_nodes_that_name_no_host)
{
    for (int i = 0; i < REDIS_CLUSTER_NODES; i++)
        free(redis_server_ask(&cluster.node[i], "CONFIG SET cluster-preferred-endpoint-type "
                                                "unknown-endpoint"));
    expect_sent_on();
}

Test(cluster_tls, a_partition_moves_to_another_primary)
{
    int slot = slot_of("{nc:0}"), from = redis_cluster_owner(&cluster, slot);
    open_clients(PARTITIONS);
    write_and_read(1);
    uint64_t mine_had = epochs_of(&mine), other_had = epochs_of(&other);
    cr_assert(redis_cluster_move_slot(&cluster, slot, from, (from + 1) % 3));
    cr_assert(WAIT_UNTIL(redis_cluster_owner(&cluster, slot) == (from + 1) % 3, 20000));
    wait_for_both(mine_had, other_had);
    write_and_read(3);
}

/* It has no lane until it owns a slot: the call goes over a link that is made for it (ASK). */
Test(cluster_tls, a_node_that_gets_its_first_slot_is_asked_too)
{
    int slot = slot_of("{foo}"), from = redis_cluster_owner(&cluster, slot);
    cr_assert(redis_cluster_part(&cluster, 5));
    open_client(&mine, 0);
    cr_assert(redis_cluster_begin_move(&cluster, slot, from, 5));
    cr_expect_eq(coherence_set(mine.tier, "{foo}new", "1"), 0, "%s", logged);
    cr_expect(was_answered("errorstat_ASK"));
    cr_assert_geq(redis_cluster_move_keys(&cluster, slot, from, 5, 100), 0);
    cr_assert(redis_cluster_end_move(&cluster, slot, from, 5));
    cr_expect_eq(keys_at(5), 1u);
    open_client(&other, 0);
    cr_expect_eq(coherence_get(other.tier, "{foo}new", "1", NULL), 0, "%s", logged);
}

/* ---- refused ---- */

/* With partitions their links tell, without there are none yet. */
static void expect_no_entry(int outcome, const char *why)
{
    for (uint32_t partitions = 0; partitions <= PARTITIONS; partitions += PARTITIONS) {
        redis.cluster_partitions = partitions;
        open_cache(&mine);
        cr_expect(WAIT_UNTIL(was_logged(why), 20000), "not \"%s\" but: %s", why, logged);
        cr_expect_eq(nearcache_wait(mine.cache, 1000000), outcome, "%u partitions", partitions);
        nearcache_close(mine.cache, 0);
        mine.cache = NULL;
    }
}

Test(cluster_tls, another_password_is_refused)
{
    redis.password = "hunter3";
    expect_no_entry(NEARCACHE_EAUTH, "all nodes refuse the credentials");
    cr_expect_not(was_logged("hunter3"));
}

Test(cluster_tls, another_user_is_refused)
{
    redis.username = "default";
    expect_no_entry(NEARCACHE_EAUTH, "all nodes refuse the credentials");
}

Test(cluster_tls, nobody_comes_in_without_a_user)
{
    redis.username = redis.password = NULL;
    expect_no_entry(NEARCACHE_EAUTH, "all nodes refuse the credentials");
}

Test(cluster_tls, another_authority_is_refused)
{
    struct authority theirs;
    cr_assert(authority_create(&theirs));
    redis.tls_ca_file = theirs.ca_file;
    expect_no_entry(NEARCACHE_ETIMEOUT, "certificate in certificate chain");
    authority_destroy(&theirs);
}

Test(cluster_tls, a_name_that_the_certificate_does_not_have_is_refused)
{
    redis.tls_server_name = "redis.example";
    expect_no_entry(NEARCACHE_ETIMEOUT, "hostname mismatch");
}
