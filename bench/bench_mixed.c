/*
 * 95 % get, 5 % set with eviction: Zipf 0.99 over twice as many keys as fit, 1M entries (100k with
 * --quick). First the mean per operation by threads, then the tails of gets and of sets with two
 * threads, each operation timed by itself.
 */
#include <stdio.h>
#include <string.h>

#include "lib/sets.h"
#include "lib/threads.h"

#define SET_SHARE 51u /* of 1024: 5 % */

static void report_means(struct bench_set *set, unsigned threads)
{
    struct bench_candidate *control = bench_set_find(set, "nearcache", BENCH_MIXED, threads, 1);
    struct bench_plot plot = {"mixed-threads", "95 % get, 5 % set with eviction, by threads",
                              "threads",       "million operations per second",
                              false,           false};
    char group[64];

    snprintf(group, sizeof group, "95/5, %s entries, %u thread%s", set->name, threads,
             threads > 1 ? "s" : "");
    bench_table(group, "ns per op");
    for (unsigned i = 0; i < set->count; i++) {
        struct bench_candidate *candidate = &set->candidates[i];
        struct bench_summary summary = bench_summarise(&candidate->ns);

        if (candidate->loop != BENCH_MIXED || candidate->threads != threads || candidate == control)
            continue;
        bench_row(group, candidate->store->title, "ns", &candidate->ns);
        printf("    misses %.1f%% of its gets\n", 100.0 * bench_candidate_missing(candidate));
        bench_point(&plot, candidate->store->title, threads, 1000.0 * threads / summary.median,
                    1000.0 * threads / summary.q3, 1000.0 * threads / summary.q1);
    }
    bench_set_note_control(set, "nearcache", BENCH_MIXED, threads);
}

static void report_tails(struct bench_set *set, unsigned threads)
{
    static const char *const names[] = {"p50", "p90", "p99", "p99.9", "p99.99"};
    struct bench_plot plots[] = {{"tail-get", "Tail of a get with 5 % writes, two threads",
                                  "one in N gets is slower", "ns", true, true},
                                 {"tail-set", "Tail of a set beside 95 % gets, two threads",
                                  "one in N sets is slower", "ns", true, true}};
    char group[64], series[96];

    for (int kind = 0; kind < 2; kind++) {
        snprintf(group, sizeof group, "%s under 95/5, %s entries, %u threads", kind ? "set" : "get",
                 set->name, threads);
        bench_table(group, "ns");
        for (unsigned i = 0; i < set->count; i++) {
            struct bench_candidate *candidate = &set->candidates[i];

            if (candidate->loop != BENCH_TIMED || candidate->threads != threads)
                continue;
            for (int q = 0; q < BENCH_QUANTILES; q++) {
                struct bench_rounds *rounds =
                    kind ? &candidate->sets_ns[q] : &candidate->gets_ns[q];
                struct bench_summary summary = bench_summarise(rounds);

                snprintf(series, sizeof series, "%s %s", candidate->store->title, names[q]);
                if (q == 0 || q >= 2)
                    bench_row(group, series, "ns", rounds);
                bench_point(&plots[kind], candidate->store->title, 1.0 / (1.0 - bench_quantiles[q]),
                            summary.median, summary.q1, summary.q3);
            }
        }
    }
}

static void goals(struct bench_set *set)
{
    struct bench_candidate *ours = bench_set_find(set, "nearcache", BENCH_TIMED, 2, 0);
    struct bench_candidate *ck = bench_set_find(set, "ck", BENCH_TIMED, 2, 0);
    struct bench_candidate *spin = bench_set_find(set, "uthash-spin", BENCH_TIMED, 2, 0);
    const char *reason = "a side is not built or lacks processors";

    bench_set_goal(set, "mixed_uthash_mutex_1t", "uthash-mutex", "nearcache", BENCH_MIXED, 1);
    bench_set_goal(set, "mixed_uthash_mutex_2t", "uthash-mutex", "nearcache", BENCH_MIXED, 2);
    bench_set_goal(set, "mixed_ck_1t", "ck", "nearcache", BENCH_MIXED, 1);
    bench_set_goal(set, "mixed_ck_2t", "ck", "nearcache", BENCH_MIXED, 2);
    bench_goal_ratio("tail_get_ck", ours ? &ours->gets_ns[3] : NULL, ck ? &ck->gets_ns[3] : NULL,
                     reason);
    bench_goal_ratio("tail_set_uthash_spin", ours ? &ours->sets_ns[3] : NULL,
                     spin ? &spin->sets_ns[3] : NULL, reason);
}

int main(int argc, char **argv)
{
    struct bench_options options =
        bench_begin(argc, argv, "mixed", "95 % get, 5 % set with eviction: means and tails");
    static struct bench_set set;
    struct bench_sequences sequences;
    uint32_t entries = options.quick ? 100000u : 1000000u;

    set.options = &options;
    set.name = options.quick ? "100k" : "1m";
    set.config = (struct bench_store_config){.entries = entries,
                                             .capacity_entries = entries,
                                             .value_bytes = 64,
                                             .threads = options.max_threads};
    bench_set_open_evicting(&set);
    for (unsigned threads = 1; threads <= options.max_threads; threads *= 2u) {
        bench_set_add_all(&set, BENCH_MIXED, threads, SET_SHARE);
        bench_set_add_control(&set, "nearcache", BENCH_MIXED, threads, SET_SHARE);
    }
    if (options.max_threads >= 2)
        bench_set_add_all(&set, BENCH_TIMED, 2, SET_SHARE);
    bench_progress("drawing keys");
    bench_sequences_init(&sequences, options.max_threads, BENCH_ZIPF, entries * 2u);
    bench_candidates_run(&options, set.name, set.candidates, set.count, &sequences);
    bench_sequences_deinit(&sequences);
    for (unsigned threads = 1; threads <= options.max_threads; threads *= 2u)
        report_means(&set, threads);
    report_tails(&set, 2);
    goals(&set);
    bench_set_close(&set);
    bench_end();
    return 0;
}
