#include "store/shard.h"

/* From here on growing for one entry's sake costs more than another's place. */
#define LARGE_TABLE_BUCKETS 1024
#define ABSENT_SHARE 16
/* The part of the budget by which resident memory may exceed it, and what is done above that. */
#define TOLERATED_SHARE 64
#define EXCESS_GAIN 4
/* As many times what it brings an insertion evicts for that alone at most: what is evicted is given
 * back some time later, so the excess does not fall at once. */
#define EXCESS_A_TIME 8
#define EXPIRED_A_TIME 2 /* filed keys that are looked at with each insertion */
#define EXPIRED_TRIES 64
#define EVICTED_A_TIDY 256
#define WEEDED_A_TIME 16
#define STALE_LEAST 64

void nc_budget_charge(struct nc_store *store, enum nc_bytes kind, uint64_t bytes)
{
    atomic_fetch_add_explicit(&store->other_bytes[kind], bytes, memory_order_relaxed);
}

void nc_budget_uncharge(struct nc_store *store, enum nc_bytes kind, uint64_t bytes)
{
    atomic_fetch_sub_explicit(&store->other_bytes[kind], bytes, memory_order_relaxed);
}

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
        shard->absent_bytes += nc_entry_charge(entry);
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
        shard->absent_bytes -= nc_entry_charge(entry);
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

/* The shard's part of the budget: what it may hold, and what it should while the arena is over. */
struct part {
    uint64_t most, wanted;
};

static struct part part_of(const struct nc_shard *shard)
{
    struct nc_store *store = shard->store;
    uint64_t left = store->config.budget_bytes, excess = excess_bytes(shard);
    uint64_t other = atomic_load_explicit(&store->index_bytes, memory_order_relaxed);
    for (int i = 0; i < NC_BYTES_KINDS; i++)
        other += atomic_load_explicit(&store->other_bytes[i], memory_order_relaxed);
    left = left > other ? left - other : 0;
    return (struct part){left >> store->shard_bits,
                         (left > excess ? left - excess : 0) >> store->shard_bits};
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
    /* What is filed may be gone long ago, all of it. */
    for (int i = 0; i < EXPIRED_TRIES && expire_due(shard, now, 1, spared, &freed, removed); i++)
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
static void make_room_for_absence(struct nc_shard *shard, uint64_t bytes, uint64_t most,
                                  struct nc_removed *removed)
{
    uint32_t absent_most = shard->entries_most / ABSENT_SHARE;
    while (shard->absent > 0 &&
           (shard->absent >= absent_most || shard->absent_bytes + bytes > most / ABSENT_SHARE))
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

static void make_room(struct nc_shard *shard, const struct nc_entry *entry, uint64_t bytes,
                      struct part part, nc_tick now, struct nc_removed *removed)
{
    uint64_t least =
        shard->bytes > EXCESS_A_TIME * bytes ? shard->bytes - EXCESS_A_TIME * bytes : 0;
    if (nc_entry_is(entry, NC_ENTRY_NEGATIVE))
        make_room_for_absence(shard, bytes, part.wanted, removed);
    while (shard->entries > 0 &&
           (shard->bytes + bytes > (shard->bytes > least ? part.wanted : part.most) ||
            shard->entries >= shard->entries_most)) {
        if (!expire_one(shard, now, entry, removed))
            evict_one(shard, entry, part.wanted, removed);
        /* Evicting may make a policy remember more, so there may be less room than at first. */
        part = part_of(shard);
    }
}

/* What was remembered since, here or for another shard's entries, is paid with the oldest. True:
 * there is more to pay. */
static bool pay_grown(struct nc_shard *shard, struct nc_removed *removed)
{
    uint64_t most;
    for (int evicted = 0; shard->entries > 0 && shard->bytes > (most = part_of(shard).most);
         evicted++) {
        if (evicted == EVICTED_A_TIDY)
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
    uint64_t bytes = nc_entry_charge(entry);
    struct part part = part_of(shard);
    bool freed, grown = false;
    if (bytes > part.most || shard->entries_most == 0)
        return false;
    struct nc_segment *segment = segment_of(shard, entry);
    struct nc_arrival arrival = arrive(shard, entry, old);
    bool filed = old && nc_entry_is(old, NC_ENTRY_EXPIRES) &&
                 end_of(shard->store, old) == end_of(shard->store, entry);
    if (old) {
        nc_index_replace(&shard->index, old, entry);
        account_out(shard, old,
                    nc_entry_has_ended(old, now) ? NEARCACHE_CAUSE_EXPIRED
                                                 : NEARCACHE_CAUSE_REPLACED,
                    removed);
        make_room(shard, entry, bytes, part, now, removed);
    } else {
        make_room(shard, entry, bytes, part, now, removed);
        grown = place(shard, entry, removed);
    }
    if (!filed)
        file_expiry(shard, entry, now);
    if (shard->expiry.filed != 0) {
        expire_due(shard, now, EXPIRED_A_TIME, entry, &freed, removed);
        grown |= account_expiry(shard);
    }
    if (grown) /* the larger table, or the place where its end is filed, is paid for too */
        make_room(shard, entry, bytes, part_of(shard), now, removed);
    link_entry(shard, entry, arrival);
    prefetch_victim(shard, segment);
    return true;
}

/* ---- upkeep ---- */

bool nc_shard_is_over_locked(const struct nc_shard *shard, const struct nc_entry *entry,
                             nc_tick now)
{
    const struct nc_store *store = shard->store;
    return has_expired(store, entry, now) || store->config.is_dead(store->config.arg, entry);
}

bool nc_shard_tidy_locked(struct nc_shard *shard, nc_tick now, uint32_t *looked,
                          struct nc_removed *removed)
{
    bool freed;
    *looked = expire_due(shard, now, NC_SHARD_TIDY_MOST, NULL, &freed, removed);
    account_grown(shard, nc_partitions_fit(&shard->store->partitions, shard->number));
    account_expiry(shard);
    bool more = pay_grown(shard, removed);
    return more || *looked == NC_SHARD_TIDY_MOST;
}
