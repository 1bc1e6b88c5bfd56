/*
 * base/thread: a record per thread and cache, found in a nanosecond.
 *
 * Records are handed to later threads when theirs ends and are freed with the registry only, so
 * what hangs on them (counters) adds up for ever. Thread-safe.
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
    pthread_key_t key;
    size_t record_bytes;
    struct nc_thread *_Atomic records;
};

int nc_threads_init(struct nc_threads *threads, size_t record_bytes);
void nc_threads_deinit(struct nc_threads *threads);
struct nc_thread *nc_threads_join(struct nc_threads *threads);
static inline void *nc_threads_self(struct nc_threads *threads)
{
    void *record = pthread_getspecific(threads->key);
    return __builtin_expect(record != NULL, 1) ? record : nc_threads_join(threads);
}
static inline struct nc_thread *nc_threads_first(struct nc_threads *threads)
{
    return atomic_load_explicit(&threads->records, memory_order_acquire);
}

#endif
