#include "store/store.h"

#include "store/move.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A shard smaller than this evicts badly; a store with fewer entries gets fewer shards. */
#define SHARD_BYTES_LEAST ((uint64_t)1 << 20)
#define SHARD_ENTRIES_LEAST 128
#define FIRST_BUCKETS 15 /* with its head a block of 1 KiB */
/* From here on growing for one entry's sake costs more than another's place. */
#define LARGE_TABLE_BUCKETS 1024
/* How often a removal goes through a shard that moves under it before it holds the lock. */
#define SHORT_PASSES 3
#define ABSENT_SHARE 16
/* The part of the budget by which resident memory may exceed it, and what is done above that. */
#define TOLERATED_SHARE 64
#define EXCESS_GAIN 4
/* A batch of retired entries, of one thread. */
#define BATCH_BYTES_LEAST ((uint64_t)16 << 10)
#define BATCH_BYTES_MOST ((uint64_t)2 << 20)
#define BATCH_SHARE 256
/* Filed keys that are looked at: with each insertion, and in a shard with each sweep. */
#define EXPIRED_A_TIME 2
#define EXPIRED_A_SWEEP 256
#define EVICTED_A_SWEEP 256
/* Buckets that are looked through, and bytes that are moved, while a shard is locked. */
#define BUCKETS_A_TIME 512
#define MOVED_A_TIME ((size_t)64 << 10)
#define WEEDED_A_TIME 16
#define STALE_LEAST 64
/* Calls of the sweep until it has seen all: one comes every 100 ms. */
#define HURRIED_CALLS 50
#define SLOW_CALLS 1000

static unsigned choose_shard_bits(const struct nc_store_config *config)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    uint64_t wanted =
        config->shards ? config->shards : (uint64_t)(processors > 0 ? processors : 1) * 8;
    unsigned bits = 0;
    while (bits < 16 && UINT64_C(2) << bits <= wanted)
        bits++;
    if (config->shards == 0)
        while (bits > 0 && (config->budget_bytes >> bits < SHARD_BYTES_LEAST ||
                            (config->capacity_entries &&
                             config->capacity_entries >> bits < SHARD_ENTRIES_LEAST)))
            bits--;
    /* Each shard holds at least one entry. */
    while (bits > 0 && config->capacity_entries && config->capacity_entries >> bits == 0)
        bits--;
    return bits;
}

static uint64_t choose_batch_bytes(uint64_t budget_bytes)
{
    uint64_t bytes = budget_bytes / BATCH_SHARE;
    if (bytes < BATCH_BYTES_LEAST)
        return BATCH_BYTES_LEAST;
    return bytes < BATCH_BYTES_MOST ? bytes : BATCH_BYTES_MOST;
}

static int init_shard(struct nc_store *store, struct nc_shard *shard, uint32_t number)
{
    uint64_t entries = store->config.capacity_entries;
    uint32_t count = UINT32_C(1) << store->shard_bits;
    memset(shard, 0, sizeof *shard);
    nc_expiry_init(&shard->expiry);
    shard->store = store;
    shard->number = number;
    shard->entries_most = UINT32_MAX;
    if (entries && entries / count < UINT32_MAX)
        shard->entries_most = (uint32_t)(entries / count + (number < entries % count));
    return nc_index_init(&shard->index, &store->heads[number], &store->arena, FIRST_BUCKETS);
}

int nc_store_init(struct nc_store *store, const struct nc_store_config *config,
                  struct nc_threads *threads)
{
    memset(store, 0, sizeof *store);
    store->config = *config;
    store->shard_bits = choose_shard_bits(config);
    store->sharding = nc_hash_shards(store->shard_bits);
    size_t count = (size_t)1 << store->shard_bits;
    int outcome = nc_arena_init(&store->arena, config->budget_bytes);
    if (outcome != 0)
        return outcome;
    size_t heads_bytes = (count * sizeof *store->heads + 63) / 64 * 64;
    store->shards = aligned_alloc(64, count * sizeof *store->shards);
    store->heads = aligned_alloc(64, heads_bytes);
    outcome = store->shards && store->heads ? 0 : NEARCACHE_ENOMEM;
    for (size_t i = 0; outcome == 0 && i < count; i++) {
        outcome = init_shard(store, &store->shards[i], (uint32_t)i);
        if (outcome == 0)
            atomic_fetch_add(&store->index_bytes, nc_index_bytes(&store->shards[i].index));
    }
    if (outcome != 0) {
        free(store->shards);
        free(store->heads);
        nc_arena_deinit(&store->arena);
        return outcome;
    }
    pthread_mutex_init(&store->tables_lock, NULL);
    nc_epoch_init(&store->epoch, threads, &store->arena, choose_batch_bytes(config->budget_bytes),
                  NC_BARRIERS_BEST);
    nc_partitions_init(&store->partitions, store->shard_bits, config->capacity_entries != 0);
    nc_budget_charge(store, NC_BYTES_FIXED,
                     count * sizeof *store->shards + heads_bytes + sizeof *store);
    return 0;
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

static bool everything(void *arg, const struct nc_entry *entry)
{
    (void)arg;
    (void)entry;
    return true;
}

bool nc_store_deinit(struct nc_store *store)
{
    nc_store_remove_if(store, everything, NULL, NEARCACHE_CAUSE_CLEARED);
    if (!nc_epoch_deinit(&store->epoch))
        return false;
    for (size_t i = 0; i < (size_t)1 << store->shard_bits; i++)
        nc_expiry_deinit(&store->shards[i].expiry);
    pthread_mutex_destroy(&store->tables_lock);
    nc_partitions_deinit(&store->partitions);
    free(store->shards);
    free(store->heads);
    nc_arena_deinit(&store->arena);
    return true;
}

const struct nc_partition *nc_store_tier_open(struct nc_store *store, uint32_t tier,
                                              enum nearcache_policy policy, uint32_t share_percent)
{
    uint64_t bytes;
    const struct nc_partition *partition =
        nc_partitions_add(&store->partitions, tier, policy, share_percent, &bytes);
    nc_budget_charge(store, NC_BYTES_FIXED, bytes);
    return partition;
}

void nc_budget_charge(struct nc_store *store, enum nc_bytes kind, uint64_t bytes)
{
    atomic_fetch_add_explicit(&store->other_bytes[kind], bytes, memory_order_relaxed);
}

void nc_budget_uncharge(struct nc_store *store, enum nc_bytes kind, uint64_t bytes)
{
    atomic_fetch_sub_explicit(&store->other_bytes[kind], bytes, memory_order_relaxed);
}

/* ---- writers ---- */

struct nc_entry *nc_shard_find_locked(struct nc_shard *shard, uint64_t hash, uint32_t tier,
                                      const void *name, size_t name_bytes)
{
    return nc_index_find(shard->index.head, hash, nc_entry_tier_epoch(tier, 0), NC_ENTRY_TIER_MASK,
                         name, name_bytes);
}

static struct nc_segment *segment_of(const struct nc_shard *shard, const struct nc_entry *entry)
{
    return &shard->store->partitions.of_tier[nc_entry_tier(entry)]->segments[shard->number];
}

static void link_entry(struct nc_shard *shard, struct nc_entry *entry, struct nc_arrival arrival)
{
    shard->bytes += nc_entry_charge(entry);
    shard->entries++;
    if (nc_entry_is(entry, NC_ENTRY_NEGATIVE)) {
        shard->absent++;
        nc_queue_push(&shard->absences, entry);
    } else {
        nc_segment_insert(segment_of(shard, entry), entry, arrival);
    }
}

static void unlink_entry(struct nc_shard *shard, struct nc_entry *entry, enum nearcache_cause cause)
{
    shard->bytes -= nc_entry_charge(entry);
    shard->entries--;
    if (nc_entry_is(entry, NC_ENTRY_NEGATIVE)) {
        shard->absent--;
        nc_queue_pull(&shard->absences, entry);
    } else {
        nc_segment_remove(segment_of(shard, entry), entry, cause);
    }
}

static void account_out(struct nc_shard *shard, struct nc_entry *entry, enum nearcache_cause cause,
                        struct nc_removed *removed)
{
    unlink_entry(shard, entry, cause);
    entry->queue = (uint8_t)cause; /* until it is settled */
    nc_entry_set_newer(entry, NULL);
    if (removed->last)
        nc_entry_set_newer(removed->last, entry);
    else
        removed->first = entry;
    removed->last = entry;
}

void nc_shard_remove_locked(struct nc_shard *shard, struct nc_entry *entry,
                            enum nearcache_cause cause, struct nc_removed *removed)
{
    nc_index_remove(&shard->index, entry);
    account_out(shard, entry, cause, removed);
}

/* Where sizes change, memory stands empty between blocks, and entries must make room for it. The
 * limit falls by a multiple of what the arena holds above the budget: in proportion, because what
 * is evicted seldom empties a page at once. */
static uint64_t excess_bytes(const struct nc_shard *shard)
{
    struct nc_store *store = shard->store;
    uint64_t budget = store->config.budget_bytes;
    uint64_t most = budget + budget / TOLERATED_SHARE, held = nc_arena_resident(&store->arena);
    uint64_t excess = held > most ? (held - most) * EXCESS_GAIN : 0;
    return excess < budget / 2 ? excess : budget / 2;
}

/* The shard's part of what is left of the budget beside `other` bytes. */
static uint64_t part_beside(const struct nc_shard *shard, uint64_t other)
{
    struct nc_store *store = shard->store;
    uint64_t budget = store->config.budget_bytes;
    other += atomic_load_explicit(&store->index_bytes, memory_order_relaxed);
    for (int i = 0; i < NC_BYTES_KINDS; i++)
        other += atomic_load_explicit(&store->other_bytes[i], memory_order_relaxed);
    return (budget > other ? budget - other : 0) >> store->shard_bits;
}

static uint64_t bytes_most(const struct nc_shard *shard)
{
    return part_beside(shard, excess_bytes(shard));
}

/* ---- expiry ---- */

/* When it may go: some entries are of use for a while after their time. */
static nc_tick end_of(const struct nc_store *store, const struct nc_entry *entry)
{
    nc_tick end =
        atomic_load_explicit(&((struct nc_entry *)entry)->expiry_tick, memory_order_relaxed);
    return store->config.lingers ? end + store->config.lingers(store->config.arg, entry) : end;
}

static bool has_expired(const struct nc_store *store, const struct nc_entry *entry, nc_tick now)
{
    return nc_entry_is(entry, NC_ENTRY_EXPIRES) && !nc_tick_after(end_of(store, entry), now);
}

/* Removes what is over of at most `most` filed keys that are due, but never `spared`, which is not
 * linked yet. How many keys were looked at; *freed: whether anything went. */
static uint32_t expire_due(struct nc_shard *shard, nc_tick now, uint32_t most,
                           const struct nc_entry *spared, bool *freed, struct nc_removed *removed)
{
    struct nc_entry *entries[2 * NC_BUCKET_WORDS];
    struct nc_expired due;
    uint32_t looked = 0;
    *freed = false;
    while (looked < most && nc_expiry_take(&shard->expiry, now, &due)) {
        looked++;
        unsigned n = nc_index_with_hash(&shard->index, due.hash, entries);
        for (unsigned i = 0; i < n; i++)
            if (entries[i] != spared && has_expired(shard->store, entries[i], now)) {
                nc_shard_remove_locked(shard, entries[i], NEARCACHE_CAUSE_EXPIRED, removed);
                *freed = true;
            }
    }
    return looked;
}

/* One that is over goes before anybody who is not. */
static bool expire_one(struct nc_shard *shard, nc_tick now, const struct nc_entry *spared,
                       struct nc_removed *removed)
{
    bool freed;
    while (expire_due(shard, now, 1, spared, &freed, removed))
        if (freed)
            return true;
    return false;
}

/* A key that is filed and was removed or written again stays filed. Where most are such ones some
 * are looked at, so that they are never many more than the entries need: together, because each
 * alone would be waited for three times. */
static void weed(struct nc_shard *shard, nc_tick now)
{
    struct nc_entry *entries[2 * NC_BUCKET_WORDS];
    struct nc_expired filed[WEEDED_A_TIME];
    int count = 0;
    if (shard->expiry.filed <= 2 * shard->entries + STALE_LEAST)
        return;
    while (count < WEEDED_A_TIME && nc_expiry_weed(&shard->expiry, &filed[count]))
        nc_index_announce(&shard->index, filed[count++].hash);
    for (int i = 0; i < count; i++)
        nc_index_approach(&shard->index, filed[i].hash);
    for (int i = 0; i < count; i++) {
        unsigned n = nc_index_with_hash(&shard->index, filed[i].hash, entries);
        for (unsigned e = 0; e < n; e++)
            if (nc_entry_is(entries[e], NC_ENTRY_EXPIRES) &&
                (uint16_t)end_of(shard->store, entries[e]) == filed[i].ends) {
                nc_expiry_file(&shard->expiry, filed[i].hash, end_of(shard->store, entries[e]),
                               now);
                break; /* who has the same hash is looked at with it; two would become four */
            }
    }
}

static void file_expiry(struct nc_shard *shard, const struct nc_entry *entry, nc_tick now)
{
    if (!nc_entry_is(entry, NC_ENTRY_EXPIRES))
        return;
    weed(shard, now);
    if (shard->expiry.filed <= 4 * shard->entries + 2 * STALE_LEAST)
        nc_expiry_file(&shard->expiry, entry->hash, end_of(shard->store, entry), now);
}

void nc_shard_touched_locked(struct nc_shard *shard, struct nc_entry *entry, nc_tick now)
{
    file_expiry(shard, entry, now);
}

/* ---- making room ---- */

/* Absences have a share of their own, so that a flood of misses cannot evict values. */
static void make_room_for_absence(struct nc_shard *shard, uint64_t most, struct nc_removed *removed)
{
    uint32_t absent_most = shard->entries_most / ABSENT_SHARE;
    if (shard->entries_most == UINT32_MAX)
        absent_most = (uint32_t)(most / ABSENT_SHARE / 256);
    while (shard->absent > 0 && shard->absent >= absent_most)
        nc_shard_remove_locked(shard, nc_queue_oldest(&shard->absences), NEARCACHE_CAUSE_EVICTED,
                               removed);
}

/* What policies and expiry remember grows and shrinks with the entries; it counts against the
 * budget. */
static void account_grown(struct nc_shard *shard, int64_t bytes)
{
    if (bytes)
        nc_budget_charge(shard->store, NC_BYTES_FIXED, (uint64_t)bytes);
}

/* True: it takes more than before. */
static bool account_expiry(struct nc_shard *shard)
{
    int64_t grown = (int64_t)shard->expiry.bytes - (int64_t)shard->expiry_bytes;
    account_grown(shard, grown);
    shard->expiry_bytes = shard->expiry.bytes;
    return grown > 0;
}

/* `entry`: who comes, or NULL. */
static void evict_one(struct nc_shard *shard, const struct nc_entry *entry, uint64_t most,
                      struct nc_removed *removed)
{
    bool by_entries = shard->store->partitions.by_entries;
    bool pays = entry && !nc_entry_is(entry, NC_ENTRY_NEGATIVE);
    uint64_t incoming = !pays ? 0 : by_entries ? 1 : nc_entry_charge(entry);
    struct nc_segment *payer = nc_partitions_payer(&shard->store->partitions, shard->number,
                                                   pays ? segment_of(shard, entry) : NULL, incoming,
                                                   by_entries ? shard->entries_most : most);
    nc_shard_remove_locked(shard,
                           payer ? nc_segment_victim(payer) : nc_queue_oldest(&shard->absences),
                           NEARCACHE_CAUSE_EVICTED, removed);
    if (payer)
        account_grown(shard, nc_segment_grown(payer));
}

/* `most`: what the shard may hold. */
static void make_room(struct nc_shard *shard, const struct nc_entry *entry, uint64_t bytes,
                      uint64_t most, nc_tick now, struct nc_removed *removed)
{
    if (nc_entry_is(entry, NC_ENTRY_NEGATIVE))
        make_room_for_absence(shard, most, removed);
    /* Evicting may make a policy remember more, so there may be less room than at first. */
    while (shard->entries > 0 &&
           (shard->bytes + bytes > most || shard->entries >= shard->entries_most)) {
        if (!expire_one(shard, now, entry, removed))
            evict_one(shard, entry, most, removed);
        most = bytes_most(shard);
    }
}

/* What was remembered since, here or for another shard's entries, is paid with the oldest. True:
 * there is more to pay. */
static bool pay_grown(struct nc_shard *shard, struct nc_removed *removed)
{
    uint64_t most;
    for (int evicted = 0; shard->entries > 0 && shard->bytes > (most = part_beside(shard, 0));
         evicted++) {
        if (evicted == EVICTED_A_SWEEP)
            return true;
        evict_one(shard, NULL, most, removed);
    }
    return false;
}

/* A larger table; without memory for it the old one stays. */
static void grow(struct nc_shard *shard)
{
    struct nc_store *store = shard->store;
    struct nc_index_table *old = nc_index_grow(&shard->index, &store->arena);
    if (!old)
        return;
    atomic_fetch_add(&store->index_bytes, nc_index_bytes(&shard->index));
    nc_epoch_barrier(&store->epoch);
    pthread_mutex_lock(&store->tables_lock);
    old->retired_at = atomic_load_explicit(&store->epoch.now, memory_order_relaxed);
    old->next = store->old_tables;
    store->old_tables = old;
    pthread_mutex_unlock(&store->tables_lock);
}

/* Makes a place in the index: a larger table, or where both buckets are full by chance, as two
 * entries of ten thousand meet it in a table that is nearly full, somebody's place. True: the table
 * has grown. */
static bool place(struct nc_shard *shard, struct nc_entry *entry, struct nc_removed *removed)
{
    bool is_full = nc_index_is_full(&shard->index);
    if (is_full)
        grow(shard);
    if (nc_index_insert(&shard->index, entry))
        return is_full;
    if (nc_index_buckets(&shard->index) < LARGE_TABLE_BUCKETS)
        grow(shard);
    while (!nc_index_insert(&shard->index, entry))
        nc_shard_remove_locked(shard, nc_index_victim(&shard->index, entry->hash),
                               NEARCACHE_CAUSE_EVICTED, removed);
    return true;
}

static struct nc_arrival arrive(struct nc_shard *shard, const struct nc_entry *entry,
                                const struct nc_entry *old)
{
    static const struct nc_arrival absence;
    if (nc_entry_is(entry, NC_ENTRY_NEGATIVE))
        return absence;
    return nc_segment_arrive(segment_of(shard, entry), entry,
                             old && !nc_entry_is(old, NC_ENTRY_NEGATIVE) ? old : NULL);
}

/* Who goes next is most likely a miss of each of his lines: they come before the next insertion
 * into the shard needs them, and it asks again, because it may be another thread's. His own line is
 * here, because his neighbour has just gone. */
static void prefetch_victim(struct nc_shard *shard, const struct nc_segment *segment)
{
    const struct nc_entry *candidate = nc_segment_candidate(segment);
    if (!candidate)
        return;
    const void *soon[NC_SHARD_SOON] = {candidate, nc_entry_newer(candidate)};
    nc_index_lines(&shard->index, candidate->hash, &soon[2]);
    for (int i = 0; i < NC_SHARD_SOON; i++) {
        __builtin_prefetch(soon[i], 1);
        atomic_store_explicit(&shard->soon[i], soon[i], memory_order_relaxed);
    }
}

bool nc_shard_insert_locked(struct nc_shard *shard, struct nc_entry *entry, struct nc_entry *old,
                            nc_tick now, struct nc_removed *removed)
{
    uint64_t bytes = nc_entry_charge(entry), most = bytes_most(shard);
    bool freed, grown = false;
    if (bytes > most || shard->entries_most == 0)
        return false;
    struct nc_segment *segment = segment_of(shard, entry);
    struct nc_arrival arrival = arrive(shard, entry, old);
    bool filed = old && nc_entry_is(old, NC_ENTRY_EXPIRES) &&
                 end_of(shard->store, old) == end_of(shard->store, entry);
    if (old) {
        nc_index_replace(&shard->index, old, entry);
        account_out(shard, old, NEARCACHE_CAUSE_REPLACED, removed);
        make_room(shard, entry, bytes, most, now, removed);
    } else {
        make_room(shard, entry, bytes, most, now, removed);
        grown = place(shard, entry, removed);
    }
    if (!filed)
        file_expiry(shard, entry, now);
    if (shard->expiry.filed != 0) {
        expire_due(shard, now, EXPIRED_A_TIME, entry, &freed, removed);
        grown |= account_expiry(shard);
    }
    if (grown) /* the larger table, or the place where its end is filed, is paid for too */
        make_room(shard, entry, bytes, bytes_most(shard), now, removed);
    link_entry(shard, entry, arrival);
    prefetch_victim(shard, segment);
    return true;
}

void nc_store_settle(struct nc_store *store, struct nc_removed *removed)
{
    for (struct nc_entry *entry = removed->first, *next; entry; entry = next) {
        next = nc_entry_newer(entry);
        store->config.on_removal(store->config.arg, entry, (enum nearcache_cause)entry->queue);
        nc_epoch_retire(&store->epoch, entry);
    }
    removed->first = removed->last = NULL;
}

/* ---- maintenance ---- */

static bool is_over(const struct nc_store *store, const struct nc_entry *entry, nc_tick now)
{
    return has_expired(store, entry, now) || store->config.is_dead(store->config.arg, entry);
}

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
            if (is_over(shard->store, entries[e], now)) {
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
    bool freed;
    nc_shard_lock(shard);
    uint32_t found = expire_due(shard, now, EXPIRED_A_SWEEP, NULL, &freed, &removed);
    bool more = found == EXPIRED_A_SWEEP;
    account_grown(shard, nc_partitions_fit(&shard->store->partitions, shard->number));
    account_expiry(shard);
    more |= pay_grown(shard, &removed);
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
    return more || found > EXPIRED_A_SWEEP;
}

bool nc_store_sweep(struct nc_store *store, nc_tick now, uint64_t epochs)
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

/* Once through the index, the lock held for a bucket at a time, or for the whole pass. False: what
 * others inserted meanwhile has moved entries, some perhaps to where this had been already. */
static bool remove_pass(struct nc_shard *shard, bool (*match)(void *, const struct nc_entry *),
                        void *arg, enum nearcache_cause cause, bool whole, uint64_t *count)
{
    struct nc_removed removed = {NULL, NULL};
    nc_shard_lock(shard);
    uint32_t moves = shard->index.moves;
    for (uint32_t at = 0; at < nc_index_buckets(&shard->index); at++) {
        struct nc_entry *entries[NC_BUCKET_WORDS];
        unsigned n = nc_index_bucket(&shard->index, at, entries);
        for (unsigned e = 0; e < n; e++)
            if (match(arg, entries[e])) {
                nc_shard_remove_locked(shard, entries[e], cause, &removed);
                ++*count;
            }
        if (!whole) {
            nc_shard_unlock(shard);
            nc_store_settle(shard->store, &removed);
            nc_shard_lock(shard);
        }
    }
    bool done = moves == shard->index.moves;
    nc_shard_unlock(shard);
    nc_store_settle(shard->store, &removed);
    return done;
}

uint64_t nc_store_remove_if(struct nc_store *store, bool (*match)(void *, const struct nc_entry *),
                            void *arg, enum nearcache_cause cause)
{
    uint64_t count = 0;
    for (size_t i = 0; i < (size_t)1 << store->shard_bits; i++) {
        int pass = 0;
        while (!remove_pass(&store->shards[i], match, arg, cause, pass >= SHORT_PASSES, &count))
            pass++;
    }
    return count;
}

void nc_store_usage(struct nc_store *store, struct nc_store_usage *usage)
{
    memset(usage, 0, sizeof *usage);
    for (size_t i = 0; i < (size_t)1 << store->shard_bits; i++) {
        nc_shard_lock(&store->shards[i]);
        usage->entries += store->shards[i].entries;
        usage->entry_bytes += store->shards[i].bytes;
        nc_shard_unlock(&store->shards[i]);
    }
    usage->index_bytes = atomic_load(&store->index_bytes);
    usage->journal_bytes = atomic_load(&store->other_bytes[NC_BYTES_JOURNAL]);
    usage->used_bytes = usage->entry_bytes + usage->index_bytes + usage->journal_bytes +
                        atomic_load(&store->other_bytes[NC_BYTES_FIXED]);
    usage->budget_bytes = store->config.budget_bytes;
}

uint64_t nc_store_pinned(struct nc_store *store) { return nc_epoch_pinned(&store->epoch); }
