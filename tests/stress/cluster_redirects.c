/*
 * cluster_redirects THREADS SECONDS [SEED]: threads send calls to whichever primary of a real
 * cluster, mostly to wrong ones, and wait, time out, abandon or leave them, while a slot moves to
 * and fro and links are torn down. Each call must end exactly once, no part may come after a call
 * was abandoned, and what is answered must be the value. Meant for ThreadSanitizer.
 */
#include "base/clock.h"
#include "base/hash.h"
#include "lib/link_fixture.h"
#include "lib/redis_cluster.h"
#include "lib/wait_until.h"
#include "redis/fleet.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LANES = 3, KEYS = 32 };

static struct redis_cluster nodes;
static struct nc_redis_settings *settings;
static struct nc_fleet *fleet;
static struct nc_cluster *cluster;
static struct nc_link *_Atomic links[NC_CLUSTER_LANES_MOST];
static const struct nc_log silent;
static _Atomic bool stop;
static _Atomic uint64_t begun, ended, answered, refused, timeouts, wrong;

struct thread {
    pthread_t id;
    uint64_t random;
};

/* Freed when both its caller and the call are done with it. */
struct request {
    struct nc_sink sink;
    _Atomic int holders;
    _Atomic bool gone;
    bool good, error;
};

static void complain(const char *what)
{
    fprintf(stderr, "%s\n", what);
    atomic_fetch_add(&wrong, 1);
}

static void let_go(struct request *r)
{
    if (atomic_fetch_sub(&r->holders, 1) == 1)
        free(r);
}

static int on_part(struct nc_sink *sink, const struct nc_reply_part *part)
{
    struct request *r = (struct request *)sink;
    if (atomic_load(&r->gone))
        complain("a part after the call was abandoned");
    r->good = part->type == NC_REPLY_BULK && part->bytes == 5 && memcmp(part->str, "value", 5) == 0;
    r->error = part->type == NC_REPLY_ERROR;
    return 0;
}

static void on_done(void *arg, int status)
{
    (void)status;
    atomic_fetch_add(&ended, 1);
    let_go(arg);
}

static void count(const struct request *r, int outcome)
{
    if (outcome == NEARCACHE_EOFFLINK || (outcome == 0 && r->error))
        atomic_fetch_add(&refused, 1);
    else if (outcome == 0 && r->good)
        atomic_fetch_add(&answered, 1);
    else
        complain("neither the value nor a refusal");
}

/* Keys all over, and as many in the slot that moves. */
static void name_key(char key[32], unsigned which)
{
    snprintf(key, 32, which < KEYS ? "key%u" : "{moving}%u", which);
}

static void call_once(uint64_t *random)
{
    char key[32];
    uint64_t dice = nc_hash_step(random);
    struct request *r = calloc(1, sizeof *r);
    struct nc_link *link = atomic_load(&links[dice % LANES]);
    name_key(key, (unsigned)(dice >> 8) % (2 * KEYS));
    struct nc_call *call = call_of(NULL, "GET", key, NULL);
    r->sink.part = on_part;
    atomic_init(&r->holders, 2);
    nc_call_in_slot(call, nc_slot_of(key, strlen(key)));
    nc_call_expect(call, &r->sink, on_done, r);
    atomic_fetch_add(&begun, 1);
    static const uint64_t within_us[] = {50, 300, 2000, 500000};
    uint64_t deadline_ns = nc_clock_deadline_ns(within_us[(dice >> 20) % 4]);
    nc_link_submit(link, call, (dice >> 24) % 8 ? NC_CALL_SINGLE : NC_CALL_BATCH, deadline_ns);
    if ((dice >> 28) % 8 != 0) {
        int outcome = nc_link_wait(link, call, deadline_ns);
        if (outcome == NEARCACHE_ETIMEOUT) {
            nc_call_abandon(call);
            atomic_store(&r->gone, true);
            atomic_fetch_add(&timeouts, 1);
        } else {
            count(r, outcome);
        }
    }
    nc_call_release(call);
    let_go(r);
}

static void *run(void *arg)
{
    struct thread *thread = arg;
    while (!atomic_load(&stop))
        call_once(&thread->random);
    return NULL;
}

static void on_lane(void *arg, unsigned lane)
{
    const struct nc_link_config config = {
        .settings = settings, .log = &silent, .breaker_expiries = UINT64_MAX};
    struct nc_link *link;
    (void)arg;
    if (nc_fleet_open_link(fleet, lane, &link, &config) != 0 || nc_link_start(link) != 0)
        abort();
    atomic_store(&links[lane], link);
}

static void open_client(void)
{
    struct nearcache_redis redis = NEARCACHE_REDIS_INIT;
    struct nc_cluster_config config = {.log = &silent, .on_lane = on_lane};
    redis.cluster = 1;
    redis.cluster_nodes = nodes.list;
    redis.connections = 3;
    if (nc_redis_settings_create(&settings, &redis, &silent) != 0)
        abort();
    config.settings = settings;
    if (nc_fleet_open(&fleet, &config) != 0)
        abort();
    cluster = nc_fleet_cluster(fleet);
    if (nc_fleet_start(fleet) != 0)
        abort();
    if (!WAIT_UNTIL(nc_cluster_lanes(cluster) == LANES && atomic_load(&links[LANES - 1]), 20000))
        abort();
}

static void fill(void)
{
    for (unsigned i = 0; i < 2 * KEYS; i++) {
        char key[32];
        struct seen seen = {.bytes = 0};
        name_key(key, i);
        uint64_t until_ns = nc_clock_io_ns() + 20 * NC_NS_PER_S;
        while (strcmp(seen.text, "OK") != 0 && nc_clock_io_ns() < until_ns) {
            struct nc_call *call = call_of(&seen, "SET", key, "value", NULL);
            nc_call_in_slot(call, nc_slot_of(key, strlen(key)));
            nc_link_call(links[0], call, NC_CALL_SINGLE, nc_clock_deadline_ns(1000000));
            nc_call_release(call);
        }
        if (strcmp(seen.text, "OK") != 0)
            complain("SET failed");
    }
}

static void move_slot_about(unsigned seconds)
{
    int slot = (int)nc_slot_of("moving", 6);
    uint64_t until_ns = nc_clock_io_ns() + seconds * NC_NS_PER_S;
    for (unsigned i = 0; nc_clock_io_ns() < until_ns; i++) {
        int from = redis_cluster_owner(&nodes, slot);
        if (from < 0 || !redis_cluster_move_slot(&nodes, slot, from, (from + 1) % LANES))
            complain("the slot does not move");
        WAIT_UNTIL(redis_cluster_owner(&nodes, slot) == (from + 1) % LANES, 5000);
        poll(NULL, 0, 50);
        if (i % 4 == 3)
            nc_link_fail(atomic_load(&links[i / 4 % LANES]), "the test wants it");
    }
}

static void close_client(void)
{
    nc_fleet_stop(fleet);
    for (unsigned lane = 0; lane < LANES; lane++)
        nc_fleet_close_link(fleet, lane, links[lane], 0);
    nc_fleet_close(fleet);
    nc_redis_settings_destroy(settings);
}

int main(int argc, char **argv)
{
    unsigned threads = argc > 1 ? (unsigned)atoi(argv[1]) : 8;
    unsigned seconds = argc > 2 ? (unsigned)atoi(argv[2]) : 5;
    uint64_t random = argc > 3 ? strtoull(argv[3], NULL, 10) : nc_hash_random();
    printf("seed %llu\n", (unsigned long long)random);
    if (!redis_server_available())
        return 77;
    if (!redis_cluster_start(&nodes, NULL))
        return 1;
    open_client();
    fill();
    struct thread *list = calloc(threads, sizeof *list);
    for (unsigned i = 0; i < threads; i++) {
        list[i].random = nc_hash_step(&random);
        pthread_create(&list[i].id, NULL, run, &list[i]);
    }
    move_slot_about(seconds);
    atomic_store(&stop, true);
    for (unsigned i = 0; i < threads; i++)
        pthread_join(list[i].id, NULL);
    /* What is under way now ends when the links do, at the latest. */
    close_client();
    if (atomic_load(&ended) != atomic_load(&begun))
        complain("calls never ended");
    if (atomic_load(&answered) == 0)
        complain("nothing was answered");
    redis_cluster_stop(&nodes);
    free(list);
    printf("calls %llu answered %llu timeouts %llu refused %llu wrong %llu\n",
           (unsigned long long)begun, (unsigned long long)answered, (unsigned long long)timeouts,
           (unsigned long long)refused, (unsigned long long)wrong);
    return wrong ? 1 : 0;
}
