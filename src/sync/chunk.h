/*
 * sync/chunk: one request for the values of some keys of a tier. Its reply lands their flights and
 * fills the cache, on whatever thread reads it.
 *
 * Value and version are read as one atomic unit, and what the value has left to live in it or right
 * behind it. A chunk lives on the heap until its reply has been drained, so a caller may leave at
 * its deadline and the reply still fills the cache.
 */
#ifndef NC_SYNC_CHUNK_H
#define NC_SYNC_CHUNK_H

#include "sync/sync.h"

/* The most keys of one request. */
#define NC_CHUNK_KEYS 64

/* How many keys of a tier one request is to have at most. */
uint32_t nc_chunk_keys(const struct nc_sync *sync, const struct nearcache_tier *tier);

/*
 * Asks for flights of one tier and lane. Takes over the leader's references; on failure lands them.
 * Returns the call with a reference for the caller, or NULL.
 */
struct nc_call *nc_chunk_send(struct nc_sync *sync, struct nc_flight **flights, uint32_t count,
                              enum nc_call_kind kind, uint64_t deadline_ns);

#endif
