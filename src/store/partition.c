#include "store/partition.h"

#include <stdlib.h>
#include <string.h>

#define WHOLE (UINT64_C(1) << 32)

void nc_partitions_init(struct nc_partitions *partitions, unsigned shard_bits, bool by_entries)
{
    memset(partitions, 0, sizeof *partitions);
    partitions->by_entries = by_entries;
    partitions->shard_bits = shard_bits;
}

static void destroy(struct nc_partition *partition)
{
    for (size_t i = 0; i < (size_t)1 << partition->shard_bits; i++)
        nc_segment_deinit(&partition->segments[i]);
    free(partition->segments);
    free(partition->generations);
    free(partition);
}

void nc_partitions_deinit(struct nc_partitions *partitions)
{
    uint32_t count = atomic_load(&partitions->count);
    for (uint32_t i = 0; i < count; i++)
        destroy(partitions->all[i]);
}

static struct nc_partition *create(const struct nc_partitions *partitions,
                                   enum nearcache_policy policy, uint32_t share_percent,
                                   uint64_t *bytes)
{
    size_t count = (size_t)1 << partitions->shard_bits;
    struct nc_partition *partition = calloc(1, sizeof *partition);
    if (!partition)
        return NULL;
    partition->policy = policy;
    partition->share_percent = share_percent;
    partition->shard_bits = partitions->shard_bits;
    size_t generations_bytes = (count + 63) / 64 * 64;
    partition->segments = aligned_alloc(64, count * sizeof *partition->segments);
    partition->generations = aligned_alloc(64, generations_bytes);
    if (!partition->segments || !partition->generations) {
        free(partition->segments);
        free(partition->generations);
        free(partition);
        return NULL;
    }
    memset(partition->generations, 0, generations_bytes);
    for (size_t i = 0; i < count; i++)
        nc_segment_init(&partition->segments[i], policy, partitions->by_entries,
                        &partition->generations[i]);
    *bytes = sizeof *partition + count * sizeof *partition->segments + generations_bytes;
    return partition;
}

/* Each share as it was asked for, or in proportion where together they are more than all; what is
 * left goes to the partitions without one, in proportion to their tiers. */
static void share_out(struct nc_partitions *partitions, uint32_t count)
{
    uint64_t asked = 0, free_tiers = 0;
    for (uint32_t i = 0; i < count; i++) {
        asked += partitions->all[i]->share_percent;
        free_tiers += partitions->all[i]->share_percent ? 0 : partitions->all[i]->tiers;
    }
    uint64_t whole = asked > 100 ? asked : 100;
    for (uint32_t i = 0; i < count; i++) {
        struct nc_partition *partition = partitions->all[i];
        uint64_t guarantee = partition->share_percent * WHOLE / whole;
        if (!partition->share_percent)
            guarantee = (whole - asked) * WHOLE / whole * partition->tiers / free_tiers;
        atomic_store_explicit(&partition->guarantee, guarantee, memory_order_relaxed);
    }
}

struct nc_partition *nc_partitions_add(struct nc_partitions *partitions, uint32_t tier,
                                       enum nearcache_policy policy, uint32_t share_percent,
                                       uint64_t *bytes)
{
    uint32_t count = atomic_load(&partitions->count), i = count;
    *bytes = 0;
    if (share_percent == 0)
        for (i = 0; i < count; i++)
            if (partitions->all[i]->share_percent == 0 && partitions->all[i]->policy == policy)
                break;
    if (i == count) {
        partitions->all[i] = create(partitions, policy, share_percent, bytes);
        if (!partitions->all[i])
            return NULL;
    }
    partitions->all[i]->tiers++;
    partitions->of_tier[tier] = partitions->all[i];
    count += i == count;
    share_out(partitions, count);
    /* Release pairs with the acquire of count_of: a partition that is counted is
     * complete. */
    atomic_store_explicit(&partitions->count, count, memory_order_release);
    return partitions->all[i];
}

static uint32_t count_of(const struct nc_partitions *partitions)
{
    /* Acquire pairs with the release in nc_partitions_add. */
    return atomic_load_explicit(&((struct nc_partitions *)partitions)->count, memory_order_acquire);
}

struct nc_segment *nc_partitions_payer(const struct nc_partitions *partitions, uint32_t shard,
                                       const struct nc_segment *own, uint64_t incoming,
                                       uint64_t most)
{
    struct nc_segment *payer = NULL;
    int64_t furthest = INT64_MIN;
    uint32_t count =
        atomic_load_explicit(&((struct nc_partitions *)partitions)->count, memory_order_acquire);
    for (uint32_t i = 0; i < count; i++) {
        struct nc_segment *segment = &partitions->all[i]->segments[shard];
        if (segment->entries == 0)
            continue;
        uint64_t guarantee =
            atomic_load_explicit(&partitions->all[i]->guarantee, memory_order_relaxed);
        uint64_t holds = (partitions->by_entries ? segment->entries : segment->bytes) +
                         (segment == own ? incoming : 0);
        int64_t above =
            (int64_t)holds - (int64_t)((double)most * (double)guarantee / (double)WHOLE);
        if (above > furthest) {
            furthest = above;
            payer = segment;
        }
    }
    return payer;
}

int64_t nc_partitions_fit(const struct nc_partitions *partitions, uint32_t shard)
{
    int64_t grown = 0;
    for (uint32_t i = 0, count = count_of(partitions); i < count; i++) {
        struct nc_segment *segment = &partitions->all[i]->segments[shard];
        nc_segment_fit(segment);
        grown += nc_segment_grown(segment);
    }
    return grown;
}
