#include "store/move.h"

/* Parts of the budget: how full the memory must be, how much of it may stand empty, and with how
 * much nothing is waited for. A full store of mixed sizes has 5 to 8 % empty. */
#define NEARLY_FULL(budget) ((budget) - (budget) / 16)
#define EMPTY_MOST(budget) ((budget) / 64 * 3)
#define EMPTY_URGENT(budget) ((budget) / 10)

static bool stands_empty(const struct nc_store *store, uint64_t most)
{
    uint64_t held = nc_arena_resident(&store->arena);
    return held > NEARLY_FULL(store->config.budget_bytes) &&
           held - nc_arena_used(&store->arena) > most;
}

bool nc_move_begin(struct nc_store *store)
{
    return stands_empty(store, EMPTY_MOST(store->config.budget_bytes)) &&
           nc_arena_mark_sparse(&store->arena) > 0;
}

bool nc_move_is_urgent(const struct nc_store *store)
{
    return stands_empty(store, EMPTY_URGENT(store->config.budget_bytes));
}

bool nc_move_entry_locked(struct nc_shard *shard, struct nc_entry *old, struct nc_removed *moved)
{
    struct nc_store *store = shard->store;
    struct nc_entry *entry = nc_entry_copy(&store->arena, old);
    if (!entry)
        return false;
    if (nc_entry_is(old, NC_ENTRY_NEGATIVE))
        nc_queue_replace(&shard->absences, old, entry);
    else
        nc_segment_replace(&store->partitions.of_tier[nc_entry_tier(old)]->segments[shard->number],
                           old, entry);
    nc_index_replace(&shard->index, old, entry);
    nc_entry_set_newer(old, moved->first);
    moved->first = old;
    return true;
}

void nc_move_settle(struct nc_store *store, struct nc_removed *moved)
{
    for (struct nc_entry *entry = moved->first, *next; entry; entry = next) {
        next = nc_entry_newer(entry);
        nc_epoch_retire(&store->epoch, entry);
    }
    moved->first = NULL;
}
