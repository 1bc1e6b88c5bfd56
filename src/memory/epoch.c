#include "memory/epoch.h"

#include <stdlib.h>
#include <string.h>

/* One call frees at most this many entries, so that no writer pays for a heap of them. */
#define FREE_MOST 32

void nc_epoch_init(struct nc_epoch *epoch, struct nc_threads *threads)
{
    memset(epoch, 0, sizeof *epoch);
    atomic_init(&epoch->now, 1);
    epoch->threads = threads;
    pthread_mutex_init(&epoch->lock, NULL);
}

static bool in_a_slot(struct nc_epoch *epoch, const struct nc_entry *entry)
{
    for (struct nc_thread *t = nc_threads_first(epoch->threads); t; t = t->next) {
        struct nc_reader *reader = (struct nc_reader *)t;
        for (int i = 0; i < NC_PIN_SLOTS; i++)
            /* Acquire pairs with the release in nc_epoch_unpin: the holder's reads come before. */
            if (atomic_load_explicit(&reader->slots[i], memory_order_acquire) == entry)
                return true;
    }
    return false;
}

static bool is_pinned(struct nc_epoch *epoch, struct nc_entry *entry)
{
    return atomic_load_explicit(&entry->pins, memory_order_acquire) > 0 || in_a_slot(epoch, entry);
}

/* Moves the epoch on if every reader inside has seen the present one. */
static void advance_locked(struct nc_epoch *epoch)
{
    uint64_t now = atomic_load_explicit(&epoch->now, memory_order_relaxed);
    for (struct nc_thread *t = nc_threads_first(epoch->threads); t; t = t->next) {
        uint64_t seen = atomic_load_explicit(&((struct nc_reader *)t)->epoch, memory_order_acquire);
        if (seen != 0 && seen != now)
            return;
    }
    atomic_store_explicit(&epoch->now, now + 1, memory_order_release);
}

static void push_locked(struct nc_epoch *epoch, struct nc_entry *entry)
{
    entry->newer = NULL;
    if (epoch->newest)
        epoch->newest->newer = entry;
    else
        epoch->oldest = entry;
    epoch->newest = entry;
    epoch->retired_bytes += entry->charge;
}

static void reclaim_locked(struct nc_epoch *epoch)
{
    uint64_t now = atomic_load_explicit(&epoch->now, memory_order_relaxed);
    for (int i = 0; i < FREE_MOST && epoch->oldest && epoch->oldest->retired_at + 2 <= now; i++) {
        struct nc_entry *entry = epoch->oldest;
        epoch->oldest = entry->newer;
        if (!epoch->oldest)
            epoch->newest = NULL;
        epoch->retired_bytes -= entry->charge;
        if (is_pinned(epoch, entry)) {
            entry->retired_at = now; /* look again later */
            push_locked(epoch, entry);
        } else {
            free(entry);
        }
    }
}

void nc_epoch_retire(struct nc_epoch *epoch, struct nc_entry *entry)
{
    /* After the unlinking, before the stamp: pairs with the fence in nc_epoch_enter. */
    atomic_thread_fence(memory_order_seq_cst);
    pthread_mutex_lock(&epoch->lock);
    entry->retired_at = atomic_load_explicit(&epoch->now, memory_order_relaxed);
    push_locked(epoch, entry);
    advance_locked(epoch);
    reclaim_locked(epoch);
    pthread_mutex_unlock(&epoch->lock);
}

bool nc_epoch_reclaim(struct nc_epoch *epoch)
{
    pthread_mutex_lock(&epoch->lock);
    advance_locked(epoch);
    reclaim_locked(epoch);
    bool more = epoch->oldest && epoch->oldest->retired_at + 2 <= atomic_load(&epoch->now);
    pthread_mutex_unlock(&epoch->lock);
    return more;
}

struct nc_pin nc_epoch_pin(struct nc_reader *reader, struct nc_entry *entry)
{
    for (uint32_t i = 0; i < NC_PIN_SLOTS; i++) {
        uint32_t at = (reader->next_slot + i) % NC_PIN_SLOTS;
        _Atomic(struct nc_entry *) *slot = &reader->slots[at];
        /* Acquire pairs with another thread's release of the slot. */
        if (atomic_load_explicit(slot, memory_order_acquire) == NULL) {
            reader->next_slot = at;
            /* Release: with the leaving (also a release) the reclaimer sees it after the grace. */
            atomic_store_explicit(slot, entry, memory_order_release);
            return (struct nc_pin){entry, (uintptr_t)slot};
        }
    }
    atomic_fetch_add_explicit(&entry->pins, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&reader->counted, 1, memory_order_relaxed);
    return (struct nc_pin){entry, (uintptr_t)reader | 1};
}

void nc_epoch_unpin(struct nc_pin pin)
{
    /* Release: this holder's reads end before the entry may be freed. */
    if ((pin.where & 1) == 0) {
        atomic_store_explicit((_Atomic(struct nc_entry *) *)pin.where, NULL, memory_order_release);
    } else {
        struct nc_reader *reader = (struct nc_reader *)(pin.where - 1);
        atomic_fetch_sub_explicit(&pin.entry->pins, 1, memory_order_release);
        atomic_fetch_sub_explicit(&reader->counted, 1, memory_order_release);
    }
}

uint64_t nc_epoch_pinned(struct nc_epoch *epoch)
{
    uint64_t count = 0;
    for (struct nc_thread *t = nc_threads_first(epoch->threads); t; t = t->next) {
        struct nc_reader *reader = (struct nc_reader *)t;
        for (int i = 0; i < NC_PIN_SLOTS; i++)
            count += atomic_load_explicit(&reader->slots[i], memory_order_acquire) != NULL;
        count += (uint64_t)atomic_load_explicit(&reader->counted, memory_order_acquire);
    }
    return count;
}

bool nc_epoch_deinit(struct nc_epoch *epoch)
{
    if (nc_epoch_pinned(epoch) > 0)
        return false;
    while (epoch->oldest) {
        struct nc_entry *entry = epoch->oldest;
        epoch->oldest = entry->newer;
        free(entry);
    }
    pthread_mutex_destroy(&epoch->lock);
    return true;
}
