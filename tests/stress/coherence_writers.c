/*
 * Writers, readers and loaders of two caches over one Redis, on few keys, so that calls are shared,
 * copies dropped and flights joined all the time; some deadlines are too short. Each value carries
 * its key: a read that brings another key's value ends the program.
 *
 *     coherence_writers [threads] [seconds]
 */
#include <nearcache.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/redis_server.h"
#include "lib/wait_until.h"

enum { KEYS = 50, MOST_THREADS = 64 };

/* Thread-safe. */
static struct nearcache_tier *tiers[2];
static atomic_bool stop;
static atomic_ullong wrong, done;

static uint32_t step(uint32_t *random)
{
    *random = *random * 1664525u + 1013904223u;
    return *random >> 8;
}

static int make(void *arg, const void *name, size_t name_bytes, struct nearcache_loaded *loaded)
{
    (void)arg;
    loaded->data = name;
    loaded->bytes = name_bytes;
    return 0;
}

static void check(const char *name, size_t bytes, int outcome, struct nearcache_result *result)
{
    if (outcome == 0 && (result->bytes < bytes || memcmp(result->data, name, bytes) != 0))
        atomic_fetch_add(&wrong, 1);
    nearcache_release(result);
}

static void do_one(struct nearcache_tier *tier, uint32_t *random)
{
    struct nearcache_write write = NEARCACHE_WRITE_INIT;
    struct nearcache_result result;
    char name[16], value[300];
    size_t bytes = (size_t)snprintf(name, sizeof name, "%02u", step(random) % KEYS);
    memset(value, 'v', sizeof value);
    memcpy(value, name, bytes);
    write.timeout_us = step(random) % 20 == 0 ? 50 : 1000000;
    switch (step(random) % 8) {
    case 0:
        nearcache_delete(tier, name, bytes, &write);
        break;
    case 1:
        check(name, bytes, nearcache_get_or_load(tier, name, bytes, NULL, make, NULL, &result),
              &result);
        break;
    case 2:
    case 3:
        check(name, bytes, nearcache_get(tier, name, bytes, NULL, &result), &result);
        break;
    default:
        nearcache_set(tier, name, bytes, value, bytes + step(random) % 290, &write);
    }
}

static void *run(void *arg)
{
    uint32_t random = (uint32_t)(uintptr_t)arg * 7919u;
    while (!atomic_load(&stop)) {
        do_one(tiers[step(&random) % 2], &random);
        atomic_fetch_add_explicit(&done, 1, memory_order_relaxed);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    unsigned threads = argc > 1 ? (unsigned)atoi(argv[1]) : 8;
    unsigned seconds = argc > 2 ? (unsigned)atoi(argv[2]) : 2;
    struct nearcache *caches[2];
    pthread_t ids[MOST_THREADS];
    struct redis_server server;
    if (!redis_server_available())
        return 77;
    if (threads > MOST_THREADS || !redis_server_start(&server, NULL))
        return 1;
    for (int i = 0; i < 2; i++) {
        struct nearcache_redis redis = NEARCACHE_REDIS_INIT;
        struct nearcache_config config = NEARCACHE_CONFIG_INIT;
        struct nearcache_tier_config tier = NEARCACHE_TIER_INIT;
        redis.url = server.unix_url;
        config.redis = &redis;
        config.audit_per_million = 10000;
        tier.name = "t";
        tier.prefix = "t:";
        tier.load_lease_ms = i ? 1000 : 0;
        if (nearcache_open(&caches[i], &config) != 0 ||
            nearcache_tier_open(caches[i], &tier, &tiers[i]) != 0 ||
            nearcache_wait(caches[i], 20000000) != 0)
            return 1;
    }
    for (unsigned i = 0; i < threads; i++)
        if (pthread_create(&ids[i], NULL, run, (void *)(uintptr_t)(i + 1)) != 0)
            return 1;
    uint64_t end_ns = wait_now_ns() + (uint64_t)seconds * 1000000000u;
    WAIT_UNTIL(wait_now_ns() >= end_ns, (uint64_t)seconds * 1000 + 1000);
    atomic_store(&stop, true);
    for (unsigned i = 0; i < threads; i++)
        pthread_join(ids[i], NULL);
    for (int i = 0; i < 2; i++)
        if (nearcache_close(caches[i], 10000000) != 0)
            return 1;
    redis_server_stop(&server);
    printf("%llu calls, %llu wrong\n", atomic_load(&done), atomic_load(&wrong));
    return atomic_load(&wrong) == 0 && atomic_load(&done) > 0 ? 0 : 1;
}
