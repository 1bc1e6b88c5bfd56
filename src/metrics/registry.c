#include "metrics/registry.h"

#define METRIC(scope, gauge, field, family, label, scale, help)                                    \
    {                                                                                              \
#field, family, label, help, offsetof(struct nearcache_metrics, field), gauge, scope,      \
            scale, NULL                                                                            \
    }
#define TIER(field, family, label, help)                                                           \
    METRIC(NC_METRIC_TIER, false, field, family, label, 1, help)
#define COUNT(field, family, label, help)                                                          \
    METRIC(NC_METRIC_CACHE, false, field, family, label, 1, help)
#define GAUGE(field, family, label, scale, help)                                                   \
    METRIC(NC_METRIC_CACHE, true, field, family, label, scale, help)

#define HISTOGRAM(field, family, suffix, label, scale, help)                                       \
    {                                                                                              \
#field, family, label, help, offsetof(struct nearcache_metrics, field), false,             \
            NC_METRIC_CACHE, scale, suffix                                                         \
    }

#define READS "Reads by the source of their answer."
#define REMOVED "Entries that left the local store, by cause."
#define BYTES "Bytes of the budget in use, by kind."
#define STALENESS "Delay from a foreign write to its drop here."
#define JOURNAL "Writes of an outage, by what became of them."

const struct nc_metric nc_metrics[] = {
    TIER(hits_local, "reads_total", "source=\"local\"", READS),
    TIER(hits_remote, "reads_total", "source=\"remote\"", READS),
    TIER(hits_loaded, "reads_total", "source=\"loaded\"", READS),
    TIER(hits_stale, "reads_total", "source=\"stale\"", READS),
    TIER(hits_negative, "reads_total", "source=\"negative\"", READS),
    TIER(misses, "reads_total", "source=\"miss\"", READS),
    TIER(read_errors, "read_errors_total", NULL, "Reads that failed."),
    TIER(writes, "writes_total", NULL, "Writes acknowledged."),
    TIER(writes_local, "writes_local_total", NULL, "Writes kept here while Redis was away."),
    TIER(write_errors, "write_errors_total", NULL, "Writes that failed."),
    TIER(deletes, "deletes_total", NULL, "Deletes acknowledged."),
    TIER(removed_expired, "removed_total", "cause=\"expired\"", REMOVED),
    TIER(removed_evicted, "removed_total", "cause=\"evicted\"", REMOVED),
    TIER(removed_replaced, "removed_total", "cause=\"replaced\"", REMOVED),
    TIER(removed_invalidated, "removed_total", "cause=\"invalidated\"", REMOVED),
    TIER(removed_cleared, "removed_total", "cause=\"cleared\"", REMOVED),
    TIER(invalidations, "invalidations_total", NULL, "Keys named by other processes' messages."),
    TIER(race_discards, "race_discards_total", NULL,
         "Fills that were not cached because an invalidation overtook them."),
    TIER(flights, "flights_total", NULL, "Requests sent for a key that was not here."),
    TIER(flight_waits, "flight_waits_total", NULL, "Reads that waited for another's request."),
    TIER(loads, "loads_total", NULL, "Loader calls."),
    TIER(load_errors, "load_errors_total", NULL, "Loader calls that failed."),
    TIER(journal_replayed, "journal_total", "fate=\"replayed\"", JOURNAL),
    TIER(journal_refused, "journal_total", "fate=\"refused\"", JOURNAL),
    TIER(journal_dropped, "journal_total", "fate=\"dropped\"", JOURNAL),
    TIER(journal_full, "journal_total", "fate=\"full\"", JOURNAL),
    GAUGE(journal_queued, "journal_queued", NULL, 1, "Writes that wait for Redis."),
    GAUGE(entries, "entries", NULL, 1, "Entries in the local store."),
    GAUGE(pinned, "pinned", NULL, 1, "Results that are not yet released."),
    GAUGE(bytes_used, "used_bytes", NULL, 1, "Everything that the budget counts."),
    GAUGE(bytes_budget, "budget_bytes", NULL, 1, "The byte budget."),
    GAUGE(bytes_index, "kind_bytes", "kind=\"index\"", 1, BYTES),
    GAUGE(bytes_entries, "kind_bytes", "kind=\"entries\"", 1, BYTES),
    GAUGE(bytes_journal, "kind_bytes", "kind=\"journal\"", 1, BYTES),
    COUNT(gaps, "gaps_total", NULL, "Holes found in the stream of invalidations."),
    COUNT(repairs, "repairs_total", NULL, "Gaps and reconnects mended without forgetting."),
    COUNT(epochs, "epochs_total", NULL, "Times that all local copies had to be forgotten."),
    GAUGE(heartbeat_age_ms, "heartbeat_age_seconds", NULL, 1e-3, "Since the newest proof."),
    GAUGE(staleness_max_us, "staleness_max_seconds", NULL, 1e-6,
          "Largest delay from a foreign write to its drop here."),
    COUNT(redis_commands, "redis_commands_total", NULL, "Commands sent."),
    COUNT(redis_batches, "redis_batches_total", NULL, "Writes to a socket."),
    COUNT(redis_bytes_sent, "redis_sent_bytes_total", NULL, "Bytes sent to Redis."),
    COUNT(redis_bytes_received, "redis_received_bytes_total", NULL, "Bytes received from Redis."),
    COUNT(redis_errors, "redis_errors_total", NULL, "Error replies and broken connections."),
    COUNT(redis_timeouts, "redis_timeouts_total", NULL, "Requests whose deadline passed."),
    COUNT(redis_connects, "redis_connects_total", NULL, "Connections made."),
    GAUGE(redis_round_trip_p50_us, "redis_round_trip_p50_seconds", NULL, 1e-6,
          "Median round trip."),
    GAUGE(redis_round_trip_p99_us, "redis_round_trip_p99_seconds", NULL, 1e-6,
          "99th percentile of the round trip."),
    COUNT(breaker_opens, "breaker_opens_total", NULL, "Times that the circuit breaker opened."),
    GAUGE(breaker_open, "breaker_open", NULL, 1, "1 while the circuit breaker is open."),
    GAUGE(link_state, "link_state", NULL, 1,
          "0 none, 1 down, 2 connecting, 3 syncing, 4 live, 5 suspect."),
    COUNT(audits, "audits_total", NULL, "Hits compared with Redis."),
    COUNT(audit_differences, "audit_differences_total", NULL,
          "Copies called fresh that were not what Redis had."),
    HISTOGRAM(staleness_le_100us, "staleness_seconds", "_bucket", "le=\"0.0001\"", 1, STALENESS),
    HISTOGRAM(staleness_le_1ms, "staleness_seconds", "_bucket", "le=\"0.001\"", 1, STALENESS),
    HISTOGRAM(staleness_le_10ms, "staleness_seconds", "_bucket", "le=\"0.01\"", 1, STALENESS),
    HISTOGRAM(staleness_le_100ms, "staleness_seconds", "_bucket", "le=\"0.1\"", 1, STALENESS),
    HISTOGRAM(staleness_le_1s, "staleness_seconds", "_bucket", "le=\"1\"", 1, STALENESS),
    HISTOGRAM(staleness_count, "staleness_seconds", "_count", NULL, 1, STALENESS),
    HISTOGRAM(staleness_sum_us, "staleness_seconds", "_sum", NULL, 1e-6, STALENESS),
};
const size_t nc_metrics_count = sizeof nc_metrics / sizeof nc_metrics[0];

/* The list names each field of the struct once: its size member is the only one left out. */
_Static_assert(sizeof nc_metrics / sizeof nc_metrics[0] ==
                   (sizeof(struct nearcache_metrics) - sizeof(size_t)) / sizeof(uint64_t),
               "every metric is in the registry");
