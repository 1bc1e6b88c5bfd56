#include "lib/stats.h"

#include <stdlib.h>
#include <string.h>

void bench_rounds_add(struct bench_rounds *rounds, double value)
{
    if (rounds->count < BENCH_MAX_ROUNDS)
        rounds->values[rounds->count++] = value;
}

static int compare_doubles(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;

    return (a > b) - (a < b);
}

static double at(const double *sorted, int count, double quantile)
{
    double place = quantile * (count - 1);
    int below = (int)place;

    if (below + 1 >= count)
        return sorted[count - 1];
    return sorted[below] + (sorted[below + 1] - sorted[below]) * (place - below);
}

struct bench_summary bench_summarise(const struct bench_rounds *rounds)
{
    struct bench_summary summary = {0, 0, 0, 0, 0, 0};
    double sorted[BENCH_MAX_ROUNDS];

    if (rounds->count == 0)
        return summary;
    memcpy(sorted, rounds->values, sizeof sorted[0] * (size_t)rounds->count);
    qsort(sorted, (size_t)rounds->count, sizeof sorted[0], compare_doubles);
    summary.rounds = rounds->count;
    summary.median = at(sorted, rounds->count, 0.5);
    summary.q1 = at(sorted, rounds->count, 0.25);
    summary.q3 = at(sorted, rounds->count, 0.75);
    summary.min = sorted[0];
    summary.max = sorted[rounds->count - 1];
    return summary;
}

struct bench_summary bench_ratio(const struct bench_rounds *a, const struct bench_rounds *b)
{
    struct bench_rounds ratios = {0, {0}};

    for (int i = 0; i < a->count && i < b->count; i++) {
        if (b->values[i] > 0)
            bench_rounds_add(&ratios, a->values[i] / b->values[i]);
    }
    return bench_summarise(&ratios);
}

double bench_spread(const struct bench_summary *summary)
{
    return summary->median > 0 ? (summary->q3 - summary->q1) / summary->median : 0.0;
}
