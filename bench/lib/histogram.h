/*
 * Latencies in logarithmic buckets: 64 per power of two, so a percentile is within 1.6 % of the
 * true one from 64 ticks up and exact below. One thread each; merged afterwards.
 */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stdint.h>

#define BENCH_HISTOGRAM_SUB 64u
#define BENCH_HISTOGRAM_BUCKETS (BENCH_HISTOGRAM_SUB * 40u)

/* One thread. In ticks; the reader converts. */
struct bench_histogram {
    uint64_t count;
    uint64_t max;
    uint32_t buckets[BENCH_HISTOGRAM_BUCKETS];
};

static inline unsigned bench_histogram_bucket(uint64_t ticks)
{
    unsigned shift, bucket;

    if (ticks < BENCH_HISTOGRAM_SUB)
        return (unsigned)ticks;
    shift = 63u - (unsigned)__builtin_clzll(ticks) - 6u;
    bucket = (shift + 1u) * BENCH_HISTOGRAM_SUB + (unsigned)((ticks >> shift) & 63u);
    return bucket < BENCH_HISTOGRAM_BUCKETS ? bucket : BENCH_HISTOGRAM_BUCKETS - 1u;
}

static inline void bench_histogram_add(struct bench_histogram *histogram, uint64_t ticks)
{
    histogram->buckets[bench_histogram_bucket(ticks)]++;
    histogram->count++;
    if (ticks > histogram->max)
        histogram->max = ticks;
}

void bench_histogram_clear(struct bench_histogram *histogram);
void bench_histogram_merge(struct bench_histogram *into, const struct bench_histogram *from);

/* The value below which `quantile` (0 to 1) of the samples lie, in ns; 0 without samples. */
double bench_histogram_ns(const struct bench_histogram *histogram, double quantile);

#endif
