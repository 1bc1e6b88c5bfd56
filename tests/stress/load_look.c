/*
 * load_look THREADS SECONDS: the look with which a load begins finds what is there. One thread
 * keeps the index as full as it gets, so that entries move between their buckets; the other begins
 * loads of keys that are never touched (two threads, whatever THREADS says). A look without the
 * lock misses some of them now and then. Meant for ThreadSanitizer too.
 */
#include "cache/cache.h"
#include "cache/drop.h"
#include "cache/fill.h"
#include "cache/find.h"
#include "cache/key.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KEPT 2700u
#define KEYS 3000u

static struct nc_cache cache;
static struct nearcache_tier *tier;
static _Atomic uint64_t looks, missed;
static _Atomic bool stop;

static void put(struct nc_cache_thread *self, uint64_t id)
{
    struct nc_key key;
    nc_cache_key(tier, &id, sizeof id, &key);
    struct nc_entry *entry = nc_cache_entry_create(self, &key, sizeof id, false);
    if (!entry)
        abort();
    memcpy(nc_entry_value(entry), &id, sizeof id);
    nc_cache_entry_times(self, &key, entry, nc_clock_now_ns(&cache.clock), NEARCACHE_NONE);
    nc_cache_fill(self, &key, NULL, entry);
}

static void *look(void *arg)
{
    struct nc_cache_thread *self = nc_cache_self(&cache);
    (void)arg;
    for (uint64_t i = 0; !atomic_load_explicit(&stop, memory_order_relaxed); i++) {
        uint64_t id = i % KEPT;
        struct nc_key key;
        struct nc_ticket ticket;
        struct nearcache_result result = {0};
        nc_cache_key(tier, &id, sizeof id, &key);
        if (nc_cache_load_begin(self, &key, true, &ticket, &result) == NC_FOUND_FRESH) {
            nc_cache_release(&result);
        } else {
            nc_cache_load_end(&key);
            missed++;
        }
        looks++;
    }
    return NULL;
}

/* The table grows by half when it is 17/20 full. */
static bool is_nearly_full(void)
{
    const struct nc_index *index = &cache.store.shards[0].index;
    return index->used * 100u >= NC_BUCKET_WORDS * nc_index_buckets(index) * 84u;
}

int main(int argc, char **argv)
{
    const struct nc_cache_config config = {
        .budget_bytes = 256 << 20, .hash_seed = 1, .shards = 1, .lease_ns = 1000000000};
    struct nearcache_tier_config tier_config = NEARCACHE_TIER_INIT;
    const char *why = "";
    pthread_t looker;
    uint64_t first = KEPT, next = KEYS;
    time_t end = time(NULL) + (argc > 2 ? atoi(argv[2]) : 3);
    tier_config.name = "stress";
    tier_config.redis_ttl_ms = tier_config.local_ttl_ms = NEARCACHE_NONE;
    if (nc_cache_init(&cache, &config) ||
        nc_cache_tier_open(&cache, &tier_config, NULL, false, &tier, &why))
        return 2;
    struct nc_cache_thread *self = nc_cache_self(&cache);
    for (uint64_t id = 0; id < KEYS; id++)
        put(self, id);
    while (!is_nearly_full())
        put(self, next++);
    if (pthread_create(&looker, NULL, look, NULL) != 0)
        return 2;
    while (time(NULL) < end)
        for (int i = 0; i < 1000; i++) {
            struct nc_key key;
            nc_cache_key(tier, &first, sizeof first, &key);
            nc_cache_drop(self, &key, NEARCACHE_CAUSE_INVALIDATED);
            first++;
            put(self, next++);
        }
    stop = true;
    pthread_join(looker, NULL);
    uint64_t moves = cache.store.shards[0].index.moves;
    printf("%llu looks, %llu missed what is there, %llu moves\n", (unsigned long long)looks,
           (unsigned long long)missed, (unsigned long long)moves);
    bool closed = nc_cache_deinit(&cache);
    return missed || looks == 0 || moves == 0 || !closed;
}
