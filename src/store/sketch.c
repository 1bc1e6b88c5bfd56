#include "store/sketch.h"

#include <stdlib.h>
#include <string.h>

#define ROWS 4u
#define COUNTERS_A_ROW 32u /* in two words of 16 */
#define COUNTERS_AN_ENTRY 8u
#define LOW_BITS UINT64_C(0x7777777777777777)
#define AGE_AFTER 10u

void nc_sketch_init(struct nc_sketch *sketch) { memset(sketch, 0, sizeof *sketch); }

void nc_sketch_deinit(struct nc_sketch *sketch)
{
    free(sketch->blocks);
    sketch->blocks = NULL;
}

size_t nc_sketch_bytes(const struct nc_sketch *sketch)
{
    return sketch->blocks ? sketch->count * sizeof *sketch->blocks : 0;
}

static uint64_t mix(uint32_t hash)
{
    uint64_t mixed = (hash + UINT64_C(1)) * UINT64_C(0x9e3779b97f4a7c15);
    return (mixed ^ mixed >> 32) * UINT64_C(0xd6e8feb86659fd93);
}

static uint64_t *block_of(const struct nc_sketch *sketch, uint64_t mixed)
{
    return sketch->blocks[(mixed >> 32) * sketch->count >> 32];
}

/* The word of a row's counter, and how far up in it the counter is. */
static unsigned word_of(uint64_t mixed, unsigned row, unsigned *shift)
{
    unsigned counter = (unsigned)(mixed >> (8 + row * 5)) % COUNTERS_A_ROW;
    *shift = counter % 16 * 4;
    return row * 2 + counter / 16;
}

unsigned nc_sketch_count(const struct nc_sketch *sketch, uint32_t hash)
{
    unsigned least = NC_SKETCH_MOST, shift;
    if (!sketch->blocks)
        return 0;
    uint64_t mixed = mix(hash);
    const uint64_t *block = block_of(sketch, mixed);
    for (unsigned row = 0; row < ROWS; row++) {
        unsigned word = word_of(mixed, row, &shift);
        unsigned count = (unsigned)(block[word] >> shift) & NC_SKETCH_MOST;
        least = count < least ? count : least;
    }
    return least;
}

static void halve(struct nc_sketch *sketch)
{
    for (uint32_t b = 0; b < sketch->count; b++)
        for (unsigned word = 0; word < 8; word++)
            sketch->blocks[b][word] = (sketch->blocks[b][word] >> 1) & LOW_BITS;
}

void nc_sketch_add(struct nc_sketch *sketch, uint32_t hash, unsigned by)
{
    unsigned shift;
    if (!sketch->blocks)
        return;
    uint64_t mixed = mix(hash);
    uint64_t *block = block_of(sketch, mixed);
    for (unsigned row = 0; row < ROWS; row++) {
        unsigned word = word_of(mixed, row, &shift);
        uint64_t count = (block[word] >> shift & NC_SKETCH_MOST) + by;
        count = count < NC_SKETCH_MOST ? count : NC_SKETCH_MOST;
        block[word] = (block[word] & ~((uint64_t)NC_SKETCH_MOST << shift)) | count << shift;
    }
    sketch->added += by;
    if (sketch->added >= (uint64_t)AGE_AFTER * sketch->capacity) {
        sketch->added = 0;
        halve(sketch);
    }
}

bool nc_sketch_resize(struct nc_sketch *sketch, uint32_t capacity)
{
    struct nc_sketch next = *sketch;
    next.capacity = capacity ? capacity : 1;
    next.count = (uint32_t)((uint64_t)capacity * COUNTERS_AN_ENTRY / (ROWS * COUNTERS_A_ROW) + 1);
    next.blocks = aligned_alloc(64, next.count * sizeof *next.blocks);
    if (!next.blocks)
        return false;
    /* A new block takes over the counts of an old one that its keys may have been in. */
    for (uint32_t b = 0; b < next.count; b++)
        if (sketch->blocks)
            memcpy(next.blocks[b], sketch->blocks[(uint64_t)b * sketch->count / next.count], 64);
        else
            memset(next.blocks[b], 0, 64);
    free(sketch->blocks);
    *sketch = next;
    return true;
}
