/*
 * cli/latency: a histogram of times, exact to 1/64, from 0 ns to days.
 */
#ifndef NC_CLI_LATENCY_H
#define NC_CLI_LATENCY_H

#include <stdint.h>

#define CLI_LATENCY_SUB_BITS 6
#define CLI_LATENCY_BUCKETS ((64 - CLI_LATENCY_SUB_BITS + 1) << CLI_LATENCY_SUB_BITS)

/* One thread. All zero is empty. */
struct cli_latency {
    uint64_t counts[CLI_LATENCY_BUCKETS];
    uint64_t count;
    uint64_t max_ns;
};

/*
 *  value < 64: its own bucket. Else 64 buckets for each power of two:
 *      1xxxxxx........  ->  (position of the leading bit, the six bits after it)
 */
static inline uint32_t cli_latency_bucket(uint64_t ns)
{
    uint32_t shift;

    if (ns < (1u << CLI_LATENCY_SUB_BITS))
        return (uint32_t)ns;
    shift = 63u - (uint32_t)__builtin_clzll(ns) - CLI_LATENCY_SUB_BITS;
    return ((shift + 1) << CLI_LATENCY_SUB_BITS) +
           (uint32_t)((ns >> shift) & ((1u << CLI_LATENCY_SUB_BITS) - 1));
}

static inline void cli_latency_add(struct cli_latency *latency, uint64_t ns)
{
    latency->counts[cli_latency_bucket(ns)]++;
    latency->count++;
    if (ns > latency->max_ns)
        latency->max_ns = ns;
}

void cli_latency_merge(struct cli_latency *into, const struct cli_latency *from);

/* The smallest time that at least this share of all times do not exceed; 0 when empty. */
uint64_t cli_latency_quantile_ns(const struct cli_latency *latency, double share);

/* What two readings of the clock around nothing cost: the median of many. */
uint64_t cli_latency_timer_ns(void);

#endif
