/*
 * liburcu cds_lfht with the qsbr flavour: readers pay nothing but a quiescent state every 32
 * operations. CLOCK in the bench, one ring per stripe under its mutex; entries are freed by
 * liburcu's own call_rcu thread.
 */
#include "lib/store.h"

#ifdef HAVE_URCU

#include <stdlib.h>
#include <string.h>
#include <urcu/urcu-qsbr.h>

#include <urcu/rculfhash.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "lib/clock_ring.h"
#include "lib/timer.h"

/* Immutable once in the index, apart from the ring's part. */
struct entry {
    struct ring_entry ring;
    struct cds_lfht_node node;
    struct rcu_head retired;
    char key[BENCH_KEY_BYTES];
    char value[];
};

/* Thread-safe. */
struct peer {
    struct ring rings[RING_STRIPES];
    struct cds_lfht *index;
    size_t value_bytes;
};

struct peer_pin {
    int unused;
};

#define PEER_PAUSE(peer) urcu_qsbr_quiescent_state()

static int key_equal(struct cds_lfht_node *node, const void *key)
{
    return memcmp(caa_container_of(node, struct entry, node)->key, key, BENCH_KEY_BYTES) == 0;
}

static void entry_free(struct rcu_head *retired)
{
    free(caa_container_of(retired, struct entry, retired));
}

static inline struct cds_lfht_node *find(struct peer *peer, unsigned long hash, const char *key)
{
    struct cds_lfht_iter iterator;

    cds_lfht_lookup(peer->index, hash, key_equal, key, &iterator);
    return cds_lfht_iter_get_node(&iterator);
}

static inline const uint64_t *peer_get(struct peer *peer, const char *key, struct peer_pin *pin)
{
    struct cds_lfht_node *node;
    struct entry *entry;

    (void)pin;
    urcu_qsbr_read_lock();
    node = find(peer, XXH3_64bits(key, BENCH_KEY_BYTES), key);
    if (!node) {
        urcu_qsbr_read_unlock();
        return NULL;
    }
    entry = caa_container_of(node, struct entry, node);
    ring_mark(&entry->ring);
    return (const uint64_t *)entry->value;
}

static inline void peer_release(struct peer *peer, struct peer_pin *pin)
{
    (void)peer;
    (void)pin;
    urcu_qsbr_read_unlock();
}

static inline int peer_set(struct peer *peer, const char *key, const void *value)
{
    unsigned long hash = XXH3_64bits(key, BENCH_KEY_BYTES);
    struct ring *ring = &peer->rings[hash >> 60];
    struct entry *entry = malloc(sizeof *entry + peer->value_bytes), *gone = NULL;
    struct cds_lfht_node *old;

    if (!entry)
        return -1;
    memcpy(entry->key, key, BENCH_KEY_BYTES);
    memcpy(entry->value, value, peer->value_bytes);
    cds_lfht_node_init(&entry->node);
    pthread_mutex_lock(&ring->lock);
    urcu_qsbr_read_lock();
    old = find(peer, hash, key);
    if (old) {
        gone = caa_container_of(old, struct entry, node);
        ring_replace_locked(ring, &gone->ring, &entry->ring);
        cds_lfht_add_replace(peer->index, hash, key_equal, entry->key, &entry->node);
    } else {
        gone = (struct entry *)ring_place_locked(ring, &entry->ring);
        if (gone)
            cds_lfht_del(peer->index, &gone->node);
        cds_lfht_add(peer->index, hash, &entry->node);
    }
    urcu_qsbr_read_unlock();
    pthread_mutex_unlock(&ring->lock);
    if (gone)
        urcu_qsbr_call_rcu(&gone->retired, entry_free);
    return 0;
}

#include "lib/store_loops.h"

static unsigned long power_of_two(uint64_t least)
{
    unsigned long power = 1;

    while (power < least)
        power <<= 1;
    return power;
}

static void *peer_open(const struct bench_store_config *config)
{
    uint64_t most = config->capacity_entries ? config->capacity_entries : config->entries * 2u;
    uint64_t buckets =
        power_of_two(config->capacity_entries ? config->capacity_entries : config->entries);
    struct peer *peer = aligned_alloc(128, (sizeof *peer + 127u) & ~(size_t)127u);

    if (!peer)
        return NULL;
    memset(peer, 0, sizeof *peer);
    peer->value_bytes = config->value_bytes;
    for (unsigned i = 0; i < RING_STRIPES; i++)
        if (ring_init(&peer->rings[i], most / RING_STRIPES + 64u * !config->capacity_entries))
            return NULL;
    peer->index = cds_lfht_new_flavor(buckets, buckets, 0, 0, &urcu_qsbr_flavor, NULL);
    return peer->index ? peer : NULL;
}

static void peer_thread_begin(void *store)
{
    (void)store;
    urcu_qsbr_register_thread();
}

static void peer_thread_end(void *store)
{
    (void)store;
    urcu_qsbr_unregister_thread();
}

static void peer_close(void *store)
{
    struct peer *peer = store;

    urcu_qsbr_register_thread();
    for (unsigned i = 0; i < RING_STRIPES; i++) {
        for (uint32_t k = 0; k < peer->rings[i].count; k++) {
            struct entry *entry = (struct entry *)peer->rings[i].slots[k];

            cds_lfht_del(peer->index, &entry->node);
            free(entry);
        }
        free(peer->rings[i].slots);
        pthread_mutex_destroy(&peer->rings[i].lock);
    }
    urcu_qsbr_quiescent_state();
    urcu_qsbr_thread_offline();
    urcu_qsbr_barrier();
    urcu_qsbr_thread_online();
    urcu_qsbr_unregister_thread();
    cds_lfht_destroy(peer->index, NULL);
    free(peer);
}

static int peer_store_set(void *store, uint64_t id, const void *value)
{
    char key[BENCH_KEY_BYTES];

    bench_key(key, id);
    urcu_qsbr_quiescent_state();
    return peer_set(store, key, value);
}

static uint64_t peer_entries(void *store)
{
    struct peer *peer = store;
    uint64_t entries = 0;

    for (unsigned i = 0; i < RING_STRIPES; i++)
        entries += peer->rings[i].count;
    return entries;
}

const struct bench_store bench_store_lfht = {
    .name = "lfht",
    .title = "liburcu cds_lfht, qsbr",
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

const struct bench_store bench_store_lfht = {
    .name = "lfht",
    .title = "liburcu cds_lfht, qsbr",
    .skip = "liburcu was not found by configure (liburcu-dev)",
};

#endif
