/*
 * sync/lane: a lane's sync from its beginning to its end: all that sync/sync holds is made ready,
 * and let go, here.
 */
#ifndef NC_SYNC_LANE_H
#define NC_SYNC_LANE_H

#include "sync/sync.h"

/* Fills in what does not need the link; what stands before `origin` but `lane`, `link` and what
 * has an init of its own is set by the caller. */
void nc_sync_init(struct nc_sync *sync);
/* Before any event of the link and any call of the other files. */
void nc_sync_attach(struct nc_sync *sync, struct nc_link *link);
void nc_sync_deinit(struct nc_sync *sync);

#endif
