/*
 * cache/drop: what has changed elsewhere, or is to change here: copies go, are old from now on, or
 * end at another time.
 */
#ifndef NC_CACHE_DROP_H
#define NC_CACHE_DROP_H

#include "cache/cache.h"

/* observe(key, s) of the protocol: remember s, drop the copy iff it is older. `cause`: INVALIDATED,
 * or REPLACED where the newer value was written here. */
void nc_cache_observe(struct nc_cache_thread *self, const struct nc_key *key, uint64_t version,
                      enum nearcache_cause cause);
/* R7: drop whatever the version, void the tickets of the bucket for what has no version. Also used
 * before own writes. */
void nc_cache_drop(struct nc_cache_thread *self, const struct nc_key *key,
                   enum nearcache_cause cause);
/* The same, and also for what has one: a write waits that is newer than all versions. */
void nc_cache_supersede(struct nc_cache_thread *self, const struct nc_key *key,
                        enum nearcache_cause cause);

/* Soft expiry and a moved deadline of the local copy. False: not here. */
bool nc_cache_expire(struct nc_cache_thread *self, const struct nc_key *key);
bool nc_cache_touch(struct nc_cache_thread *self, const struct nc_key *key, uint64_t ttl_ns,
                    uint64_t version);

/* Forgets a tier's entries in O(1): they are dead at once and swept later. */
void nc_cache_tier_epoch(struct nearcache_tier *tier);
/* The same for those of one lane. */
void nc_cache_tier_lane_epoch(struct nearcache_tier *tier, uint32_t lane);
/* The same for all tiers that the link of a lane serves, and for all versions that were observed
 * there (R8). */
void nc_cache_link_epoch(struct nc_cache *cache, uint32_t lane);

/* Drops a tier's entries whose name begins with `prefix` now; *values: how many were no absences.
 * False: the machine's time `deadline_ns`, or UINT64_MAX, came before the end. */
bool nc_cache_drop_prefix(struct nearcache_tier *tier, const void *prefix, size_t prefix_bytes,
                          uint64_t deadline_ns, uint64_t *values);
/* The same where there is no Redis: no loader that began before puts its value in afterwards. */
bool nc_cache_clear(struct nearcache_tier *tier, const void *prefix, size_t prefix_bytes,
                    uint64_t deadline_ns, uint64_t *values);

#endif
