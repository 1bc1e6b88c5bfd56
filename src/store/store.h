/*
 * store/store: the local store: shards, each with a lock for writers, an index, and queues that
 * say who goes first; one byte budget over all of it.
 *
 * Readers take no lock (nc_store_find, inside an epoch). Writers lock one shard at a time, do what
 * they must and unlock; what they removed is settled afterwards: the removal hook runs under no
 * lock, then the entry is retired.
 *
 * Eviction is lazy LRU by generations. Time in a shard is counted in generations of a sixteenth of
 * its entries; each has a queue in the order of insertion. A hit stamps the entry with the present
 * generation, a store only when the stamp differs, and moves nothing. At eviction time the tail of
 * the oldest queue goes, unless its stamp is newer: then it moves to the queue of its stamp. One
 * mark bit instead of a stamp forgets in which order the marked ones were hit, which cost 2 % of the
 * miss ratio on traces with strong recency.
 */
#ifndef NC_STORE_STORE_H
#define NC_STORE_STORE_H

#include "memory/epoch.h"
#include "nearcache.h"
#include "store/index.h"

struct nc_store;

typedef void (*nc_removal_hook)(void *arg, struct nc_entry *entry, enum nearcache_cause cause);
/* Whether an entry may go at once: its tier's epoch has moved on. */
typedef bool (*nc_dead_hook)(void *arg, const struct nc_entry *entry);

struct nc_store_config {
    uint64_t budget_bytes, capacity_entries; /* 0 entries: bytes alone decide */
    uint32_t shards;                         /* 0: chosen */
    nc_removal_hook on_removal;
    nc_dead_hook is_dead;
    void *arg;
};

struct nc_queue {
    struct nc_entry *head, *tail;
};

/* A power of two; more than a stamp can be apart from the oldest queue in use. */
#define NC_GENERATIONS 32

/* Guarded by its lock, but for the index's reading side. */
struct nc_shard {
    _Alignas(64) pthread_mutex_t lock;
    struct nc_index index;
    struct nc_queue values[NC_GENERATIONS]; /* of generation g at g % NC_GENERATIONS */
    struct nc_queue absences;
    uint8_t oldest;        /* generation of the oldest queue */
    uint32_t inserted;     /* in this generation */
    uint64_t bytes;
    uint32_t entries, absent;
    uint32_t entries_most;
    uint32_t sweep_at;
    struct nc_store *store;
    _Alignas(64) _Atomic uint8_t generation; /* read by every hit, written a few times a round */
};

enum nc_bytes { NC_BYTES_JOURNAL, NC_BYTES_FIXED, NC_BYTES_KINDS };

struct nc_store {
    struct nc_store_config config;
    struct nc_epoch epoch;
    unsigned shard_bits;
    struct nc_shard *shards;
    _Atomic uint64_t other_bytes[NC_BYTES_KINDS];
    _Atomic uint64_t index_bytes;
    pthread_mutex_t tables_lock;
    struct nc_index_table *old_tables;
};

/* What a writer removed, to be settled after unlocking. */
struct nc_removed {
    struct nc_entry *first, *last;
};

int nc_store_init(struct nc_store *store, const struct nc_store_config *config,
                  struct nc_threads *threads);
/* False: something is pinned. */
bool nc_store_deinit(struct nc_store *store);

static inline struct nc_shard *nc_store_shard(const struct nc_store *store, uint64_t hash)
{
    return &store->shards[nc_hash_shard(hash, store->shard_bits)];
}

void nc_budget_charge(struct nc_store *store, enum nc_bytes kind, uint64_t bytes);
void nc_budget_uncharge(struct nc_store *store, enum nc_bytes kind, uint64_t bytes);

/* Inside an epoch: the entry was hit. Relaxed: a stamp is a hint and orders nothing; it is written
 * only when it changes, so the line of a hot entry stays shared among its readers. */
static inline void nc_shard_hit(struct nc_shard *shard, struct nc_entry *entry)
{
    uint8_t now = atomic_load_explicit(&shard->generation, memory_order_relaxed);
    if (atomic_load_explicit(&entry->mark, memory_order_relaxed) != now)
        atomic_store_explicit(&entry->mark, now, memory_order_relaxed);
}

/* Private until inserted. NULL: out of memory. */
struct nc_entry *nc_entry_create(uint64_t hash, uint32_t tier, const void *name, size_t name_bytes,
                                 size_t value_bytes, uint8_t flags);
void nc_entry_destroy(struct nc_entry *entry);

static inline void nc_shard_lock(struct nc_shard *shard)
{
    pthread_mutex_lock(&shard->lock);
}
static inline void nc_shard_unlock(struct nc_shard *shard)
{
    pthread_mutex_unlock(&shard->lock);
}
struct nc_entry *nc_shard_find_locked(struct nc_shard *shard, uint64_t hash, uint32_t tier,
                                      const void *name, size_t name_bytes);
/* Takes the place of an entry of the same key and evicts what is needed. False: too large for the
 * shard; nothing was changed. */
bool nc_shard_insert_locked(struct nc_shard *shard, struct nc_entry *entry,
                            struct nc_removed *removed);
void nc_shard_remove_locked(struct nc_shard *shard, struct nc_entry *entry,
                            enum nearcache_cause cause, struct nc_removed *removed);
/* After unlocking: tells of each removed entry and retires it. */
void nc_store_settle(struct nc_store *store, struct nc_removed *removed);

/* Removes what is over at `now` from a part of each shard. True: there was a lot of it. */
bool nc_store_sweep(struct nc_store *store, nc_tick now);
/* Removes all entries that the predicate names; returns how many. */
uint64_t nc_store_remove_if(struct nc_store *store, bool (*match)(void *, const struct nc_entry *),
                            void *arg, enum nearcache_cause cause);

struct nc_store_usage {
    uint64_t entries, entry_bytes, index_bytes, journal_bytes, used_bytes, budget_bytes;
};
void nc_store_usage(struct nc_store *store, struct nc_store_usage *usage);
uint64_t nc_store_pinned(struct nc_store *store);

#endif
