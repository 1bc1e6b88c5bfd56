#include "store/sweep.h"

#include "store/move.h"

/* Buckets that are looked through, and what moving may cost, while a shard is locked: the bytes of
 * an entry, and so many for what else there is to do. */
#define BUCKETS_A_TIME 512
#define MOVES_A_TIME ((size_t)64 << 10)
#define MOVE_COST 512
/* The same for who inserts: for each so many bytes that he takes, up to so many parts. As much
 * should come free as he takes. */
#define HELP_BYTES 2048
#define HELP_PARTS_MOST 8
#define HELP_BUCKETS 32
#define HELP_MOVES ((size_t)16 << 10)
/* Calls until all has been seen: one comes every 100 ms. */
#define HURRIED_CALLS 50
#define SLOW_CALLS 1000

struct look {
    uint32_t *at; /* the bucket that comes next */
    uint32_t buckets;
    bool moves;
    bool only_leaving; /* entries elsewhere are not looked at, each a miss */
    bool again;        /* a bucket was left before its end */
    size_t cost, cost_most;
    const struct nc_entry *spared;
    uint32_t found, moved;
};

/* Removes what is over and moves what is to be moved. Returns the number of buckets that were
 * looked through: fewer where much is to be moved. */
static uint32_t look_through(struct nc_shard *shard, struct look *look, nc_tick now,
                             struct nc_removed *removed, struct nc_removed *moved)
{
    uint32_t buckets = nc_index_buckets(&shard->index), looked = 0;
    for (; looked < look->buckets && look->cost < look->cost_most; looked++) {
        struct nc_entry *entries[NC_BUCKET_WORDS];
        unsigned n = nc_index_bucket(&shard->index, (*look->at)++ % buckets, entries);
        for (unsigned e = 0; e < n; e++) {
            struct nc_entry *entry = entries[e];
            bool leaves = look->moves && nc_move_wants_locked(shard, entry);
            if (entry == look->spared || (look->only_leaving && !leaves))
                continue;
            if (nc_shard_is_over_locked(shard, entry, now)) {
                nc_shard_remove_locked(shard, entry, NEARCACHE_CAUSE_EXPIRED, removed);
                look->found++;
            } else if (leaves && look->cost < look->cost_most &&
                       nc_move_entry_locked(shard, entry, moved)) {
                look->cost += nc_entry_charge(entry) + MOVE_COST;
                look->moved++;
            } else if (leaves && look->cost >= look->cost_most) {
                look->again = true;
            }
        }
        if (look->again) { /* the rest of this bucket has its turn next time */
            look->again = false;
            --*look->at;
            return looked;
        }
    }
    return looked;
}

void nc_sweep_help_locked(struct nc_shard *shard, const struct nc_entry *inserted, nc_tick now,
                          struct nc_removed *removed, struct nc_removed *moved)
{
    uint32_t buckets = nc_index_buckets(&shard->index);
    uint32_t marks = nc_arena_marks(&shard->store->arena);
    uint64_t parts = 1 + nc_entry_charge(inserted) / HELP_BYTES;
    parts = parts < HELP_PARTS_MOST ? parts : HELP_PARTS_MOST;
    if (shard->vain_marks != marks) {
        shard->vain_marks = marks;
        shard->vain_looks = 0;
    }
    /* What is left in marked runs is pinned, or waits to be freed, or is no entry. */
    if (shard->vain_looks >= buckets)
        return;
    struct look look = {.at = &shard->help_at,
                        .buckets = (uint32_t)parts * HELP_BUCKETS,
                        .moves = true,
                        .only_leaving = true,
                        .cost_most = parts * HELP_MOVES,
                        .spared = inserted};
    look.buckets = look.buckets < buckets ? look.buckets : buckets;
    uint32_t looked = look_through(shard, &look, now, removed, moved);
    shard->vain_looks = look.moved + look.found > 0 ? 0 : shard->vain_looks + looked;
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
    struct look look = {.at = &shard->sweep_at, .cost_most = MOVES_A_TIME};
    nc_shard_lock(shard);
    bool more = nc_shard_tidy_locked(shard, now, &look.found, &removed);
    uint32_t buckets = nc_index_buckets(&shard->index), part = part_of(shard->store, buckets);
    nc_shard_unlock(shard);
    settle_sweep(shard->store, &removed, &moved);
    if (part > buckets)
        part = buckets;
    look.moves = shard->store->moving != 0;
    while (part > 0) {
        look.buckets = part < BUCKETS_A_TIME ? part : BUCKETS_A_TIME;
        look.cost = 0;
        nc_shard_lock(shard);
        part -= look_through(shard, &look, now, &removed, &moved);
        nc_shard_unlock(shard);
        settle_sweep(shard->store, &removed, &moved);
    }
    return more || look.found > NC_SHARD_TIDY_MOST;
}

static void free_old_tables(struct nc_store *store)
{
    pthread_mutex_lock(&store->tables_lock);
    if (store->old_tables) /* perhaps nothing else moves it */
        nc_epoch_advance(&store->epoch);
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
