#include "memory/epoch.h"

#include "base/barrier.h"
#include "base/poison.h"
#include "base/table.h"

#include <stdlib.h>
#include <string.h>

/* Every so many retired entries at most twice as many are freed. */
#define CALLS_BETWEEN 8
#define FREED_AT_ONCE (2 * CALLS_BETWEEN)
#define FREED_AT_CLOSING (8 * CALLS_BETWEEN)
/* What maintenance frees of one thread's limbo while it holds its lock. */
#define MAINTAINED_AT_ONCE 256
/* Of a block that is to be reused soon: beyond it lines are written in a row, which the processor
 * sees by itself. */
#define FETCHED_BYTES (4 * NC_BLOCK_UNIT)
/* Blocks that are looked at for one that may be reused. */
#define REUSE_TRIES 4
/* Looking through the slots is repeated while pins move, but not for ever. */
#define LOOKS_MOST 16

/* Pins of one entry that found no slot. */
struct nc_overflow {
    UT_hash_handle hh;
    struct nc_epoch *epoch;
    struct nc_entry *entry;
    uint64_t pins;
};

void nc_epoch_init(struct nc_epoch *epoch, struct nc_threads *threads, struct nc_arena *arena,
                   uint64_t batch_bytes, enum nc_barriers barriers)
{
    memset(epoch, 0, sizeof *epoch);
    atomic_init(&epoch->now, 1);
    epoch->threads = threads;
    epoch->arena = arena;
    epoch->batch_bytes = batch_bytes;
    epoch->expedited = barriers == NC_BARRIERS_BEST && nc_barrier_register();
}

bool nc_epoch_deinit(struct nc_epoch *epoch) { return nc_epoch_pinned(epoch) == 0; }

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

/* Takes down all slots; after the grace period of what is to be freed. */
static void fill_filter(struct nc_epoch *epoch, struct nc_pin_filter *filter)
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

/* Whether a pin has moved since. */
static bool filter_is_old(struct nc_epoch *epoch, const struct nc_pin_filter *filter)
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

/* By the filter where that is enough, by slots and table where not. */
static bool is_pinned(struct nc_epoch *epoch, const struct nc_pin_filter *filter,
                      const struct nc_entry *entry)
{
    if (filter->unsure || (is_in_filter(filter, entry) && is_in_a_slot(epoch, entry)) ||
        is_in_table(epoch, entry))
        return true;
    /* A pin may have moved from where was not yet looked to where was looked before. */
    return filter_is_old(epoch, filter);
}

/* ---- batches ---- */

static void append(struct nc_batch *batch, struct nc_entry *entry, uint64_t bytes)
{
    entry->newer = 0;
    if (batch->last)
        nc_entry_set_newer(batch->last, entry);
    else
        batch->first = entry;
    batch->last = entry;
    batch->bytes += bytes;
}

static void append_fresh(struct nc_limbo *limbo, struct nc_entry *entry)
{
    struct nc_entry **slot = &limbo->recent[limbo->recent_at++ % NC_EPOCH_AHEAD];
    append(&limbo->fresh, entry, nc_entry_charge(entry));
    nc_entry_set_older(entry, NULL);
    if (*slot)
        nc_entry_set_older(*slot, entry);
    *slot = entry;
}

static void append_all(struct nc_batch *batch, struct nc_batch *other)
{
    if (!other->first)
        return;
    if (batch->last)
        nc_entry_set_newer(batch->last, other->first);
    else
        batch->first = other->first;
    batch->last = other->last;
    batch->bytes += other->bytes;
    *other = (struct nc_batch){NULL, NULL, 0, 0};
}

void nc_epoch_barrier(struct nc_epoch *epoch)
{
    if (!epoch->expedited || !nc_barrier_all())
        atomic_thread_fence(memory_order_seq_cst);
}

/* Moves the epoch on if every reader inside has seen the present one. */
static void advance(struct nc_epoch *epoch)
{
    uint64_t now = atomic_load_explicit(&epoch->now, memory_order_acquire);
    /* Between loading the epoch and looking at the readers: whoever took this epoch as a stamp did
     * so before, and after his barrier, so his readers are seen here. */
    atomic_thread_fence(memory_order_seq_cst);
    for (struct nc_thread *t = nc_threads_first(epoch->threads); t; t = t->next) {
        /* Acquire pairs with the releases of entering and leaving. */
        uint64_t seen = atomic_load_explicit(&((struct nc_reader *)t)->epoch, memory_order_acquire);
        if (seen != 0 && seen != now)
            return;
    }
    /* Release pairs with the acquire in nc_epoch_has_passed. Lost to another: he moved it on. */
    atomic_compare_exchange_strong_explicit(&epoch->now, &now, now + 1, memory_order_acq_rel,
                                            memory_order_relaxed);
}

void nc_epoch_advance(struct nc_epoch *epoch) { advance(epoch); }

/* Gives what is fresh its stamp. With no room in the ring it goes to the newest: waits longer. */
static void close_batch(struct nc_epoch *epoch, struct nc_limbo *limbo)
{
    nc_epoch_barrier(epoch);
    uint64_t stamp = atomic_load_explicit(&epoch->now, memory_order_relaxed);
    if (limbo->count < NC_EPOCH_WAITING)
        limbo->count++;
    struct nc_batch *batch = &limbo->waiting[(limbo->begin + limbo->count - 1) % NC_EPOCH_WAITING];
    append_all(batch, &limbo->fresh);
    memset(limbo->recent, 0, sizeof limbo->recent);
    batch->stamp = stamp;
}

/* For AddressSanitizer: of what nobody can see any more only the header is touched until it is
 * taken. Else who reads a value after its release may read another one and is not caught. */
static void hide_ready(struct nc_epoch *epoch, const struct nc_limbo *limbo)
{
#ifdef NC_ASAN
    for (struct nc_entry *entry = limbo->ready.first; entry; entry = nc_entry_newer(entry))
        if (!is_pinned(epoch, &limbo->filter, entry))
            nc_hide(entry->name, nc_entry_charge(entry) - offsetof(struct nc_entry, name));
#else
    (void)epoch, (void)limbo;
#endif
}

/* One round of maintenance: what it did for one limbo serves the next ones, too. */
struct round {
    bool advanced;
    uint64_t filled_at; /* the epoch when the filter was made; 0: it was not */
    struct nc_pin_filter filter;
};

/* The filter of the round, where it was made after the grace period of all that is ready (as
 * nc_epoch_has_passed says it), and no pin has moved since. */
static void take_filter(struct nc_epoch *epoch, struct nc_limbo *limbo, uint64_t stamp,
                        struct round *round)
{
    if (round->filled_at < stamp + 2 || round->filter.unsure ||
        filter_is_old(epoch, &round->filter)) {
        /* Acquire pairs as in nc_epoch_has_passed. */
        round->filled_at = atomic_load_explicit(&epoch->now, memory_order_acquire);
        fill_filter(epoch, &round->filter);
    }
    limbo->filter = round->filter;
}

/* What was pinned the last time is looked at again with every batch that becomes ready. `round`:
 * NULL but for maintenance. */
static void make_ready(struct nc_epoch *epoch, struct nc_limbo *limbo, struct round *round)
{
    uint64_t stamp = 0;
    append_all(&limbo->ready, &limbo->held);
    while (limbo->count > 0 && nc_epoch_has_passed(epoch, limbo->waiting[limbo->begin].stamp)) {
        stamp = limbo->waiting[limbo->begin].stamp;
        append_all(&limbo->ready, &limbo->waiting[limbo->begin]);
        limbo->begin = (limbo->begin + 1) % NC_EPOCH_WAITING;
        limbo->count--;
    }
    if (limbo->ready.first) {
        if (round)
            take_filter(epoch, limbo, stamp, round);
        else
            fill_filter(epoch, &limbo->filter);
        hide_ready(epoch, limbo);
    }
}

/* The first of what is ready, which is not empty. NULL: it is pinned, and held from now on. The
 * lines of the one that comes NC_EPOCH_AHEAD later are fetched. */
static struct nc_entry *take_ready(struct nc_epoch *epoch, struct nc_limbo *limbo, uint64_t bytes)
{
    struct nc_entry *entry = limbo->ready.first;
    const char *ahead = (const char *)nc_entry_older(entry);
    limbo->ready.first = nc_entry_newer(entry);
    if (ahead)
        for (uint64_t at = 0; at < bytes && at < FETCHED_BYTES; at += NC_BLOCK_UNIT)
            __builtin_prefetch(ahead + at, 1);
    if (!limbo->ready.first)
        limbo->ready.last = NULL;
    limbo->ready.bytes -= bytes;
    if (!is_pinned(epoch, &limbo->filter, entry)) {
        nc_show(entry, bytes);
        return entry;
    }
    append(&limbo->held, entry, bytes);
    return NULL;
}

/* Pins that have moved since the filter was made may be where it did not look. */
static void refresh_filter(struct nc_epoch *epoch, struct nc_limbo *limbo)
{
    if (limbo->ready.first && filter_is_old(epoch, &limbo->filter))
        fill_filter(epoch, &limbo->filter);
}

/* Frees up to `most` entries of what is ready. */
static void free_some(struct nc_epoch *epoch, struct nc_limbo *limbo, uint32_t most)
{
    void *blocks[NC_FREE_MOST];
    size_t n = 0;
    refresh_filter(epoch, limbo);
    for (uint32_t i = 0; i < most && limbo->ready.first; i++) {
        struct nc_entry *entry = take_ready(epoch, limbo, nc_entry_charge(limbo->ready.first));
        if (!entry)
            continue;
        blocks[n++] = entry;
        if (n == NC_FREE_MOST) {
            nc_arena_free_many(epoch->arena, blocks, n);
            n = 0;
        }
    }
    nc_arena_free_many(epoch->arena, blocks, n);
}

/* ---- the limbo's own thread ---- */

/* Maintenance has it, or is about to. */
static __attribute__((noinline)) void wait_for_limbo(struct nc_limbo *limbo)
{
    atomic_store_explicit(&limbo->inside, 0, memory_order_release);
    nc_lock_take(&limbo->lock);
    /* Relaxed: the lock orders it before the claim of whoever takes the lock next. */
    atomic_store_explicit(&limbo->inside, 1, memory_order_relaxed);
    nc_lock_drop(&limbo->lock);
}

static inline void enter_limbo(struct nc_epoch *epoch, struct nc_limbo *limbo)
{
    if (__builtin_expect(limbo == &epoch->limbo, 0)) { /* of many threads */
        nc_lock_take(&limbo->lock);
        return;
    }
    /* Being inside is visible before the claim is looked at: pairs with the barrier in
     * claim_limbo, which has it the other way round. One of both sees the other. */
    atomic_store_explicit(&limbo->inside, 1, memory_order_relaxed);
    if (epoch->expedited)
        atomic_signal_fence(memory_order_seq_cst);
    else
        atomic_thread_fence(memory_order_seq_cst);
    /* Acquire pairs with the release in leave_claimed: what maintenance did comes before. */
    if (__builtin_expect(atomic_load_explicit(&limbo->claimed, memory_order_acquire) != 0, 0))
        wait_for_limbo(limbo);
}

static inline void leave_limbo(struct nc_epoch *epoch, struct nc_limbo *limbo)
{
    if (__builtin_expect(limbo == &epoch->limbo, 0))
        nc_lock_drop(&limbo->lock);
    else /* Release pairs with the acquire in claim_limbo. */
        atomic_store_explicit(&limbo->inside, 0, memory_order_release);
}

/* The oldest batch that waits is ready, if the epoch moves on for it. */
static void look_at_waiting(struct nc_epoch *epoch, struct nc_limbo *limbo)
{
    if (limbo->ready.first || limbo->count == 0)
        return;
    if (!nc_epoch_has_passed(epoch, limbo->waiting[limbo->begin].stamp))
        advance(epoch);
    if (nc_epoch_has_passed(epoch, limbo->waiting[limbo->begin].stamp))
        make_ready(epoch, limbo, NULL);
}

void nc_epoch_retire(struct nc_epoch *epoch, struct nc_entry *entry)
{
    struct nc_reader *reader = nc_threads_self(epoch->threads);
    struct nc_limbo *limbo = reader ? &reader->limbo : &epoch->limbo;
    enter_limbo(epoch, limbo);
    append_fresh(limbo, entry);
    /* Relaxed, and here and below: says that somebody is at work, and orders nothing. */
    if (!atomic_load_explicit(&limbo->retired, memory_order_relaxed))
        atomic_store_explicit(&limbo->retired, true, memory_order_relaxed);
    if (limbo->fresh.bytes >= epoch->batch_bytes) {
        close_batch(epoch, limbo);
        advance(epoch);
        /* What is ready must not wait behind batches that come faster than it is freed. */
        free_some(epoch, limbo, FREED_AT_CLOSING);
        if (!limbo->ready.first)
            make_ready(epoch, limbo, NULL);
        limbo->calls = CALLS_BETWEEN; /* large entries fill batches faster than calls come */
    }
    if (++limbo->calls >= CALLS_BETWEEN) {
        uint32_t reused = limbo->reused * 2;
        limbo->calls = limbo->reused = 0;
        look_at_waiting(epoch, limbo);
        if (reused < FREED_AT_ONCE)
            free_some(epoch, limbo, FREED_AT_ONCE - reused);
    }
    leave_limbo(epoch, limbo);
}

/* NULL: the next is of another size, or there is none. */
static struct nc_entry *reuse(struct nc_epoch *epoch, struct nc_limbo *limbo, size_t block_bytes)
{
    struct nc_entry *entry = NULL;
    refresh_filter(epoch, limbo);
    for (int i = 0; i < REUSE_TRIES && !entry && limbo->ready.first; i++) {
        if (nc_entry_charge(limbo->ready.first) != block_bytes ||
            nc_arena_is_leaving(epoch->arena, limbo->ready.first))
            break; /* it is freed by and by */
        entry = take_ready(epoch, limbo, block_bytes);
    }
    if (entry)
        limbo->reused++;
    return entry;
}

void *nc_epoch_alloc(struct nc_epoch *epoch, struct nc_reader *reader, size_t bytes)
{
    size_t block_bytes = nc_arena_block_bytes(bytes);
    void *block = NULL;
    if (block_bytes <= NC_SMALL_BYTES) {
        enter_limbo(epoch, &reader->limbo);
        if (reader->limbo.ready.first)
            block = reuse(epoch, &reader->limbo, block_bytes);
        leave_limbo(epoch, &reader->limbo);
    }
    return block ? block : nc_arena_alloc(epoch->arena, nc_epoch_heap(epoch, reader), bytes);
}

/* ---- maintenance ---- */

/* False: its thread is at work on it. */
static bool claim_limbo(struct nc_epoch *epoch, struct nc_limbo *limbo)
{
    atomic_store_explicit(&limbo->claimed, 1, memory_order_relaxed);
    /* Pairs with the fence in enter_limbo. */
    nc_epoch_barrier(epoch);
    /* Acquire pairs with the release in leave_limbo: what its thread did comes before. */
    return atomic_load_explicit(&limbo->inside, memory_order_acquire) == 0;
}

static void leave_claimed(struct nc_limbo *limbo)
{
    /* Release pairs with the acquire in enter_limbo. */
    atomic_store_explicit(&limbo->claimed, 0, memory_order_release);
    nc_lock_drop(&limbo->lock);
}

/* A thread that writes frees by itself; only what it leaves when it stops is taken up here. */
static bool reclaim_limbo(struct nc_epoch *epoch, struct nc_limbo *limbo, bool looks,
                          struct round *round)
{
    nc_lock_take(&limbo->lock);
    if (looks) {
        limbo->rests = !atomic_load_explicit(&limbo->retired, memory_order_relaxed);
        limbo->empty &= limbo->rests;
        /* Not where it is false: its thread, which may be just about to say that it has retired
         * something, would not be heard. Where it is true, it has been. */
        if (!limbo->rests)
            atomic_store_explicit(&limbo->retired, false, memory_order_relaxed);
    }
    if (!limbo->rests || limbo->empty) {
        nc_lock_drop(&limbo->lock);
        return false;
    }
    if (!claim_limbo(epoch, limbo)) {
        leave_claimed(limbo);
        return false;
    }
    if (limbo->fresh.first)
        close_batch(epoch, limbo);
    if (limbo->count > 0 && !round->advanced) {
        advance(epoch);
        round->advanced = true;
    }
    if (!limbo->ready.first)
        make_ready(epoch, limbo, round);
    free_some(epoch, limbo, MAINTAINED_AT_ONCE);
    bool more = limbo->ready.first || limbo->count > 0;
    limbo->empty = !more && !limbo->held.first;
    leave_claimed(limbo);
    return more;
}

static bool reclaim(struct nc_epoch *epoch, bool looks)
{
    struct round round = {.advanced = false};
    bool more = reclaim_limbo(epoch, &epoch->limbo, looks, &round);
    for (struct nc_thread *t = nc_threads_first(epoch->threads); t; t = t->next)
        more |= reclaim_limbo(epoch, &((struct nc_reader *)t)->limbo, looks, &round);
    return more;
}

bool nc_epoch_reclaim(struct nc_epoch *epoch) { return reclaim(epoch, true); }

bool nc_epoch_reclaim_again(struct nc_epoch *epoch) { return reclaim(epoch, false); }
