/*
 * sync/load: making what neither the cache nor Redis has, once for all threads that wait, and
 * writing it through without burying anything newer (R3). Thread-safe; loaders run on the caller.
 */
#ifndef NC_SYNC_LOAD_H
#define NC_SYNC_LOAD_H

#include "sync/fetch.h"

/*
 * Loads a key that a fetch found absent (read_s: at which version, 0: unknown) or that Redis could
 * not be asked for. `any`: any sync of the cache, NULL:
 * local-only.
 * Returns as nearcache_get_or_load.
 */
int nc_load(struct nc_sync *any, struct nc_flights *loads, struct nc_cache_thread *self,
            const struct nc_key *key, nearcache_load_fn load, void *arg, uint64_t read_s,
            const struct nc_fetch_options *options, struct nearcache_result *result);

/*
 * Remembers an absence that a loader vouched for. `read_s` is of the read that found nothing (0:
 * Redis was not asked, and nothing is remembered), the ticket from before the loader ran.
 */
void nc_load_absence(struct nc_sync *sync, struct nc_cache_thread *self, const struct nc_key *key,
                     uint64_t read_s, const struct nc_ticket *ticket);

#endif
