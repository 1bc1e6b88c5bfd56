#include "metrics/histogram.h"

/* 0..15 have a bucket each; from there the three bits below the highest choose among eight. */
static unsigned bucket_of(uint64_t value)
{
    if (value < 16)
        return (unsigned)value;
    unsigned high = 63 - (unsigned)__builtin_clzll(value);
    unsigned bucket = 8 * (high - 2) + (unsigned)((value >> (high - 3)) & 7);
    return bucket < NC_HISTOGRAM_BUCKETS ? bucket : NC_HISTOGRAM_BUCKETS - 1;
}

static uint64_t bucket_end(unsigned bucket)
{
    if (bucket < 16)
        return bucket;
    unsigned high = bucket / 8 + 2;
    return (UINT64_C(1) << high) + ((uint64_t)(bucket % 8 + 1) << (high - 3)) - 1;
}

void nc_histogram_add(struct nc_histogram *histogram, uint64_t value)
{
    /* Relaxed: a count orders nothing. */
    atomic_fetch_add_explicit(&histogram->count[bucket_of(value)], 1, memory_order_relaxed);
}

uint64_t nc_histogram_quantile(const struct nc_histogram *histogram, double quantile)
{
    uint64_t counts[NC_HISTOGRAM_BUCKETS], total = 0, seen = 0;
    for (unsigned i = 0; i < NC_HISTOGRAM_BUCKETS; i++) {
        counts[i] = atomic_load_explicit(&histogram->count[i], memory_order_relaxed);
        total += counts[i];
    }
    if (total == 0)
        return 0;
    for (unsigned i = 0; i < NC_HISTOGRAM_BUCKETS; i++) {
        seen += counts[i];
        if ((double)seen >= quantile * (double)total && seen > 0)
            return bucket_end(i);
    }
    return bucket_end(NC_HISTOGRAM_BUCKETS - 1);
}

uint64_t nc_histogram_at_most(const struct nc_histogram *histogram, uint64_t value)
{
    uint64_t total = 0;
    unsigned last = bucket_of(value);
    for (unsigned i = 0; i <= last; i++)
        total += atomic_load_explicit(&histogram->count[i], memory_order_relaxed);
    return total;
}

void nc_histogram_fade(struct nc_histogram *histogram)
{
    for (unsigned i = 0; i < NC_HISTOGRAM_BUCKETS; i++) {
        uint64_t count = atomic_load_explicit(&histogram->count[i], memory_order_relaxed);
        /* Subtracting keeps what others add meanwhile; relaxed as in adding. */
        atomic_fetch_sub_explicit(&histogram->count[i], count - count / 2, memory_order_relaxed);
    }
}
