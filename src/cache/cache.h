/*
 * cache/cache: what a cache is: a store, tiers, the threads that use it, and what the links of its
 * lanes have told. What is done with it stands in the files above:
 *
 *     key, hit, find      a key, its local copy
 *     ticket, fill        what may be inserted
 *     drop                what must go
 *     removals            when it is told that something went
 *
 * A cache that knows no network. The layer above tells it what the network said: proofs, epochs,
 * versions, invalidations (coherence in docs/coherence.md names the rules R1-R13). It promises:
 *  - a hit takes no lock, makes no system call and writes no shared line;
 *  - ticket check and insertion are one step under the shard's lock (nc_cache_fill), and so are
 *    observing a version and dropping the copy it outdates (nc_cache_observe);
 *  - the removal callback never runs under a lock, nor before its thread has let go of what the
 *    callback may wait for (cache/removals).
 *
 * Lock order: tiers_lock, then one shard lock at a time (store/shard.h).
 */
#ifndef NC_CACHE_CACHE_H
#define NC_CACHE_CACHE_H

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/thread.h"
#include "cache/life.h"
#include "cache/tier.h"
#include "memory/epoch.h"
#include "store/store.h"

#include <pthread.h>

/* The lane of a name in a tier that Redis stands behind, below lanes_most. */
typedef uint32_t (*nc_lane_hook)(void *arg, const struct nearcache_tier *tier, const void *name,
                                 size_t name_bytes);

struct nc_cache_config {
    uint64_t budget_bytes, capacity_entries, hash_seed;
    uint32_t shards;
    uint32_t lanes_most;  /* 0: one */
    nc_lane_hook lane_of; /* NULL: all names are of lane 0 */
    void *lane_arg;
    uint64_t lease_ns; /* how long a proof lasts */
    bool audits;       /* hits are to be looked at, see nearcache_tier.after_hit */
    nearcache_clock_fn clock;
    void *clock_arg;
    nearcache_removal_fn on_removal;
    void *on_removal_arg;
    const struct nc_log *log;
};

/*
 * What is known about the keys of one bucket. Guarded by the lock of the shard that the bucket
 * belongs to; the counter is read without it when a ticket is taken.
 */
struct nc_bucket {
    uint64_t version; /* largest s known to have changed a key here ... */
    uint32_t epoch;   /* ... in this epoch of the link; an older one means none */
    /* Counts in steps of one; in steps of NC_BUCKET_SUPERSEDED what voids versions, too. */
    _Atomic uint32_t changes;
};
#define NC_BUCKET_SUPERSEDED UINT32_C(0x10000)

/*
 * What the link of a lane has told. Written by its thread about once a heartbeat, read by hits of
 * tiers that need it. Thread-safe.
 */
struct nc_lane {
    _Alignas(64) _Atomic uint64_t proof_ns; /* machine's monotonic time; 0: none */
    _Atomic uint64_t last_proof_ns; /* the newest that there ever was; never goes back to 0 */
    _Atomic uint64_t link_generation;
    _Atomic uint32_t link_epoch;
};

/* Thread-safe. */
struct nc_cache {
    struct nc_clock clock;
    struct nc_life life;
    struct nc_threads threads; /* records of struct nc_cache_thread */
    struct nc_store store;
    /* The time that somebody read last, for who only tells an age: maintenance reads it often. */
    _Atomic uint64_t recent_ns;
    uint64_t hash_seed;
    uint64_t lease_ns;
    bool audits;
    const struct nc_log *log;
    nearcache_removal_fn on_removal;
    void *on_removal_arg;

    struct nc_lane *lanes;
    uint32_t lane_count;
    nc_lane_hook lane_of;
    void *lane_arg;

    struct nc_bucket *buckets; /* of a lane those whose number ends with its own */
    unsigned bucket_bits, lane_bits;

    pthread_mutex_t tiers_lock; /* for opening; reading tiers[] needs none */
    _Atomic uint32_t tier_count;
    struct nearcache_tier *_Atomic tiers[NEARCACHE_MAX_TIERS];
};

/* A thread's record: what readers need, then counters per tier. Written by its thread alone. */
struct nc_cache_thread {
    struct nc_reader reader;
    uint64_t random;
    struct nc_removed removed; /* and not told of yet: see cache/removals */
    uint32_t holds, telling;
    bool serves; /* it reads the replies that nobody else waits for: the thread of a link */
    struct nc_counters *_Atomic counters[NEARCACHE_MAX_TIERS];
};

/* A key on its way through one call. Refers to the caller's bytes. */
struct nc_key {
    struct nearcache_tier *tier;
    const void *name;
    size_t name_bytes;
    uint64_t hash;
    uint32_t lane;
};

/* What was found. */
enum nc_found {
    NC_FOUND_NOTHING,
    NC_FOUND_FRESH,         /* pinned in the result */
    NC_FOUND_FRESH_ABSENCE, /* known to be absent; a loader may still make it */
    NC_FOUND_FRESH_VOUCHED, /* the same, and a loader has said that there is no such thing */
    NC_FOUND_OLD,           /* not fresh, within max_stale: pinned in the result */
    NC_FOUND_OLD_ABSENCE
};

int nc_cache_init(struct nc_cache *cache, const struct nc_cache_config *config);
/* False: handles are still pinned, nothing was freed but what nobody can reach any more. */
bool nc_cache_deinit(struct nc_cache *cache);

/* As nearcache_tier_open; *why is static text on failure. */
int nc_cache_tier_open(struct nc_cache *cache, const struct nearcache_tier_config *config,
                       void *owner, bool linked, struct nearcache_tier **tier, const char **why);
struct nearcache_tier *nc_cache_tier_find(struct nc_cache *cache, const char *name);
/* The tier of a number, NULL behind the last one. */
static inline struct nearcache_tier *nc_cache_tier_at(struct nc_cache *cache, uint32_t i)
{
    /* Acquire pairs with the release of opening: a tier that is seen is complete. */
    return i < NEARCACHE_MAX_TIERS ? atomic_load_explicit(&cache->tiers[i], memory_order_acquire)
                                   : NULL;
}

static inline uint32_t nc_cache_lane_of(const struct nearcache_tier *tier, const void *name,
                                        size_t name_bytes)
{
    const struct nc_cache *cache = tier->cache;
    return __builtin_expect(cache->lane_of != NULL, 0)
               ? cache->lane_of(cache->lane_arg, tier, name, name_bytes)
               : 0;
}

/* The calling thread's record; NULL: out of memory. */
static inline struct nc_cache_thread *nc_cache_self(struct nc_cache *cache)
{
    return (struct nc_cache_thread *)nc_threads_self(&cache->threads);
}
/* The first time that a thread counts in a tier, or where it has no record. */
void nc_cache_count_first(struct nc_cache_thread *self, struct nearcache_tier *tier,
                          enum nc_counter which, uint64_t n);

static inline void nc_cache_count(struct nc_cache_thread *self, struct nearcache_tier *tier,
                                  enum nc_counter which, uint64_t n)
{
    /* Relaxed: only this thread stores it. */
    struct nc_counters *counters =
        self ? atomic_load_explicit(&self->counters[tier->id], memory_order_relaxed) : NULL;
    if (__builtin_expect(counters != NULL, 1))
        nc_counter_add(counters, which, n);
    else
        nc_cache_count_first(self, tier, which, n);
}
/* sum[] over all threads. */
void nc_cache_counters(struct nearcache_tier *tier, uint64_t sum[NC_COUNTERS]);

/* Maintenance: expiry that gives memory back. True: there is more to do. */
bool nc_cache_sweep(struct nc_cache *cache);

#endif
