/*
 * sync/clear: deleting all keys with a prefix, in Redis and everywhere, in small steps. What is
 * written after the call began is kept. Thread-safe; runs on the caller.
 */
#ifndef NC_SYNC_CLEAR_H
#define NC_SYNC_CLEAR_H

#include "sync/sync.h"

/* As nearcache_delete_prefix, for a linked tier; `prefix` without the tier's own. */
int nc_clear(struct nc_sync *any, struct nearcache_tier *tier, const void *prefix,
             size_t prefix_bytes, uint64_t deadline_ns, uint64_t *deleted);

#endif
