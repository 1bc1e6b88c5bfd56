/*
 * api/call: what all exported calls have in common: is the cache usable, whose thread is this,
 * which key, and what is counted at the end.
 */
#ifndef NC_API_CALL_H
#define NC_API_CALL_H

#include "api/config.h"
#include "api/handle.h"
#include "cache/find.h"
#include "cache/hit.h"
#include "sync/fetch.h"

#include <string.h>

struct nc_call_context {
    struct nearcache *cache;
    struct nc_cache_thread *self;
};

NC_INLINE int nc_call_begin_tier(struct nc_call_context *call, struct nearcache_tier *tier)
{
    if (!tier)
        return NEARCACHE_EINVAL;
    int outcome = nc_life_check(tier->alive);
    if (__builtin_expect(outcome != 0, 0))
        return outcome;
    call->cache = tier->owner;
    call->self = nc_cache_self(tier->cache);
    return call->self ? 0 : NEARCACHE_ENOMEM;
}

/* Checks and hashes; clears the result (may be NULL for a write). */
NC_INLINE int nc_call_begin(struct nc_call_context *call, struct nearcache_tier *tier,
                            const void *name, size_t name_bytes, struct nearcache_result *result,
                            struct nc_key *key)
{
    if (result)
        memset(result, 0, sizeof *result);
    int outcome = nc_call_begin_tier(call, tier);
    return outcome != 0 ? outcome : nc_cache_key(tier, name, name_bytes, key);
}

static inline uint64_t nc_call_deadline(const struct nearcache *cache, uint64_t timeout_us)
{
    return nc_clock_deadline_ns(timeout_us ? timeout_us : cache->config.deadline_us);
}

static inline struct nc_fetch_options nc_call_fetch_options(const struct nc_read_options *options)
{
    struct nc_fetch_options fetch = {options->deadline_ns, options->soft_deadline_ns,
                                     options->max_stale_ns, options->refresh};
    return fetch;
}

/* A value that the tier can hold: the length of a vector, at most 512 MiB as in Redis. */
static inline int nc_call_check_value(const struct nearcache_tier *tier, const void *value,
                                      size_t value_bytes)
{
    if (value_bytes > 0 && !value)
        return NEARCACHE_EINVAL;
    if (tier->row_bytes && value_bytes != tier->row_bytes)
        return NEARCACHE_ETYPE;
    return value_bytes > (size_t)512 << 20 ? NEARCACHE_ETOOBIG : 0;
}

/* In the last part of its TTL, by the tier's share. */
static inline bool nc_call_refresh_is_due(const struct nearcache_tier *tier,
                                          const struct nearcache_result *result)
{
    if (result->ttl_ms == NEARCACHE_NONE)
        return false;
    uint64_t whole_ms = result->age_ms + result->ttl_ms;
    return result->ttl_ms * 100 < whole_ms * tier->eager_refresh_percent;
}

/* What some tiers have done after a hit: an eager refresh, an audit. The parts of the key one by
 * one: a hit keeps them in registers. */
void nc_call_after_hit(struct nearcache_tier *tier, const void *name, size_t name_bytes,
                       uint64_t hash, const struct nearcache_result *result);

/* What a look-up in the cache means for the call; false: the way to Redis is due. `loads`: the
 * call brings a loader, which only an absence that a loader vouched for keeps from running. */
NC_INLINE bool nc_call_take_hit(const struct nc_key *key, enum nc_found found, bool loads,
                                struct nearcache_result *result, int *outcome)
{
    switch (found) {
    case NC_FOUND_FRESH:
        result->source = NEARCACHE_SOURCE_LOCAL;
        *outcome = 0;
        if (__builtin_expect(key->tier->after_hit, 0))
            nc_call_after_hit(key->tier, key->name, key->name_bytes, key->hash, result);
        return true;
    case NC_FOUND_FRESH_ABSENCE:
        if (loads)
            return false;
        __attribute__((fallthrough));
    case NC_FOUND_FRESH_VOUCHED:
        result->source = NEARCACHE_SOURCE_NEGATIVE;
        *outcome = NEARCACHE_MISS;
        return true;
    default:
        return false;
    }
}

/* The local copy if it is fresh. */
NC_INLINE bool nc_call_read_hit(struct nc_call_context *call, const struct nc_key *key, bool loads,
                                struct nearcache_result *result, int *outcome)
{
    enum nc_found found = nc_hit_find(call->self, key, result);
    return nc_call_take_hit(key, found, loads, result, outcome);
}

/* Whether a read may go the usual way, which checks no more than this. The thread's record then;
 * else NULL: the long way is for all. */
NC_INLINE struct nc_cache_thread *nc_call_usual(const struct nearcache_tier *tier, const void *name,
                                                size_t name_bytes,
                                                const struct nearcache_result *result)
{
    if (__builtin_expect(!result || !tier || !tier->plain || !name, 0) ||
        __builtin_expect(name_bytes - 1 >= NC_NAME_SHORT, 0) || nc_life_check(tier->alive) != 0)
        return NULL;
    return nc_threads_noted(&tier->cache->threads);
}

/* Enters the epoch and looks for the copy; NULL: it is not here. */
NC_INLINE struct nc_entry *nc_call_find_usual(struct nc_cache_thread *self,
                                              const struct nearcache_tier *tier, const void *name,
                                              size_t name_bytes, uint64_t hash)
{
    /* As nc_hit_view. */
    uint32_t tier_epoch =
        nc_entry_tier_epoch(tier->id, atomic_load_explicit(&tier->epochs[0], memory_order_acquire));
    nc_epoch_enter(&tier->cache->store.epoch, &self->reader);
    return nc_index_find(nc_hit_head(tier, hash), hash, tier_epoch, UINT32_MAX, name, name_bytes);
}

/* Takes it if nothing speaks against it, leaves the epoch and counts; else false, still inside. */
NC_INLINE bool nc_call_take_usual(struct nc_cache_thread *self, struct nearcache_tier *tier,
                                  uint64_t hash, struct nc_entry *entry, size_t name_bytes,
                                  struct nearcache_result *result)
{
    if (__builtin_expect(!entry, 0) ||
        !nc_hit_take_plain(self, tier, hash, entry, name_bytes, result))
        return false;
    nc_epoch_leave(&self->reader);
    result->source = NEARCACHE_SOURCE_LOCAL;
    nc_cache_count(self, tier, NC_COUNT_hits_local, 1);
    return true;
}

/* What comes of it else; leaves the epoch. As nc_call_take_hit; entry may be NULL. */
bool nc_call_judge(struct nc_cache_thread *self, const struct nc_key *key, struct nc_entry *entry,
                   struct nearcache_result *result, int *outcome);

NC_INLINE int nc_call_count_read(struct nc_call_context *call, struct nearcache_tier *tier,
                                 int outcome, const struct nearcache_result *result)
{
    static const enum nc_counter by_source[] = {
        [NEARCACHE_SOURCE_MISS] = NC_COUNT_misses,
        [NEARCACHE_SOURCE_LOCAL] = NC_COUNT_hits_local,
        [NEARCACHE_SOURCE_REMOTE] = NC_COUNT_hits_remote,
        [NEARCACHE_SOURCE_LOADED] = NC_COUNT_hits_loaded,
        [NEARCACHE_SOURCE_STALE] = NC_COUNT_hits_stale,
        [NEARCACHE_SOURCE_NEGATIVE] = NC_COUNT_hits_negative,
    };
    nc_cache_count(call->self, tier, outcome < 0 ? NC_COUNT_read_errors : by_source[result->source],
                   1);
    return outcome;
}

void nc_call_count_write(struct nc_call_context *call, struct nearcache_tier *tier, int outcome,
                         bool is_delete);

#endif
