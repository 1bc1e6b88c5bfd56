/*
 * Several candidates measured against each other: round by round, one after the other, the order
 * turned by one each round, so that drift of the machine hits all alike. The first round's warm-up
 * is the longest, because whoever runs finds its lines evicted by the others.
 */
#ifndef BENCH_CANDIDATES_H
#define BENCH_CANDIDATES_H

#include "lib/output.h"
#include "lib/store.h"

enum bench_loop { BENCH_HIT, BENCH_INSERT, BENCH_MIXED, BENCH_TIMED, BENCH_BATCH };

#define BENCH_QUANTILES 5
extern const double bench_quantiles[BENCH_QUANTILES]; /* 0.5 0.9 0.99 0.999 0.9999 */

/* One thread (the main one). */
struct bench_candidate {
    const struct bench_store *store;
    void *opened;
    enum bench_loop loop;
    unsigned threads;
    unsigned batch;
    unsigned set_share; /* of 1024 */
    size_t value_bytes;
    uint64_t insert_from; /* first id of an insertion loop; moves on */
    /* Results. */
    struct bench_rounds ns;
    struct bench_rounds gets_ns[BENCH_QUANTILES]; /* timed loops: the timer's own cost taken off */
    struct bench_rounds sets_ns[BENCH_QUANTILES];
    uint64_t found, missing;
};

/* One sequence a thread, for the most threads of any candidate. */
struct bench_sequences {
    unsigned count;
    struct bench_sequence *each;
};
void bench_sequences_init(struct bench_sequences *sequences, unsigned threads,
                          enum bench_distribution distribution, uint32_t ids);
void bench_sequences_deinit(struct bench_sequences *sequences);

void bench_candidates_run(const struct bench_options *options, const char *what,
                          struct bench_candidate *candidates, unsigned count,
                          const struct bench_sequences *sequences);

/* Share of the reads that found nothing. */
double bench_candidate_missing(const struct bench_candidate *candidate);

/* The goal `name` is a / b of these rounds; either NULL: skipped with the reason. */
void bench_goal_ratio(const char *name, const struct bench_rounds *a, const struct bench_rounds *b,
                      const char *reason);

#endif
