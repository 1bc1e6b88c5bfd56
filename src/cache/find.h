/*
 * cache/find: the local copy of a key, fresh or not, and the pin that a result holds of it.
 */
#ifndef NC_CACHE_FIND_H
#define NC_CACHE_FIND_H

#include "cache/cache.h"

/*
 * The local copy. With `stale` false only fresh copies count (nc_hit_find in cache/hit.h, which is
 * the hit path). Fills result (data, bytes, age, ttl, pin) for FRESH and OLD, age and ttl for
 * absences; sets no source.
 */
enum nc_found nc_cache_find(struct nc_cache_thread *self, const struct nc_key *key, bool stale,
                            uint64_t max_stale_ns, struct nearcache_result *result);

/* Pins an entry that is reachable (own, or pinned by another) into the result. 0, or
 * NEARCACHE_ENOMEM: it is not pinned. */
int nc_cache_hold(struct nc_cache_thread *self, struct nearcache_tier *tier, struct nc_entry *entry,
                  struct nearcache_result *result);

/* The entry that a result pins. */
struct nc_entry *nc_cache_held_entry(const struct nearcache_result *result);

/* Ends a result's pin; any thread. */
static inline void nc_cache_release(struct nearcache_result *result)
{
    struct nc_pin pin = {(struct nc_entry *)result->internal[0], result->internal[1]};
    if (!pin.entry)
        return;
    result->internal[0] = result->internal[1] = 0;
    result->data = NULL;
    nc_epoch_unpin(pin);
}

#endif
