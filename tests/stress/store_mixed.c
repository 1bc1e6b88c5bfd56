/*
 * store_mixed THREADS SECONDS: threads read, batch, write, pin for long, hand handles to each
 * other, delete, clear and end, in a cache that is full. Every value must be that of its key,
 * whole, for as long as it is pinned; at the end nothing is pinned, and what is accounted stays
 * within the budget. Meant for ThreadSanitizer.
 */
#include "base/clock.h"
#include "base/hash.h"

#include <nearcache.h>
#include <nearcache/metrics.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEYS 20000u
#define HELD 100u
#define BATCH 24u
#define LARGEST 6000u

static struct nearcache *cache;
static struct nearcache_tier *tier;
static _Atomic uint64_t operations, wrong;
static _Atomic bool stop;

/* A place where a handle waits for whoever comes next. */
static struct {
    pthread_mutex_t lock;
    struct nearcache_result result;
    uint32_t key;
} exchange = {.lock = PTHREAD_MUTEX_INITIALIZER};

static size_t bytes_of(uint64_t random)
{
    return 4 + (random % 8 == 0 ? random / 8 % LARGEST : random / 8 % 150);
}

static void check(const struct nearcache_result *result, uint32_t key)
{
    const unsigned char *value = result->data;
    uint32_t told;
    memcpy(&told, value, 4);
    for (size_t i = 4; i < result->bytes; i++)
        if (value[i] != (unsigned char)(key + i)) {
            told = ~key;
            break;
        }
    if (told != key && atomic_fetch_add(&wrong, 1) == 0)
        fprintf(stderr, "key %u holds the value of another\n", key);
}

static void set(uint64_t random, uint32_t key)
{
    unsigned char value[LARGEST + 4];
    size_t bytes = bytes_of(random);
    struct nearcache_write how = NEARCACHE_WRITE_INIT;
    memcpy(value, &key, 4);
    for (size_t i = 4; i < bytes; i++)
        value[i] = (unsigned char)(key + i);
    how.ttl_ms = random % 64 == 0 ? 50 : NEARCACHE_NONE;
    if (nearcache_set(tier, &key, sizeof key, value, bytes, &how) != 0)
        atomic_fetch_add(&wrong, 1);
}

static void get_many(uint64_t random)
{
    struct nearcache_name names[BATCH];
    struct nearcache_result results[BATCH];
    uint32_t keys[BATCH];
    int statuses[BATCH];
    for (uint32_t i = 0; i < BATCH; i++) {
        keys[i] = (uint32_t)nc_hash_step(&random) % KEYS;
        names[i] = (struct nearcache_name){&keys[i], sizeof keys[i]};
    }
    nearcache_get_many(tier, names, BATCH, NULL, results, statuses);
    for (uint32_t i = 0; i < BATCH; i++)
        if (statuses[i] == 0)
            check(&results[i], keys[i]);
    nearcache_release_many(results, BATCH);
}

/* Leaves this handle there and takes the one that another left. */
static void swap(struct nearcache_result *result, uint32_t *key)
{
    pthread_mutex_lock(&exchange.lock);
    struct nearcache_result other = exchange.result;
    uint32_t other_key = exchange.key;
    exchange.result = *result;
    exchange.key = *key;
    *result = other;
    *key = other_key;
    pthread_mutex_unlock(&exchange.lock);
}

struct held {
    struct nearcache_result result;
    uint32_t key;
};

static void operate(uint64_t random, struct held *held)
{
    uint32_t key = (uint32_t)(random >> 40) % KEYS, kind = (uint32_t)random % 100;
    if (kind < 45) {
        struct held *place = &held[(random >> 8) % HELD];
        if (place->result.data)
            check(&place->result, place->key);
        nearcache_release(&place->result);
        place->key = key;
        if (nearcache_get(tier, &key, sizeof key, NULL, &place->result) == 0)
            check(&place->result, key);
        if (kind < 3)
            swap(&place->result, &place->key);
    } else if (kind < 55) {
        get_many(random);
    } else if (kind < 95) {
        set(random >> 7, key);
    } else if (kind < 99 || random >> 8 & 0xfff) {
        nearcache_delete(tier, &key, sizeof key, NULL);
    } else {
        nearcache_clear(tier, 0, NULL);
    }
    atomic_fetch_add_explicit(&operations, 1, memory_order_relaxed);
}

/* A few thousand operations by a thread of its own, again and again. */
static void *work_shortly(void *arg)
{
    struct held held[HELD];
    uint64_t random = (uint64_t)(uintptr_t)arg;
    memset(held, 0, sizeof held);
    for (int i = 0; i < 3000 && !atomic_load_explicit(&stop, memory_order_relaxed); i++)
        operate(nc_hash_step(&random), held);
    for (uint32_t i = 0; i < HELD; i++) {
        if (held[i].result.data)
            check(&held[i].result, held[i].key);
        nearcache_release(&held[i].result);
    }
    return NULL;
}

static void *work(void *arg)
{
    uint64_t random = (uint64_t)(uintptr_t)arg;
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        pthread_t id;
        if (pthread_create(&id, NULL, work_shortly, (void *)(uintptr_t)nc_hash_step(&random)) != 0)
            return NULL;
        pthread_join(id, NULL);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    unsigned threads = argc > 1 ? (unsigned)atoi(argv[1]) : 4;
    uint64_t seconds = argc > 2 ? (uint64_t)atoi(argv[2]) : 3;
    struct nearcache_config config = NEARCACHE_CONFIG_INIT;
    struct nearcache_tier_config tier_config = NEARCACHE_TIER_INIT;
    struct nearcache_metrics metrics = NEARCACHE_METRICS_INIT;
    pthread_t ids[64];
    config.budget_bytes = (uint64_t)4 << 20;
    config.journal_bytes = NEARCACHE_NONE;
    tier_config.name = "stress";
    tier_config.redis_ttl_ms = NEARCACHE_NONE;
    if (threads < 1 || threads > 64 || nearcache_open(&cache, &config) != 0 ||
        nearcache_tier_open(cache, &tier_config, &tier) != 0)
        return 2;
    for (unsigned i = 0; i < threads; i++)
        if (pthread_create(&ids[i], NULL, work, (void *)(uintptr_t)(i + 1)) != 0)
            return 2;
    uint64_t end_ns = nc_clock_deadline_ns(seconds * 1000000), worst = 0;
    while (nc_clock_io_ns() < end_ns) {
        struct timespec pause = {0, 20000000};
        nanosleep(&pause, NULL);
        nearcache_metrics(cache, &metrics);
        worst = metrics.bytes_used > worst ? metrics.bytes_used : worst;
    }
    atomic_store(&stop, true);
    for (unsigned i = 0; i < threads; i++)
        pthread_join(ids[i], NULL);
    nearcache_release(&exchange.result);
    uint64_t pinned = nearcache_pinned(cache);
    int closed = nearcache_close(cache, 0);
    printf("%llu operations, %llu wrong, accounted at most %.3f of the budget, %llu pinned\n",
           (unsigned long long)operations, (unsigned long long)wrong,
           (double)worst / (double)config.budget_bytes, (unsigned long long)pinned);
    /* A shard may be a last entry above its part when its limit falls. */
    return wrong || pinned || closed != 0 || worst > config.budget_bytes + config.budget_bytes / 8;
}
