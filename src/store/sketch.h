/*
 * store/sketch: about how often a key was seen lately: a count-min sketch of 4-bit counters. Never
 * too low but by ageing, seldom too high. A key has one block of a cache line, with a counter in
 * each of four rows, so that reading and writing touch one line.
 *
 * Counts are halved when ten times the capacity have been added. Guarded by the lock of the shard.
 */
#ifndef NC_STORE_SKETCH_H
#define NC_STORE_SKETCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NC_SKETCH_MOST 15u

struct nc_sketch {
    uint64_t (*blocks)[8]; /* NULL: counts nothing */
    uint32_t count;        /* of blocks */
    uint32_t capacity;     /* entries that it was made for */
    uint64_t added;        /* since counts were halved */
};

void nc_sketch_init(struct nc_sketch *sketch);
void nc_sketch_deinit(struct nc_sketch *sketch);
size_t nc_sketch_bytes(const struct nc_sketch *sketch);

/* Makes it fit `capacity` entries; counts stay. False: out of memory, all is as it was. */
bool nc_sketch_resize(struct nc_sketch *sketch, uint32_t capacity);

void nc_sketch_add(struct nc_sketch *sketch, uint32_t hash, unsigned count);
unsigned nc_sketch_count(const struct nc_sketch *sketch, uint32_t hash);

#endif
