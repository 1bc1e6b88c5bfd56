/*
 * redis/slot: the slot of a Redis Cluster that a key stands in: CRC16 of the key, or of what stands
 * between its first `{` and the next `}` where that is not empty, modulo 16384. Pure functions.
 */
#ifndef NC_REDIS_SLOT_H
#define NC_REDIS_SLOT_H

#include <stddef.h>
#include <stdint.h>

#define NC_SLOTS 16384u

/* A number whose digits, as a key or a hash tag, are in the slot (below 16384). Searches: not for
 * hot paths. */
uint32_t nc_slot_tag(uint32_t slot);
uint32_t nc_slot_of(const void *key, size_t bytes);
/* Of the key that consists of both. */
uint32_t nc_slot_of_both(const void *first, size_t first_bytes, const void *second,
                         size_t second_bytes);

#endif
