/*
 * async_loop SECONDS [SEED]: a loop thread with gets, batches, writes and cancels under way,
 * another thread that asks too, and synchronous callers of the same keys, while the link is torn
 * down now and then. Of some keys there is an old copy that may stand in soon, and callbacks of
 * removals ask again. Each call must end once or be cancelled, and what is read must be what was
 * written. Meant for ThreadSanitizer.
 */
#include "nearcache/async.h"

#include "base/clock.h"
#include "base/hash.h"
#include "lib/redis_server.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEYS 200u
#define CALLERS 2
#define BATCH 12u
#define UNDER_WAY 64u
#define PATIENT_US 5000000u

static struct redis_server server;
static struct nearcache *cache;
static struct nearcache_tier *tier;
static _Atomic bool stop;
static _Atomic uint64_t wrong, ended, cancelled, failed, read_here;
static _Atomic uint32_t under_way;

static void complain(const char *what)
{
    fprintf(stderr, "%s\n", what);
    atomic_fetch_add(&wrong, 1);
}

/* One asynchronous call. */
struct request {
    _Atomic uint32_t ends;
    uint32_t key;
    uint32_t keys[BATCH]; /* of a batch, with what they point to and what comes */
    struct nearcache_name names[BATCH];
    struct nearcache_result results[BATCH];
    int statuses[BATCH];
};

/* A value begins with its key. */
static void check(uint32_t key, int status, const struct nearcache_result *result)
{
    uint32_t is;
    if (status == 0 && (result->bytes != 8 || (memcpy(&is, result->data, 4), is != key)))
        complain("a value of another key");
    if (status < 0 && status != NEARCACHE_ETIMEOUT && status != NEARCACHE_EOFFLINK)
        complain(nearcache_strerror(status));
    if (status < 0)
        atomic_fetch_add(&failed, 1);
}

static void end(struct request *request)
{
    if (atomic_fetch_add(&request->ends, 1) != 0)
        complain("a call ended twice");
    atomic_fetch_add(&ended, 1);
    atomic_fetch_sub(&under_way, 1);
    free(request);
}

static void on_get(void *arg, int status, struct nearcache_result *result)
{
    struct request *request = arg;
    check(request->key, status, result);
    if (status == 0)
        nearcache_release(result);
    end(request);
}

static void on_write(void *arg, int status)
{
    if (status < 0 && status != NEARCACHE_ETIMEOUT && status != NEARCACHE_EOFFLINK)
        complain(nearcache_strerror(status));
    end(arg);
}

static void check_batch(struct request *request)
{
    for (unsigned i = 0; i < BATCH; i++)
        check(request->keys[i], request->statuses[i], &request->results[i]);
    nearcache_release_many(request->results, BATCH);
}

static void on_many(void *arg, int status)
{
    (void)status;
    check_batch(arg);
    end(arg);
}

static int ask_batch(uint64_t *random, const struct nearcache_read *how, struct request *request,
                     nearcache_ticket *ticket)
{
    for (unsigned i = 0; i < BATCH; i++) {
        request->keys[i] = (uint32_t)(nc_hash_step(random) % KEYS);
        request->names[i] = (struct nearcache_name){&request->keys[i], 4};
    }
    int outcome = nearcache_get_many_async(tier, request->names, BATCH, how, request->results,
                                           request->statuses, on_many, request, ticket);
    if (outcome != NEARCACHE_PENDING)
        check_batch(request);
    return outcome;
}

static void ask(uint64_t *random, nearcache_ticket *ticket, struct request **request)
{
    struct nearcache_result result = {0};
    struct nearcache_read read = NEARCACHE_READ_INIT;
    uint32_t value[2] = {(uint32_t)(nc_hash_step(random) % KEYS), 7};
    uint64_t dice = nc_hash_step(random) % 100;
    int outcome;
    *ticket = 0;
    *request = calloc(1, sizeof **request);
    (*request)->key = value[0];
    atomic_fetch_add(&under_way, 1);
    read.timeout_us = dice < 20 ? 200 : PATIENT_US;
    read.soft_timeout_us = dice % 4 == 0 ? 100 : 0;
    read.refresh = dice < 60;
    if (dice % 8 == 0)
        nearcache_expire(tier, value, 4);
    if (dice >= 50 && dice < 70)
        outcome = ask_batch(random, &read, *request, ticket);
    else if (dice < 90)
        outcome = nearcache_get_async(tier, value, 4, &read, on_get, *request, &result, ticket);
    else if (dice < 98)
        outcome = nearcache_set_async(tier, value, 4, value, 8, NULL, on_write, *request, ticket);
    else
        outcome = nearcache_delete_async(tier, value, 4, NULL, on_write, *request, ticket);
    if (outcome == NEARCACHE_PENDING)
        return;
    if (result.data)
        check(value[0], outcome, &result);
    nearcache_release(&result);
    atomic_fetch_add(&read_here, 1);
    atomic_fetch_sub(&under_way, 1);
    free(*request);
    *request = NULL;
}

static void *loop(void *arg)
{
    uint64_t random = (uintptr_t)arg;
    struct pollfd readable = {nearcache_fd(cache), POLLIN, 0};
    while (!atomic_load(&stop) || atomic_load(&under_way) > 0) {
        while (!atomic_load(&stop) && atomic_load(&under_way) < UNDER_WAY) {
            nearcache_ticket ticket;
            struct request *request;
            ask(&random, &ticket, &request);
            if (request && nc_hash_step(&random) % 10 == 0 &&
                nearcache_cancel(cache, ticket) == 0) {
                atomic_fetch_add(&cancelled, 1);
                atomic_fetch_sub(&under_way, 1);
                free(request);
            }
        }
        if (poll(&readable, 1, 10000) == 0) {
            complain("a call has been forgotten");
            return NULL;
        }
        if (nearcache_dispatch(cache, (unsigned)(nc_hash_step(&random) % 40)) < 0)
            complain("dispatch failed");
    }
    return NULL;
}

/* The header allows calls from any thread; callbacks come to the loop. */
static void *ask_from_aside(void *arg)
{
    uint64_t random = (uintptr_t)arg;
    while (!atomic_load(&stop)) {
        nearcache_ticket ticket;
        struct request *request;
        if (atomic_load(&under_way) < UNDER_WAY + 16)
            ask(&random, &ticket, &request);
        else
            poll(NULL, 0, 1);
    }
    return NULL;
}

static void *call(void *arg)
{
    uint64_t random = (uintptr_t)arg;
    while (!atomic_load(&stop)) {
        struct nearcache_read read = NEARCACHE_READ_INIT;
        struct nearcache_result result;
        uint32_t value[2] = {(uint32_t)(nc_hash_step(&random) % KEYS), 9};
        read.refresh = nc_hash_step(&random) % 2;
        if (nc_hash_step(&random) % 16 == 0)
            nearcache_set(tier, value, 4, value, 8, NULL);
        int outcome = nearcache_get(tier, value, 4, &read, &result);
        check(value[0], outcome, &result);
        nearcache_release(&result);
    }
    return NULL;
}

/* Now and then what was removed is read or written again, whoever removed it. Not for long: a write
 * whose connection broke is in doubt until its deadline. */
static void on_removal(void *arg, const struct nearcache_removal *removal)
{
    static _Atomic uint32_t removals;
    struct nearcache_read read = NEARCACHE_READ_INIT;
    struct nearcache_write write = NEARCACHE_WRITE_INIT;
    uint32_t value[2] = {0, 11}, number = atomic_fetch_add(&removals, 1) % 16;
    (void)arg;
    if (removal->cause == NEARCACHE_CAUSE_CLEARED || removal->name_bytes != 4)
        return;
    memcpy(value, removal->name, 4);
    read.timeout_us = write.timeout_us = 100000;
    if (number == 0) {
        nearcache_set(removal->tier, value, 4, value, 8, &write);
    } else if (number == 1) {
        struct nearcache_result result;
        int outcome = nearcache_get(removal->tier, value, 4, &read, &result);
        check(value[0], outcome, &result);
        nearcache_release(&result);
    }
}

static void open_cache(void)
{
    struct nearcache_redis redis = NEARCACHE_REDIS_INIT;
    struct nearcache_config config = NEARCACHE_CONFIG_INIT;
    struct nearcache_tier_config t = NEARCACHE_TIER_INIT;
    redis.url = server.unix_url;
    config.redis = &redis;
    config.deadline_us = PATIENT_US;
    config.capacity_entries = KEYS / 2;
    config.on_removal = on_removal;
    t.name = "t";
    t.prefix = "t:";
    if (nearcache_open(&cache, &config) || nearcache_tier_open(cache, &t, &tier) ||
        nearcache_wait(cache, PATIENT_US)) {
        fprintf(stderr, "the cache does not come up\n");
        exit(1);
    }
}

int main(int argc, char **argv)
{
    unsigned seconds = argc > 1 ? (unsigned)atoi(argv[1]) : 5;
    uintptr_t seed = argc > 2 ? (uintptr_t)atol(argv[2]) : (uintptr_t)nc_clock_io_ns();
    pthread_t threads[CALLERS + 2];
    if (!redis_server_available())
        return 77;
    printf("seed %lu\n", (unsigned long)seed);
    if (!redis_server_start(&server, NULL))
        return 1;
    open_cache();
    pthread_create(&threads[0], NULL, loop, (void *)(seed + 1));
    pthread_create(&threads[1], NULL, ask_from_aside, (void *)(seed + 2));
    for (unsigned i = 0; i < CALLERS; i++)
        pthread_create(&threads[2 + i], NULL, call, (void *)(seed + 3 + i));
    for (unsigned i = 0; i < seconds * 4; i++) {
        poll(NULL, 0, 250);
        if (i % 4 == 3)
            free(redis_server_ask(&server, "CLIENT KILL TYPE normal SKIPME yes"));
    }
    atomic_store(&stop, true);
    for (unsigned i = 0; i < CALLERS + 2; i++)
        pthread_join(threads[i], NULL);
    int outcome = nearcache_close(cache, PATIENT_US);
    redis_server_stop(&server);
    printf("ended %lu at once %lu cancelled %lu failed %lu wrong %lu\n", (unsigned long)ended,
           (unsigned long)read_here, (unsigned long)cancelled, (unsigned long)failed,
           (unsigned long)wrong);
    return wrong != 0 || outcome != 0 || ended == 0;
}
