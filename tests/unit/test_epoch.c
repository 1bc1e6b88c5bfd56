/* memory/epoch: what may be freed when, by both kinds of barriers. */
#include "memory/epoch.h"

#include "base/poison.h"

#include <criterion/criterion.h>
#include <pthread.h>

static struct nc_arena arena;
static struct nc_threads threads;
static struct nc_epoch epoch;

static void begin(enum nc_barriers barriers, uint64_t batch_bytes)
{
    cr_assert_eq(nc_arena_init(&arena, (uint64_t)64 << 20), 0);
    cr_assert_eq(nc_threads_init(&threads, sizeof(struct nc_reader)), 0);
    nc_epoch_init(&epoch, &threads, &arena, batch_bytes, barriers);
}

static void end(void)
{
    cr_assert(nc_epoch_deinit(&epoch));
    nc_threads_deinit(&threads);
    nc_arena_deinit(&arena);
}

static struct nc_entry *create(size_t value_bytes)
{
    return nc_entry_create(&arena, 0, 1, 0, "name", 4, value_bytes, 0);
}

static struct nc_reader *self(void) { return nc_threads_self(&threads); }

/* As often as it takes for what waits, when nobody is inside. */
static void settle(void)
{
    for (int i = 0; i < 8; i++)
        while (nc_epoch_reclaim(&epoch))
            ;
}

static void keeps_what_a_reader_may_see(enum nc_barriers barriers)
{
    begin(barriers, 1 << 20);
    struct nc_entry *entry = create(100);
    nc_epoch_enter(&epoch, self());
    nc_epoch_retire(&epoch, entry);
    for (int i = 0; i < 100; i++)
        nc_epoch_reclaim(&epoch);
    cr_assert_gt(nc_arena_used(&arena), 0, "a reader is inside");
    nc_epoch_leave(self());
    settle();
    cr_assert_eq(nc_arena_used(&arena), 0);
    end();
}

Test(epoch, what_a_reader_may_see_stays_until_it_leaves)
{
    keeps_what_a_reader_may_see(NC_BARRIERS_BEST);
}

Test(epoch, what_a_reader_may_see_stays_until_it_leaves_by_fences)
{
    keeps_what_a_reader_may_see(NC_BARRIERS_FENCES);
}

/* Else a writer's batches would be cut short, with a barrier for each. */
Test(epoch, who_looks_twice_leaves_alone_what_a_writer_has_just_retired)
{
    begin(NC_BARRIERS_BEST, 1 << 20);
    for (int i = 0; i < 10; i++) {
        nc_epoch_retire(&epoch, create(100));
        cr_assert_not(nc_epoch_reclaim(&epoch));
        cr_assert_not(nc_epoch_reclaim_again(&epoch));
        cr_assert_not_null(self()->limbo.fresh.first);
    }
    nc_epoch_reclaim(&epoch); /* it has retired nothing since */
    cr_assert_null(self()->limbo.fresh.first);
    while (nc_epoch_reclaim_again(&epoch))
        ;
    cr_assert_eq(nc_arena_used(&arena), 0);
    end();
}

Test(epoch, a_pin_keeps_its_entry_and_no_other)
{
    begin(NC_BARRIERS_BEST, 4096);
    struct nc_entry *pinned = create(100);
    struct nc_pin pin = nc_epoch_pin(&epoch, self(), pinned);
    nc_epoch_retire(&epoch, pinned);
    for (int i = 0; i < 20000; i++)
        nc_epoch_retire(&epoch, create(100));
    settle();
    cr_assert_eq(nc_arena_used(&arena), nc_entry_charge(pinned));
    cr_assert_eq(nc_epoch_pinned(&epoch), 1);
    nc_epoch_unpin(pin);
    settle();
    cr_assert_eq(nc_arena_used(&arena), 0);
    end();
}

Test(epoch, more_pins_than_slots_hold_too)
{
    enum { PINS = NC_PIN_SLOTS + 1000 };
    struct nc_pin pins[PINS];
    begin(NC_BARRIERS_BEST, 4096);
    for (int i = 0; i < PINS; i++) {
        struct nc_entry *entry = create(100);
        pins[i] = nc_epoch_pin(&epoch, self(), entry);
        nc_epoch_retire(&epoch, entry);
    }
    settle();
    cr_assert_eq(nc_epoch_pinned(&epoch), PINS);
    cr_assert_not(nc_epoch_deinit(&epoch));
    for (int i = 0; i < PINS; i++) {
        cr_assert_eq(nc_arena_used(&arena), nc_entry_charge(pins[i].entry) * (size_t)(PINS - i));
        nc_epoch_unpin(pins[i]);
        settle();
    }
    cr_assert_eq(nc_epoch_pinned(&epoch), 0);
    end();
}

Test(epoch, a_pin_handed_on_holds_after_the_first_is_gone)
{
    begin(NC_BARRIERS_BEST, 4096);
    struct nc_entry *entry = create(100);
    struct nc_pin first = nc_epoch_pin(&epoch, self(), entry);
    struct nc_pin second = nc_epoch_pin_again(&epoch, self(), entry);
    nc_epoch_retire(&epoch, entry);
    nc_epoch_unpin(first);
    settle();
    cr_assert_eq(nc_arena_used(&arena), nc_entry_charge(entry));
    nc_epoch_unpin(second);
    settle();
    cr_assert_eq(nc_arena_used(&arena), 0);
    end();
}

Test(epoch, what_is_retired_is_bounded_in_bytes_while_a_thread_writes)
{
    begin(NC_BARRIERS_BEST, 64 << 10);
    for (int i = 0; i < 200000; i++) {
        nc_epoch_retire(&epoch, create((size_t)(i % 100) * 20));
        cr_assert_leq(nc_arena_used(&arena), 6 * (64 << 10));
    }
    /* A large one closes a batch by itself. */
    for (int i = 0; i < 100; i++) {
        nc_epoch_retire(&epoch, create(1 << 20));
        cr_assert_leq(nc_arena_used(&arena), 8 << 20);
    }
    settle();
    cr_assert_eq(nc_arena_used(&arena), 0);
    end();
}

static void *retire_a_few(void *arg)
{
    (void)arg;
    for (int i = 0; i < 5; i++)
        nc_epoch_retire(&epoch, create(1000));
    return NULL;
}

Test(epoch, thousands_of_short_lived_threads_leave_nothing_behind)
{
    begin(NC_BARRIERS_BEST, 1 << 20);
    for (int i = 0; i < 2000; i++) {
        pthread_t id;
        cr_assert_eq(pthread_create(&id, NULL, retire_a_few, NULL), 0);
        pthread_join(id, NULL);
    }
    settle();
    cr_assert_eq(nc_arena_used(&arena), 0);
    int records = 0;
    for (struct nc_thread *t = nc_threads_first(&threads); t; t = t->next)
        records++;
    cr_assert_leq(records, 2);
    end();
}

/* As a writer does: an entry of 100 bytes, perhaps in a block that was retired before. */
static struct nc_entry *create_again(void)
{
    void *block = nc_epoch_alloc(&epoch, self(), nc_entry_bytes(4, 100, 0));
    cr_assert_not_null(block);
    return nc_entry_init(block, 1, 0, "name", 4, 100, 0);
}

static bool comes_again(const struct nc_entry *wanted, int times)
{
    bool found = false;
    for (int i = 0; i < times && !found; i++) {
        struct nc_entry *entry = create_again();
        found = entry == wanted;
        nc_epoch_retire(&epoch, entry);
    }
    return found;
}

Test(epoch, a_block_is_used_again_when_nobody_can_see_it)
{
    begin(NC_BARRIERS_BEST, 64 << 10);
    struct nc_entry *entry = create_again();
    nc_epoch_enter(&epoch, self());
    comes_again(NULL, 100); /* the first of a batch may be freed */
    nc_epoch_retire(&epoch, entry);
    cr_assert_not(comes_again(entry, 2000), "a reader is inside");
    nc_epoch_leave(self());
    cr_assert(comes_again(entry, 10000));
    settle();
    cr_assert_eq(nc_arena_used(&arena), 0);
    end();
}

Test(epoch, a_pinned_block_is_not_used_again)
{
    begin(NC_BARRIERS_FENCES, 4096);
    struct nc_entry *entry = create_again();
    struct nc_pin pin = nc_epoch_pin(&epoch, self(), entry);
    nc_epoch_retire(&epoch, entry);
    cr_assert_not(comes_again(entry, 10000));
    nc_epoch_unpin(pin);
    cr_assert(comes_again(entry, 10000));
    settle();
    cr_assert_eq(nc_arena_used(&arena), 0);
    end();
}

#ifdef NC_ASAN
Test(epoch, a_value_that_nobody_holds_is_hidden_until_its_block_is_used_again)
{
    begin(NC_BARRIERS_BEST, 4096);
    struct nc_limbo *limbo = &self()->limbo;
    while (!limbo->ready.first)
        nc_epoch_retire(&epoch, create(100));
    struct nc_entry *entry = limbo->ready.first;
    size_t bytes = nc_entry_bytes(4, 100, 0);
    cr_expect(__asan_address_is_poisoned(nc_entry_value(entry)));
    cr_assert_eq(nc_epoch_alloc(&epoch, self(), bytes), entry);
    cr_expect_null(__asan_region_is_poisoned(entry, bytes));
    nc_epoch_retire(&epoch, nc_entry_init(entry, 1, 0, "name", 4, 100, 0));
    settle();
    cr_assert_eq(nc_arena_used(&arena), 0);
    end();
}
#endif

Test(epoch, what_one_size_leaves_serves_another)
{
    begin(NC_BARRIERS_BEST, 64 << 10);
    for (int i = 0; i < 100000; i++) {
        size_t bytes = nc_entry_bytes(4, i < 50000 ? 100 : 1000, 0);
        void *block = nc_epoch_alloc(&epoch, self(), bytes);
        nc_epoch_retire(&epoch, nc_entry_init(block, 1, 0, "name", 4, i < 50000 ? 100 : 1000, 0));
        cr_assert_leq(nc_arena_used(&arena), 6 * (64 << 10));
    }
    settle();
    cr_assert_eq(nc_arena_used(&arena), 0);
    end();
}

static _Atomic bool written;

static void *write_many(void *arg)
{
    (void)arg;
    for (int i = 0; i < 100000; i++)
        nc_epoch_retire(&epoch, create_again());
    atomic_store(&written, true);
    return NULL;
}

/* Maintenance that never rests looks into the writer's limbo whenever it can. */
static void shares_a_limbo(enum nc_barriers barriers)
{
    pthread_t id;
    begin(barriers, 4096);
    atomic_store(&written, false);
    cr_assert_eq(pthread_create(&id, NULL, write_many, NULL), 0);
    while (!atomic_load(&written))
        nc_epoch_reclaim(&epoch);
    pthread_join(id, NULL);
    settle();
    cr_assert_eq(nc_arena_used(&arena), 0);
    end();
}

Test(epoch, a_writer_and_maintenance_share_a_limbo) { shares_a_limbo(NC_BARRIERS_BEST); }

Test(epoch, a_writer_and_maintenance_share_a_limbo_by_fences)
{
    shares_a_limbo(NC_BARRIERS_FENCES);
}

static _Atomic uint64_t looks;
static _Atomic bool forgotten;

/* One at a time, each after another while; the next only when the last is gone. */
static void *write_seldom(void *arg)
{
    (void)arg;
    for (uint32_t i = 0; i < 20000 && !atomic_load(&forgotten); i++) {
        for (uint32_t wait = i % 512; wait > 0; wait--)
            atomic_load(&looks);
        nc_epoch_retire(&epoch, create_again());
        uint64_t enough = atomic_load(&looks) + 1000;
        while (nc_arena_used(&arena) != 0 && !atomic_load(&forgotten))
            if (atomic_load(&looks) > enough && nc_arena_used(&arena) != 0)
                atomic_store(&forgotten, true);
    }
    atomic_store(&written, true);
    return NULL;
}

Test(epoch, what_is_retired_while_maintenance_looks_is_freed_if_its_thread_never_writes_again)
{
    pthread_t id;
    begin(NC_BARRIERS_FENCES, 1 << 20);
    atomic_store(&written, false);
    cr_assert_eq(pthread_create(&id, NULL, write_seldom, NULL), 0);
    while (!atomic_load(&written)) {
        nc_epoch_reclaim(&epoch);
        atomic_fetch_add(&looks, 1);
    }
    pthread_join(id, NULL);
    cr_assert_not(atomic_load(&forgotten));
    cr_assert_eq(nc_arena_used(&arena), 0);
    end();
}
