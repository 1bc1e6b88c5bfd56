/*
 * Time for benches: the processor's time stamp counter where it is invariant (the same rate in
 * every power state and on every core), else CLOCK_MONOTONIC.
 *
 * Promises: calibrated once, before any thread starts; its own cost is measured and printed, so a
 * reader can judge the smallest figure it may be trusted with.
 * Does not: correct for frequency changes of the cores, which an invariant counter does not see.
 */
#ifndef BENCH_TIMER_H
#define BENCH_TIMER_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

/* Written by bench_timer_init only, read by every thread. */
struct bench_timer {
    bool tsc;
    double ns_per_tick;
    double cost_ns; /* of one begin + end pair */
};
extern struct bench_timer bench_timer;

void bench_timer_init(void);

static inline uint64_t bench_clock_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* A plain reading, for long stretches: may drift a few instructions against what surrounds it. */
static inline uint64_t bench_ticks(void)
{
#if defined(__x86_64__)
    if (bench_timer.tsc)
        return __rdtsc();
#endif
    return bench_clock_ns();
}

/* Around one operation: nothing of it starts before begin or is still going on after end. */
static inline uint64_t bench_ticks_begin(void)
{
#if defined(__x86_64__)
    if (bench_timer.tsc) {
        _mm_lfence();
        return __rdtsc();
    }
#endif
    return bench_clock_ns();
}

static inline uint64_t bench_ticks_end(void)
{
#if defined(__x86_64__)
    if (bench_timer.tsc) {
        unsigned core;
        uint64_t ticks = __rdtscp(&core);
        _mm_lfence();
        return ticks;
    }
#endif
    return bench_clock_ns();
}

static inline double bench_ns(uint64_t ticks) { return (double)ticks * bench_timer.ns_per_tick; }

#endif
