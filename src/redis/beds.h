/*
 * redis/beds: where those sleep who wait for calls on one connection. Calls that are submitted next
 * to each other share a word: their replies come together, and one system call wakes all who wait
 * for them. A bed is a word and a bit of it, the latter for waking a single one. Thread-safe.
 *
 *     seen = nc_beds_look(beds, bed);
 *     if (what I wait for has not come)
 *         nc_beds_sleep(beds, bed, seen, deadline_ns);
 */
#ifndef NC_REDIS_BEDS_H
#define NC_REDIS_BEDS_H

#include "base/futex.h"

#include <limits.h>

#define NC_BEDS_WORDS 16u
#define NC_BEDS_NEIGHBOURS 4u

struct nc_beds {
    _Atomic uint32_t given;
    _Atomic uint32_t word[NC_BEDS_WORDS]; /* futexes; move when somebody on them is woken */
};

/* Relaxed: any number serves, neighbours only sleep better. */
static inline uint32_t nc_beds_next(struct nc_beds *beds)
{
    uint32_t number = atomic_fetch_add_explicit(&beds->given, 1, memory_order_relaxed);
    return number / NC_BEDS_NEIGHBOURS % NC_BEDS_WORDS |
           number % NC_BEDS_NEIGHBOURS * NC_BEDS_WORDS;
}

static inline bool nc_beds_are_near(uint32_t one, uint32_t two)
{
    return one % NC_BEDS_WORDS == two % NC_BEDS_WORDS;
}

static inline uint32_t nc_beds_bit(uint32_t bed) { return UINT32_C(1) << (bed / NC_BEDS_WORDS); }

static inline uint32_t nc_beds_look(struct nc_beds *beds, uint32_t bed)
{
    return atomic_load(&beds->word[bed % NC_BEDS_WORDS]);
}

/* False: the deadline has passed. True: somebody was woken there since `seen`, or for no reason. */
static inline bool nc_beds_sleep(struct nc_beds *beds, uint32_t bed, uint32_t seen,
                                 uint64_t deadline_ns)
{
    return nc_futex_wait_as(&beds->word[bed % NC_BEDS_WORDS], seen, nc_beds_bit(bed), deadline_ns);
}

/* Wakes all on the word. Who is about to sleep has looked at it before he looked at what he waits
 * for: it has moved. */
static inline void nc_beds_wake(struct nc_beds *beds, uint32_t bed)
{
    _Atomic uint32_t *word = &beds->word[bed % NC_BEDS_WORDS];
    atomic_fetch_add(word, 1);
    nc_futex_wake(word, INT_MAX);
}

/* Wakes those of the one bed. */
static inline void nc_beds_wake_one(struct nc_beds *beds, uint32_t bed)
{
    _Atomic uint32_t *word = &beds->word[bed % NC_BEDS_WORDS];
    atomic_fetch_add(word, 1);
    nc_futex_wake_some(word, nc_beds_bit(bed));
}

#endif
