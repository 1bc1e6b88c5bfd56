#include "store/move.h"

/* Parts of the budget: how full the memory must be, how much of it may stand empty, and with how
 * much nothing is waited for. A full store of mixed sizes has 5 to 8 % empty. */
#define NEARLY_FULL(budget) ((budget) - (budget) / 16)
#define EMPTY_MOST(budget) ((budget) / 64 * 3)
#define EMPTY_URGENT(budget) ((budget) / 10)

/* What an insertion of so many bytes does while there is need: buckets that it looks through, and
 * entries after which it stops. As much room must come free as it takes, but the lock is held. */
#define PART_BYTES 2048
#define PARTS_MOST 8
#define LOOKED_A_PART 32
#define MOVED_A_PART 16

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

void nc_move_some_locked(struct nc_shard *shard, const struct nc_entry *inserted,
                         struct nc_removed *moved)
{
    uint64_t parts = 1 + nc_entry_charge(inserted) / PART_BYTES;
    uint32_t buckets = nc_index_buckets(&shard->index), count = 0;
    parts = parts < PARTS_MOST ? parts : PARTS_MOST;
    if (buckets > parts * LOOKED_A_PART)
        buckets = (uint32_t)parts * LOOKED_A_PART;
    for (; buckets > 0 && count < parts * MOVED_A_PART; buckets--) {
        struct nc_entry *entries[NC_BUCKET_WORDS];
        unsigned n = nc_index_bucket(&shard->index,
                                     shard->move_at++ % nc_index_buckets(&shard->index), entries);
        for (unsigned e = 0; e < n; e++)
            if (entries[e] != inserted && nc_move_wants_locked(shard, entries[e])) {
                nc_move_entry_locked(shard, entries[e], moved);
                count++;
            }
    }
}

void nc_move_settle(struct nc_store *store, struct nc_removed *moved)
{
    for (struct nc_entry *entry = moved->first, *next; entry; entry = next) {
        next = nc_entry_newer(entry);
        nc_epoch_retire(&store->epoch, entry);
    }
    moved->first = NULL;
}
