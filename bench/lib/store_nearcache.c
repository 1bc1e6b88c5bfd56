/*
 * nearcache through its public interface, as a program uses it: get, read the value, release.
 * Two rows here: plain (the figure of the goals), and entries that have a TTL, which need the time
 * on each hit. store_nearcache_peek.c adds peek.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/nearcache_loops.h"

#include "lib/store_loops.h"

static void run_batch(void *store, struct bench_worker *worker, uint64_t count, unsigned batch)
{
    struct peer *peer = store;
    struct nearcache_name names[BENCH_MAX_BATCH];
    struct nearcache_result results[BENCH_MAX_BATCH];
    char keys[BENCH_MAX_BATCH][BENCH_KEY_BYTES];
    uint64_t ids[BENCH_MAX_BATCH], position = worker->position;
    int statuses[BENCH_MAX_BATCH];

    for (uint64_t done = 0; done < count; done += batch) {
        uint64_t step = 0;

        for (unsigned i = 0; i < batch; i++) {
            ids[i] = worker->sequence->ids[(position + i) & worker->sequence->mask];
            bench_key(keys[i], ids[i]);
            names[i].data = keys[i];
            names[i].bytes = BENCH_KEY_BYTES;
        }
        nearcache_get_many(peer->tier, names, batch, NULL, results, statuses);
        for (unsigned i = 0; i < batch; i++) {
            const uint64_t *value = results[i].data;

            if (statuses[i] || value[1] != ids[i])
                worker->missing++;
            else
                worker->found++, step |= value[0];
        }
        nearcache_release_many(results, batch);
        position += batch + step;
    }
    worker->position = position;
}

const struct bench_store bench_store_nearcache = {
    .name = "nearcache",
    .title = "nearcache",
    .evicts = true,
    .open = nearcache_store_open,
    .close = nearcache_store_close,
    .set = nearcache_store_set,
    .entries = nearcache_store_entries,
    .run_hit = peer_run_hit,
    .run_insert = peer_run_insert,
    .run_mixed = peer_run_mixed,
    .run_timed = peer_run_timed,
    .run_batch = run_batch,
};

const struct bench_store bench_store_nearcache_ttl = {
    .name = "nearcache-ttl",
    .title = "nearcache, entries with a TTL",
    .evicts = true,
    .open = nearcache_store_open_ttl,
    .close = nearcache_store_close,
    .set = nearcache_store_set,
    .entries = nearcache_store_entries,
    .run_hit = peer_run_hit,
    .run_insert = peer_run_insert,
    .run_mixed = peer_run_mixed,
    .run_timed = peer_run_timed,
    .run_batch = run_batch,
};
