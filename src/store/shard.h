/*
 * store/shard: a part of the local store: a lock for writers, an index, queues that say who goes
 * first, and who is due; the one place where an entry is linked or unlinked and its bytes are
 * accounted.
 *
 * Readers take no lock (nc_index_find, inside an epoch). Writers lock one shard at a time, do what
 * they must and unlock; what they removed is settled afterwards (nc_store_settle): the removal hook
 * runs under no lock, then the entry is retired.
 *
 * Who goes when bytes or entries run short: the partition furthest above its guarantee pays
 * (store/partition), and its policy picks the entry (store/segment).
 */
#ifndef NC_STORE_SHARD_H
#define NC_STORE_SHARD_H

#include "memory/epoch.h"
#include "nearcache.h"
#include "store/expiry.h"
#include "store/index.h"
#include "store/partition.h"

struct nc_store;

typedef void (*nc_removal_hook)(void *arg, struct nc_entry *entry, enum nearcache_cause cause);
/* Whether an entry may go at once: its tier's epoch has moved on. */
typedef bool (*nc_dead_hook)(void *arg, const struct nc_entry *entry);
/* For how long an entry whose time is over may still be of use. */
typedef nc_tick (*nc_linger_hook)(void *arg, const struct nc_entry *entry);

struct nc_store_config {
    uint64_t budget_bytes, capacity_entries; /* 0 entries: bytes alone decide */
    uint32_t shards;                         /* 0: chosen */
    nc_removal_hook on_removal;
    nc_dead_hook is_dead;
    nc_linger_hook lingers; /* NULL: none does */
    void *arg;
};

/* Lines that the next insertion into a shard needs: of who goes next, of the one after, and both
 * buckets of the former. */
#define NC_SHARD_SOON 4

/* Guarded by its lock, but for the index's reading side and `soon`. What every insertion needs
 * stands in the first line and what is behind it in the second. */
struct nc_shard {
    _Alignas(64) struct nc_lock lock;
    struct nc_index index;
    uint64_t bytes;
    uint32_t entries, absent;
    uint32_t entries_most;
    uint32_t number;
    struct nc_store *store;
    uint32_t sweep_at, help_at;      /* of store/sweep, as the next: buckets that come next */
    uint32_t vain_looks, vain_marks; /* buckets in which nothing was to be moved, since that mark */
    uint32_t loads; /* under way of values that writes void, each of a key of this shard */
    /* Addresses to be fetched, never to be followed: hints for who has not the lock yet. */
    _Alignas(64) _Atomic(const void *) soon[NC_SHARD_SOON];
    struct nc_queue absences;
    uint64_t absent_bytes;
    size_t expiry_bytes; /* as they were accounted last */
    _Alignas(64) struct nc_expiry expiry;
};

enum nc_bytes { NC_BYTES_JOURNAL, NC_BYTES_FIXED, NC_BYTES_KINDS };

/* What shards share; it begins and ends in store/store. */
struct nc_store {
    struct nc_store_config config;
    struct nc_arena arena;
    struct nc_epoch epoch;
    unsigned shard_bits;
    struct nc_hash_shards sharding;
    struct nc_shard *shards;
    struct nc_index_head *heads; /* of the shards' indexes: what readers read */
    struct nc_partitions partitions;
    uint64_t epochs_swept; /* store/sweep only, as the next */
    uint32_t hurry;        /* calls of the sweep until all dead entries are gone */
    uint32_t moving;       /* the same until entries have been brought together */
    _Atomic uint64_t other_bytes[NC_BYTES_KINDS];
    _Atomic uint64_t index_bytes;
    pthread_mutex_t tables_lock;
    struct nc_index_table *old_tables;
};

/* What a writer removed, to be settled after unlocking. */
struct nc_removed {
    struct nc_entry *first, *last;
};

static inline const struct nc_index_head *nc_store_head(const struct nc_store *store, uint64_t hash)
{
    return &store->heads[nc_hash_shard(hash, store->sharding)];
}

static inline struct nc_shard *nc_store_shard(const struct nc_store *store, uint64_t hash)
{
    return &store->shards[nc_hash_shard(hash, store->sharding)];
}

void nc_budget_charge(struct nc_store *store, enum nc_bytes kind, uint64_t bytes);
void nc_budget_uncharge(struct nc_store *store, enum nc_bytes kind, uint64_t bytes);

static inline void nc_shard_lock(struct nc_shard *shard) { nc_lock_take(&shard->lock); }
static inline void nc_shard_unlock(struct nc_shard *shard) { nc_lock_drop(&shard->lock); }
/* Fetches what inserting an entry of `partition` will work on. The lock is not needed. */
static inline void nc_shard_announce(const struct nc_store *store, uint64_t hash,
                                     const struct nc_partition *partition)
{
    uint32_t number = nc_hash_shard(hash, store->sharding);
    struct nc_shard *shard = &store->shards[number];
    __builtin_prefetch(shard, 1);
    __builtin_prefetch(&partition->segments[number], 1);
    for (int i = 0; i < NC_SHARD_SOON; i++) /* relaxed: nothing is read through them */
        __builtin_prefetch(atomic_load_explicit(&shard->soon[i], memory_order_relaxed), 1);
}
/* `hash`: of the key; its lower half does. */
struct nc_entry *nc_shard_find_locked(struct nc_shard *shard, uint64_t hash, uint32_t tier,
                                      const void *name, size_t name_bytes);
/* Takes the place of `old`, what nc_shard_find_locked finds of the same key, and makes room: by
 * what is over at `now`, then by evicting. False: too large for the shard; nothing was changed. */
bool nc_shard_insert_locked(struct nc_shard *shard, struct nc_entry *entry, struct nc_entry *old,
                            nc_tick now, struct nc_removed *removed);
/* Whether inserting this depends on the time. */
static inline bool nc_shard_needs_time_locked(const struct nc_shard *shard,
                                              const struct nc_entry *entry)
{
    return shard->expiry.filed != 0 || nc_entry_is(entry, NC_ENTRY_EXPIRES);
}
/* The entry has a new end. */
void nc_shard_touched_locked(struct nc_shard *shard, struct nc_entry *entry, nc_tick now);
void nc_shard_remove_locked(struct nc_shard *shard, struct nc_entry *entry,
                            enum nearcache_cause cause, struct nc_removed *removed);

/* ---- upkeep: of store/sweep ---- */

#define NC_SHARD_TIDY_MOST 256 /* filed keys that are looked at in one go */
/* Removes what is over at `now` of the keys that are due, and has what was remembered since paid
 * for. *looked: how many keys. True: there is more to do. */
bool nc_shard_tidy_locked(struct nc_shard *shard, nc_tick now, uint32_t *looked,
                          struct nc_removed *removed);
/* Whether it is of no use any more: its time is over, or it is dead. */
bool nc_shard_is_over_locked(const struct nc_shard *shard, const struct nc_entry *entry,
                             nc_tick now);

#endif
