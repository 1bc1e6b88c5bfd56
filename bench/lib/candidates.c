#include "lib/candidates.h"

#include <stdlib.h>
#include <string.h>

#include "lib/threads.h"
#include "lib/timer.h"

#define STRETCH_OPERATIONS 128u

const double bench_quantiles[BENCH_QUANTILES] = {0.5, 0.9, 0.99, 0.999, 0.9999};

/* One thread each, a line apart. */
struct worker_slot {
    struct bench_worker worker;
} __attribute__((aligned(128)));

struct measurement {
    struct bench_candidate *candidate;
    struct worker_slot *slots;
};

static void thread_begin(void *arg, unsigned thread)
{
    struct measurement *measurement = arg;

    (void)thread;
    if (measurement->candidate->store->thread_begin)
        measurement->candidate->store->thread_begin(measurement->candidate->opened);
}

static void thread_end(void *arg, unsigned thread)
{
    struct measurement *measurement = arg;

    (void)thread;
    if (measurement->candidate->store->thread_end)
        measurement->candidate->store->thread_end(measurement->candidate->opened);
}

static void thread_measured(void *arg, unsigned thread)
{
    struct bench_worker *worker = &((struct measurement *)arg)->slots[thread].worker;

    worker->found = worker->missing = 0;
    if (!worker->gets)
        return;
    bench_histogram_clear(worker->gets);
    bench_histogram_clear(worker->sets);
    bench_histogram_clear(worker->timer);
}

static uint64_t work(void *arg, unsigned thread)
{
    struct measurement *measurement = arg;
    const struct bench_candidate *candidate = measurement->candidate;
    const struct bench_store *store = candidate->store;
    struct bench_worker *worker = &measurement->slots[thread].worker;

    switch (candidate->loop) {
    case BENCH_HIT:
        store->run_hit(candidate->opened, worker, STRETCH_OPERATIONS);
        break;
    case BENCH_INSERT:
        store->run_insert(candidate->opened, worker, STRETCH_OPERATIONS);
        break;
    case BENCH_MIXED:
        store->run_mixed(candidate->opened, worker, STRETCH_OPERATIONS);
        break;
    case BENCH_TIMED:
        store->run_timed(candidate->opened, worker, STRETCH_OPERATIONS);
        break;
    case BENCH_BATCH:
        store->run_batch(candidate->opened, worker, STRETCH_OPERATIONS, candidate->batch);
        break;
    }
    return STRETCH_OPERATIONS;
}

static void worker_init(struct bench_worker *worker, const struct bench_candidate *candidate,
                        const struct bench_sequences *sequences, unsigned thread, unsigned round)
{
    worker->sequence = &sequences->each[thread];
    worker->random = 0x9E3779B97F4A7C15ull * (thread + 1u) + round;
    worker->position = bench_random(&worker->random);
    worker->next_id = candidate->insert_from + thread;
    worker->id_step = candidate->threads;
    worker->set_share = candidate->set_share;
    worker->value_bytes = candidate->value_bytes;
    worker->value = calloc(1, candidate->value_bytes);
    if (candidate->loop == BENCH_TIMED) {
        worker->gets = malloc(sizeof *worker->gets);
        worker->sets = malloc(sizeof *worker->sets);
        worker->timer = malloc(sizeof *worker->timer);
        if (!worker->gets || !worker->sets || !worker->timer)
            bench_die("out of memory");
        bench_histogram_clear(worker->gets);
        bench_histogram_clear(worker->sets);
        bench_histogram_clear(worker->timer);
    }
    if (!worker->value)
        bench_die("out of memory");
}

/* What an empty pair costs is in every sample, so the middle of it comes off. */
static void add_quantiles(struct bench_rounds *rounds, const struct bench_histogram *histogram,
                          double timer_ns)
{
    if (!histogram->count)
        return;
    for (int i = 0; i < BENCH_QUANTILES; i++) {
        double ns = bench_histogram_ns(histogram, bench_quantiles[i]) - timer_ns;

        bench_rounds_add(&rounds[i], ns > 0.5 ? ns : 0.5);
    }
}

static void collect(struct bench_candidate *candidate, struct worker_slot *slots)
{
    struct bench_worker *first = &slots[0].worker;

    for (unsigned i = 0; i < candidate->threads; i++) {
        struct bench_worker *worker = &slots[i].worker;

        candidate->found += worker->found;
        candidate->missing += worker->missing;
        if (worker->next_id + worker->id_step > candidate->insert_from)
            candidate->insert_from = worker->next_id + worker->id_step;
        if (i && worker->gets) {
            bench_histogram_merge(first->gets, worker->gets);
            bench_histogram_merge(first->sets, worker->sets);
            bench_histogram_merge(first->timer, worker->timer);
        }
    }
    if (first->gets) {
        double timer_ns = bench_histogram_ns(first->timer, 0.5);

        add_quantiles(candidate->gets_ns, first->gets, timer_ns);
        add_quantiles(candidate->sets_ns, first->sets, timer_ns);
    }
    for (unsigned i = 0; i < candidate->threads; i++) {
        free(slots[i].worker.gets);
        free(slots[i].worker.sets);
        free(slots[i].worker.timer);
        free(slots[i].worker.value);
    }
}

static void measure(const struct bench_options *options, struct bench_candidate *candidate,
                    const struct bench_sequences *sequences, unsigned round)
{
    struct worker_slot *slots = aligned_alloc(128, sizeof *slots * candidate->threads);
    struct measurement measurement = {candidate, slots};
    struct bench_stretch stretch = {
        .threads = candidate->threads,
        .warm_ms = options->warm_ms * (round == 0 ? 2u : 1u),
        .measure_ms = options->measure_ms * (candidate->loop == BENCH_TIMED ? 3u : 1u),
        .work = work,
        .begin = thread_begin,
        .measured = thread_measured,
        .end = thread_end,
        .arg = &measurement,
    };
    struct bench_timing timing;

    if (!slots)
        bench_die("out of memory");
    memset(slots, 0, sizeof *slots * candidate->threads);
    for (unsigned i = 0; i < candidate->threads; i++)
        worker_init(&slots[i].worker, candidate, sequences, i, round);
    timing = bench_stretch_run(&stretch);
    bench_rounds_add(&candidate->ns, timing.ns);
    bench_noise_stolen(timing.stolen);
    collect(candidate, slots);
    free(slots);
}

void bench_candidates_run(const struct bench_options *options, const char *what,
                          struct bench_candidate *candidates, unsigned count,
                          const struct bench_sequences *sequences)
{
    for (unsigned round = 0; round < (unsigned)options->rounds; round++) {
        for (unsigned i = 0; i < count; i++) {
            struct bench_candidate *candidate = &candidates[(i + round) % count];

            bench_progress("%s: round %u of %d, %s", what, round + 1u, options->rounds,
                           candidate->store->title);
            measure(options, candidate, sequences, round);
        }
    }
}

double bench_candidate_missing(const struct bench_candidate *candidate)
{
    uint64_t reads = candidate->found + candidate->missing;

    return reads ? (double)candidate->missing / (double)reads : 0.0;
}

void bench_goal_ratio(const char *name, const struct bench_rounds *a, const struct bench_rounds *b,
                      const char *reason)
{
    struct bench_summary ratio;

    if (!a || !b || !a->count || !b->count) {
        bench_goal_skip(name, reason);
        return;
    }
    ratio = bench_ratio(a, b);
    bench_goal(name, &ratio);
}

void bench_sequences_init(struct bench_sequences *sequences, unsigned threads,
                          enum bench_distribution distribution, uint32_t ids)
{
    unsigned length_log2 = ids > 200000u ? 21u : ids > 20000u ? 20u : 17u;
    struct bench_zipf zipf;

    sequences->count = threads;
    sequences->each = calloc(threads, sizeof *sequences->each);
    if (!sequences->each)
        bench_die("out of memory");
    if (distribution == BENCH_ZIPF)
        bench_zipf_init(&zipf, ids, BENCH_ZIPF_EXPONENT);
    for (unsigned i = 0; i < threads; i++)
        bench_sequence_init(&sequences->each[i], distribution == BENCH_ZIPF ? &zipf : NULL, ids,
                            length_log2, i + 1u);
    if (distribution == BENCH_ZIPF)
        bench_zipf_deinit(&zipf);
}

void bench_sequences_deinit(struct bench_sequences *sequences)
{
    for (unsigned i = 0; i < sequences->count; i++)
        bench_sequence_deinit(&sequences->each[i]);
    free(sequences->each);
}
