/*
 * sync/write: writing through. A write goes to Redis as one atomic unit that versions it and tells
 * the others, or, with Redis away, into the journal, by the tier's policy (R4, R5, R11).
 *
 * Promises: one write in flight per key and process; a request that cannot be executed any more
 * before its caller is told LOCAL (its not_after lies in the past); nothing is journaled that
 * Redis has refused for good. Thread-safe; runs on the caller.
 */
#ifndef NC_SYNC_WRITE_H
#define NC_SYNC_WRITE_H

#include "sync/write_item.h"

/*
 * Writes `count` items of one tier, split into calls as needed; each item's outcome is set. Items
 * may name a key twice: the one with the larger index wins. Where there are lanes they may change
 * their places. `any`: any sync of the cache.
 */
void nc_write(struct nc_sync *any, struct nc_cache_thread *self, struct nc_write_item *items,
              size_t count, uint64_t deadline_ns);

/*
 * Values that a loader made of keys that a read at items[i].read_s (not 0) found absent, in a tier
 * with versions: written only where nothing newer stands, at most NC_COMMIT_KEYS of them. Outcome
 * NEARCACHE_MISS: something newer does.
 */
void nc_write_loaded(struct nc_sync *any, struct nc_cache_thread *self, struct nc_write_item *items,
                     unsigned count, uint64_t deadline_ns);

/* The local half of a write that needs no Redis: a local-only cache. `made_under`: a loader made
 * the value, it counts only if nothing was written since that ticket; NULL: a write. */
void nc_write_local(struct nc_cache_thread *self, struct nc_write_item *item,
                    const struct nc_ticket *made_under);

/* As nearcache_touch, for a linked tier. */
int nc_write_touch(struct nc_sync *any, struct nc_cache_thread *self, const struct nc_key *key,
                   uint64_t ttl_ms, uint64_t deadline_ns);

/* Makes sure that the offset of Redis' clock is known. 0 or why not. */
int nc_write_learn_clock(struct nc_sync *sync, uint64_t deadline_ns);

#endif
