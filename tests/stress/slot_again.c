/*
 * slot_again THREADS SECONDS: a slot that another thread has cleared is filled again at once. One
 * thread pins, a second reads and releases, the first pins something else in the same slot, and a
 * third, which sees only that, uses the block of the first entry again (three threads, whatever
 * THREADS says). Nothing but the slot orders the second's reads before that. For ThreadSanitizer.
 */
#include "base/clock.h"
#include "memory/epoch.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VALUE_BYTES 100u
#define BATCH_BYTES 4096u
#define TRIES 100000

/* Whose turn it is. */
enum { PINS = 1, PINS_AGAIN, RECYCLES, ENDS };

static struct nc_arena arena;
static struct nc_threads threads;
static struct nc_epoch epoch;
static struct nc_entry *entry, *other;
static _Atomic uint64_t wrong;
static _Atomic uintptr_t handle; /* where the first pin is */
static _Atomic int turn;

/* Relaxed: a turn orders nothing. */
static void wait_for(int wanted)
{
    while (atomic_load_explicit(&turn, memory_order_relaxed) != wanted)
        ;
}

static void give(int next) { atomic_store_explicit(&turn, next, memory_order_relaxed); }

static struct nc_entry *fill(void *block, int value)
{
    struct nc_entry *made = nc_entry_init(block, 1, 0, "name", 4, VALUE_BYTES, 0);
    memset(nc_entry_value(made), value, VALUE_BYTES);
    return made;
}

static struct nc_entry *create(void)
{
    void *block = nc_arena_alloc(&arena, 0, nc_entry_bytes(4, VALUE_BYTES, 0));
    return block ? fill(block, 1) : NULL;
}

static void *pin_twice(void *arg)
{
    struct nc_reader *self = nc_threads_self(&threads);
    wait_for(PINS);
    struct nc_pin first = nc_epoch_pin(&epoch, self, entry);
    /* Release: who gets a handle has it from its owner; nothing leads back. */
    atomic_store_explicit(&handle, first.where, memory_order_release);
    wait_for(PINS_AGAIN);
    struct nc_pin second = nc_epoch_pin(&epoch, self, other);
    give(RECYCLES);
    wait_for(ENDS);
    wrong += second.where != first.where;
    nc_epoch_unpin(second);
    return arg;
}

static void *read_and_release(void *arg)
{
    uintptr_t where;
    while ((where = atomic_load_explicit(&handle, memory_order_acquire)) == 0)
        ;
    const unsigned char *value = nc_entry_value(entry);
    wrong += value[0] != 1 || value[VALUE_BYTES - 1] != 1;
    nc_epoch_unpin((struct nc_pin){entry, where});
    give(PINS_AGAIN);
    return arg;
}

static void *recycle(void *arg)
{
    struct nc_reader *self = nc_threads_self(&threads);
    struct nc_entry *made = NULL;
    wait_for(RECYCLES);
    nc_epoch_retire(&epoch, entry);
    for (int i = 0; i < TRIES && made != entry; i++) {
        made = fill(nc_epoch_alloc(&epoch, self, nc_entry_bytes(4, VALUE_BYTES, 0)), 2);
        nc_epoch_retire(&epoch, made);
    }
    nc_epoch_retire(&epoch, other);
    give(ENDS);
    return arg;
}

static bool once(void)
{
    void *(*const works[3])(void *) = {pin_twice, read_and_release, recycle};
    pthread_t ids[3];
    if (nc_arena_init(&arena, (uint64_t)4 << 20) != 0)
        return false;
    if (nc_threads_init(&threads, sizeof(struct nc_reader)) != 0)
        return false;
    nc_epoch_init(&epoch, &threads, &arena, BATCH_BYTES, NC_BARRIERS_FENCES);
    entry = create();
    other = create();
    atomic_store(&handle, 0);
    give(PINS);
    for (int i = 0; i < 3; i++)
        if (!entry || !other || pthread_create(&ids[i], NULL, works[i], NULL) != 0)
            return false;
    for (int i = 0; i < 3; i++)
        pthread_join(ids[i], NULL);
    wrong += !nc_epoch_deinit(&epoch);
    nc_threads_deinit(&threads);
    nc_arena_deinit(&arena);
    return true;
}

int main(int argc, char **argv)
{
    uint64_t seconds = argc > 2 ? (uint64_t)atoi(argv[2]) : 1, rounds = 0;
    uint64_t end_ns = nc_clock_deadline_ns(seconds * 1000000);
    for (; rounds == 0 || nc_clock_io_ns() < end_ns; rounds++)
        if (!once())
            return 2;
    printf("%llu rounds, %llu wrong\n", (unsigned long long)rounds,
           (unsigned long long)atomic_load(&wrong));
    return atomic_load(&wrong) != 0;
}
