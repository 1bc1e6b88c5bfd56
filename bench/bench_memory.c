/*
 * Bytes per entry beyond key and value: 24-byte keys, 64-byte values. Each store in a child of its
 * own, so that one's fragments are not another's; resident memory, the only figure that does not
 * depend on what a store says of itself. nearcache twice: with room to spare, and full to its byte
 * budget, as a cache is in service.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <nearcache.h>
#include <nearcache/metrics.h>

#include "lib/machine.h"
#include "lib/output.h"
#include "lib/store.h"

#define VALUE_BYTES 64u
#define PAYLOAD (BENCH_KEY_BYTES + VALUE_BYTES)

/* The same pages for the harness before and after, or its own growth would count. */
static double resident(void) { return (double)bench_memory_now().resident_bytes; }

static double fill_store(const struct bench_store *store, uint64_t entries)
{
    struct bench_store_config config = {
        .entries = entries, .value_bytes = VALUE_BYTES, .threads = 1};
    double before = resident();
    void *opened = bench_store_open_filled(store, &config, entries);

    return (resident() - before) / (double)store->entries(opened) - PAYLOAD;
}

/* Sets three times as many keys as fit into the budget. */
static double fill_budget(uint64_t entries)
{
    struct nearcache_config config = NEARCACHE_CONFIG_INIT;
    struct nearcache_tier_config tier_config = NEARCACHE_TIER_INIT;
    struct nearcache_metrics metrics = NEARCACHE_METRICS_INIT;
    struct nearcache *cache;
    struct nearcache_tier *tier;
    double before = resident(), grown;
    uint64_t value[VALUE_BYTES / 8] = {0};

    config.budget_bytes = entries * (PAYLOAD + 56u);
    config.journal_bytes = NEARCACHE_NONE;
    tier_config.name = "bench";
    tier_config.redis_ttl_ms = tier_config.local_ttl_ms = NEARCACHE_NONE;
    if (nearcache_open(&cache, &config) || nearcache_tier_open(cache, &tier_config, &tier))
        bench_die("nearcache does not open");
    for (uint64_t id = 0; id < entries * 3u; id++) {
        char key[BENCH_KEY_BYTES];

        value[1] = id;
        bench_key(key, id);
        if (nearcache_set(tier, key, sizeof key, value, sizeof value, NULL))
            bench_die("nearcache refuses an entry");
    }
    grown = resident() - before;
    nearcache_metrics(cache, &metrics);
    /* The worse of what the machine sees and what the budget was spent on. */
    if ((double)config.budget_bytes > grown)
        grown = (double)config.budget_bytes;
    return grown / (double)metrics.entries - PAYLOAD;
}

/* `store` NULL: the full budget. */
static double in_child(const struct bench_store *store, uint64_t entries)
{
    double bytes = -1.0;
    int status, ends[2];
    pid_t child;

    fflush(NULL);
    if (pipe(ends) || (child = fork()) < 0)
        bench_die("no child to be had");
    if (child == 0) {
        bytes = store ? fill_store(store, entries) : fill_budget(entries);
        _exit(write(ends[1], &bytes, sizeof bytes) != sizeof bytes);
    }
    close(ends[1]);
    if (read(ends[0], &bytes, sizeof bytes) != sizeof bytes)
        bytes = -1.0;
    close(ends[0]);
    waitpid(child, &status, 0);
    if (bytes == -1.0)
        bench_die("the child of %s failed", store ? store->title : "the budget");
    return bytes;
}

int main(int argc, char **argv)
{
    struct bench_options options =
        bench_begin(argc, argv, "memory", "bytes per entry beyond key and value");
    uint64_t entries = options.quick ? 200000u : 1000000u;
    int rounds = options.rounds < 3 ? options.rounds : 3; /* hardly varies */
    struct bench_rounds full = {0, {0}};
    struct bench_summary summary;

    bench_table("bytes per entry beyond 24 + 64", "bytes");
    for (int i = 0; bench_stores[i]; i++) {
        struct bench_rounds bytes = {0, {0}};

        if (bench_stores[i]->skip || !bench_wants(&options, bench_stores[i]->name))
            continue;
        if (bench_stores[i] == &bench_store_nearcache_peek)
            continue;
        for (int round = 0; round < rounds; round++) {
            bench_progress("%s, round %d of %d", bench_stores[i]->title, round + 1, rounds);
            bench_rounds_add(&bytes, in_child(bench_stores[i], entries));
        }
        bench_row("bytes per entry", bench_stores[i]->title, "bytes", &bytes);
    }
    for (int round = 0; round < rounds; round++) {
        bench_progress("nearcache, full, round %d of %d", round + 1, rounds);
        bench_rounds_add(&full, in_child(NULL, entries));
    }
    bench_row("bytes per entry", "nearcache, full to its budget", "bytes", &full);
    summary = bench_summarise(&full);
    bench_goal("bytes_per_entry", &summary);
    bench_end();
    return 0;
}
