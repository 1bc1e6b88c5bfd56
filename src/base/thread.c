#include "base/thread.h"

#include "base/hash.h"
#include "nearcache.h"

#include <stdlib.h>
#include <string.h>

_Thread_local struct nc_thread_note nc_thread_notes[NC_THREAD_NOTES];

static void forget(const struct nc_thread *record)
{
    for (int i = 0; i < NC_THREAD_NOTES; i++)
        if (nc_thread_notes[i].record == record)
            nc_thread_notes[i] = (struct nc_thread_note){0, NULL};
}

/* At the end of its thread: another may have the record at once. */
static void leave(void *record)
{
    forget(record);
    /* Release pairs with the exchange of whoever joins: all that this thread did to it. */
    atomic_store_explicit(&((struct nc_thread *)record)->in_use, 0, memory_order_release);
}

int nc_threads_init(struct nc_threads *threads, size_t record_bytes)
{
    threads->id = nc_hash_random() | 1;
    threads->record_bytes = (record_bytes + 63) / 64 * 64;
    atomic_init(&threads->records, NULL);
    return pthread_key_create(&threads->key, leave) == 0 ? 0 : NEARCACHE_EIO;
}

void nc_threads_deinit(struct nc_threads *threads)
{
    pthread_key_delete(threads->key);
    struct nc_thread *t = atomic_load(&threads->records);
    while (t) {
        struct nc_thread *next = t->next;
        free(t);
        t = next;
    }
}

static struct nc_thread *note(const struct nc_threads *threads, struct nc_thread *record)
{
    nc_thread_notes[threads->id / 2 % NC_THREAD_NOTES] =
        (struct nc_thread_note){threads->id, record};
    return record;
}

struct nc_thread *nc_threads_join(struct nc_threads *threads)
{
    struct nc_thread *t = pthread_getspecific(threads->key);
    if (t)
        return note(threads, t);
    for (t = nc_threads_first(threads); t; t = t->next) {
        uint32_t unused = 0;
        if (atomic_compare_exchange_strong(&t->in_use, &unused, 1))
            break;
    }
    if (!t) {
        t = aligned_alloc(64, threads->record_bytes);
        if (!t)
            return NULL;
        memset(t, 0, threads->record_bytes);
        atomic_store(&t->in_use, 1);
        t->next = atomic_load(&threads->records);
        while (!atomic_compare_exchange_weak(&threads->records, &t->next, t))
            ;
    }
    if (pthread_setspecific(threads->key, t) != 0) {
        leave(t);
        return NULL;
    }
    return note(threads, t);
}
