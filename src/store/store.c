#include "store/store.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A shard smaller than this evicts badly; a store with fewer entries gets fewer shards. */
#define SHARD_BYTES_LEAST ((uint64_t)1 << 20)
#define SHARD_ENTRIES_LEAST 128
#define SHARD_BYTES_ASKED ((uint64_t)16 << 10) /* below it a shard costs more than it holds */
#define FIRST_BUCKETS 15                       /* with its head a block of 1 KiB */
/* How often a removal goes through a shard that moves under it before it holds the lock. */
#define SHORT_PASSES 3
#define BUCKETS_A_LOOK 1024 /* at the clock */
/* A batch of retired entries, of one thread. */
#define BATCH_BYTES_LEAST ((uint64_t)16 << 10)
#define BATCH_BYTES_MOST ((uint64_t)2 << 20)
#define BATCH_SHARE 256

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
    while (bits > 0 && config->budget_bytes >> bits < SHARD_BYTES_ASKED)
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

static bool everything(void *arg, const struct nc_entry *entry)
{
    (void)arg;
    (void)entry;
    return true;
}

bool nc_store_deinit(struct nc_store *store)
{
    uint64_t values;
    nc_store_remove_if(store, everything, NULL, NEARCACHE_CAUSE_CLEARED, UINT64_MAX, &values);
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

void nc_store_settle(struct nc_store *store, struct nc_removed *removed)
{
    for (struct nc_entry *entry = removed->first, *next; entry; entry = next) {
        next = nc_entry_newer(entry);
        store->config.on_removal(store->config.arg, entry, (enum nearcache_cause)entry->queue);
        nc_epoch_retire(&store->epoch, entry);
    }
    removed->first = removed->last = NULL;
}

/* AGAIN: what others inserted meanwhile has moved entries, some perhaps to where the pass had been
 * already. */
enum pass { DONE, AGAIN, LATE };

struct removal {
    bool (*match)(void *arg, const struct nc_entry *entry);
    void *arg;
    enum nearcache_cause cause;
    uint64_t deadline_ns;
    uint64_t values; /* removed, absences apart */
};

/* Once through the index, the lock held for a bucket at a time, or for the whole pass. */
static enum pass remove_pass(struct nc_shard *shard, struct removal *removal, bool whole)
{
    struct nc_removed removed = {NULL, NULL};
    bool late = false;
    nc_shard_lock(shard);
    uint32_t moves = shard->index.moves;
    for (uint32_t at = 0; at < nc_index_buckets(&shard->index) && !late; at++) {
        struct nc_entry *entries[NC_BUCKET_WORDS];
        unsigned n = nc_index_bucket(&shard->index, at, entries);
        for (unsigned e = 0; e < n; e++)
            if (removal->match(removal->arg, entries[e])) {
                removal->values += !nc_entry_is(entries[e], NC_ENTRY_NEGATIVE);
                nc_shard_remove_locked(shard, entries[e], removal->cause, &removed);
            }
        if (!whole) {
            nc_shard_unlock(shard);
            nc_store_settle(shard->store, &removed);
            nc_shard_lock(shard);
        }
        late = at % BUCKETS_A_LOOK == BUCKETS_A_LOOK - 1 && removal->deadline_ns != UINT64_MAX &&
               nc_clock_io_ns() >= removal->deadline_ns;
    }
    bool done = moves == shard->index.moves;
    nc_shard_unlock(shard);
    nc_store_settle(shard->store, &removed);
    return late ? LATE : done ? DONE : AGAIN;
}

bool nc_store_remove_if(struct nc_store *store, bool (*match)(void *, const struct nc_entry *),
                        void *arg, enum nearcache_cause cause, uint64_t deadline_ns,
                        uint64_t *values)
{
    struct removal removal = {match, arg, cause, deadline_ns, 0};
    enum pass pass = DONE;
    for (size_t i = 0; i < (size_t)1 << store->shard_bits && pass != LATE; i++)
        for (int passes = 0;
             (pass = remove_pass(&store->shards[i], &removal, passes >= SHORT_PASSES)) == AGAIN;)
            passes++;
    *values = removal.values;
    return pass == DONE;
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
