#include "lib/histogram.h"

#include <string.h>

#include "lib/timer.h"

void bench_histogram_clear(struct bench_histogram *histogram)
{
    memset(histogram, 0, sizeof *histogram);
}

void bench_histogram_merge(struct bench_histogram *into, const struct bench_histogram *from)
{
    for (unsigned i = 0; i < BENCH_HISTOGRAM_BUCKETS; i++)
        into->buckets[i] += from->buckets[i];
    into->count += from->count;
    if (from->max > into->max)
        into->max = from->max;
}

static uint64_t bucket_middle(unsigned bucket)
{
    unsigned shift;
    uint64_t low;

    if (bucket < 2u * BENCH_HISTOGRAM_SUB)
        return bucket;
    shift = bucket / BENCH_HISTOGRAM_SUB - 1u;
    low = ((uint64_t)(bucket % BENCH_HISTOGRAM_SUB) + BENCH_HISTOGRAM_SUB) << shift;
    return low + (((uint64_t)1 << shift) >> 1);
}

double bench_histogram_ns(const struct bench_histogram *histogram, double quantile)
{
    double wanted = quantile * (double)histogram->count;
    uint64_t seen = 0;

    if (histogram->count == 0)
        return 0.0;
    for (unsigned i = 0; i < BENCH_HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (histogram->buckets[i] && (double)seen >= wanted)
            return bench_ns(bucket_middle(i));
    }
    return bench_ns(histogram->max);
}
