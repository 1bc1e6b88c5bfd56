#include "memory/epoch.h"

#include "base/table.h"

#include <stdlib.h>
#include <string.h>

/* Looking through the slots is repeated while pins move, but not for ever. */
#define LOOKS_MOST 16

/* Pins of one entry that found no slot. */
struct nc_overflow {
    UT_hash_handle hh;
    struct nc_epoch *epoch;
    struct nc_entry *entry;
    uint64_t pins;
};

/* ---- pins ---- */

static unsigned hash_of(const struct nc_entry *entry)
{
    return (unsigned)(((uint64_t)(uintptr_t)entry >> 6) * UINT64_C(0x9e3779b97f4a7c15) >> 32);
}

static struct nc_overflow *find_overflow_locked(struct nc_epoch *epoch,
                                                const struct nc_entry *entry)
{
    struct nc_overflow *found = NULL;
    HASH_FIND_BYHASHVALUE(hh, epoch->overflow, &entry, sizeof entry, hash_of(entry), found);
    return found;
}

static struct nc_overflow *create_overflow_locked(struct nc_epoch *epoch, struct nc_entry *entry)
{
    struct nc_overflow *overflow = calloc(1, sizeof *overflow);
    if (!overflow)
        return NULL;
    overflow->epoch = epoch;
    overflow->entry = entry;
    HASH_ADD_BYHASHVALUE(hh, epoch->overflow, entry, sizeof overflow->entry, hash_of(entry),
                         overflow);
    if (!overflow->hh.tbl) {
        free(overflow);
        return NULL;
    }
    return overflow;
}

static struct nc_pin pin_in_table(struct nc_epoch *epoch, struct nc_entry *entry)
{
    nc_lock_take(&epoch->overflow_lock);
    struct nc_overflow *overflow = find_overflow_locked(epoch, entry);
    if (!overflow)
        overflow = create_overflow_locked(epoch, entry);
    if (overflow) {
        overflow->pins++;
        atomic_fetch_add_explicit(&epoch->overflow_pins, 1, memory_order_relaxed);
    }
    nc_lock_drop(&epoch->overflow_lock);
    return (struct nc_pin){overflow ? entry : NULL, (uintptr_t)overflow | 1};
}

void nc_epoch_unpin_in_table(struct nc_overflow *overflow)
{
    struct nc_epoch *epoch = overflow->epoch;
    nc_lock_take(&epoch->overflow_lock);
    if (--overflow->pins == 0) {
        HASH_DEL(epoch->overflow, overflow);
        free(overflow);
    }
    nc_lock_drop(&epoch->overflow_lock);
    /* Release pairs with the acquire in is_in_table. The last step: who closes may free the lock.
     */
    atomic_fetch_sub_explicit(&epoch->overflow_pins, 1, memory_order_release);
}

struct nc_pin nc_epoch_pin_elsewhere(struct nc_epoch *epoch, struct nc_reader *reader,
                                     struct nc_entry *entry)
{
    for (uint32_t i = 1; i < NC_PIN_SLOTS; i++) {
        uint32_t at = (reader->next_slot + i) % NC_PIN_SLOTS;
        if (atomic_load_explicit(&reader->slots[at], memory_order_relaxed) == NULL) {
            reader->next_slot = at;
            return nc_epoch_pin(epoch, reader, entry);
        }
    }
    return pin_in_table(epoch, entry);
}

struct nc_pin nc_epoch_pin_again(struct nc_epoch *epoch, struct nc_reader *reader,
                                 struct nc_entry *entry)
{
    struct nc_pin pin = nc_epoch_pin(epoch, reader, entry);
    /* The other pin ends after this: who looks through the slots, finding neither, sees that the
     * number has changed and looks again. */
    atomic_fetch_add_explicit(&epoch->transfers, 1, memory_order_acq_rel);
    return pin;
}

uint64_t nc_epoch_pinned(struct nc_epoch *epoch)
{
    uint64_t count = atomic_load_explicit(&epoch->overflow_pins, memory_order_acquire);
    for (struct nc_thread *t = nc_threads_first(epoch->threads); t; t = t->next)
        for (int i = 0; i < NC_PIN_SLOTS; i++)
            count += atomic_load_explicit(&((struct nc_reader *)t)->slots[i],
                                          memory_order_acquire) != NULL;
    return count;
}

/* ---- who is pinned ---- */

static unsigned bit_of(const struct nc_entry *entry)
{
    return hash_of(entry) % (NC_PIN_FILTER_WORDS * 64);
}

static bool is_in_filter(const struct nc_pin_filter *filter, const struct nc_entry *entry)
{
    unsigned bit = bit_of(entry);
    return filter->words[bit / 64] >> (bit % 64) & 1;
}

void nc_epoch_fill_filter(struct nc_epoch *epoch, struct nc_pin_filter *filter)
{
    uint64_t before, after = atomic_load_explicit(&epoch->transfers, memory_order_acquire);
    int looks = 0;
    do {
        before = after;
        memset(filter->words, 0, sizeof filter->words);
        for (struct nc_thread *t = nc_threads_first(epoch->threads); t; t = t->next)
            for (int i = 0; i < NC_PIN_SLOTS; i++) {
                /* Acquire pairs with the release in nc_epoch_unpin: the holder's reads come
                 * before, and so does the transfer to another pin. */
                struct nc_entry *entry =
                    atomic_load_explicit(&((struct nc_reader *)t)->slots[i], memory_order_acquire);
                unsigned bit = bit_of(entry);
                if (entry)
                    filter->words[bit / 64] |= UINT64_C(1) << (bit % 64);
            }
        after = atomic_load_explicit(&epoch->transfers, memory_order_acquire);
    } while (before != after && ++looks < LOOKS_MOST);
    filter->unsure = before != after;
    filter->transfers = after;
}

bool nc_epoch_filter_is_old(struct nc_epoch *epoch, const struct nc_pin_filter *filter)
{
    /* Acquire pairs with nc_epoch_pin_again. */
    return atomic_load_explicit(&epoch->transfers, memory_order_acquire) != filter->transfers;
}

/* The filter does not tell two addresses of one bit apart. */
static bool is_in_a_slot(struct nc_epoch *epoch, const struct nc_entry *entry)
{
    for (struct nc_thread *t = nc_threads_first(epoch->threads); t; t = t->next)
        for (int i = 0; i < NC_PIN_SLOTS; i++)
            if (atomic_load_explicit(&((struct nc_reader *)t)->slots[i], memory_order_acquire) ==
                entry)
                return true;
    return false;
}

static bool is_in_table(struct nc_epoch *epoch, const struct nc_entry *entry)
{
    /* Acquire pairs with the release in nc_epoch_unpin_in_table: a transfer to a slot comes before.
     */
    if (atomic_load_explicit(&epoch->overflow_pins, memory_order_acquire) == 0)
        return false;
    nc_lock_take(&epoch->overflow_lock);
    bool found = find_overflow_locked(epoch, entry) != NULL;
    nc_lock_drop(&epoch->overflow_lock);
    return found;
}

bool nc_epoch_is_pinned(struct nc_epoch *epoch, const struct nc_pin_filter *filter,
                        const struct nc_entry *entry)
{
    if (filter->unsure || (is_in_filter(filter, entry) && is_in_a_slot(epoch, entry)) ||
        is_in_table(epoch, entry))
        return true;
    /* A pin may have moved from where was not yet looked to where was looked before. */
    return nc_epoch_filter_is_old(epoch, filter);
}
