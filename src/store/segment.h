/*
 * store/segment: one partition's part of one shard: its entries in the queues of its policy, and
 * what they weigh. The border between the store and the policies: whatever the store asks of a
 * policy it asks here.
 *
 * Guarded by the lock of the shard. It links and counts entries, it neither
 * finds nor frees them.
 */
#ifndef NC_STORE_SEGMENT_H
#define NC_STORE_SEGMENT_H

#include "nearcache.h"
#include "store/as3.h"
#include "store/lru.h"

struct nc_segment {
    _Alignas(64) enum nearcache_policy policy;
    uint32_t entries;
    uint64_t bytes;
    size_t remembered_bytes; /* what the policy remembers, as it was accounted last */
    union {
        struct nc_lru lru;
        struct nc_as3 as3;
    };
};

/* What an entry that arrives is to its policy. */
struct nc_arrival {
    bool instead, remembered;
    uint8_t queue, hits; /* of the one in whose place it comes */
};

/* `by_entries`: the capacity is a number of entries, not of bytes. `generation`: see nc_lru_init.
 */
void nc_segment_init(struct nc_segment *segment, enum nearcache_policy policy, bool by_entries,
                     _Atomic uint8_t *generation);
void nc_segment_deinit(struct nc_segment *segment);
/* By how many bytes what its policy remembers has grown since it was asked; beyond the segment. */
int64_t nc_segment_grown(struct nc_segment *segment);

/* Before room is made for `entry`; `old`, still linked, is the one that it replaces, or NULL. */
struct nc_arrival nc_segment_arrive(struct nc_segment *segment, const struct nc_entry *entry,
                                    const struct nc_entry *old);
void nc_segment_insert(struct nc_segment *segment, struct nc_entry *entry,
                       struct nc_arrival arrival);
/* Of those that are evicted or expire the policy remembers what it needs. */
void nc_segment_remove(struct nc_segment *segment, struct nc_entry *entry,
                       enum nearcache_cause cause);
/* A copy takes the place of an entry. */
void nc_segment_replace(struct nc_segment *segment, const struct nc_entry *old,
                        struct nc_entry *entry);
/* Who goes next; still linked. There is at least one entry. */
struct nc_entry *nc_segment_victim(struct nc_segment *segment);
/* Who probably goes next; a hint, nothing is decided. NULL: nobody. */
static inline struct nc_entry *nc_segment_candidate(const struct nc_segment *segment)
{
    return segment->policy == NEARCACHE_POLICY_AS3
               ? nc_queue_oldest(&segment->as3.queues[NC_AS3_SMALL])
               : nc_queue_oldest(&segment->lru.queues[segment->lru.oldest % NC_GENERATIONS]);
}

/* Gives back memory of the policy that fewer entries do not need. */
void nc_segment_fit(struct nc_segment *segment);

#endif
