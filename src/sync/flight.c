#include "sync/flight.h"

#include "base/futex.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

void nc_flights_init(struct nc_flights *flights)
{
    memset(flights, 0, sizeof *flights);
    for (int i = 0; i < NC_FLIGHT_STRIPES; i++)
        pthread_mutex_init(&flights->stripes[i].lock, NULL);
}

void nc_flights_deinit(struct nc_flights *flights)
{
    for (int i = 0; i < NC_FLIGHT_STRIPES; i++)
        pthread_mutex_destroy(&flights->stripes[i].lock);
}

static struct nc_flight_stripe *stripe_of(struct nc_flights *flights, const struct nc_key *key)
{
    return &flights->stripes[(key->hash >> 32) % NC_FLIGHT_STRIPES];
}

static struct nc_flight **bucket_of(struct nc_flight_stripe *stripe, const struct nc_key *key)
{
    return &stripe->buckets[key->hash % NC_FLIGHT_BUCKETS];
}

static struct nc_flight *create(struct nc_flights *flights, const struct nc_key *key)
{
    struct nc_flight *flight = malloc(sizeof *flight + key->name_bytes);
    if (!flight)
        return NULL;
    memset(flight, 0, sizeof *flight);
    flight->flights = flights;
    atomic_init(&flight->references, 2); /* the caller's and the leader's */
    flight->key = *key;
    flight->key.name = flight->name;
    flight->pttl_ms = -1;
    memcpy(flight->name, key->name, key->name_bytes);
    return flight;
}

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

static struct nc_flight *join(struct nc_flights *flights, const struct nc_key *key,
                              const struct nc_ticket *ticket, struct nc_flight_watch *watch,
                              bool *leads)
{
    struct nc_flight_stripe *stripe = stripe_of(flights, key);
    struct nc_flight **bucket = bucket_of(stripe, key);

    *leads = false;
    pthread_mutex_lock(&stripe->lock);
    struct nc_flight *flight = find_locked(*bucket, key);
    if (flight && ticket && !same_ticket(&flight->ticket, ticket)) {
        unlist_locked(bucket, flight); /* those who wait for it still get its outcome */
        flight = NULL;
    }
    if (flight) {
        /* Relaxed: the lock orders it after the creation. */
        atomic_fetch_add_explicit(&flight->references, 1, memory_order_relaxed);
    } else if ((flight = create(flights, key))) {
        if (ticket)
            flight->ticket = *ticket;
        flight->in_loop = watch != NULL;
        list_locked(bucket, flight);
        *leads = true;
    }
    /* What is listed has not landed: it will tell. */
    if (flight && watch) {
        watch->next = flight->watches;
        flight->watches = watch;
    }
    pthread_mutex_unlock(&stripe->lock);
    return flight;
}

struct nc_flight *nc_flight_join(struct nc_flights *flights, const struct nc_key *key,
                                 const struct nc_ticket *ticket, bool *leads)
{
    return join(flights, key, ticket, NULL, leads);
}

struct nc_flight *nc_flight_join_watched(struct nc_flights *flights, const struct nc_key *key,
                                         const struct nc_ticket *ticket,
                                         struct nc_flight_watch *watch, bool *leads)
{
    return join(flights, key, ticket, watch, leads);
}

bool nc_flight_unwatch(struct nc_flight *flight, struct nc_flight_watch *watch)
{
    struct nc_flight_stripe *stripe = stripe_of(flight->flights, &flight->key);

    pthread_mutex_lock(&stripe->lock);
    struct nc_flight_watch **at = &flight->watches;
    while (*at && *at != watch)
        at = &(*at)->next;
    bool found = *at != NULL;
    if (found)
        *at = watch->next;
    pthread_mutex_unlock(&stripe->lock);
    return found;
}

void nc_flight_land(struct nc_flight *flight, int outcome)
{
    struct nc_flight_stripe *stripe = stripe_of(flight->flights, &flight->key);

    flight->outcome = outcome;
    pthread_mutex_lock(&stripe->lock);
    unlist_locked(bucket_of(stripe, &flight->key), flight);
    struct nc_flight_watch *watch = flight->watches;
    flight->watches = NULL;
    pthread_mutex_unlock(&stripe->lock);
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
    free(flight);
}
