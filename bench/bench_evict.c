/*
 * Insert + evict: a full cache of 100k and of 1M entries takes new keys only, so each set evicts.
 * 24-byte keys, 64-byte values, by threads, next to the peers.
 */
#include <stdio.h>

#include "lib/sets.h"
#include "lib/threads.h"

static const struct {
    const char *name;
    uint64_t entries;
} sizes[] = {{"100k", 100000u}, {"1m", 1000000u}};

static void report(struct bench_set *set, unsigned threads)
{
    struct bench_plot plot = {"insert-threads",
                              "Insert + evict by threads, 1M entries",
                              "threads",
                              "million inserts per second",
                              false,
                              false};
    struct bench_candidate *control = bench_set_find(set, "nearcache", BENCH_INSERT, threads, 1);
    char group[64];

    snprintf(group, sizeof group, "insert + evict, %s entries, %u thread%s", set->name, threads,
             threads > 1 ? "s" : "");
    bench_table(group, "ns per insert");
    for (unsigned i = 0; i < set->count; i++) {
        struct bench_candidate *candidate = &set->candidates[i];
        struct bench_summary summary = bench_summarise(&candidate->ns);

        if (candidate->threads != threads || candidate == control)
            continue;
        bench_row(group, candidate->store->title, "ns", &candidate->ns);
        if (candidate->missing)
            printf("    ! %llu inserts refused\n", (unsigned long long)candidate->missing);
        if (set->config.capacity_entries == 1000000u)
            bench_point(&plot, candidate->store->title, threads, 1000.0 * threads / summary.median,
                        1000.0 * threads / summary.q3, 1000.0 * threads / summary.q1);
    }
    bench_set_note_control(set, "nearcache", BENCH_INSERT, threads);
}

static void check_capacity(struct bench_set *set)
{
    for (int i = 0; bench_stores[i]; i++) {
        uint64_t entries;

        if (!set->opened[i])
            continue;
        entries = bench_stores[i]->entries(set->opened[i]);
        if (entries > set->config.capacity_entries ||
            entries < set->config.capacity_entries - set->config.capacity_entries / 20u)
            printf("    ! %s ends with %llu entries of %llu\n", bench_stores[i]->title,
                   (unsigned long long)entries, (unsigned long long)set->config.capacity_entries);
    }
}

int main(int argc, char **argv)
{
    struct bench_options options =
        bench_begin(argc, argv, "evict", "insert + evict in a full cache");
    static struct bench_set set;
    char goal[64];

    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct bench_sequences sequences;

        if (!bench_wants(&options, sizes[i].name))
            continue;
        set.options = &options;
        set.name = sizes[i].name;
        set.config = (struct bench_store_config){.entries = sizes[i].entries,
                                                 .capacity_entries = sizes[i].entries,
                                                 .value_bytes = 64,
                                                 .threads = options.max_threads};
        bench_set_open_evicting(&set);
        for (unsigned threads = 1; threads <= options.max_threads; threads *= 2u) {
            bench_set_add_all(&set, BENCH_INSERT, threads, 0);
            bench_set_add_control(&set, "nearcache", BENCH_INSERT, threads, 0);
        }
        bench_sequences_init(&sequences, options.max_threads, BENCH_UNIFORM, 1000u);
        bench_candidates_run(&options, sizes[i].name, set.candidates, set.count, &sequences);
        bench_sequences_deinit(&sequences);
        for (unsigned threads = 1; threads <= options.max_threads; threads *= 2u)
            report(&set, threads);
        check_capacity(&set);
        snprintf(goal, sizeof goal, "insert_ck_%s", sizes[i].name);
        bench_set_goal(&set, goal, "ck", "nearcache", BENCH_INSERT, 2);
        snprintf(goal, sizeof goal, "insert_lfht_%s", sizes[i].name);
        bench_set_goal(&set, goal, "lfht", "nearcache", BENCH_INSERT, 2);
        bench_set_close(&set);
    }
    bench_end();
    return 0;
}
