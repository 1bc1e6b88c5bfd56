/*
 * store/lru: the policy `lru`: whoever was not used for the longest time goes, without moving
 * anything on a hit.
 *
 * Time is counted in generations of a sixteenth of the entries inserted; each has a queue in the
 * order of insertion. A hit stamps the entry with the present generation, a store only when the
 * stamp differs. When somebody must go, it is the oldest of the oldest queue, unless its stamp is
 * newer: then it moves to the queue of its stamp. One mark bit instead of a stamp forgets in which
 * order the marked ones were hit, which cost 2 % of the miss ratio on traces with strong recency.
 *
 * Guarded by the lock of the shard, but for the hit.
 */
#ifndef NC_STORE_LRU_H
#define NC_STORE_LRU_H

#include "store/queue.h"

/* A power of two; more than a stamp can be apart from the oldest queue in use. */
#define NC_GENERATIONS 32

struct nc_lru {
    uint32_t entries, inserted;             /* inserted: in this generation */
    uint8_t oldest;                         /* generation of the oldest queue */
    _Atomic uint8_t *generation;            /* beside those of the other shards, see nc_lru_hit */
    struct nc_queue queues[NC_GENERATIONS]; /* of generation g at g % NC_GENERATIONS */
};

/* Inside an epoch or under the lock. Relaxed: a stamp is a hint and orders nothing; it is written
 * only when it changes, so the line of a hot entry stays shared among its readers. */
static inline void nc_lru_hit(const _Atomic uint8_t *generation, struct nc_entry *entry)
{
    uint8_t now = atomic_load_explicit((_Atomic uint8_t *)generation, memory_order_relaxed);
    if (atomic_load_explicit(&entry->mark, memory_order_relaxed) != now)
        atomic_store_explicit(&entry->mark, now, memory_order_relaxed);
}

/* `generation`: 0, the caller's; read by every hit and written a few times a round. */
void nc_lru_init(struct nc_lru *lru, _Atomic uint8_t *generation);
void nc_lru_insert(struct nc_lru *lru, struct nc_entry *entry);
void nc_lru_remove(struct nc_lru *lru, struct nc_entry *entry);
/* A copy, which has the same queue and mark, takes the place of an entry. */
void nc_lru_replace(struct nc_lru *lru, const struct nc_entry *old, struct nc_entry *entry);
/* Who goes next; still linked. There is at least one entry. */
struct nc_entry *nc_lru_victim(struct nc_lru *lru);

#endif
