/*
 * sync/state: the state of the link as others see it, told when it changes and waited for (R13).
 * Thread-safe.
 */
#ifndef NC_SYNC_STATE_H
#define NC_SYNC_STATE_H

#include "sync/sync.h"

/* As nearcache_link_name. */
const char *nc_state_name(enum nearcache_link state);

/* Publishes a state: callback, log line, those who wait. */
void nc_state_set(struct nc_sync *sync, enum nearcache_link state);

/* Those who wait look again: more is known here, or the journal is empty. */
void nc_state_wake(struct nc_sync *sync);

/* Of all lanes: that of the one that serves least. */
enum nearcache_link nc_state_of_all(struct nc_sync *any);

/* As nearcache_wait and nearcache_sync: all lanes. */
int nc_state_wait_live(struct nc_sync *any, uint64_t deadline_ns);
int nc_state_catch_up(struct nc_sync *any, uint64_t deadline_ns);

/* Writes that wait in the journals of all lanes. */
uint64_t nc_state_unwritten(struct nc_sync *any);

#endif
