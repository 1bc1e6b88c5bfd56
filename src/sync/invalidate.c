#include "sync/invalidate.h"

#include "cache/drop.h"
#include "cache/key.h"
#include "sync/message.h"

#include <string.h>

/* The key as a tier names it; false: it does not have the tier's prefix and the lane's tag, or a
 * key of that name is of another lane by now. */
static bool key_in_tier(const struct nc_sync *sync, struct nearcache_tier *tier,
                        const char *redis_key, size_t bytes, struct nc_key *key)
{
    size_t before = tier->prefix_bytes + sync->tag_bytes;
    if (bytes <= before || memcmp(redis_key, tier->prefix, tier->prefix_bytes) != 0 ||
        memcmp(redis_key + tier->prefix_bytes, sync->tag, sync->tag_bytes) != 0)
        return false;
    if (nc_cache_key(tier, redis_key + before, bytes - before, key) != 0)
        return false;
    /* A slot that moves is heard of on both sides, whatever the map says just then. */
    return sync->one_slot || key->lane == sync->number;
}

#define EACH_TIER(sync, tier)                                                                      \
    struct nearcache_tier *tier;                                                                   \
    for (uint32_t tier##_i = 0; (tier = nc_cache_tier_at((sync)->cache, tier##_i)); tier##_i++)

void nc_invalidate_observe(struct nc_sync *sync, struct nc_cache_thread *self,
                           const char *redis_key, size_t bytes, uint64_t version, bool foreign)
{
    struct nc_key key;
    EACH_TIER(sync, tier)
    if (tier->coherence == NEARCACHE_COHERENCE_PUBSUB &&
        key_in_tier(sync, tier, redis_key, bytes, &key)) {
        nc_cache_observe(self, &key, version,
                         foreign ? NEARCACHE_CAUSE_INVALIDATED : NEARCACHE_CAUSE_REPLACED);
        if (foreign)
            nc_cache_count(self, tier, NC_COUNT_invalidations, 1);
    }
}

void nc_invalidate_prefix(struct nc_sync *sync, struct nc_cache_thread *self, const char *prefix,
                          size_t bytes)
{
    EACH_TIER(sync, tier)
    {
        if (tier->coherence != NEARCACHE_COHERENCE_PUBSUB)
            continue;
        size_t common = bytes < tier->prefix_bytes ? bytes : tier->prefix_bytes;
        if (memcmp(prefix, tier->prefix, common) != 0)
            continue;
        /* Entries that the prefix does not cover go too: an epoch is O(1), a scan is not. */
        nc_cache_tier_lane_epoch(tier, sync->number);
        nc_cache_count(self, tier, NC_COUNT_invalidations, 1);
    }
}

static void note_staleness(struct nc_sync *sync, uint64_t version)
{
    if (!nc_offset_known(&sync->offset))
        return;
    uint64_t now = nc_offset_redis_us(&sync->offset, nc_clock_io_ns());
    uint64_t late = now > version ? now - version : 0;
    nc_histogram_add(&sync->staleness_us, late);
    atomic_fetch_add_explicit(&sync->staleness_sum_us, late, memory_order_relaxed);
    if (late > atomic_load_explicit(&sync->staleness_max_us, memory_order_relaxed))
        atomic_store_explicit(&sync->staleness_max_us, late, memory_order_relaxed);
}

bool nc_invalidate_message(struct nc_sync *sync, struct nc_cache_thread *self, const char *text,
                           size_t bytes)
{
    struct nc_message message;
    const char *key;
    size_t key_bytes;
    if (!nc_message_open(&message, text, bytes)) {
        nc_log_write(sync->log, NEARCACHE_LOG_WARNING, "malformed invalidation message");
        return false;
    }
    nc_sync_saw(sync, message.s);
    while (nc_message_key(&message, &key, &key_bytes))
        if (message.kind == 'C')
            nc_invalidate_prefix(sync, self, key, key_bytes);
        else
            nc_invalidate_observe(sync, self, key, key_bytes, message.s,
                                  message.origin != sync->origin);
    if (message.keys != 0) {
        nc_log_write(sync->log, NEARCACHE_LOG_WARNING, "invalidation message with missing keys");
        return false;
    }
    if (message.origin != sync->origin && sync->proof.chain.whole)
        note_staleness(sync, message.s);
    return nc_chain_message(&sync->proof.chain, message.prev, message.s) != NC_CHAIN_GAP;
}

void nc_invalidate_tracked(struct nc_sync *sync, struct nc_cache_thread *self,
                           const char *redis_key, size_t bytes)
{
    struct nc_key key;
    EACH_TIER(sync, tier)
    {
        if (tier->coherence != NEARCACHE_COHERENCE_TRACKING)
            continue;
        if (!redis_key) {
            nc_cache_tier_lane_epoch(tier, sync->number);
        } else if (key_in_tier(sync, tier, redis_key, bytes, &key)) {
            nc_cache_drop(self, &key, NEARCACHE_CAUSE_INVALIDATED);
            nc_cache_count(self, tier, NC_COUNT_invalidations, 1);
        }
    }
}
