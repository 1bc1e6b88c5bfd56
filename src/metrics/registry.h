/*
 * metrics/registry: the list of every metric: its field, kind, and what it means. Nothing else
 * knows the fields of struct nearcache_metrics by position; text formats are made from this list.
 */
#ifndef NC_METRICS_REGISTRY_H
#define NC_METRICS_REGISTRY_H

#include "nearcache/metrics.h"

#include <stdbool.h>

enum nc_metric_scope { NC_METRIC_TIER, NC_METRIC_CACHE };

struct nc_metric {
    const char *field;  /* name in the struct and in JSON */
    const char *family; /* Prometheus name without "nearcache_" */
    const char *label;  /* key="value" that tells it from its siblings in the family, or NULL */
    const char *help;
    size_t offset; /* of the uint64_t in struct nearcache_metrics */
    bool gauge;
    enum nc_metric_scope scope;
    double scale;       /* the exposed number is the field times this */
    const char *suffix; /* of a histogram's sample, "_bucket", "_sum" or "_count"; else NULL */
};

/* The list, ordered so that a family's members are neighbours. */
extern const struct nc_metric nc_metrics[];
extern const size_t nc_metrics_count;

static inline uint64_t nc_metric_get(const struct nc_metric *metric,
                                     const struct nearcache_metrics *values)
{
    return *(const uint64_t *)((const char *)values + metric->offset);
}

#endif
