/*
 * A cache without network and without threads: of one shard, or more, on a fake clock, with keys
 * that are numbers. It counts what leaves it, by tier and cause. The maintenance is a call.
 *
 *     struct local_cache l;
 *     local_cache_open(&l, &(struct local_cache_config){.entries = 100});
 *     local_cache_set(&l, 0, 7, 32, 0);   local_cache_get(&l, 0, 7) == 32
 *     local_cache_close(&l);              fails the test when something is left behind
 */
#ifndef LIB_LOCAL_CACHE_H
#define LIB_LOCAL_CACHE_H

#include "lib/fake_clock.h"

#include "cache/cache.h"

#include <stdbool.h>

#define LOCAL_CACHE_TIERS 4
#define LOCAL_CACHE_CAUSES 5

struct local_cache_config {
    uint64_t entries, budget_bytes; /* 0: unlimited; 64 MiB */
    uint32_t shards;                /* 0: one */
    uint32_t tiers;                 /* 0: one; named "a", "b", ... */
    enum nearcache_policy policies[LOCAL_CACHE_TIERS];
    uint64_t shares[LOCAL_CACHE_TIERS];
    void (*on_removal)(void *arg, uint32_t tier, uint64_t id, enum nearcache_cause cause);
    void *arg;
};

/* One thread. */
struct local_cache {
    struct local_cache_config config;
    struct fake_clock clock;
    struct nc_cache cache;
    struct nearcache_tier *tiers[LOCAL_CACHE_TIERS];
    uint64_t removed[LOCAL_CACHE_TIERS][LOCAL_CACHE_CAUSES];
    int64_t bytes[LOCAL_CACHE_TIERS]; /* of values */
    int64_t here[LOCAL_CACHE_TIERS];  /* values */
};

void local_cache_open(struct local_cache *local, const struct local_cache_config *config);
void local_cache_close(struct local_cache *local);

/* `ttl_ms` 0: never expires. False: it is not kept. */
bool local_cache_set(struct local_cache *local, uint32_t tier, uint64_t id, size_t bytes,
                     uint64_t ttl_ms);
/* A read that counts as a use: the length of the value, -1 when it is not here. Checks its bytes.
 */
int64_t local_cache_get(struct local_cache *local, uint32_t tier, uint64_t id);
/* Get, and when it is not here set. Whether it was. */
bool local_cache_use(struct local_cache *local, uint32_t tier, uint64_t id, size_t bytes);
void local_cache_drop(struct local_cache *local, uint32_t tier, uint64_t id);
void local_cache_touch(struct local_cache *local, uint32_t tier, uint64_t id, uint64_t ttl_ms);
/* As often as it asks for it, and once more. */
void local_cache_sweep(struct local_cache *local);
struct nc_store_usage local_cache_usage(struct local_cache *local);
uint64_t local_cache_entries(struct local_cache *local);
uint64_t local_cache_removed(struct local_cache *local, enum nearcache_cause cause);

#endif
