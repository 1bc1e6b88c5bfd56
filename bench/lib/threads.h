/*
 * Timed stretches of work on pinned threads.
 *
 * Promises: all threads warm up, then all are measured over the same stretch of time. Each reports
 * wall time per operation less the time it stood in the run queue behind OTHER work (taken from
 * /proc/thread-self/schedstat where it exists), and that time is reported as noise.
 * Does not: hide waiting for a lock; that is the candidate's own.
 */
#ifndef BENCH_THREADS_H
#define BENCH_THREADS_H

#include <stdint.h>

#define BENCH_MAX_THREADS 256

/* One stretch: does about a hundred operations and returns how many. */
typedef uint64_t (*bench_work_fn)(void *arg, unsigned thread);
typedef void (*bench_thread_fn)(void *arg, unsigned thread);

struct bench_stretch {
    unsigned threads;
    unsigned warm_ms;
    unsigned measure_ms;
    bench_work_fn work;
    bench_thread_fn begin;    /* on the thread, before the warm-up; may be NULL */
    bench_thread_fn measured; /* on the thread, when the warm-up is over; may be NULL */
    bench_thread_fn end;      /* on the thread, after the last work; may be NULL */
    void *arg;
};

struct bench_timing {
    double ns;         /* per operation, mean over the threads */
    double operations; /* all threads together, while measured */
    double stolen;     /* share of the time that other work held the processor */
};

/* Blocks until done. Pins thread i to the i-th processor that this process may use. */
struct bench_timing bench_stretch_run(const struct bench_stretch *stretch);

/* Processors that this process may use. */
unsigned bench_processors(void);
/* Pins the calling thread to the `index`-th of them. */
void bench_pin(unsigned index);
/* Undoes it. */
void bench_unpin(void);
/* Time this thread has stood in the run queue so far; 0 where the kernel does not say. */
uint64_t bench_run_delay_ns(void);

#endif
