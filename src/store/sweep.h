/*
 * store/sweep: what a store does by and by, a bounded part with each call: removes what is over or
 * dead, frees the tables that were outgrown, brings entries together where memory stands empty
 * between them (store/move), gives memory back.
 *
 * Each call locks one shard at a time, and none for long. Where sizes change faster than it comes
 * round, those who insert help: as soon as the arena is over (memory/arena) each of them looks
 * through a part of its shard, in proportion to what it takes.
 */
#ifndef NC_STORE_SWEEP_H
#define NC_STORE_SWEEP_H

#include "store/store.h"

/* One thread. Removes what is over at `now`, a bounded number a call, and looks through a part of
 * each shard for what is dead; through all of it within 5 s of calls every 100 ms when `epochs`,
 * any number that moves with the epochs of tiers, has changed. True: there was a lot of it. */
bool nc_sweep(struct nc_store *store, nc_tick now, uint64_t epochs);

/* Whether those who insert are to help. */
static inline bool nc_sweep_needs_help(const struct nc_store *store)
{
    return nc_arena_has_leaving(&store->arena) && nc_arena_is_over(&store->arena);
}

/* By who has inserted an entry, or would have: removes and moves some others of its shard. Both
 * lists are to be settled (store/store, store/move). */
void nc_sweep_help_locked(struct nc_shard *shard, const struct nc_entry *inserted, nc_tick now,
                          struct nc_removed *removed, struct nc_removed *moved);

#endif
