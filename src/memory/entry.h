/*
 * memory/entry: the bytes of one entry: header, name, padding, value.
 *
 *      0        8     12     16     20     24    28    32     36     38   39   40
 *      | version| hash| tier | ends | born |newer|older|value | name |mark|queue| name ...
 *      | + flags|     |+epoch|      |      |     |     | bytes| bytes|    |     |
 *
 * A block of the arena begins on a 64-byte line; with a name of up to 24 bytes all that a look-up
 * reads is in that line. A value of 64 bytes or more, and any vector, begins on the next line, a
 * smaller one on the next 8 bytes. Immutable once linked, but for the atomics, and for links and
 * queue, which are guarded by the lock of its shard.
 */
#ifndef NC_MEMORY_ENTRY_H
#define NC_MEMORY_ENTRY_H

#include "base/clock.h"
#include "base/name.h"
#include "memory/arena.h"

#include <assert.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

enum {
    NC_ENTRY_NEGATIVE = 1,
    NC_ENTRY_EXPIRES = 2, /* expiry_tick means something */
    NC_ENTRY_ALIGNED = 4,
    NC_ENTRY_OLD = 16,    /* expired by hand: not fresh, but may stand in */
    NC_ENTRY_VOUCHED = 32 /* an absence that a loader told: asking it again is of no use */
};

#define NC_ENTRY_FLAG_BITS 8
#define NC_ENTRY_EPOCH_BITS 24
#define NC_ENTRY_TIER_MASK (UINT32_MAX << NC_ENTRY_EPOCH_BITS)

struct nc_entry {
    _Atomic uint64_t version_flags; /* version in the upper 56 bits */
    uint32_t hash;                  /* the lower half of the key's */
    uint32_t tier_epoch;            /* tier in the upper 8 bits */
    _Atomic nc_tick expiry_tick;
    nc_tick birth_tick;
    int32_t newer, older; /* distance to the neighbour in its queue, in blocks of 64; 0: none */
    uint32_t value_bytes;
    uint16_t name_bytes;
    _Atomic uint8_t mark; /* the policy's, written by hits */
    uint8_t queue;        /* the policy's, written under the lock */
    unsigned char name[];
};
static_assert(offsetof(struct nc_entry, name) == 40, "the header leaves 24 bytes of its line");

/* Private until linked. NULL: out of memory, or too large. `heap` is any number, best the same for
 * a thread. */
struct nc_entry *nc_entry_create(struct nc_arena *arena, uint32_t heap, uint64_t hash,
                                 uint32_t tier, const void *name, size_t name_bytes,
                                 size_t value_bytes, uint8_t flags);
/* The two steps of it: what it needs, 0 where it is too large, and making it in such a block. */
size_t nc_entry_bytes(size_t name_bytes, size_t value_bytes, uint8_t flags);
struct nc_entry *nc_entry_init(void *block, uint64_t hash, uint32_t tier, const void *name,
                               size_t name_bytes, size_t value_bytes, uint8_t flags);
/* The same in another block, not linked. The original is linked and its shard's lock held. NULL:
 * out of memory. */
struct nc_entry *nc_entry_copy(struct nc_arena *arena, const struct nc_entry *entry);
/* One that nobody else has seen. */
void nc_entry_destroy(struct nc_arena *arena, struct nc_entry *entry);

static inline uint8_t nc_entry_flags(const struct nc_entry *entry)
{
    /* Relaxed: flags say how to judge an entry whose bytes were published with it. */
    return (uint8_t)atomic_load_explicit(&((struct nc_entry *)entry)->version_flags,
                                         memory_order_relaxed);
}

static inline bool nc_entry_is(const struct nc_entry *entry, uint8_t flag)
{
    return (nc_entry_flags(entry) & flag) != 0;
}

static inline bool nc_entry_has_ended(const struct nc_entry *entry, nc_tick now)
{
    return nc_entry_is(entry, NC_ENTRY_EXPIRES) &&
           !nc_tick_after(
               atomic_load_explicit(&((struct nc_entry *)entry)->expiry_tick, memory_order_relaxed),
               now);
}

/* Private, or under the lock of its shard. */
static inline void nc_entry_set(struct nc_entry *entry, uint8_t flag)
{
    atomic_fetch_or_explicit(&entry->version_flags, flag, memory_order_relaxed);
}

static inline void nc_entry_clear(struct nc_entry *entry, uint8_t flag)
{
    atomic_fetch_and_explicit(&entry->version_flags, ~(uint64_t)flag, memory_order_relaxed);
}

/* Versions are microseconds since 1970: 56 bits last until the year 4253. */
static inline uint64_t nc_entry_version(const struct nc_entry *entry)
{
    return atomic_load_explicit(&((struct nc_entry *)entry)->version_flags, memory_order_relaxed) >>
           NC_ENTRY_FLAG_BITS;
}

/* Private, or under the lock of its shard. */
static inline void nc_entry_set_version(struct nc_entry *entry, uint64_t version)
{
    uint64_t old = atomic_load_explicit(&entry->version_flags, memory_order_relaxed);
    atomic_store_explicit(&entry->version_flags,
                          version << NC_ENTRY_FLAG_BITS | (old & ((1u << NC_ENTRY_FLAG_BITS) - 1)),
                          memory_order_relaxed);
}

/* Tier and epoch as one word. 24 bits of the epoch: an entry would have to outlive 16 million
 * epochs, and sweeps remove it within seconds of the first. */
static inline uint32_t nc_entry_tier_epoch(uint32_t tier, uint32_t epoch)
{
    return tier << NC_ENTRY_EPOCH_BITS | (epoch & ((1u << NC_ENTRY_EPOCH_BITS) - 1));
}

static inline uint32_t nc_entry_tier(const struct nc_entry *entry)
{
    return entry->tier_epoch >> NC_ENTRY_EPOCH_BITS;
}

/* Whether it belongs to this epoch of its tier. */
static inline bool nc_entry_is_of(const struct nc_entry *entry, uint32_t epoch)
{
    return entry->tier_epoch == nc_entry_tier_epoch(nc_entry_tier(entry), epoch);
}

static inline struct nc_entry *nc_entry_newer(const struct nc_entry *entry)
{
    return entry->newer ? (struct nc_entry *)((char *)entry + entry->newer * (ptrdiff_t)64) : NULL;
}

static inline struct nc_entry *nc_entry_older(const struct nc_entry *entry)
{
    return entry->older ? (struct nc_entry *)((char *)entry + entry->older * (ptrdiff_t)64) : NULL;
}

static inline int32_t nc_entry_distance(const struct nc_entry *from, const struct nc_entry *to)
{
    return to ? (int32_t)(((const char *)to - (const char *)from) / 64) : 0;
}

static inline void nc_entry_set_newer(struct nc_entry *entry, const struct nc_entry *newer)
{
    entry->newer = nc_entry_distance(entry, newer);
}

static inline void nc_entry_set_older(struct nc_entry *entry, const struct nc_entry *older)
{
    entry->older = nc_entry_distance(entry, older);
}

static inline const void *nc_entry_name(const struct nc_entry *entry) { return entry->name; }

static inline size_t nc_entry_value_bytes(const struct nc_entry *entry)
{
    return entry->value_bytes;
}

static inline size_t nc_entry_value_offset(size_t name_bytes, size_t value_bytes, bool aligned)
{
    size_t line = value_bytes >= 64 || aligned ? 64 : 8;
    return (offsetof(struct nc_entry, name) + name_bytes + line - 1) & ~(line - 1);
}

static inline void *nc_entry_value(const struct nc_entry *entry)
{
    return (char *)entry + nc_entry_value_offset(entry->name_bytes, entry->value_bytes,
                                                 nc_entry_is(entry, NC_ENTRY_ALIGNED));
}

/* The same for a reader who knows the name. Where the value stands is guessed by a branch, and not
 * computed from the entry: the value's line is asked for while the entry's is still under way. */
static inline const void *nc_entry_value_of(const struct nc_entry *entry, uint8_t flags,
                                            size_t name_bytes)
{
    size_t head = offsetof(struct nc_entry, name) + name_bytes;
    if (entry->value_bytes >= 64 || flags & NC_ENTRY_ALIGNED) {
        head = (head + 63) & ~(size_t)63;
        __asm__ volatile("" : "+r"(head)); /* keeps it a branch */
        return (const char *)entry + head;
    }
    return (const char *)entry + ((head + 7) & ~(size_t)7);
}

/* What it takes in the arena. */
static inline size_t nc_entry_charge(const struct nc_entry *entry)
{
    return nc_arena_block_bytes((size_t)((char *)nc_entry_value(entry) - (char *)entry) +
                                entry->value_bytes);
}

/* What differs between the eight bytes at `at` of two names. */
static inline uint64_t nc_entry_names_differ(const void *a, const void *b, size_t at)
{
    return nc_name_word(a, at) ^ nc_name_word(b, at);
}

/* Up to NC_NAME_SHORT bytes no call and no loop. Pieces may overlap. Inlined by force, as the next:
 * a call amid a look-up would have all of it live in memory. */
static inline __attribute__((always_inline)) bool
nc_entry_names_equal(const unsigned char *a, const unsigned char *b, size_t bytes)
{
    if (__builtin_expect(bytes > NC_NAME_SHORT, 0))
        return memcmp(a, b, bytes) == 0;
    if (bytes >= 16)
        return (nc_entry_names_differ(a, b, 0) | nc_entry_names_differ(a, b, 8) |
                nc_entry_names_differ(a, b, bytes - 16) | nc_entry_names_differ(a, b, bytes - 8)) ==
               0;
    if (bytes >= 8)
        return (nc_entry_names_differ(a, b, 0) | nc_entry_names_differ(a, b, bytes - 8)) == 0;
    return nc_name_tiny(a, bytes) == nc_name_tiny(b, bytes);
}

/* `mask` says which bits of tier and epoch must be those of `tier_epoch`: all, or the tier's. */
static inline __attribute__((always_inline)) bool nc_entry_has_name(const struct nc_entry *entry,
                                                                    uint32_t tier_epoch,
                                                                    uint32_t mask, const void *name,
                                                                    size_t name_bytes)
{
    return entry->name_bytes == name_bytes && ((entry->tier_epoch ^ tier_epoch) & mask) == 0 &&
           nc_entry_names_equal(entry->name, name, name_bytes);
}

#endif
