/*
 * sync/invalidate: pub/sub messages become dropped copies (R6, R7). Link thread only.
 */
#ifndef NC_SYNC_INVALIDATE_H
#define NC_SYNC_INVALIDATE_H

#include "sync/sync.h"

/* observe() for a Redis key, in every tier that it may belong to. `foreign`: another process did
 * it. */
void nc_invalidate_observe(struct nc_sync *sync, struct nc_cache_thread *self,
                           const char *redis_key, size_t bytes, uint64_t version, bool foreign);

/* A prefix was cleared at a version: what may begin with it is forgotten. */
void nc_invalidate_prefix(struct nc_sync *sync, struct nc_cache_thread *self, const char *prefix,
                          size_t bytes);

/*
 * Applies a message of the invalidation channel; its keys are observed before it moves the chain.
 * False: a gap, or not a message at all: RESUME is due.
 */
bool nc_invalidate_message(struct nc_sync *sync, struct nc_cache_thread *self, const char *text,
                           size_t bytes);

/* A key of a CLIENT TRACKING message; NULL: everything that is tracked. */
void nc_invalidate_tracked(struct nc_sync *sync, struct nc_cache_thread *self,
                           const char *redis_key, size_t bytes);

#endif
