/*
 * store/ghost: remembers the keys that two queues evicted lately, by their hash and when they went,
 * counted in evictions of that queue. Hashes are the lower 32 bits of the key's; with a million
 * entries one key of a thousand is taken for another, with fewer seldom any.
 *
 * Buckets of one cache line hold 16 slots; a full bucket forgets its oldest. A slot:
 *
 *     31 | 30 ....... 20 | 19 ........ 0
 *     of |  went at      |  low bits of the hash, never 0; a slot of 0 is empty
 *
 * "went at" counts in units of a 256th of the capacity and wraps after eight capacities; a slow
 * round empties what is older than four. Guarded by the lock of the shard.
 */
#ifndef NC_STORE_GHOST_H
#define NC_STORE_GHOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Room for as many as the capacity of each queue, and again: what is older is of little use. */
#define NC_GHOST_REACH 2

struct nc_ghost {
    uint32_t *slots; /* NULL: remembers nothing */
    uint32_t buckets;
    uint32_t capacity; /* entries that it was made for */
    uint32_t added[2]; /* evictions of each queue */
    uint32_t swept;    /* buckets looked through */
    unsigned shift;    /* evictions to units */
};

void nc_ghost_init(struct nc_ghost *ghost);
void nc_ghost_deinit(struct nc_ghost *ghost);
size_t nc_ghost_bytes(const struct nc_ghost *ghost);

/* Makes it fit `capacity` entries; what it remembers stays. False: out of memory, all is as it
 * was. */
bool nc_ghost_resize(struct nc_ghost *ghost, uint32_t capacity);

void nc_ghost_add(struct nc_ghost *ghost, int queue, uint32_t hash);
/* Forgets the key. The queue that it left at most `reach` evictions ago, and how many in *age;
 * -1: none. */
int nc_ghost_take(struct nc_ghost *ghost, uint32_t hash, uint64_t reach, uint32_t *age);

#endif
