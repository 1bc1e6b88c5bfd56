/*
 * store/sweep: what a store does by and by, a bounded part with each call: removes what is over or
 * dead, frees the tables that were outgrown, brings entries together where memory stands empty
 * between them (store/move), gives memory back.
 *
 * Each call locks one shard at a time, and none for long.
 */
#ifndef NC_STORE_SWEEP_H
#define NC_STORE_SWEEP_H

#include "store/store.h"

/* One thread. Removes what is over at `now`, a bounded number a call, and looks through a part of
 * each shard for what is dead; through all of it within 5 s of calls every 100 ms when `epochs`,
 * any number that moves with the epochs of tiers, has changed. True: there was a lot of it. */
bool nc_sweep(struct nc_store *store, nc_tick now, uint64_t epochs);

#endif
