/* GHashTable + one mutex + an exact LRU list. */
#include "lib/store.h"

#ifdef HAVE_GLIB

#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "lib/counted.h"
#include "lib/timer.h"

/* Guarded by the peer's lock. */
struct entry {
    struct counted counted;
    struct entry *prev, *next;
    char key[BENCH_KEY_BYTES];
    char value[];
};

/* Guarded by lock. */
struct peer {
    GMutex lock;
    GHashTable *table;
    struct entry *newest;
    uint64_t capacity;
    size_t value_bytes;
};

struct peer_pin {
    struct counted *counted;
};

static guint key_hash(gconstpointer key) { return (guint)XXH3_64bits(key, BENCH_KEY_BYTES); }

static gboolean key_equal(gconstpointer left, gconstpointer right)
{
    return memcmp(left, right, BENCH_KEY_BYTES) == 0;
}

static inline const uint64_t *peer_get(struct peer *peer, const char *key, struct peer_pin *pin)
{
    struct entry *entry;

    g_mutex_lock(&peer->lock);
    entry = g_hash_table_lookup(peer->table, key);
    if (!entry) {
        g_mutex_unlock(&peer->lock);
        return NULL;
    }
    if (peer->newest != entry) {
        DL_DELETE(peer->newest, entry);
        DL_PREPEND(peer->newest, entry);
    }
    pin->counted = counted_take(&entry->counted);
    g_mutex_unlock(&peer->lock);
    return (const uint64_t *)entry->value;
}

static inline void peer_release(struct peer *peer, struct peer_pin *pin)
{
    (void)peer;
    counted_drop(pin->counted);
}

static inline int peer_set(struct peer *peer, const char *key, const void *value)
{
    struct entry *entry = malloc(sizeof *entry + peer->value_bytes), *gone;

    if (!entry)
        return -1;
    counted_init(&entry->counted);
    memcpy(entry->key, key, BENCH_KEY_BYTES);
    memcpy(entry->value, value, peer->value_bytes);
    g_mutex_lock(&peer->lock);
    gone = g_hash_table_lookup(peer->table, key);
    if (!gone && peer->capacity && g_hash_table_size(peer->table) >= peer->capacity)
        gone = peer->newest->prev;
    if (gone) {
        g_hash_table_remove(peer->table, gone->key);
        DL_DELETE(peer->newest, gone);
    }
    g_hash_table_insert(peer->table, entry->key, entry);
    DL_PREPEND(peer->newest, entry);
    g_mutex_unlock(&peer->lock);
    if (gone)
        counted_drop(&gone->counted);
    return 0;
}

#include "lib/store_loops.h"

static void *peer_open(const struct bench_store_config *config)
{
    struct peer *peer = calloc(1, sizeof *peer);

    if (!peer)
        return NULL;
    g_mutex_init(&peer->lock);
    peer->table = g_hash_table_new(key_hash, key_equal);
    peer->capacity = config->capacity_entries;
    peer->value_bytes = config->value_bytes;
    return peer;
}

static void peer_close(void *store)
{
    struct peer *peer = store;
    struct entry *entry, *next;

    g_hash_table_destroy(peer->table);
    DL_FOREACH_SAFE(peer->newest, entry, next) free(entry);
    g_mutex_clear(&peer->lock);
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
    return g_hash_table_size(((struct peer *)store)->table);
}

const struct bench_store bench_store_glib = {
    .name = "glib",
    .title = "glib hash + one mutex + LRU list",
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

#else

const struct bench_store bench_store_glib = {
    .name = "glib",
    .title = "glib hash + one mutex + LRU list",
    .skip = "glib was not found by configure (libglib2.0-dev)",
};

#endif
