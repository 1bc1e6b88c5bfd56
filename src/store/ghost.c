#include "store/ghost.h"

#include <stdlib.h>
#include <string.h>

#define SLOTS 16u
#define FINGERPRINT_MASK ((UINT32_C(1) << 20) - 1)
#define STAMP_SHIFT 20
#define STAMP_MASK ((UINT32_C(1) << 11) - 1)
#define QUEUE_SHIFT 31
/* Units in one capacity, and how many may go by before a slot must be emptied: it would look young
 * again when the stamp wraps. */
#define UNITS 256u
#define UNITS_MOST (4 * UNITS)
/* One bucket of the round for so many evictions: a round takes 2.5 capacities. */
#define SWEEP_EVERY 8u

void nc_ghost_init(struct nc_ghost *ghost) { memset(ghost, 0, sizeof *ghost); }

void nc_ghost_deinit(struct nc_ghost *ghost)
{
    free(ghost->slots);
    ghost->slots = NULL;
}

size_t nc_ghost_bytes(const struct nc_ghost *ghost)
{
    return ghost->slots ? (size_t)ghost->buckets * SLOTS * sizeof *ghost->slots : 0;
}

/* By the upper bits; the fingerprint has the lower ones. */
static uint32_t bucket_of(uint32_t hash, uint32_t buckets)
{
    return (uint32_t)((uint64_t)hash * buckets >> 32);
}

static uint32_t fingerprint_of(uint32_t hash)
{
    uint32_t fingerprint = hash & FINGERPRINT_MASK;
    return fingerprint ? fingerprint : 1;
}

static int queue_of(uint32_t slot) { return (int)(slot >> QUEUE_SHIFT); }

static uint32_t age_units(const struct nc_ghost *ghost, uint32_t slot)
{
    uint32_t now = ghost->added[queue_of(slot)] >> ghost->shift;
    return (now - (slot >> STAMP_SHIFT)) & STAMP_MASK;
}

/* The slot to write into: an empty one, else the oldest. */
static uint32_t *oldest_of(const struct nc_ghost *ghost, uint32_t *slots)
{
    uint32_t *oldest = &slots[0];
    for (unsigned i = 0; i < SLOTS; i++) {
        if (slots[i] == 0)
            return &slots[i];
        if (age_units(ghost, slots[i]) > age_units(ghost, *oldest))
            oldest = &slots[i];
    }
    return oldest;
}

static void put(struct nc_ghost *ghost, uint32_t bucket, int queue, uint32_t fingerprint,
                uint32_t units_ago)
{
    uint32_t stamp = ((ghost->added[queue] >> ghost->shift) - units_ago) & STAMP_MASK;
    *oldest_of(ghost, &ghost->slots[(size_t)bucket * SLOTS]) =
        (uint32_t)queue << QUEUE_SHIFT | stamp << STAMP_SHIFT | fingerprint;
}

static void sweep_bucket(struct nc_ghost *ghost)
{
    uint32_t *slots = &ghost->slots[(size_t)(ghost->swept++ % ghost->buckets) * SLOTS];
    for (unsigned i = 0; i < SLOTS; i++)
        if (slots[i] && age_units(ghost, slots[i]) > UNITS_MOST)
            slots[i] = 0;
}

void nc_ghost_add(struct nc_ghost *ghost, int queue, uint32_t hash)
{
    if (!ghost->slots)
        return;
    put(ghost, bucket_of(hash, ghost->buckets), queue, fingerprint_of(hash), 0);
    ghost->added[queue]++;
    if ((ghost->added[0] + ghost->added[1]) % SWEEP_EVERY == 0)
        sweep_bucket(ghost);
}

int nc_ghost_take(struct nc_ghost *ghost, uint32_t hash, uint64_t reach, uint32_t *age)
{
    if (!ghost->slots)
        return -1;
    uint32_t *slots = &ghost->slots[(size_t)bucket_of(hash, ghost->buckets) * SLOTS];
    uint32_t fingerprint = fingerprint_of(hash);
    int queue = -1;
    for (unsigned i = 0; i < SLOTS; i++) {
        if ((slots[i] & FINGERPRINT_MASK) != fingerprint)
            continue;
        uint32_t units = age_units(ghost, slots[i]);
        uint64_t evictions = (uint64_t)units << ghost->shift;
        if (units <= UNITS_MOST && evictions <= reach && (queue < 0 || evictions < *age)) {
            *age = (uint32_t)evictions;
            queue = queue_of(slots[i]);
        }
        slots[i] = 0;
    }
    return queue;
}

/* Keys of old bucket b fall into the new ones whose ranges overlap its own; which of them is not
 * known, so each gets a copy, and those in the wrong bucket are never found and grow old. */
static void copy_slots(struct nc_ghost *to, const struct nc_ghost *from)
{
    for (uint32_t b = 0; b < from->buckets; b++) {
        uint32_t first = (uint32_t)((uint64_t)b * to->buckets / from->buckets);
        uint32_t last = (uint32_t)((((uint64_t)b + 1) * to->buckets - 1) / from->buckets);
        for (unsigned i = 0; i < SLOTS; i++) {
            uint32_t slot = from->slots[(size_t)b * SLOTS + i];
            uint64_t evictions = (uint64_t)age_units(from, slot) << from->shift;
            if (slot == 0 || age_units(from, slot) > UNITS_MOST ||
                evictions >> to->shift > UNITS_MOST)
                continue;
            for (uint32_t at = first; at <= last; at++)
                put(to, at, queue_of(slot), slot & FINGERPRINT_MASK,
                    (uint32_t)(evictions >> to->shift));
        }
    }
}

bool nc_ghost_resize(struct nc_ghost *ghost, uint32_t capacity)
{
    struct nc_ghost next = *ghost;
    uint64_t slots = (uint64_t)capacity * 2 * NC_GHOST_REACH;
    next.capacity = capacity;
    next.buckets = (uint32_t)(slots / SLOTS + 1);
    next.swept = 0;
    next.shift = 0;
    while (capacity >> next.shift > UNITS)
        next.shift++;
    next.slots = aligned_alloc(64, (size_t)next.buckets * SLOTS * sizeof *next.slots);
    if (!next.slots)
        return false;
    memset(next.slots, 0, (size_t)next.buckets * SLOTS * sizeof *next.slots);
    if (ghost->slots)
        copy_slots(&next, ghost);
    free(ghost->slots);
    *ghost = next;
    return true;
}
