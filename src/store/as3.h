/*
 * store/as3: the policy `as3`: an adaptive S3-FIFO.
 *
 *     arrives --> S (FIFO) -- hit meanwhile, gate --> M (CLOCK, counts to 3) --> out, into GM
 *                    `-- not hit, or kept out --> out, into GS
 *     arrives and is remembered --> M, where the gate lets it, else S
 *
 * GS and GM are ghosts: what left S and M lately. S has a target, a share of what all entries
 * weigh: a key that comes back soon after it left S says that S is too small, one that left M says
 * that M is. The gate stands scans and loops: who wants to go to M must have been seen as often as
 * whom it would drive out, a key that comes back more often.
 *
 * A hit adds one to the entry's count while that is below 3, a relaxed store of one byte. Guarded
 * by the lock of the shard, but for the hit. docs/eviction.md has the measurements.
 */
#ifndef NC_STORE_AS3_H
#define NC_STORE_AS3_H

#include "store/ghost.h"
#include "store/queue.h"
#include "store/sketch.h"

#define NC_AS3_MOST_HITS 3

enum { NC_AS3_SMALL, NC_AS3_MAIN };

struct nc_as3 {
    struct nc_queue queues[2]; /* S, M */
    uint64_t weights[2];
    uint32_t entries;
    uint32_t kept_out; /* by the gate */
    bool by_entries;
    double target; /* of S, in parts of the whole weight */
    struct nc_ghost ghost;
    struct nc_sketch sketch;
};

/* Inside an epoch or under the lock. Relaxed: a count is a hint and orders nothing; of two hits at
 * once one may be lost. */
static inline void nc_as3_hit(struct nc_entry *entry)
{
    uint8_t hits = atomic_load_explicit(&entry->mark, memory_order_relaxed);
    if (hits < NC_AS3_MOST_HITS)
        atomic_store_explicit(&entry->mark, (uint8_t)(hits + 1), memory_order_relaxed);
}

/* `by_entries`: each entry weighs 1, not its bytes. */
void nc_as3_init(struct nc_as3 *as3, bool by_entries);
void nc_as3_deinit(struct nc_as3 *as3);
/* Of the ghosts and the sketch. */
size_t nc_as3_bytes(const struct nc_as3 *as3);

/* Before room is made for an entry of a key that is not here. True: the key is remembered. */
bool nc_as3_arrive(struct nc_as3 *as3, const struct nc_entry *entry);
/* After room was made. */
void nc_as3_insert(struct nc_as3 *as3, struct nc_entry *entry, bool remembered);
/* In the place of an entry that was removed from `queue` with `hits`: writing counts as one. */
void nc_as3_insert_instead(struct nc_as3 *as3, struct nc_entry *entry, uint8_t queue, uint8_t hits);
void nc_as3_remove(struct nc_as3 *as3, struct nc_entry *entry);
/* Who goes next; still linked. There is at least one entry. */
struct nc_entry *nc_as3_victim(struct nc_as3 *as3);
/* It is about to be removed, because somebody must go or because it is over: remembers the key. */
void nc_as3_evicted(struct nc_as3 *as3, const struct nc_entry *entry);
void nc_as3_expired(struct nc_as3 *as3, const struct nc_entry *entry);
/* Fits ghosts and sketch to the number of entries. */
void nc_as3_fit(struct nc_as3 *as3);

#endif
