/*
 * ck_hs + ck_epoch: a lock-free index for readers, one mutex per stripe for writers, CLOCK in the
 * bench. 16 stripes, each a ck_hs; one epoch for all.
 */
#include "lib/store.h"

#ifdef HAVE_CK

#include <ck_epoch.h>
#include <ck_hs.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "lib/clock_ring.h"
#include "lib/timer.h"

/* Sets between two looks at what the epoch allows to be freed. */
#define POLL_EVERY 16u

/* Immutable once in the index, apart from the ring's part. */
struct entry {
    struct ring_entry ring;
    ck_epoch_entry_t retired;
    char key[BENCH_KEY_BYTES];
    char value[];
};

/* `index` is read without, and changed under, ring.lock. */
struct stripe {
    struct ring ring;
    ck_hs_t index;
} __attribute__((aligned(128)));

/* Thread-safe. */
struct peer {
    struct stripe stripes[RING_STRIPES];
    ck_epoch_t epoch;
    size_t value_bytes;
};

struct peer_pin {
    int unused;
};

/* One thread's record of the store that it works on. */
static __thread ck_epoch_record_t *record;
static __thread unsigned sets;

static unsigned long key_hash(const void *key, unsigned long seed)
{
    return XXH3_64bits_withSeed(key, BENCH_KEY_BYTES, seed);
}

static bool key_equal(const void *left, const void *right)
{
    return memcmp(left, right, BENCH_KEY_BYTES) == 0;
}

static void *ck_take(size_t bytes) { return malloc(bytes); }

/* A grown table's old memory may still be read: it is left to the end of the program. */
static void ck_give(void *memory, size_t bytes, bool defer)
{
    (void)bytes;
    if (!defer)
        free(memory);
}

static struct ck_malloc allocator = {.malloc = ck_take, .free = ck_give};

static void entry_free(ck_epoch_entry_t *retired)
{
    free((char *)retired - offsetof(struct entry, retired));
}

static inline struct entry *entry_of(void *key)
{
    return (struct entry *)((char *)key - offsetof(struct entry, key));
}

static inline const uint64_t *peer_get(struct peer *peer, const char *key, struct peer_pin *pin)
{
    unsigned long hash = XXH3_64bits_withSeed(key, BENCH_KEY_BYTES, 0);
    struct entry *entry;
    void *found;

    (void)pin;
    ck_epoch_begin(record, NULL);
    found = ck_hs_get(&peer->stripes[hash >> 60].index, hash, key);
    if (!found) {
        ck_epoch_end(record, NULL);
        return NULL;
    }
    entry = entry_of(found);
    ring_mark(&entry->ring);
    return (const uint64_t *)entry->value;
}

static inline void peer_release(struct peer *peer, struct peer_pin *pin)
{
    (void)peer;
    (void)pin;
    ck_epoch_end(record, NULL);
}

static inline int peer_set(struct peer *peer, const char *key, const void *value)
{
    unsigned long hash = XXH3_64bits_withSeed(key, BENCH_KEY_BYTES, 0);
    struct stripe *stripe = &peer->stripes[hash >> 60];
    struct entry *entry = malloc(sizeof *entry + peer->value_bytes), *gone = NULL;
    void *old = NULL;

    if (!entry)
        return -1;
    memcpy(entry->key, key, BENCH_KEY_BYTES);
    memcpy(entry->value, value, peer->value_bytes);
    pthread_mutex_lock(&stripe->ring.lock);
    old = ck_hs_get(&stripe->index, hash, key);
    if (old) {
        gone = entry_of(old);
        ring_replace_locked(&stripe->ring, &gone->ring, &entry->ring);
        ck_hs_set(&stripe->index, hash, entry->key, &old);
    } else {
        gone = (struct entry *)ring_place_locked(&stripe->ring, &entry->ring);
        if (gone)
            ck_hs_remove(&stripe->index, key_hash(gone->key, 0), gone->key);
        ck_hs_put_unique(&stripe->index, hash, entry->key);
    }
    pthread_mutex_unlock(&stripe->ring.lock);
    if (gone)
        ck_epoch_call(record, &gone->retired, entry_free);
    if (++sets % POLL_EVERY == 0)
        ck_epoch_poll(record);
    return 0;
}

#include "lib/store_loops.h"

static void *peer_open(const struct bench_store_config *config)
{
    uint64_t most = config->capacity_entries ? config->capacity_entries : config->entries * 2u;
    struct peer *peer = aligned_alloc(128, sizeof *peer);

    if (!peer)
        return NULL;
    memset(peer, 0, sizeof *peer);
    peer->value_bytes = config->value_bytes;
    ck_epoch_init(&peer->epoch);
    for (unsigned i = 0; i < RING_STRIPES; i++) {
        struct stripe *stripe = &peer->stripes[i];

        if (ring_init(&stripe->ring, most / RING_STRIPES + 64u * !config->capacity_entries) ||
            !ck_hs_init(&stripe->index, CK_HS_MODE_SPMC | CK_HS_MODE_OBJECT, key_hash, key_equal,
                        &allocator, most / RING_STRIPES, 0))
            return NULL;
    }
    return peer;
}

static void peer_thread_begin(void *store)
{
    struct peer *peer = store;

    record = ck_epoch_recycle(&peer->epoch, NULL);
    if (record)
        return;
    record = aligned_alloc(64, sizeof *record);
    if (!record)
        abort();
    ck_epoch_register(&peer->epoch, record, NULL);
}

/* Whoever is still reading leaves within a few operations, so the barrier ends. */
static void peer_thread_end(void *store)
{
    (void)store;
    ck_epoch_barrier(record);
    ck_epoch_unregister(record);
    record = NULL;
}

static void peer_close(void *store)
{
    struct peer *peer = store;

    for (unsigned i = 0; i < RING_STRIPES; i++) {
        struct stripe *stripe = &peer->stripes[i];

        for (uint32_t k = 0; k < stripe->ring.count; k++)
            free(stripe->ring.slots[k]);
        free(stripe->ring.slots);
        ck_hs_destroy(&stripe->index);
        pthread_mutex_destroy(&stripe->ring.lock);
    }
    free(peer);
}

static int peer_store_set(void *store, uint64_t id, const void *value)
{
    char key[BENCH_KEY_BYTES];

    bench_key(key, id);
    return peer_set(store, key, value);
}

static uint64_t peer_entries(void *store)
{
    struct peer *peer = store;
    uint64_t entries = 0;

    for (unsigned i = 0; i < RING_STRIPES; i++)
        entries += ck_hs_count(&peer->stripes[i].index);
    return entries;
}

const struct bench_store bench_store_ck = {
    .name = "ck",
    .title = "ck_hs + ck_epoch",
    .evicts = true,
    .open = peer_open,
    .close = peer_close,
    .thread_begin = peer_thread_begin,
    .thread_end = peer_thread_end,
    .set = peer_store_set,
    .entries = peer_entries,
    .run_hit = peer_run_hit,
    .run_insert = peer_run_insert,
    .run_mixed = peer_run_mixed,
    .run_timed = peer_run_timed,
};

#else

const struct bench_store bench_store_ck = {
    .name = "ck",
    .title = "ck_hs + ck_epoch",
    .skip = "ck was not found by configure (libck-dev)",
};

#endif
