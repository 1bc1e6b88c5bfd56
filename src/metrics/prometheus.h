/* metrics/prometheus: the metrics as text, for Prometheus (0.0.4) and as JSON. Pure formatting. */
#ifndef NC_METRICS_PROMETHEUS_H
#define NC_METRICS_PROMETHEUS_H

#include "nearcache/metrics.h"

/* One tier's numbers under its name. */
struct nc_metrics_tier {
    const char *name;
    struct nearcache_metrics metrics;
};

/*
 * Both write at most `capacity` bytes, final zero included, and return the length that the whole
 * text has without it: a length >= capacity means that the text was cut.
 */
size_t nc_metrics_prometheus(char *text, size_t capacity, const struct nearcache_metrics *cache,
                             const struct nc_metrics_tier *tiers, size_t tier_count);
size_t nc_metrics_json(char *text, size_t capacity, const struct nearcache_metrics *cache,
                       const struct nc_metrics_tier *tiers, size_t tier_count);

#endif
