/*
 * sync/proof: whether we would have heard of every change: handshake, heartbeats, gaps (R1, R8,
 * R9). What it amounts to is told by sync/state. The link thread calls what begins with "up",
 * "down", "message" and "tick"; the rest is thread-safe.
 *
 *     DOWN -> CONNECTING -> SYNCING -> LIVE -> SUSPECT (no proof for a lease) -> DOWN (for two)
 */
#ifndef NC_SYNC_PROOF_H
#define NC_SYNC_PROOF_H

#include "sync/sync.h"

void nc_proof_init(struct nc_sync *sync);
void nc_proof_up(struct nc_sync *sync, uint64_t generation);
void nc_proof_down(struct nc_sync *sync);
void nc_proof_message(struct nc_sync *sync, const char *channel, size_t channel_bytes,
                      const char *payload, size_t payload_bytes);
/* Returns when to come again, machine's monotonic ns. */
uint64_t nc_proof_tick(struct nc_sync *sync, uint64_t io_ns);

/* A tier in tracking mode was opened: the subscriptions of all lanes have to be made anew. Any
 * thread. */
void nc_proof_track_again(struct nc_sync *any);

#endif
