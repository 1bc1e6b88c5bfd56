#include "sync/flight.h"

#include "cache/find.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

void nc_flights_init(struct nc_flights *flights) { memset(flights, 0, sizeof *flights); }

static struct nc_flight_stripe *stripe_of(struct nc_flights *flights, const struct nc_key *key)
{
    return &flights->stripes[(key->hash >> 32) % NC_FLIGHT_STRIPES];
}

static struct nc_flight **bucket_of(struct nc_flight_stripe *stripe, const struct nc_key *key)
{
    return &stripe->buckets[key->hash % NC_FLIGHT_BUCKETS];
}

/* ---- memory ---- */

struct nc_flight_block *nc_flight_block_create(uint32_t most, size_t names_bytes)
{
    size_t flights_bytes = most * sizeof(struct nc_flight);
    struct nc_flight_block *block = malloc(sizeof *block + flights_bytes + names_bytes);
    if (!block)
        return NULL;
    atomic_init(&block->references, 1);
    block->used = 0;
    block->most = most;
    block->names = (char *)block->flights + flights_bytes;
    block->names_left = names_bytes;
    return block;
}

void nc_flight_block_end(struct nc_flight_block *block)
{
    /* Release: this holder's use ends before the count falls. Acquire: the last one frees after
     * everybody's use. */
    if (block && atomic_fetch_sub_explicit(&block->references, 1, memory_order_acq_rel) == 1)
        free(block);
}

static struct nc_flight *create_in(struct nc_flight_block *block, size_t name_bytes, char **name)
{
    if (!block || block->used == block->most || block->names_left < name_bytes)
        return NULL;
    /* Relaxed: who fills it has a reference. */
    atomic_fetch_add_explicit(&block->references, 1, memory_order_relaxed);
    *name = block->names;
    block->names += name_bytes;
    block->names_left -= name_bytes;
    return &block->flights[block->used++];
}

static struct nc_flight *create_alone(size_t name_bytes, char **name)
{
    struct nc_flight *flight = malloc(sizeof *flight + name_bytes);
    *name = (char *)(flight + 1);
    return flight;
}

static struct nc_flight *create(struct nc_flights *flights, struct nc_flight_block *block,
                                const struct nc_key *key)
{
    char *name;
    struct nc_flight *flight = create_in(block, key->name_bytes, &name);
    block = flight ? block : NULL;
    if (!flight && !(flight = create_alone(key->name_bytes, &name)))
        return NULL;
    memset(flight, 0, sizeof *flight);
    flight->flights = flights;
    flight->block = block;
    atomic_init(&flight->references, 2); /* the caller's and the leader's */
    flight->key = *key;
    flight->key.name = name;
    flight->pttl_ms = -1;
    memcpy(name, key->name, key->name_bytes);
    return flight;
}

/* ---- the table ---- */

static struct nc_flight *find_locked(struct nc_flight *flight, const struct nc_key *key)
{
    for (; flight; flight = flight->next)
        if (flight->key.hash == key->hash && flight->key.tier == key->tier &&
            flight->key.name_bytes == key->name_bytes &&
            memcmp(flight->key.name, key->name, key->name_bytes) == 0)
            return flight;
    return NULL;
}

static bool same_ticket(const struct nc_ticket *a, const struct nc_ticket *b)
{
    return a->generation == b->generation && a->epoch == b->epoch && a->changes == b->changes;
}

static void list_locked(struct nc_flight **bucket, struct nc_flight *flight)
{
    flight->next = *bucket;
    *bucket = flight;
    flight->listed = true;
}

static void unlist_locked(struct nc_flight **at, struct nc_flight *flight)
{
    if (!flight->listed)
        return;
    while (*at != flight)
        at = &(*at)->next;
    *at = flight->next;
    flight->listed = false;
}

/* Who joins, but for the usual: a caller that waits. */
enum { APART = 1, IN_LOOP = 2 };

static struct nc_flight *join(struct nc_flights *flights, struct nc_flight_block *block,
                              const struct nc_key *key, const struct nc_ticket *ticket,
                              struct nc_flight_watch *watch, unsigned who, bool *leads)
{
    struct nc_flight_stripe *stripe = stripe_of(flights, key);
    struct nc_flight **bucket = bucket_of(stripe, key);

    *leads = false;
    nc_lock_take(&stripe->lock);
    struct nc_flight *flight = find_locked(*bucket, key);
    if (flight && ((who & APART) || (ticket && !same_ticket(&flight->ticket, ticket)))) {
        unlist_locked(bucket, flight); /* those who wait for it still get its outcome */
        flight = NULL;
    }
    if (flight) {
        /* Relaxed: the lock orders it after the creation. */
        atomic_fetch_add_explicit(&flight->references, 1, memory_order_relaxed);
        flight->joined = true;
    } else if ((flight = create(flights, block, key))) {
        if (ticket)
            flight->ticket = *ticket;
        flight->in_loop = (who & IN_LOOP) != 0;
        list_locked(bucket, flight);
        *leads = true;
    }
    /* What is listed has not landed: it will tell. */
    if (flight && watch) {
        watch->next = flight->watches;
        flight->watches = watch;
    }
    nc_lock_drop(&stripe->lock);
    return flight;
}

struct nc_flight *nc_flight_join(struct nc_flights *flights, const struct nc_key *key,
                                 const struct nc_ticket *ticket, bool *leads)
{
    return join(flights, NULL, key, ticket, NULL, 0, leads);
}

struct nc_flight *nc_flight_join_in(struct nc_flights *flights, struct nc_flight_block *block,
                                    const struct nc_key *key, const struct nc_ticket *ticket,
                                    bool *leads)
{
    return join(flights, block, key, ticket, NULL, 0, leads);
}

struct nc_flight *nc_flight_begin_apart(struct nc_flights *flights, const struct nc_key *key,
                                        const struct nc_ticket *ticket)
{
    bool leads;
    return join(flights, NULL, key, ticket, NULL, APART, &leads);
}

struct nc_flight *nc_flight_join_watched(struct nc_flights *flights, struct nc_flight_block *block,
                                         const struct nc_key *key, const struct nc_ticket *ticket,
                                         struct nc_flight_watch *watch, bool *leads)
{
    return join(flights, block, key, ticket, watch, IN_LOOP, leads);
}

struct nc_flight *nc_flight_begin_in_loop(struct nc_flights *flights, const struct nc_key *key)
{
    bool leads;
    struct nc_flight *flight = join(flights, NULL, key, NULL, NULL, IN_LOOP, &leads);
    if (!flight || leads)
        return flight;
    nc_flight_release(flight);
    return NULL;
}

bool nc_flight_unwatch(struct nc_flight *flight, struct nc_flight_watch *watch)
{
    struct nc_flight_stripe *stripe = stripe_of(flight->flights, &flight->key);

    nc_lock_take(&stripe->lock);
    struct nc_flight_watch **at = &flight->watches;
    while (*at && *at != watch)
        at = &(*at)->next;
    bool found = *at != NULL;
    if (found)
        *at = watch->next;
    nc_lock_drop(&stripe->lock);
    return found;
}

void nc_flight_land(struct nc_flight *flight, int outcome)
{
    struct nc_flight_stripe *stripe = stripe_of(flight->flights, &flight->key);

    flight->outcome = outcome;
    nc_lock_take(&stripe->lock);
    unlist_locked(bucket_of(stripe, &flight->key), flight);
    struct nc_flight_watch *watch = flight->watches;
    flight->watches = NULL;
    bool joined = flight->joined;
    nc_lock_drop(&stripe->lock);
    if (!joined && nc_row_is_full(&flight->row))
        nc_cache_release(&flight->held);
    /* Release pairs with the acquire in nc_flight_has_landed. Most flights land before anybody
     * sleeps for them, and a system call for each key of a batch is dear. */
    if (atomic_exchange_explicit(&flight->state, NC_FLIGHT_LANDED, memory_order_release) ==
        NC_FLIGHT_AWAITED)
        nc_futex_wake(&flight->state, INT_MAX);
    while (watch) {
        struct nc_flight_watch *next = watch->next; /* gone once it was told */
        watch->landed(watch);
        watch = next;
    }
    nc_flight_release(flight);
}

bool nc_flight_wait(struct nc_flight *flight, uint64_t deadline_ns)
{
    uint32_t state = NC_FLIGHT_FLYING;
    /* Acquire: as in nc_flight_has_landed. Who sleeps has said so in the word he sleeps on: the
     * landing either sees it or changes the word first. */
    while (atomic_compare_exchange_strong_explicit(&flight->state, &state, NC_FLIGHT_AWAITED,
                                                   memory_order_acquire, memory_order_acquire) ||
           state == NC_FLIGHT_AWAITED) {
        if (!nc_futex_wait(&flight->state, NC_FLIGHT_AWAITED, deadline_ns))
            return nc_flight_has_landed(flight);
        state = NC_FLIGHT_FLYING;
    }
    return true;
}

void nc_flight_release(struct nc_flight *flight)
{
    /* Release: this holder's use ends before the count falls. Acquire: the last one frees after
     * everybody's use. */
    if (atomic_fetch_sub_explicit(&flight->references, 1, memory_order_acq_rel) != 1)
        return;
    nc_cache_release(&flight->held);
    if (flight->block)
        nc_flight_block_end(flight->block);
    else
        free(flight);
}
