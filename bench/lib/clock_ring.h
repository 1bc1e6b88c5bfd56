/*
 * CLOCK for the peers that are an index only (ck_hs, lfht): a ring of entries and a hand, one ring
 * per stripe of keys, under the stripe's lock. A hit sets the entry's mark, and only if it is not
 * set. The same code for both, so that they differ by their index alone.
 */
#ifndef BENCH_CLOCK_RING_H
#define BENCH_CLOCK_RING_H

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

#define RING_STRIPES 16u

/* What an entry of such a peer begins with. */
struct ring_entry {
    uint32_t slot;
    uint8_t mark; /* relaxed: a lost mark costs one eviction, nothing else */
};

/* Guarded by `lock`. */
struct ring {
    pthread_mutex_t lock;
    struct ring_entry **slots;
    uint32_t capacity;
    uint32_t count;
    uint32_t hand;
} __attribute__((aligned(128)));

static inline int ring_init(struct ring *ring, uint64_t capacity)
{
    pthread_mutex_init(&ring->lock, NULL);
    ring->slots = malloc(sizeof *ring->slots * capacity);
    ring->capacity = (uint32_t)capacity;
    ring->count = ring->hand = 0;
    return ring->slots ? 0 : -1;
}

static inline void ring_mark(struct ring_entry *entry)
{
    if (!__atomic_load_n(&entry->mark, __ATOMIC_RELAXED))
        __atomic_store_n(&entry->mark, 1, __ATOMIC_RELAXED);
}

/* A new entry takes a slot; returns the entry that had to go for it, or NULL. */
static inline struct ring_entry *ring_place_locked(struct ring *ring, struct ring_entry *entry)
{
    struct ring_entry *victim;

    entry->mark = 0;
    if (ring->count < ring->capacity) {
        entry->slot = ring->count;
        ring->slots[ring->count++] = entry;
        return NULL;
    }
    for (;;) {
        victim = ring->slots[ring->hand];
        if (!__atomic_load_n(&victim->mark, __ATOMIC_RELAXED))
            break;
        __atomic_store_n(&victim->mark, 0, __ATOMIC_RELAXED);
        ring->hand = ring->hand + 1u == ring->capacity ? 0 : ring->hand + 1u;
    }
    entry->slot = ring->hand;
    ring->slots[ring->hand] = entry;
    ring->hand = ring->hand + 1u == ring->capacity ? 0 : ring->hand + 1u;
    return victim;
}

/* A new entry takes over the slot of the one that it replaces. */
static inline void ring_replace_locked(struct ring *ring, struct ring_entry *old,
                                       struct ring_entry *entry)
{
    entry->mark = old->mark;
    entry->slot = old->slot;
    ring->slots[entry->slot] = entry;
}

#endif
