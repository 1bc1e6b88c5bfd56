/*
 * store/store: the local store as a whole: shards under one byte budget.
 */
#ifndef NC_STORE_STORE_H
#define NC_STORE_STORE_H

#include "store/shard.h"

int nc_store_init(struct nc_store *store, const struct nc_store_config *config,
                  struct nc_threads *threads);
/* False: something is pinned. */
bool nc_store_deinit(struct nc_store *store);

/* Before the first entry of a tier: where its entries compete. Under the caller's lock of tiers.
 * NULL: out of memory. */
const struct nc_partition *nc_store_tier_open(struct nc_store *store, uint32_t tier,
                                              enum nearcache_policy policy, uint32_t share_percent);

/* After unlocking: tells of each removed entry and retires it. */
void nc_store_settle(struct nc_store *store, struct nc_removed *removed);

/* Removes all entries that the predicate names; *values: how many of them were no absences. False:
 * `deadline_ns`, the machine's or UINT64_MAX, came before the end. */
bool nc_store_remove_if(struct nc_store *store, bool (*match)(void *, const struct nc_entry *),
                        void *arg, enum nearcache_cause cause, uint64_t deadline_ns,
                        uint64_t *values);

struct nc_store_usage {
    uint64_t entries, entry_bytes, index_bytes, journal_bytes, used_bytes, budget_bytes;
};
void nc_store_usage(struct nc_store *store, struct nc_store_usage *usage);
uint64_t nc_store_pinned(struct nc_store *store);

#endif
