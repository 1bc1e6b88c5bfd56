/*
 * store/move: brings entries together when memory stands empty between them.
 *
 * While the sizes of values change, runs of the old sizes stay with a few entries each, and their
 * pages can serve no other size. Such runs are marked; the sweep then copies their entries into
 * other runs of the same size, and an empty run goes back to the pages. A copy takes the entry's
 * place in index and queue; a reader finds one or the other, a pin keeps the one that it has.
 *
 * Promises: what an entry says and when its turn comes stays; without memory it stays where it is.
 */
#ifndef NC_STORE_MOVE_H
#define NC_STORE_MOVE_H

#include "store/shard.h"

/* Marks sparse runs where the budget is nearly used up and much of it stands empty. True: there are
 * new ones, and all entries are to be looked at. One thread. */
bool nc_move_begin(struct nc_store *store);

/* Whether the next sweep should come at once: while memory stands empty more is evicted than need
 * be. Else moving takes its time, so that a store that is always full does not keep a processor. */
bool nc_move_is_urgent(const struct nc_store *store);

/* Whether the entry, which is linked, is to be moved. */
static inline bool nc_move_wants_locked(const struct nc_shard *shard, const struct nc_entry *entry)
{
    return nc_arena_is_leaving(&shard->store->arena, entry);
}

/* The old entry, unlinked, is added to `moved`. False: there is no memory, it stays. */
bool nc_move_entry_locked(struct nc_shard *shard, struct nc_entry *old, struct nc_removed *moved);

/* After unlocking: retires the old ones, of which nobody is told. */
void nc_move_settle(struct nc_store *store, struct nc_removed *moved);

#endif
