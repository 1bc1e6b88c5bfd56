/*
 * store/partition: the tiers that compete freely for one part of the store, by one policy: a
 * segment in each shard. A tier with a share of the budget has a partition of its own, the others
 * are together in one for each policy. Whoever holds the least above its guarantee never pays for
 * others: a part that nobody uses is lent, and taken back from whoever is furthest above his own.
 *
 * Opening is guarded by the caller's lock of tiers; reading needs none.
 */
#ifndef NC_STORE_PARTITION_H
#define NC_STORE_PARTITION_H

#include "base/hash.h"
#include "store/segment.h"

/* Thread-safe: constant once published, but for the atomics and the segments. */
struct nc_partition {
    enum nearcache_policy policy;
    uint32_t share_percent; /* asked for; 0: one of those together */
    uint32_t tiers;
    /* Of the capacity, in parts of 2^32; relaxed: whoever evicts with the old one is not wrong. */
    _Atomic uint64_t guarantee;
    unsigned shard_bits;
    struct nc_segment *segments;  /* one a shard */
    _Atomic uint8_t *generations; /* of the policy lru, one a shard: what hits read */
};

struct nc_partitions {
    unsigned shard_bits;
    bool by_entries;
    _Atomic uint32_t count;
    struct nc_partition *all[NEARCACHE_MAX_TIERS];
    struct nc_partition *of_tier[NEARCACHE_MAX_TIERS];
};

/* `by_entries`: the capacity that they compete for is a number of entries, not of bytes. */
void nc_partitions_init(struct nc_partitions *partitions, unsigned shard_bits, bool by_entries);
void nc_partitions_deinit(struct nc_partitions *partitions);

/* The partition of a new tier. *bytes: what it took in memory. NULL: out of memory. */
struct nc_partition *nc_partitions_add(struct nc_partitions *partitions, uint32_t tier,
                                       enum nearcache_policy policy, uint32_t share_percent,
                                       uint64_t *bytes);

/* Where `shard` has somebody to evict: the segment furthest above its guarantee of `most`, when
 * `incoming` more come into `own`. NULL: there is nobody. */
struct nc_segment *nc_partitions_payer(const struct nc_partitions *partitions, uint32_t shard,
                                       const struct nc_segment *own, uint64_t incoming,
                                       uint64_t most);
/* Gives back memory that the policies of a shard do not need any more; by how many bytes what they
 * remember has grown. */
int64_t nc_partitions_fit(const struct nc_partitions *partitions, uint32_t shard);

#endif
