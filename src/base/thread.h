/*
 * base/thread: a record per thread and cache, found in a nanosecond.
 *
 * Records are handed to later threads when theirs ends and are freed with the registry only, so
 * what hangs on them (counters) adds up for ever. Each thread keeps a note of the records that it
 * used last, in its own static storage (the initial-exec model: one load, also in a library that
 * is loaded later, for which the C library sets some of that storage aside). Thread-safe.
 */
#ifndef NC_BASE_THREAD_H
#define NC_BASE_THREAD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a record begins with. */
struct nc_thread {
    struct nc_thread *next; /* in the registry; constant once linked */
    _Atomic uint32_t in_use;
};

struct nc_threads {
    uint64_t id; /* random, so that no note outlives the registry that it was made of */
    pthread_key_t key;
    size_t record_bytes;
    struct nc_thread *_Atomic records;
};

/* Own thread only. */
struct nc_thread_note {
    uint64_t id; /* of the registry; 0: none */
    struct nc_thread *record;
};

#define NC_THREAD_NOTES 4
extern _Thread_local struct nc_thread_note nc_thread_notes[NC_THREAD_NOTES]
    __attribute__((tls_model("initial-exec"), visibility("hidden")));

/* 0 or NEARCACHE_EIO: the process has no key left. */
int nc_threads_init(struct nc_threads *threads, size_t record_bytes);
/* No other thread uses it any more. */
void nc_threads_deinit(struct nc_threads *threads);
/* Finds the thread's record, or gives it one, and notes it. NULL: out of memory. */
struct nc_thread *nc_threads_join(struct nc_threads *threads);
/* The record that the thread has noted; NULL: none of this registry. */
static inline void *nc_threads_noted(const struct nc_threads *threads)
{
    const struct nc_thread_note *note = &nc_thread_notes[threads->id / 2 % NC_THREAD_NOTES];
    return __builtin_expect(note->id == threads->id, 1) ? note->record : NULL;
}
static inline void *nc_threads_self(struct nc_threads *threads)
{
    void *record = nc_threads_noted(threads);
    return __builtin_expect(record != NULL, 1) ? record : nc_threads_join(threads);
}
static inline struct nc_thread *nc_threads_first(struct nc_threads *threads)
{
    return atomic_load_explicit(&threads->records, memory_order_acquire);
}

#endif
