/* uthash + one mutex per shard + an exact LRU list: what a C service writes on the first day. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "lib/counted.h"
#include "lib/store.h"
#include "lib/store_uthash.h"
#include "lib/timer.h"

/* Guarded by its shard's lock. */
struct entry {
    struct counted counted;
    UT_hash_handle hh;
    struct entry *prev, *next;
    int table_failed;
    char key[BENCH_KEY_BYTES];
    char value[];
};

/* Guarded by lock. The list's head is the newest entry. */
struct shard {
    pthread_mutex_t lock;
    struct entry *table;
    struct entry *newest;
    uint64_t capacity;
} __attribute__((aligned(128)));

/* Thread-safe. */
struct peer {
    struct shard shards[UTHASH_SHARDS];
    size_t value_bytes;
};

struct peer_pin {
    struct counted *counted;
};

static inline struct shard *lock_shard(struct peer *peer, const char *key, unsigned *hash)
{
    uint64_t whole = XXH3_64bits(key, BENCH_KEY_BYTES);
    struct shard *shard = &peer->shards[whole >> 60];

    *hash = (unsigned)whole;
    pthread_mutex_lock(&shard->lock);
    return shard;
}

static inline const uint64_t *peer_get(struct peer *peer, const char *key, struct peer_pin *pin)
{
    struct entry *entry;
    unsigned hash;
    struct shard *shard = lock_shard(peer, key, &hash);

    HASH_FIND_BYHASHVALUE(hh, shard->table, key, BENCH_KEY_BYTES, hash, entry);
    if (!entry) {
        pthread_mutex_unlock(&shard->lock);
        return NULL;
    }
    if (shard->newest != entry) {
        DL_DELETE(shard->newest, entry);
        DL_PREPEND(shard->newest, entry);
    }
    pin->counted = counted_take(&entry->counted);
    pthread_mutex_unlock(&shard->lock);
    return (const uint64_t *)entry->value;
}

static inline void peer_release(struct peer *peer, struct peer_pin *pin)
{
    (void)peer;
    counted_drop(pin->counted);
}

static inline int peer_set(struct peer *peer, const char *key, const void *value)
{
    struct entry *entry = malloc(sizeof *entry + peer->value_bytes), *old, *gone = NULL;
    struct shard *shard;
    unsigned hash;

    if (!entry)
        return -1;
    counted_init(&entry->counted);
    memcpy(entry->key, key, BENCH_KEY_BYTES);
    memcpy(entry->value, value, peer->value_bytes);
    entry->table_failed = 0;
    shard = lock_shard(peer, key, &hash);
    HASH_FIND_BYHASHVALUE(hh, shard->table, key, BENCH_KEY_BYTES, hash, old);
    if (!old && shard->capacity && HASH_COUNT(shard->table) >= shard->capacity)
        gone = shard->newest->prev;
    if (old)
        gone = old;
    if (gone) {
        HASH_DEL(shard->table, gone);
        DL_DELETE(shard->newest, gone);
    }
    HASH_ADD_BYHASHVALUE(hh, shard->table, key, BENCH_KEY_BYTES, hash, entry);
    if (!entry->table_failed)
        DL_PREPEND(shard->newest, entry);
    pthread_mutex_unlock(&shard->lock);
    if (gone)
        counted_drop(&gone->counted);
    return entry->table_failed ? (free(entry), -1) : 0;
}

#include "lib/store_loops.h"

static void *peer_open(const struct bench_store_config *config)
{
    struct peer *peer = aligned_alloc(128, sizeof *peer);

    if (!peer)
        return NULL;
    memset(peer, 0, sizeof *peer);
    peer->value_bytes = config->value_bytes;
    for (unsigned i = 0; i < UTHASH_SHARDS; i++) {
        pthread_mutex_init(&peer->shards[i].lock, NULL);
        peer->shards[i].capacity = config->capacity_entries / UTHASH_SHARDS;
    }
    return peer;
}

static void peer_close(void *store)
{
    struct peer *peer = store;

    for (unsigned i = 0; i < UTHASH_SHARDS; i++) {
        struct entry *entry, *next;

        HASH_CLEAR(hh, peer->shards[i].table);
        DL_FOREACH_SAFE(peer->shards[i].newest, entry, next) free(entry);
        pthread_mutex_destroy(&peer->shards[i].lock);
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

    for (unsigned i = 0; i < UTHASH_SHARDS; i++)
        entries += HASH_COUNT(peer->shards[i].table);
    return entries;
}

const struct bench_store bench_store_uthash_mutex = {
    .name = "uthash-mutex",
    .title = "uthash + mutex + LRU list",
    .evicts = true,
    .open = peer_open,
    .close = peer_close,
    .set = peer_store_set,
    .entries = peer_entries,
    .run_hit = peer_run_hit,
    .run_insert = peer_run_insert,
    .run_mixed = peer_run_mixed,
    .run_timed = peer_run_timed,
};
