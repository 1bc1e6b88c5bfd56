#include "store/segment.h"

#include <string.h>

static bool is_as3(const struct nc_segment *segment)
{
    return segment->policy == NEARCACHE_POLICY_AS3;
}

void nc_segment_init(struct nc_segment *segment, enum nearcache_policy policy, bool by_entries,
                     _Atomic uint8_t *generation)
{
    memset(segment, 0, sizeof *segment);
    segment->policy = policy;
    if (is_as3(segment))
        nc_as3_init(&segment->as3, by_entries);
    else
        nc_lru_init(&segment->lru, generation);
}

void nc_segment_deinit(struct nc_segment *segment)
{
    if (is_as3(segment))
        nc_as3_deinit(&segment->as3);
}

int64_t nc_segment_grown(struct nc_segment *segment)
{
    if (!is_as3(segment))
        return 0;
    size_t before = segment->remembered_bytes;
    segment->remembered_bytes = nc_as3_bytes(&segment->as3);
    return (int64_t)segment->remembered_bytes - (int64_t)before;
}

struct nc_arrival nc_segment_arrive(struct nc_segment *segment, const struct nc_entry *entry,
                                    const struct nc_entry *old)
{
    struct nc_arrival arrival = {false, false, 0, 0};
    if (!is_as3(segment))
        return arrival;
    if (old) {
        arrival.instead = true;
        arrival.queue = old->queue;
        arrival.hits = atomic_load_explicit(&((struct nc_entry *)old)->mark, memory_order_relaxed);
    } else {
        arrival.remembered = nc_as3_arrive(&segment->as3, entry);
    }
    return arrival;
}

void nc_segment_insert(struct nc_segment *segment, struct nc_entry *entry,
                       struct nc_arrival arrival)
{
    segment->entries++;
    segment->bytes += nc_entry_charge(entry);
    if (!is_as3(segment))
        nc_lru_insert(&segment->lru, entry);
    else if (arrival.instead)
        nc_as3_insert_instead(&segment->as3, entry, arrival.queue, arrival.hits);
    else
        nc_as3_insert(&segment->as3, entry, arrival.remembered);
}

void nc_segment_remove(struct nc_segment *segment, struct nc_entry *entry,
                       enum nearcache_cause cause)
{
    segment->entries--;
    segment->bytes -= nc_entry_charge(entry);
    if (!is_as3(segment)) {
        nc_lru_remove(&segment->lru, entry);
        return;
    }
    if (cause == NEARCACHE_CAUSE_EVICTED)
        nc_as3_evicted(&segment->as3, entry);
    else if (cause == NEARCACHE_CAUSE_EXPIRED)
        nc_as3_expired(&segment->as3, entry);
    nc_as3_remove(&segment->as3, entry);
}

void nc_segment_replace(struct nc_segment *segment, const struct nc_entry *old,
                        struct nc_entry *entry)
{
    if (is_as3(segment))
        nc_queue_replace(&segment->as3.queues[old->queue], old, entry);
    else
        nc_lru_replace(&segment->lru, old, entry);
}

struct nc_entry *nc_segment_victim(struct nc_segment *segment)
{
    return is_as3(segment) ? nc_as3_victim(&segment->as3) : nc_lru_victim(&segment->lru);
}

void nc_segment_fit(struct nc_segment *segment)
{
    if (is_as3(segment))
        nc_as3_fit(&segment->as3);
}
