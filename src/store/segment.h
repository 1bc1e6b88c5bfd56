/*
 * store/segment: one partition's part of one shard: its entries in the queues of its policy, and
 * what they weigh. The border between the store and the policies: whatever the store asks of a
 * policy it asks here.
 *
 * Guarded by the lock of the shard, but for nc_segment_hit. It links and counts entries, it neither
 * finds nor frees them.
 */
#ifndef NC_STORE_SEGMENT_H
#define NC_STORE_SEGMENT_H

#include "nearcache.h"
#include "store/lru.h"

struct nc_segment {
    enum nearcache_policy policy;
    uint32_t entries;
    uint64_t bytes;
    struct nc_lru lru;
};

int nc_segment_init(struct nc_segment *segment, enum nearcache_policy policy);
void nc_segment_deinit(struct nc_segment *segment);

/* Inside an epoch: the entry was hit. At most one relaxed store, into the entry. */
static inline void nc_segment_hit(struct nc_segment *segment, struct nc_entry *entry)
{
    nc_lru_hit(&segment->lru, entry);
}

void nc_segment_insert(struct nc_segment *segment, struct nc_entry *entry);
void nc_segment_remove(struct nc_segment *segment, struct nc_entry *entry);
/* Who goes next; still linked. There is at least one entry. */
struct nc_entry *nc_segment_victim(struct nc_segment *segment);

#endif
