#include "store/segment.h"

#include <string.h>

int nc_segment_init(struct nc_segment *segment, enum nearcache_policy policy)
{
    memset(segment, 0, sizeof *segment);
    segment->policy = policy;
    nc_lru_init(&segment->lru);
    return 0;
}

void nc_segment_deinit(struct nc_segment *segment) { (void)segment; }

void nc_segment_insert(struct nc_segment *segment, struct nc_entry *entry)
{
    nc_lru_insert(&segment->lru, entry);
    segment->entries++;
    segment->bytes += entry->charge;
}

void nc_segment_remove(struct nc_segment *segment, struct nc_entry *entry)
{
    nc_lru_remove(&segment->lru, entry);
    segment->entries--;
    segment->bytes -= entry->charge;
}

struct nc_entry *nc_segment_victim(struct nc_segment *segment)
{
    return nc_lru_victim(&segment->lru);
}
