/*
 * metrics/histogram: durations in logarithmic buckets, eight to a power of two (12 % apart), from
 * 0 to 2^40. Thread-safe; writers add with one relaxed atomic, readers sum at leisure.
 */
#ifndef NC_METRICS_HISTOGRAM_H
#define NC_METRICS_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

#define NC_HISTOGRAM_BUCKETS (8 * 38)

struct nc_histogram {
    _Atomic uint64_t count[NC_HISTOGRAM_BUCKETS];
};

void nc_histogram_add(struct nc_histogram *histogram, uint64_t value);

/* The upper bound of the bucket that holds the share `quantile` (0..1) of all; 0 when empty. */
uint64_t nc_histogram_quantile(const struct nc_histogram *histogram, double quantile);

/* How many values are at most so large, up to the width of a bucket. */
uint64_t nc_histogram_at_most(const struct nc_histogram *histogram, uint64_t value);

/* Halves all counts, so that old values fade. One thread at a time; adding may go on. */
void nc_histogram_fade(struct nc_histogram *histogram);

#endif
