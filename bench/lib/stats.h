/* Rounds and what they say: median, quartiles, extremes. One thread. */
#ifndef BENCH_STATS_H
#define BENCH_STATS_H

#define BENCH_MAX_ROUNDS 64
#define BENCH_ROUNDS 7

struct bench_rounds {
    int count;
    double values[BENCH_MAX_ROUNDS];
};

struct bench_summary {
    int rounds;
    double median, q1, q3, min, max;
};

void bench_rounds_add(struct bench_rounds *rounds, double value);
struct bench_summary bench_summarise(const struct bench_rounds *rounds);

/* Round by round a / b: neighbours in time share the machine's mood, so this is the fair ratio. */
struct bench_summary bench_ratio(const struct bench_rounds *a, const struct bench_rounds *b);

/* Distance of the quartiles as a share of the median. */
double bench_spread(const struct bench_summary *summary);

#endif
