#include "store/sweep.h"

#include "store/move.h"

/* Buckets that are looked through, and bytes that are moved, while a shard is locked. */
#define BUCKETS_A_TIME 512
#define MOVED_A_TIME ((size_t)64 << 10)
/* Calls until all has been seen: one comes every 100 ms. */
#define HURRIED_CALLS 50
#define SLOW_CALLS 1000

/* From where the last call ended. Returns the number of buckets that were looked through: fewer
 * than `most` where much is to be moved. */
static uint32_t sweep_buckets(struct nc_shard *shard, uint32_t most, nc_tick now, uint32_t *found,
                              struct nc_removed *removed, struct nc_removed *moved)
{
    uint32_t buckets = nc_index_buckets(&shard->index), looked = 0;
    bool moves = shard->store->moving != 0;
    size_t moved_bytes = 0;
    for (; looked < most && moved_bytes < MOVED_A_TIME; looked++) {
        struct nc_entry *entries[NC_BUCKET_WORDS];
        unsigned n = nc_index_bucket(&shard->index, shard->sweep_at++ % buckets, entries);
        for (unsigned e = 0; e < n; e++)
            if (nc_shard_is_over_locked(shard, entries[e], now)) {
                nc_shard_remove_locked(shard, entries[e], NEARCACHE_CAUSE_EXPIRED, removed);
                ++*found;
            } else if (moves && nc_move_wants_locked(shard, entries[e])) {
                moved_bytes += nc_entry_charge(entries[e]);
                nc_move_entry_locked(shard, entries[e], moved);
            }
    }
    return looked;
}

/* How much of the index a call looks through: what is dead by the epoch of its tier is nowhere
 * filed, and is looked for in a hurry when an epoch has moved; else the slow round is there for
 * what could not be filed. */
static uint32_t part_of(struct nc_store *store, uint32_t buckets)
{
    return store->hurry || store->moving ? buckets / HURRIED_CALLS + 64 : buckets / SLOW_CALLS + 1;
}

static void settle_sweep(struct nc_store *store, struct nc_removed *removed,
                         struct nc_removed *moved)
{
    nc_store_settle(store, removed);
    nc_move_settle(store, moved);
}

static bool sweep_one(struct nc_shard *shard, nc_tick now)
{
    struct nc_removed removed = {NULL, NULL}, moved = {NULL, NULL};
    uint32_t found;
    nc_shard_lock(shard);
    bool more = nc_shard_tidy_locked(shard, now, &found, &removed);
    uint32_t buckets = nc_index_buckets(&shard->index), part = part_of(shard->store, buckets);
    nc_shard_unlock(shard);
    settle_sweep(shard->store, &removed, &moved);
    if (part > buckets)
        part = buckets;
    while (part > 0) {
        nc_shard_lock(shard);
        part -= sweep_buckets(shard, part < BUCKETS_A_TIME ? part : BUCKETS_A_TIME, now, &found,
                              &removed, &moved);
        nc_shard_unlock(shard);
        settle_sweep(shard->store, &removed, &moved);
    }
    return more || found > NC_SHARD_TIDY_MOST;
}

static void free_old_tables(struct nc_store *store)
{
    pthread_mutex_lock(&store->tables_lock);
    for (struct nc_index_table **at = &store->old_tables; *at;) {
        struct nc_index_table *table = *at;
        if (nc_epoch_has_passed(&store->epoch, table->retired_at)) {
            *at = table->next;
            atomic_fetch_sub(&store->index_bytes, nc_index_table_bytes(table));
            nc_arena_free(&store->arena, table);
        } else {
            at = &table->next;
        }
    }
    pthread_mutex_unlock(&store->tables_lock);
}

bool nc_sweep(struct nc_store *store, nc_tick now, uint64_t epochs)
{
    bool more = false;
    if (epochs != store->epochs_swept) {
        store->epochs_swept = epochs;
        store->hurry = HURRIED_CALLS + 1;
    }
    /* Tables that were outgrown are paid for as long as they are there. */
    more |= nc_epoch_reclaim(&store->epoch);
    free_old_tables(store);
    if (nc_move_begin(store))
        store->moving = HURRIED_CALLS + 1;
    for (size_t i = 0; i < (size_t)1 << store->shard_bits; i++)
        more |= sweep_one(&store->shards[i], now);
    store->hurry -= store->hurry > 0;
    store->moving -= store->moving > 0;
    more |= store->moving > 0 && nc_move_is_urgent(store);
    more |= nc_epoch_reclaim_again(&store->epoch);
    more |= nc_arena_trim(&store->arena);
    return more;
}
