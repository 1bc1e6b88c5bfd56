/*
 * memory/entry: the bytes of one entry: header, name, padding, value.
 *
 * The name follows the header; a value of 64 bytes or more, and any vector, begins on the next
 * 64-byte line, a smaller one on the next 8 bytes. Immutable once linked, but for the atomics.
 */
#ifndef NC_MEMORY_ENTRY_H
#define NC_MEMORY_ENTRY_H

#include "base/clock.h"

#include <stdatomic.h>
#include <stddef.h>

enum {
    NC_ENTRY_NEGATIVE = 1,
    NC_ENTRY_EXPIRES = 2, /* expiry_tick means something */
    NC_ENTRY_ALIGNED = 4,
    NC_ENTRY_LINKED = 8,
    NC_ENTRY_OLD = 16,    /* expired by hand: not fresh, but may stand in */
    NC_ENTRY_VOUCHED = 32 /* an absence that a loader told: asking it again is of no use */
};

struct nc_entry {
    struct nc_entry *newer, *older; /* shard's queue; then the list of the retired */
    uint64_t hash;
    uint64_t version; /* written under the shard's lock */
    uint64_t retired_at;
    _Atomic nc_tick expiry_tick;
    nc_tick birth_tick;
    uint32_t epoch; /* of its tier */
    uint32_t value_bytes;
    uint32_t charge;
    _Atomic uint32_t pins;
    uint16_t name_bytes;
    uint16_t tier;
    _Atomic uint8_t mark; /* generation of the last hit */
    uint8_t queue;        /* generation whose queue it stands in */
    _Atomic uint8_t flags;
    uint8_t unused;
    uint32_t value_offset;
    unsigned char name[];
};

static inline const void *nc_entry_name(const struct nc_entry *entry)
{
    return entry->name;
}

static inline void *nc_entry_value(const struct nc_entry *entry)
{
    return (char *)entry + entry->value_offset;
}

static inline size_t nc_entry_value_bytes(const struct nc_entry *entry)
{
    return entry->value_bytes;
}

static inline bool nc_entry_is(const struct nc_entry *entry, uint8_t flag)
{
    /* Relaxed: flags say how to judge an entry whose bytes were published with it. */
    return (atomic_load_explicit(&((struct nc_entry *)entry)->flags, memory_order_relaxed) & flag) != 0;
}

#endif
