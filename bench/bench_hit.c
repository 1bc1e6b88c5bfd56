/*
 * Latency of a hit by working set (1k, 100k, 1M entries of 24 + 64 bytes), uniform and Zipf 0.99,
 * by threads, next to the floors and the peers; and of batched look-ups.
 *
 * Each key waits for the value before it, so this is latency and not throughput.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/candidates.h"
#include "lib/machine.h"
#include "lib/threads.h"

#define MAX_CANDIDATES 128u
#define VALUE_BYTES 64u

struct size {
    const char *name;
    uint32_t entries;
};
static const struct size sizes[] = {{"1k", 1000u}, {"100k", 100000u}, {"1m", 1000000u}};

/* One thread. Everything of one size. */
struct set {
    const struct bench_options *options;
    const struct size *size;
    void *opened[32];  /* as bench_stores */
    const char *floor; /* the floor on the pages that nearcache got */
    struct bench_candidate candidates[MAX_CANDIDATES];
    unsigned count;
};

static void open_all(struct set *set)
{
    struct bench_store_config config = {.entries = set->size->entries,
                                        .value_bytes = VALUE_BYTES,
                                        .threads = set->options->max_threads};

    memset(set->opened, 0, sizeof set->opened);
    set->floor = "floor-huge";
    for (int i = 0; bench_stores[i]; i++) {
        struct bench_memory before = bench_memory_now(), after;

        if (bench_stores[i]->skip)
            continue;
        if (bench_stores[i] == &bench_store_nearcache_peek) {
            set->opened[i] = set->opened[0]; /* the same cache, read by another call */
            continue;
        }
        bench_progress("%s: filling %s", set->size->name, bench_stores[i]->title);
        set->opened[i] = bench_store_open_filled(bench_stores[i], &config, set->size->entries);
        if (i)
            continue;
        after = bench_memory_now();
        set->floor = after.huge_bytes - before.huge_bytes >
                             (after.resident_bytes - before.resident_bytes) / 2u
                         ? "floor-huge"
                         : "floor";
    }
}

static void close_all(struct set *set)
{
    for (int i = 0; bench_stores[i]; i++) {
        if (!set->opened[i] || bench_stores[i] == &bench_store_nearcache_peek)
            continue;
        bench_stores[i]->close(set->opened[i]);
    }
}

static void add(struct set *set, int store, enum bench_loop loop, unsigned threads)
{
    struct bench_candidate *candidate = &set->candidates[set->count];

    if (!set->opened[store] || set->count == MAX_CANDIDATES)
        return;
    memset(candidate, 0, sizeof *candidate);
    candidate->store = bench_stores[store];
    candidate->opened = set->opened[store];
    candidate->loop = loop;
    candidate->threads = threads;
    candidate->batch = 16;
    candidate->value_bytes = VALUE_BYTES;
    set->count++;
}

static struct bench_candidate *find(struct set *set, const char *name, enum bench_loop loop,
                                    unsigned threads, unsigned which)
{
    for (unsigned i = 0; i < set->count; i++) {
        struct bench_candidate *candidate = &set->candidates[i];

        if (!strcmp(candidate->store->name, name) && candidate->loop == loop &&
            candidate->threads == threads && which-- == 0)
            return bench_candidate_missing(candidate) > 0.001 ? NULL : candidate;
    }
    return NULL;
}

static void goal(struct set *set, const char *what, const char *above, unsigned above_threads,
                 const char *below, unsigned below_threads, const char *suffix)
{
    struct bench_candidate *a = find(set, above, BENCH_HIT, above_threads, 0);
    struct bench_candidate *b = find(set, below, BENCH_HIT, below_threads, 0);
    char name[96];

    snprintf(name, sizeof name, "hit_%s_%s_%s", what, set->size->name, suffix);
    bench_goal_ratio(name, a ? &a->ns : NULL, b ? &b->ns : NULL,
                     "a side is not built, misses what it holds, or lacks processors");
}

static void zipf_goals(struct set *set)
{
    bool small = set->size->entries == 1000u, large = set->size->entries == 1000000u;
    struct bench_candidate *batch = find(set, "nearcache", BENCH_BATCH, 2, 0);
    struct bench_candidate *single = find(set, "nearcache", BENCH_HIT, 2, 0);

    goal(set, "floor", "nearcache", 2, set->floor, 2, "z2");
    goal(set, "scale", "nearcache", 2, "nearcache", 1, "z");
    if (small || large)
        goal(set, "uthash_mutex", "uthash-mutex", 2, "nearcache", 2, "z2");
    if (!small)
        goal(set, "ck", "ck", 2, "nearcache", 2, "z2");
    if (!small)
        goal(set, "lfht", "lfht", 2, "nearcache", 2, "z2");
    if (large)
        bench_goal_ratio("batch16_1m_z2", batch ? &batch->ns : NULL, single ? &single->ns : NULL,
                         "fewer than two processors, or keys are missed");
}

static void report(struct set *set, const char *distribution)
{
    char group[64], id[64], series[96], title[96];
    struct bench_candidate *first, *again;

    for (unsigned threads = 1; threads <= set->options->max_threads; threads *= 2u) {
        snprintf(group, sizeof group, "%s %s, %u thread%s", set->size->name, distribution, threads,
                 threads > 1 ? "s" : "");
        bench_table(group, "ns per hit");
        snprintf(id, sizeof id, "hit-size-%s-%u", distribution, threads);
        snprintf(title, sizeof title, "Latency of a hit by working set, %s, %u thread%s",
                 distribution, threads, threads > 1 ? "s" : "");
        for (unsigned i = 0; i < set->count; i++) {
            struct bench_candidate *candidate = &set->candidates[i];
            struct bench_summary summary = bench_summarise(&candidate->ns);
            struct bench_plot by_size = {id, title, "entries", "ns per hit", true, true};

            if (candidate->threads != threads)
                continue;
            if (candidate == find(set, "floor-huge", BENCH_HIT, threads, 1))
                continue;
            snprintf(series, sizeof series, "%s%s", candidate->store->title,
                     candidate->loop == BENCH_BATCH ? ", batches of 16" : "");
            bench_row(group, series, "ns", &candidate->ns);
            if (bench_candidate_missing(candidate) > 0)
                printf("    ! misses %.3f%% of the keys that it should hold\n",
                       100.0 * bench_candidate_missing(candidate));
            bench_point(&by_size, series, set->size->entries, summary.median, summary.q1,
                        summary.q3);
            if (set->size->entries == 1000000u && candidate->loop == BENCH_HIT) {
                struct bench_plot by_threads = {
                    !strcmp(distribution, "zipf") ? "hit-threads-zipf" : "hit-threads-uniform",
                    !strcmp(distribution, "zipf") ? "Hits by threads, 1M entries, Zipf 0.99"
                                                  : "Hits by threads, 1M entries, uniform",
                    "threads",
                    "million hits per second",
                    false,
                    false};
                double scale = 1000.0 * threads;

                bench_point(&by_threads, series, threads, scale / summary.median,
                            scale / summary.q3, scale / summary.q1);
            }
        }
        first = find(set, "floor-huge", BENCH_HIT, threads, 0);
        again = find(set, "floor-huge", BENCH_HIT, threads, 1);
        if (first && again) {
            struct bench_summary same = bench_ratio(&first->ns, &again->ns);

            bench_noise_same(&same);
        }
    }
}

static bool wants(const struct set *set, const char *distribution)
{
    char what[64];

    snprintf(what, sizeof what, "%s %s", set->size->name, distribution);
    return bench_wants(set->options, what);
}

static void run_distribution(struct set *set, enum bench_distribution distribution)
{
    const char *name = distribution == BENCH_ZIPF ? "zipf" : "uniform";
    struct bench_sequences sequences;
    char what[64];

    snprintf(what, sizeof what, "%s %s", set->size->name, name);
    if (!wants(set, name))
        return;
    set->count = 0;
    for (unsigned threads = 1; threads <= set->options->max_threads; threads *= 2u) {
        for (int i = 0; bench_stores[i]; i++)
            add(set, i, BENCH_HIT, threads);
        add(set, 0, BENCH_BATCH, threads);
        for (int i = 0; bench_stores[i]; i++)
            if (!strcmp(bench_stores[i]->name, "floor-huge"))
                add(set, i, BENCH_HIT, threads);
    }
    bench_sequences_init(&sequences, set->options->max_threads, distribution, set->size->entries);
    bench_candidates_run(set->options, what, set->candidates, set->count, &sequences);
    bench_sequences_deinit(&sequences);
    report(set, name);
    if (distribution == BENCH_ZIPF) {
        zipf_goals(set);
    } else if (set->size->entries == 1000000u) {
        goal(set, "floor", "nearcache", 1, set->floor, 1, "u1");
        goal(set, "ck", "ck", 1, "nearcache", 1, "u1");
    }
}

int main(int argc, char **argv)
{
    struct bench_options options =
        bench_begin(argc, argv, "hit", "latency of a hit by working set and threads");
    static struct set set;

    for (int i = 0; bench_stores[i]; i++)
        if (bench_stores[i]->skip)
            bench_skip(bench_stores[i]->title, bench_stores[i]->skip);
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        set.options = &options;
        set.size = &sizes[i];
        if (!wants(&set, "zipf") && !wants(&set, "uniform"))
            continue;
        open_all(&set);
        printf("\n%s entries: nearcache stands on %s pages, so its floor is \"%s\"\n",
               sizes[i].name, !strcmp(set.floor, "floor") ? "ordinary" : "huge", set.floor);
        run_distribution(&set, BENCH_ZIPF);
        run_distribution(&set, BENCH_UNIFORM);
        close_all(&set);
    }
    bench_end();
    return 0;
}
