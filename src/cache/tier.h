/*
 * cache/tier: a named group of keys: prefix, TTLs, limits, policies, counters.
 *
 * A tier is set up once and then only read, but for its epoch. It knows nothing of Redis beyond
 * whether its copies need the link's proof to be called fresh.
 */
#ifndef NC_CACHE_TIER_H
#define NC_CACHE_TIER_H

#include "base/clock.h"
#include "base/hash.h"
#include "metrics/counter.h"
#include "nearcache.h"

#include <stdatomic.h>
#include <stdbool.h>

struct nc_cache;
struct nc_index_head;
struct nc_partition;

/* What one Redis primary orders is a lane: the only one without a cluster. */
#define NC_LANES_MOST 64u

/* Thread-safe: constant after nc_tier_init, but for the atomics. */
struct nearcache_tier {
    /* What every hit reads; written by epoch changes only. */
    _Alignas(64) uint32_t id;
    uint32_t name_bytes_most;
    bool proven;    /* fresh only while the link is proven: Redis configured, coherence not none */
    bool timed;     /* every hit needs the time: proven, or the clock is the user's */
    bool after_hit; /* a hit may be followed by work: a refresh, an audit */
    bool plain;     /* neither of them, one lane: a copy is judged by its entry alone */
    const _Atomic uint32_t *alive; /* the cache's life page, see cache/life */
    struct nc_cache *cache;
    const struct nc_partition *partition; /* where its entries compete */
    struct nc_hash_secret secret;
    const struct nc_index_head *heads; /* the store's, here for the hit path as the next */
    struct nc_hash_shards sharding;
    const _Atomic uint8_t *generations; /* the partition's; NULL: its policy has none */
    _Atomic uint64_t deaf; /* lanes whose changes cannot be heard, as bits: nothing is fresh */
    _Atomic uint32_t epochs[NC_LANES_MOST]; /* entries of another epoch of their lane are dead */

    _Alignas(64) uint64_t local_ttl_ns; /* NEARCACHE_NONE: none */
    uint64_t negative_ttl_ns;           /* NEARCACHE_NONE: absences are not remembered */
    uint64_t max_stale_ns;
    bool linked; /* Redis is configured */

    void *owner;           /* what the layer above hangs here */
    uint64_t redis_ttl_ms; /* NEARCACHE_NONE: no expiry */
    uint64_t jitter_percent;
    uint64_t largest_local_bytes;
    uint64_t soft_timeout_us;
    uint64_t load_lease_ms; /* 0: loaders of several processes do not wait for each other */
    uint64_t eager_refresh_percent;
    uint64_t budget_share_percent;
    enum nearcache_off_link off_link;
    enum nearcache_outage_writes outage_writes;
    enum nearcache_coherence coherence;
    enum nearcache_policy policy;
    enum nearcache_kind kind;
    uint32_t row_bytes;    /* of a vector; 0: bytes */
    uint32_t linger_ticks; /* how long values are kept when their time is over (fail-safe) */
    size_t prefix_bytes;
    char prefix[256];
    char name[32];
    struct nc_counters shared; /* of threads that could not get a block of their own */
};

/*
 * Checks a configuration and fills in a tier. `linked`: Redis is configured.
 * Returns 0, NEARCACHE_EINVAL; *why then says what is wrong (static text).
 */
int nc_tier_init(struct nearcache_tier *tier, const struct nearcache_tier_config *config,
                 bool linked, const char **why);

/* The presets of the public header. NEARCACHE_EINVAL for an unknown one. */
/*
 * Whether a key of the tier may have that TTL (NEARCACHE_NONE: no expiry). Where the tier's keys do
 * not expire nobody asks Redis for a TTL, which would cost a batch of vectors 15 to 25 % of its
 * rate; so none may be given, or other processes would keep their copies past it.
 */
static inline bool nc_tier_takes_ttl(const struct nearcache_tier *tier, uint64_t ttl_ms)
{
    if (ttl_ms == NEARCACHE_NONE)
        return true;
    /* Redis keeps the moment of expiry as a signed 64-bit number of milliseconds. */
    return ttl_ms <= UINT64_C(1) << 53 && (!tier->linked || tier->redis_ttl_ms != NEARCACHE_NONE);
}

int nc_tier_preset(enum nearcache_preset preset, struct nearcache_tier_config *config);

/* From here on an end could not be told from one that has passed, with what lingers after it. */
static inline uint64_t nc_tier_endless_ns(const struct nearcache_tier *tier)
{
    return ((UINT64_C(1) << 31) - 1 - tier->linger_ticks) << NC_TICK_SHIFT;
}

/* The local TTL with this entry's jitter taken off; `random` is any number. */
uint64_t nc_tier_local_ttl_ns(const struct nearcache_tier *tier, uint64_t ttl_ns, uint64_t random);

#endif
