#include "store/move.h"

/* Parts of the budget: how full the memory must be, and how much of it may stand empty. */
#define NEARLY_FULL(budget) ((budget) - (budget) / 16)
#define EMPTY_MOST(budget) ((budget) / 64 * 3)

bool nc_move_begin(struct nc_store *store)
{
    uint64_t budget = store->config.budget_bytes, held = nc_arena_resident(&store->arena);
    return held > NEARLY_FULL(budget) && held - nc_arena_used(&store->arena) > EMPTY_MOST(budget) &&
           nc_arena_mark_sparse(&store->arena) > 0;
}

void nc_move_entry_locked(struct nc_shard *shard, struct nc_entry *old, struct nc_removed *moved)
{
    struct nc_store *store = shard->store;
    struct nc_entry *entry = nc_entry_copy(&store->arena, old);
    if (!entry)
        return;
    if (nc_entry_is(old, NC_ENTRY_NEGATIVE))
        nc_queue_replace(&shard->absences, old, entry);
    else
        nc_segment_replace(&store->partitions.of_tier[nc_entry_tier(old)]->segments[shard->number],
                           old, entry);
    nc_index_replace(&shard->index, old, entry);
    nc_entry_set_newer(old, moved->first);
    moved->first = old;
}

void nc_move_settle(struct nc_store *store, struct nc_removed *moved)
{
    for (struct nc_entry *entry = moved->first, *next; entry; entry = next) {
        next = nc_entry_newer(entry);
        nc_epoch_retire(&store->epoch, entry);
    }
    moved->first = NULL;
}
