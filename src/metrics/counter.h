/*
 * metrics/counter: the counters of one tier in one thread.
 *
 * Each thread has a block of its own per tier and is its only writer, so counting on the hit path
 * is a load, an add and a store to a line that no other thread writes. Readers sum the blocks of
 * all threads. A block lives as long as the cache, also after its thread has ended.
 */
#ifndef NC_METRICS_COUNTER_H
#define NC_METRICS_COUNTER_H

#include <stdatomic.h>
#include <stdint.h>

/* X(field of struct nearcache_metrics): the one list of what is counted per tier. */
#define NC_TIER_COUNTERS(X)                                                                        \
    X(hits_local)                                                                                  \
    X(hits_remote)                                                                                 \
    X(hits_loaded)                                                                                 \
    X(hits_stale)                                                                                  \
    X(hits_negative)                                                                               \
    X(misses)                                                                                      \
    X(read_errors)                                                                                 \
    X(writes)                                                                                      \
    X(writes_local)                                                                                \
    X(write_errors)                                                                                \
    X(deletes)                                                                                     \
    X(removed_expired)                                                                             \
    X(removed_evicted)                                                                             \
    X(removed_replaced)                                                                            \
    X(removed_invalidated)                                                                         \
    X(removed_cleared)                                                                             \
    X(invalidations)                                                                               \
    X(race_discards)                                                                               \
    X(flights)                                                                                     \
    X(flight_waits)                                                                                \
    X(loads)                                                                                       \
    X(load_errors)                                                                                 \
    X(journal_replayed)                                                                            \
    X(journal_refused)                                                                             \
    X(journal_dropped)                                                                             \
    X(journal_full)

enum nc_counter {
#define NC_COUNTER_ENUM(field) NC_COUNT_##field,
    NC_TIER_COUNTERS(NC_COUNTER_ENUM)
#undef NC_COUNTER_ENUM
        NC_COUNTERS
};

/* On lines of its own: its writer's neighbours would wait for each other's. */
struct nc_counters {
    _Alignas(64) _Atomic uint64_t value[NC_COUNTERS];
};

/* By the block's only writer. Relaxed: a counter orders nothing, its sum is read at leisure. */
static inline void nc_counter_add(struct nc_counters *counters, enum nc_counter which, uint64_t n)
{
    uint64_t value = atomic_load_explicit(&counters->value[which], memory_order_relaxed);
    atomic_store_explicit(&counters->value[which], value + n, memory_order_relaxed);
}

/* For a block with several writers. */
static inline void nc_counter_add_shared(struct nc_counters *counters, enum nc_counter which,
                                         uint64_t n)
{
    atomic_fetch_add_explicit(&counters->value[which], n, memory_order_relaxed);
}

/* sum[] += counters. */
static inline void nc_counters_sum(uint64_t sum[NC_COUNTERS], const struct nc_counters *counters)
{
    for (int i = 0; i < NC_COUNTERS; i++)
        sum[i] += atomic_load_explicit(&counters->value[i], memory_order_relaxed);
}

#endif
