#include "lib/timer.h"

#include <stdlib.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

struct bench_timer bench_timer = {false, 1.0, 0.0};

static bool tsc_is_invariant(void)
{
#if defined(__x86_64__)
    unsigned a, b, c, d;

    return __get_cpuid(0x80000007u, &a, &b, &c, &d) && (d & (1u << 8));
#else
    return false;
#endif
}

static int compare_doubles(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;

    return (a > b) - (a < b);
}

/* One rate from 10 ms; a preemption in between spoils one sample, so the median of five is used. */
static double calibrate(void)
{
    double rates[5];

    for (int i = 0; i < 5; i++) {
        uint64_t ns = bench_clock_ns(), ticks = bench_ticks_begin(), end_ns;

        do
            end_ns = bench_clock_ns();
        while (end_ns - ns < 10000000u);
        rates[i] = (double)(end_ns - ns) / (double)(bench_ticks_end() - ticks);
    }
    qsort(rates, 5, sizeof rates[0], compare_doubles);
    return rates[2];
}

void bench_timer_init(void)
{
    double costs[101];

    bench_timer.tsc = tsc_is_invariant();
    bench_timer.ns_per_tick = bench_timer.tsc ? calibrate() : 1.0;
    for (int i = 0; i < 101; i++) {
        uint64_t begin = bench_ticks_begin();

        costs[i] = bench_ns(bench_ticks_end() - begin);
    }
    qsort(costs, 101, sizeof costs[0], compare_doubles);
    bench_timer.cost_ns = costs[50];
}
