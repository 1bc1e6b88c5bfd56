/*
 * memory/epoch: delayed free: what a reader sees stays valid until it leaves, what it has pinned
 * until it is released.
 *
 * A reader enters by publishing the epoch that it sees and leaves by publishing 0. Who unlinks an
 * entry retires it into the limbo of his own thread, where batches wait:
 *
 *     fresh --(barrier, stamp)--> waiting --(two epochs later)--> ready --> new entry, or free
 *                                                                   `--> held (pinned: later)
 *
 * A batch is closed when it has batch_bytes, and a call frees few entries at a time, so that no
 * writer pays for a heap of them. A thread that writes entries of one size takes the blocks of new
 * ones from what is ready: the next one is known long before, so that its lines are here. A pin is
 * the address of the entry in a slot of the reader's own thread, stored before leaving, so that
 * pinning writes no line that others read; who frees looks through the slots after the grace
 * period. When a thread's slots are full a table serves.
 *
 * The barrier between unlinking and stamping pairs with one between publishing and reading. Where
 * the kernel has MEMBARRIER_CMD_PRIVATE_EXPEDITED the reader's half costs nothing and the other is
 * that system call, once a batch; elsewhere both are fences. Thread-safe.
 */
#ifndef NC_MEMORY_EPOCH_H
#define NC_MEMORY_EPOCH_H

#include "base/lock.h"
#include "base/thread.h"
#include "memory/entry.h"

#define NC_PIN_SLOTS 62
#define NC_EPOCH_WAITING 4
#define NC_PIN_FILTER_WORDS 64

/* How far ahead of what is being freed lines are fetched. */
#define NC_EPOCH_AHEAD 8

/* Entries linked by `newer`, in the order in which they were retired. `older` leads to the one that
 * was retired NC_EPOCH_AHEAD later, where there is one: a chain of `newer` alone would be a wait
 * for memory at each link. */
struct nc_batch {
    struct nc_entry *first, *last;
    uint64_t bytes;
    uint64_t stamp;
};

/* What stood in slots when it was made. */
struct nc_pin_filter {
    bool unsure;                         /* it could not be made: everything counts as pinned */
    uint64_t transfers;                  /* of the epoch's then */
    uint64_t words[NC_PIN_FILTER_WORDS]; /* a bit for each address */
};

/* Its own thread's, which is `inside` while it works on it; maintenance holds the lock and has it
 * `claimed` while it does, so that the one who comes often needs no locked instruction. */
struct nc_limbo {
    _Alignas(64) _Atomic uint32_t inside, claimed;
    _Atomic bool retired; /* since maintenance looked last */
    bool rests, empty;    /* maintenance only: nothing was, when it looked; it left nothing */
    uint32_t calls;       /* since something was freed last */
    uint32_t reused;      /* blocks, since then */
    struct nc_lock lock;
    uint32_t begin, count; /* of waiting, a ring */
    struct nc_batch fresh, ready, held;
    uint32_t recent_at;
    struct nc_entry *recent[NC_EPOCH_AHEAD]; /* the last that were retired into `fresh`, a ring */
    struct nc_batch waiting[NC_EPOCH_WAITING];
    struct nc_pin_filter filter;
};

/* A thread's part of it; what a record of the registry begins with. */
struct nc_reader {
    struct nc_thread base;
    _Alignas(64) _Atomic uint64_t epoch; /* 0: outside */
    uint32_t next_slot;                  /* own thread only: where to look for a free one */
    uint32_t heap;                       /* own thread only: 1 + its heap of the arena */
    _Atomic(struct nc_entry *) slots[NC_PIN_SLOTS];
    struct nc_limbo limbo;
};

struct nc_overflow;

struct nc_epoch {
    _Alignas(64) _Atomic uint64_t now; /* begins at 1 */
    bool expedited;                    /* membarrier serves; constant */
    struct nc_threads *threads;
    struct nc_arena *arena;
    uint64_t batch_bytes;
    _Atomic uint32_t heaps;     /* the next thread's heap */
    _Atomic uint64_t transfers; /* pins taken of what another pin holds */
    struct nc_limbo limbo;      /* of threads without a record */
    struct nc_lock overflow_lock;
    struct nc_overflow *overflow; /* pins that found no slot, by entry */
    _Atomic uint64_t overflow_pins;
};

/* A pin: the address of its slot, or that of its place in the table plus 1. */
struct nc_pin {
    struct nc_entry *entry; /* NULL: out of memory */
    uintptr_t where;
};

enum nc_barriers { NC_BARRIERS_BEST, NC_BARRIERS_FENCES };

void nc_epoch_init(struct nc_epoch *epoch, struct nc_threads *threads, struct nc_arena *arena,
                   uint64_t batch_bytes, enum nc_barriers barriers);
/* False: something is pinned. True: nothing is; the arena may go, and takes what waits with it. */
bool nc_epoch_deinit(struct nc_epoch *epoch);

static inline void nc_epoch_enter(struct nc_epoch *epoch, struct nc_reader *reader)
{
    uint64_t now = atomic_load_explicit(&epoch->now, memory_order_acquire);
    /* Release: what was read in an earlier stay comes before, for who sees this epoch instead of
     * the 0 between. */
    atomic_store_explicit(&reader->epoch, now, memory_order_release);
    /* The store must be visible before anything is read from the index: pairs with nc_epoch_barrier
     * of who unlinks. Without it he could miss a reader that already holds a pointer. */
    if (epoch->expedited)
        atomic_signal_fence(memory_order_seq_cst);
    else
        atomic_thread_fence(memory_order_seq_cst);
}

static inline void nc_epoch_leave(struct nc_reader *reader)
{
    /* Release pairs with the acquire of advancing: reads and pins come before. */
    atomic_store_explicit(&reader->epoch, 0, memory_order_release);
}

/* After unlinking, before loading the epoch for a stamp: every reader from now on is seen, or sees
 * that it was unlinked. */
void nc_epoch_barrier(struct nc_epoch *epoch);
/* What was unlinked before `stamp` was taken is seen by nobody who has not pinned it. */
static inline bool nc_epoch_has_passed(struct nc_epoch *epoch, uint64_t stamp)
{
    /* Acquire pairs with the release of advancing: the readers' last reads come before. */
    return atomic_load_explicit(&epoch->now, memory_order_acquire) >= stamp + 2;
}

/* The same as nc_epoch_pin, where both slots below are taken. */
struct nc_pin nc_epoch_pin_elsewhere(struct nc_epoch *epoch, struct nc_reader *reader,
                                     struct nc_entry *entry);
void nc_epoch_unpin_in_table(struct nc_overflow *overflow);

/* The slot that was used last, or the next, as a batch takes them. NULL: neither is free. */
static inline _Atomic(struct nc_entry *) *nc_epoch_slot(struct nc_reader *reader)
{
    _Atomic(struct nc_entry *) *slot = &reader->slots[reader->next_slot];
    /* Acquire pairs with the release of whoever cleared it: his reads come before what is stored
     * there next, which is all that who frees may see of both. */
    if (atomic_load_explicit(slot, memory_order_acquire) == NULL)
        return slot;
    uint32_t next = reader->next_slot + 1 < NC_PIN_SLOTS ? reader->next_slot + 1 : 0;
    slot = &reader->slots[next];
    if (__builtin_expect(atomic_load_explicit(slot, memory_order_acquire) != NULL, 0))
        return NULL;
    reader->next_slot = next;
    return slot;
}

static inline struct nc_pin nc_epoch_pin_in(_Atomic(struct nc_entry *) *slot,
                                            struct nc_entry *entry)
{
    /* Release: with the leaving (also a release) whoever frees sees it after the grace. */
    atomic_store_explicit(slot, entry, memory_order_release);
    return (struct nc_pin){entry, (uintptr_t)slot};
}

/* Pins an entry inside the epoch in which it was found, or a private one. */
static inline struct nc_pin nc_epoch_pin(struct nc_epoch *epoch, struct nc_reader *reader,
                                         struct nc_entry *entry)
{
    _Atomic(struct nc_entry *) *slot = nc_epoch_slot(reader);
    return slot ? nc_epoch_pin_in(slot, entry) : nc_epoch_pin_elsewhere(epoch, reader, entry);
}

/* Pins an entry that another pin holds until this has returned. */
struct nc_pin nc_epoch_pin_again(struct nc_epoch *epoch, struct nc_reader *reader,
                                 struct nc_entry *entry);
/* Any thread. */
static inline void nc_epoch_unpin(struct nc_pin pin)
{
    /* Release: this holder's reads end before the entry may be freed. */
    if (__builtin_expect((pin.where & 1) == 0, 1))
        atomic_store_explicit((_Atomic(struct nc_entry *) *)pin.where, NULL, memory_order_release);
    else
        nc_epoch_unpin_in_table((struct nc_overflow *)(pin.where - 1));
}
uint64_t nc_epoch_pinned(struct nc_epoch *epoch);

/* An unlinked entry, freed when nobody can see it any more. */
void nc_epoch_retire(struct nc_epoch *epoch, struct nc_entry *entry);
/* A block for a new entry: one of the same size that this thread has retired and nobody can see any
 * more, else one of the arena's. NULL: out of memory. */
void *nc_epoch_alloc(struct nc_epoch *epoch, struct nc_reader *reader, size_t bytes);
/* Frees what may be freed by now of threads that have retired nothing since the last call; a
 * bounded amount. True: there is more. */
bool nc_epoch_reclaim(struct nc_epoch *epoch);
/* The same soon afterwards: of those threads only that were found at rest then. */
bool nc_epoch_reclaim_again(struct nc_epoch *epoch);
/* Moves the epoch on where nothing is retired that would. */
void nc_epoch_advance(struct nc_epoch *epoch);

/* The heap of the arena that a thread allocates from. */
static inline uint32_t nc_epoch_heap(struct nc_epoch *epoch, struct nc_reader *reader)
{
    if (__builtin_expect(reader->heap == 0, 0))
        reader->heap = 1 + atomic_fetch_add_explicit(&epoch->heaps, 1, memory_order_relaxed) % 64;
    return reader->heap - 1;
}

#endif
