/*
 * cache/ticket: whether anything that could concern a key has happened since a request for it was
 * sent: what is known of its bucket, and of its lane (R3).
 */
#ifndef NC_CACHE_TICKET_H
#define NC_CACHE_TICKET_H

#include "cache/cache.h"

/* The highest bits are those of the shard, whose lock guards it; the lowest tell lanes apart, whose
 * versions cannot be compared. */
static inline struct nc_bucket *nc_cache_bucket(const struct nc_cache *cache,
                                                const struct nc_key *key)
{
    return &cache->buckets[key->hash >> (64 - cache->bucket_bits + cache->lane_bits)
                                            << cache->lane_bits |
                           key->lane];
}

/* Taken before a request is sent; a fill whose ticket is void is not cached (R3). */
struct nc_ticket {
    uint64_t generation;
    uint32_t epoch;   /* of the tier in the key's lane */
    uint32_t changes; /* of the bucket */
};

static inline struct nc_ticket nc_cache_ticket(const struct nc_key *key)
{
    struct nc_cache *cache = key->tier->cache;
    struct nc_ticket ticket;
    /* Acquire pairs with the writers of each: what is read from Redis after this is not older than
     * what the ticket stands for. */
    ticket.generation =
        atomic_load_explicit(&cache->lanes[key->lane].link_generation, memory_order_acquire);
    ticket.epoch = atomic_load_explicit(&key->tier->epochs[key->lane], memory_order_acquire);
    ticket.changes =
        atomic_load_explicit(&nc_cache_bucket(cache, key)->changes, memory_order_acquire);
    return ticket;
}

#endif
