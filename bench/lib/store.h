/*
 * The one interface that nearcache and its peers stand behind.
 *
 * A peer's file defines four inline functions (enter, get, release, set) and includes
 * store_loops.h, which turns them into the loops below: so the calls of each peer are inlined
 * as in a program that uses it, and the harness costs the same for all.
 */
#ifndef BENCH_STORE_H
#define BENCH_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/histogram.h"
#include "lib/keys.h"

/* Values begin with a word that is always 0 (the next position depends on it) and the id. */
#define BENCH_VALUE_WORDS 2u
#define BENCH_MAX_BATCH 32u

struct bench_store_config {
    uint64_t entries;          /* that will be stored, at most */
    uint64_t capacity_entries; /* evict beyond these; 0: never */
    size_t value_bytes;
    unsigned threads;
};

/* One thread: what a worker needs and what it found. */
struct bench_worker {
    const struct bench_sequence *sequence;
    uint64_t position;
    uint64_t random;
    uint64_t next_id;   /* of an insertion */
    uint64_t id_step;   /* so that threads insert different ids */
    unsigned set_share; /* of 1024 operations of a mixed loop */
    uint64_t found;
    uint64_t missing; /* not there, or another key's value: the caller decides what is wrong */
    void *value;      /* value_bytes of the caller's, written by the loops */
    size_t value_bytes;
    struct bench_histogram *gets; /* timed loops */
    struct bench_histogram *sets;
    struct bench_histogram
        *timer; /* an empty pair beside each operation: what the timer itself adds */
};

/* Thread-safe between open and close, apart from fill. Immutable. */
struct bench_store {
    const char *name;                                       /* for JSON and --only: [a-z0-9_-] */
    const char *title;                                      /* for people */
    const char *skip;                                       /* why it is not here; NULL: it is */
    bool evicts;                                            /* honours capacity_entries */
    void *(*open)(const struct bench_store_config *config); /* NULL: no memory */
    void (*close)(void *store);
    void (*thread_begin)(void *store);
    void (*thread_end)(void *store);
    int (*set)(void *store, uint64_t id, const void *value); /* 0: stored */
    uint64_t (*entries)(void *store);
    /* Each does `count` operations. A dependent chain: the next key waits for this value. */
    void (*run_hit)(void *store, struct bench_worker *worker, uint64_t count);
    void (*run_insert)(void *store, struct bench_worker *worker, uint64_t count);
    void (*run_mixed)(void *store, struct bench_worker *worker, uint64_t count);
    void (*run_timed)(void *store, struct bench_worker *worker, uint64_t count);
    /* `count` keys in batches of `batch`, each batch dependent on the last; NULL: no such call. */
    void (*run_batch)(void *store, struct bench_worker *worker, uint64_t count, unsigned batch);
};

extern const struct bench_store bench_store_nearcache, bench_store_nearcache_peek,
    bench_store_nearcache_ttl, bench_store_uthash_mutex, bench_store_uthash_spin, bench_store_ck,
    bench_store_lfht, bench_store_glib, bench_store_floor, bench_store_floor_huge;

/* nearcache first, then the floors, then the peers; ends with NULL. */
extern const struct bench_store *const bench_stores[];

/* The row of bench_stores with that name; ends the program when there is none. */
const struct bench_store *bench_store_find(const char *name);

/* Opens, fills with the ids 0 .. count-1, ends the program when that fails. */
void *bench_store_open_filled(const struct bench_store *store,
                              const struct bench_store_config *config, uint64_t count);

#endif
