/*
 * sync/audit: a cache that checks itself: now and then the value of a hit is read from Redis again
 * and compared. Off unless asked for.
 *
 *     IDLE --(a hit is drawn)--> OFFERED --(link's thread reads the key)--> equal: IDLE
 *          differs: ASKED --(a heartbeat sent after that answer has come back)--> judged, IDLE
 *
 * A difference alone says nothing: the message that drops the copy may be on its way. Once a
 * heartbeat that was sent after the answer has come back, all messages before it have been applied:
 * a copy that still stands there as it was, and is called fresh, is wrong.
 * One key at a time, at most one a heartbeat. nc_audit_offer is thread-safe, the rest is the link
 * thread's.
 */
#ifndef NC_SYNC_AUDIT_H
#define NC_SYNC_AUDIT_H

#include "sync/sync.h"

/* A hit, pinned in the result. */
void nc_audit_offer(struct nc_sync *sync, struct nc_cache_thread *self, const struct nc_key *key,
                    const struct nearcache_result *result);
/* While the link is live. */
void nc_audit_tick(struct nc_sync *sync, struct nc_cache_thread *self);
void nc_audit_deinit(struct nc_audit *audit);

#endif
