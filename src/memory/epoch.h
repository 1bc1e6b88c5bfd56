/*
 * memory/epoch: delayed free: what a reader sees stays valid until it leaves, what it has pinned
 * until it is released.
 *
 * A reader enters by publishing the epoch that it sees and leaves by publishing 0; a retired entry
 * is freed two epochs later, when nobody who could have seen it is inside. A pin is the address of
 * the entry in a slot of the reader's own thread, stored before leaving, so that pinning writes no
 * line that others read; who frees looks through the slots. When a thread's slots are full a count
 * in the entry serves. Thread-safe.
 */
#ifndef NC_MEMORY_EPOCH_H
#define NC_MEMORY_EPOCH_H

#include "base/thread.h"
#include "memory/entry.h"

#define NC_PIN_SLOTS 62

/* A thread's part of it; what a record of the registry begins with. */
struct nc_reader {
    struct nc_thread base;
    _Alignas(64) _Atomic uint64_t epoch; /* 0: outside */
    uint32_t next_slot;                  /* own thread only: where to look for a free one */
    _Atomic int64_t counted;             /* pins of this thread that found no slot */
    _Atomic(struct nc_entry *) slots[NC_PIN_SLOTS];
};

struct nc_epoch {
    _Alignas(64) _Atomic uint64_t now; /* begins at 1 */
    struct nc_threads *threads;
    _Alignas(64) pthread_mutex_t lock; /* of what follows */
    struct nc_entry *oldest, *newest;  /* retired, by retired_at */
    uint64_t retired_bytes;
};

/* A pin: the address of its slot, or that of the reader plus 1 where the entry's count holds it. */
struct nc_pin {
    struct nc_entry *entry;
    uintptr_t where;
};

void nc_epoch_init(struct nc_epoch *epoch, struct nc_threads *threads);
/* False: something is pinned; nothing that is pinned was freed. */
bool nc_epoch_deinit(struct nc_epoch *epoch);

static inline void nc_epoch_enter(struct nc_epoch *epoch, struct nc_reader *reader)
{
    uint64_t now = atomic_load_explicit(&epoch->now, memory_order_relaxed);
    atomic_store_explicit(&reader->epoch, now, memory_order_relaxed);
    /* The store must be visible before anything is read from the index: pairs with the fence in
     * nc_epoch_retire. Without it the reclaimer could miss a reader that already holds a pointer. */
    atomic_thread_fence(memory_order_seq_cst);
}

static inline void nc_epoch_leave(struct nc_reader *reader)
{
    /* Release pairs with the acquire in reclaim: reads and pins come before. */
    atomic_store_explicit(&reader->epoch, 0, memory_order_release);
}

/* Pins an entry that cannot be freed now: inside the epoch, private, or pinned by another. */
struct nc_pin nc_epoch_pin(struct nc_reader *reader, struct nc_entry *entry);
/* Any thread. */
void nc_epoch_unpin(struct nc_pin pin);
uint64_t nc_epoch_pinned(struct nc_epoch *epoch);

/* Frees what may be freed by now; a bounded amount. True: there is more. */
bool nc_epoch_reclaim(struct nc_epoch *epoch);

/* An unlinked entry, freed when nobody can see it any more. */
void nc_epoch_retire(struct nc_epoch *epoch, struct nc_entry *entry);

#endif
