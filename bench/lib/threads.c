#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "lib/threads.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/output.h"
#include "lib/timer.h"

enum phase { WARM, MEASURE, STOP };

/* Thread-safe: fields apart from `phase` are set before the threads start. */
struct run {
    const struct bench_stretch *stretch;
    atomic_int phase;
    pthread_barrier_t start;
};

/* One thread; read by the starter after the join. */
struct runner {
    struct run *run;
    unsigned index;
    pthread_t thread;
    double ns;
    uint64_t operations;
    double stolen;
};

static cpu_set_t allowed;
static unsigned allowed_count;

static void learn_processors(void)
{
    if (allowed_count)
        return;
    if (sched_getaffinity(0, sizeof allowed, &allowed))
        bench_die("sched_getaffinity failed");
    allowed_count = (unsigned)CPU_COUNT(&allowed);
}

unsigned bench_processors(void)
{
    learn_processors();
    return allowed_count;
}

void bench_pin(unsigned index)
{
    cpu_set_t one;
    unsigned seen = 0;

    learn_processors();
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &allowed) || seen++ != index % allowed_count)
            continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        pthread_setaffinity_np(pthread_self(), sizeof one, &one);
        return;
    }
}

void bench_unpin(void)
{
    learn_processors();
    pthread_setaffinity_np(pthread_self(), sizeof allowed, &allowed);
}

uint64_t bench_run_delay_ns(void)
{
    unsigned long long ran = 0, delayed = 0;
    char text[96];
    ssize_t got;
    int fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return 0;
    got = read(fd, text, sizeof text - 1);
    close(fd);
    if (got <= 0)
        return 0;
    text[got] = '\0';
    return sscanf(text, "%llu %llu", &ran, &delayed) == 2 ? delayed : 0;
}

static void *runner_main(void *arg)
{
    struct runner *runner = arg;
    struct run *run = runner->run;
    const struct bench_stretch *stretch = run->stretch;
    uint64_t operations = 0, begin, delay, ticks;

    bench_pin(runner->index);
    if (stretch->begin)
        stretch->begin(stretch->arg, runner->index);
    pthread_barrier_wait(&run->start);
    while (atomic_load(&run->phase) == WARM)
        stretch->work(stretch->arg, runner->index);
    if (stretch->measured)
        stretch->measured(stretch->arg, runner->index);
    delay = bench_run_delay_ns();
    begin = bench_ticks();
    /* Relaxed: the flag carries no data, it only ends the loop a little sooner or later. */
    while (atomic_load_explicit(&run->phase, memory_order_relaxed) == MEASURE)
        operations += stretch->work(stretch->arg, runner->index);
    ticks = bench_ticks() - begin;
    delay = bench_run_delay_ns() - delay;
    if (stretch->end)
        stretch->end(stretch->arg, runner->index);
    runner->operations = operations;
    runner->stolen = (double)delay / bench_ns(ticks);
    if (runner->stolen > 0.95)
        runner->stolen = 0.95;
    runner->ns = bench_ns(ticks) * (1.0 - runner->stolen) / (double)(operations ? operations : 1u);
    return NULL;
}

static void sleep_ms(unsigned ms)
{
    struct timespec time = {(time_t)(ms / 1000u), (long)(ms % 1000u) * 1000000L};

    clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL);
}

struct bench_timing bench_stretch_run(const struct bench_stretch *stretch)
{
    struct bench_timing timing = {0, 0, 0};
    struct runner *runners = calloc(stretch->threads, sizeof *runners);
    struct run run = {.stretch = stretch, .phase = WARM};

    if (!runners)
        bench_die("out of memory for threads");
    learn_processors();
    pthread_barrier_init(&run.start, NULL, stretch->threads + 1u);
    for (unsigned i = 0; i < stretch->threads; i++) {
        runners[i].run = &run;
        runners[i].index = i;
        if (pthread_create(&runners[i].thread, NULL, runner_main, &runners[i]))
            bench_die("no thread to be had");
    }
    pthread_barrier_wait(&run.start);
    sleep_ms(stretch->warm_ms);
    atomic_store(&run.phase, MEASURE);
    sleep_ms(stretch->measure_ms);
    atomic_store(&run.phase, STOP);
    for (unsigned i = 0; i < stretch->threads; i++) {
        pthread_join(runners[i].thread, NULL);
        timing.ns += runners[i].ns / stretch->threads;
        timing.operations += (double)runners[i].operations;
        timing.stolen += runners[i].stolen / stretch->threads;
    }
    pthread_barrier_destroy(&run.start);
    free(runners);
    return timing;
}
