#include "lib/sets.h"

#include <string.h>

void bench_set_open_evicting(struct bench_set *set)
{
    memset(set->opened, 0, sizeof set->opened);
    set->count = 0;
    for (int i = 0; bench_stores[i] && i < BENCH_MAX_STORES; i++) {
        const struct bench_store *store = bench_stores[i];

        if (store->skip || !store->evicts || store == &bench_store_nearcache_peek)
            continue;
        bench_progress("%s: filling %s", set->name, store->title);
        set->opened[i] = bench_store_open_filled(store, &set->config, set->config.capacity_entries);
    }
}

void bench_set_close(struct bench_set *set)
{
    for (int i = 0; bench_stores[i] && i < BENCH_MAX_STORES; i++)
        if (set->opened[i])
            bench_stores[i]->close(set->opened[i]);
}

static void add(struct bench_set *set, int store, enum bench_loop loop, unsigned threads,
                unsigned set_share)
{
    struct bench_candidate *candidate = &set->candidates[set->count];

    if (set->count == BENCH_MAX_CANDIDATES)
        bench_die("too many candidates");
    memset(candidate, 0, sizeof *candidate);
    candidate->store = bench_stores[store];
    candidate->opened = set->opened[store];
    candidate->loop = loop;
    candidate->threads = threads;
    candidate->set_share = set_share;
    candidate->value_bytes = set->config.value_bytes;
    candidate->insert_from = set->config.capacity_entries * (1u + set->count);
    set->count++;
}

void bench_set_add_all(struct bench_set *set, enum bench_loop loop, unsigned threads,
                       unsigned set_share)
{
    for (int i = 0; bench_stores[i] && i < BENCH_MAX_STORES; i++)
        if (set->opened[i])
            add(set, i, loop, threads, set_share);
}

void bench_set_add_control(struct bench_set *set, const char *store, enum bench_loop loop,
                           unsigned threads, unsigned set_share)
{
    for (int i = 0; bench_stores[i] && i < BENCH_MAX_STORES; i++)
        if (set->opened[i] && !strcmp(bench_stores[i]->name, store))
            add(set, i, loop, threads, set_share);
}

struct bench_candidate *bench_set_find(struct bench_set *set, const char *store,
                                       enum bench_loop loop, unsigned threads, unsigned which)
{
    for (unsigned i = 0; i < set->count; i++) {
        struct bench_candidate *candidate = &set->candidates[i];

        if (!strcmp(candidate->store->name, store) && candidate->loop == loop &&
            candidate->threads == threads && which-- == 0)
            return candidate;
    }
    return NULL;
}

void bench_set_note_control(struct bench_set *set, const char *store, enum bench_loop loop,
                            unsigned threads)
{
    struct bench_candidate *first = bench_set_find(set, store, loop, threads, 0);
    struct bench_candidate *again = bench_set_find(set, store, loop, threads, 1);
    struct bench_summary same;

    if (!first || !again)
        return;
    same = bench_ratio(&first->ns, &again->ns);
    bench_noise_same(&same);
}

void bench_set_goal(struct bench_set *set, const char *goal, const char *above, const char *below,
                    enum bench_loop loop, unsigned threads)
{
    struct bench_candidate *a = bench_set_find(set, above, loop, threads, 0);
    struct bench_candidate *b = bench_set_find(set, below, loop, threads, 0);

    bench_goal_ratio(goal, a ? &a->ns : NULL, b ? &b->ns : NULL,
                     "a side is not built or lacks processors");
}
