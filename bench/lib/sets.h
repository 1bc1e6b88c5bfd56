/* The stores of one bench, opened and filled side by side. One thread (the main one). */
#ifndef BENCH_SETS_H
#define BENCH_SETS_H

#include "lib/candidates.h"

#define BENCH_MAX_STORES 16
#define BENCH_MAX_CANDIDATES 64

struct bench_set {
    const struct bench_options *options;
    const char *name;
    struct bench_store_config config;
    void *opened[BENCH_MAX_STORES]; /* as bench_stores; NULL: not built, or cannot evict */
    struct bench_candidate candidates[BENCH_MAX_CANDIDATES];
    unsigned count;
};

/* Opens every store that evicts, with the ids 0 .. capacity-1 in it. */
void bench_set_open_evicting(struct bench_set *set);
void bench_set_close(struct bench_set *set);

/* Adds a candidate for each opened store. */
void bench_set_add_all(struct bench_set *set, enum bench_loop loop, unsigned threads,
                       unsigned set_share);
/* NULL: none such, or `which` too large. */
struct bench_candidate *bench_set_find(struct bench_set *set, const char *store,
                                       enum bench_loop loop, unsigned threads, unsigned which);

/* Candidate 0 once more at the end, as the control of A against A. */
void bench_set_add_control(struct bench_set *set, const char *store, enum bench_loop loop,
                           unsigned threads, unsigned set_share);
void bench_set_note_control(struct bench_set *set, const char *store, enum bench_loop loop,
                            unsigned threads);

/* Prints a goal: a candidate's ns over another's. */
void bench_set_goal(struct bench_set *set, const char *goal, const char *above, const char *below,
                    enum bench_loop loop, unsigned threads);

#endif
