/*
 * nearcache/metrics.h: what a cache did, as a struct and as Prometheus text.
 *
 *     struct nearcache_metrics m = NEARCACHE_METRICS_INIT;
 *     nearcache_metrics(cache, &m);
 *     printf("%llu hits\n", (unsigned long long)m.hits_local);
 *
 * Counters only grow; gauges say how things stand. Each number is exact by itself; numbers of one
 * snapshot are read one after the other while the cache works on. Every call here is thread-safe
 * and none of them disturbs the hit path.
 */
#ifndef NEARCACHE_METRICS_H
#define NEARCACHE_METRICS_H

#include <nearcache.h>

#ifdef __cplusplus
extern "C" {
#endif

struct nearcache_metrics {
    size_t size; /* sizeof(struct nearcache_metrics) */

    /* Reads, by the source of their answer. Counters. */
    uint64_t hits_local;
    uint64_t hits_remote;
    uint64_t hits_loaded;
    uint64_t hits_stale;
    uint64_t hits_negative;
    uint64_t misses;
    uint64_t read_errors;

    /* Writes. Counters. */
    uint64_t writes;       /* acknowledged: in Redis, or in a local-only cache */
    uint64_t writes_local; /* answered NEARCACHE_LOCAL */
    uint64_t write_errors;
    uint64_t deletes;

    /* Entries that left the local store, by cause. Counters. */
    uint64_t removed_expired;
    uint64_t removed_evicted;
    uint64_t removed_replaced;
    uint64_t removed_invalidated;
    uint64_t removed_cleared;

    /* The local store. Gauges; bytes. */
    uint64_t entries;
    uint64_t bytes_used; /* of everything that the budget counts */
    uint64_t bytes_budget;
    uint64_t bytes_index;
    uint64_t bytes_entries;
    uint64_t bytes_journal;
    uint64_t pinned;

    /* Coherence. Counters but for the two ages. */
    uint64_t invalidations; /* keys that other processes' messages named */
    uint64_t race_discards; /* fills that were not cached because an invalidation overtook them */
    uint64_t gaps;          /* holes found in the message stream */
    uint64_t repairs;       /* gaps and reconnects mended without forgetting everything */
    uint64_t epochs;        /* times that everything had to be forgotten */
    uint64_t heartbeat_age_ms; /* gauge: since the newest proof; NEARCACHE_NONE: none yet */
    uint64_t staleness_max_us; /* gauge: largest delay seen from a foreign write to its drop here */

    /* The journal of an outage. queued is a gauge. */
    uint64_t journal_queued;
    uint64_t journal_replayed;
    uint64_t journal_refused; /* a newer value stood in Redis */
    uint64_t journal_dropped; /* the TTL was over before Redis came back */
    uint64_t journal_full;    /* writes that were not taken */

    /* Flights and the Redis path. */
    uint64_t flights;      /* requests that were sent for a missing key */
    uint64_t flight_waits; /* reads that waited for another thread's request */
    uint64_t loads;        /* loader calls */
    uint64_t load_errors;
    uint64_t redis_commands;
    uint64_t redis_batches; /* writes to a socket */
    uint64_t redis_bytes_sent;
    uint64_t redis_bytes_received;
    uint64_t redis_errors;
    uint64_t redis_timeouts;
    uint64_t redis_connects;
    uint64_t redis_round_trip_p50_us; /* of the last minute's requests, gauges */
    uint64_t redis_round_trip_p99_us;
    uint64_t breaker_opens;
    uint64_t breaker_open; /* gauge: 1 while open */
    uint64_t link_state;   /* gauge: enum nearcache_link */

    /* Delays from other processes' writes to the drops here, by Redis' clock: how many in all,
     * their sum, and how many took at most so long. Counters. */
    uint64_t staleness_count;
    uint64_t staleness_sum_us;
    uint64_t staleness_le_100us;
    uint64_t staleness_le_1ms;
    uint64_t staleness_le_10ms;
    uint64_t staleness_le_100ms;
    uint64_t staleness_le_1s;

    uint64_t audits;            /* hits that were read from Redis again to compare them */
    uint64_t audit_differences; /* of these, copies that were called fresh and were not */
};
#define NEARCACHE_METRICS_INIT                                                                     \
    {                                                                                              \
        sizeof(struct nearcache_metrics), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, \
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, \
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0                                                     \
    }

/* Fills *metrics for the whole cache. NEARCACHE_EINVAL, NEARCACHE_EFORK. */
int nearcache_metrics(struct nearcache *cache, struct nearcache_metrics *metrics);

/* The same for one tier; what a tier does not have of its own (Redis, budget) is 0. */
int nearcache_metrics_tier(struct nearcache_tier *tier, struct nearcache_metrics *metrics);

/*
 * Writes the metrics of the cache and of each tier as Prometheus text (version 0.0.4), zero
 * terminated, into text[capacity]. *bytes is the length without the zero; when it is >= capacity
 * nothing useful was written: call again with more. A tier never takes more than 8 KiB.
 * Returns 0, NEARCACHE_ETOOBIG (capacity too small), NEARCACHE_EINVAL, NEARCACHE_EFORK.
 */
int nearcache_metrics_prometheus(struct nearcache *cache, char *text, size_t capacity,
                                 size_t *bytes);

/* The same as one JSON object, with the field names of the struct. */
int nearcache_metrics_json(struct nearcache *cache, char *text, size_t capacity, size_t *bytes);

#ifdef __cplusplus
}
#endif

#endif
