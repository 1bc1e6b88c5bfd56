#include "sync/flight.h"

#include "base/futex.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

void nc_flights_init(struct nc_flights *flights)
{
    for (int i = 0; i < NC_FLIGHT_STRIPES; i++) {
        pthread_mutex_init(&flights->stripes[i].lock, NULL);
        flights->stripes[i].table = NULL;
    }
}

void nc_flights_deinit(struct nc_flights *flights)
{
    for (int i = 0; i < NC_FLIGHT_STRIPES; i++)
        pthread_mutex_destroy(&flights->stripes[i].lock);
}

static size_t identity_bytes(const struct nc_key *key)
{
    return sizeof(uint32_t) + key->name_bytes;
}

static struct nc_flight *create(struct nc_flights *flights, const struct nc_key *key)
{
    struct nc_flight *flight = malloc(sizeof *flight + identity_bytes(key));
    if (!flight)
        return NULL;
    memset(flight, 0, sizeof *flight);
    flight->flights = flights;
    atomic_init(&flight->references, 2); /* the caller's and the leader's */
    flight->key = *key;
    flight->key.name = flight->identity + sizeof(uint32_t);
    flight->pttl_ms = -1;
    memcpy(flight->identity, &key->tier->id, sizeof(uint32_t));
    memcpy(flight->identity + sizeof(uint32_t), key->name, key->name_bytes);
    return flight;
}

/* Compares in place: building the table's key for a look-up would copy the name. */
static struct nc_flight *find_locked(struct nc_flight *table, const struct nc_key *key)
{
    struct nc_flight *flight;
    unsigned bucket;
    if (!table)
        return NULL;
    HASH_TO_BKT((unsigned)key->hash, table->hh.tbl->num_buckets, bucket);
    struct UT_hash_handle *hh = table->hh.tbl->buckets[bucket].hh_head;
    for (; hh; hh = hh->hh_next) {
        flight = ELMT_FROM_HH(table->hh.tbl, hh);
        if (flight->key.hash == key->hash && flight->key.tier == key->tier &&
            flight->key.name_bytes == key->name_bytes &&
            memcmp(flight->key.name, key->name, key->name_bytes) == 0)
            return flight;
    }
    return NULL;
}

static bool same_ticket(const struct nc_ticket *a, const struct nc_ticket *b)
{
    return a->generation == b->generation && a->epoch == b->epoch && a->changes == b->changes;
}

static bool list_locked(struct nc_flight **table, struct nc_flight *flight)
{
    HASH_ADD_KEYPTR_BYHASHVALUE(hh, *table, flight->identity, identity_bytes(&flight->key),
                                (unsigned)flight->key.hash, flight);
    flight->listed = flight->hh.tbl != NULL;
    return flight->listed;
}

static void unlist_locked(struct nc_flight **table, struct nc_flight *flight)
{
    if (flight->listed)
        HASH_DEL(*table, flight);
    flight->listed = false;
}

struct nc_flight *nc_flight_join(struct nc_flights *flights, const struct nc_key *key,
                                 const struct nc_ticket *ticket, bool *leads)
{
    unsigned stripe = (unsigned)(key->hash >> 32) % NC_FLIGHT_STRIPES;
    pthread_mutex_t *lock = &flights->stripes[stripe].lock;
    struct nc_flight **table = &flights->stripes[stripe].table;

    *leads = false;
    pthread_mutex_lock(lock);
    struct nc_flight *flight = find_locked(*table, key);
    if (flight && ticket && !same_ticket(&flight->ticket, ticket)) {
        unlist_locked(table, flight); /* those who wait for it still get its outcome */
        flight = NULL;
    }
    if (flight) {
        /* Relaxed: the lock orders it after the creation. */
        atomic_fetch_add_explicit(&flight->references, 1, memory_order_relaxed);
    } else if ((flight = create(flights, key))) {
        if (ticket)
            flight->ticket = *ticket;
        *leads = list_locked(table, flight);
        if (!*leads) {
            free(flight);
            flight = NULL;
        }
    }
    pthread_mutex_unlock(lock);
    return flight;
}

void nc_flight_land(struct nc_flight *flight, int outcome)
{
    unsigned stripe = (unsigned)(flight->key.hash >> 32) % NC_FLIGHT_STRIPES;
    struct nc_flights *flights = flight->flights;

    flight->outcome = outcome;
    pthread_mutex_lock(&flights->stripes[stripe].lock);
    unlist_locked(&flights->stripes[stripe].table, flight);
    pthread_mutex_unlock(&flights->stripes[stripe].lock);
    /* Release pairs with the acquire in nc_flight_has_landed. */
    atomic_store_explicit(&flight->landed, 1, memory_order_release);
    nc_futex_wake(&flight->landed, INT_MAX);
    nc_flight_release(flight);
}

bool nc_flight_wait(struct nc_flight *flight, uint64_t deadline_ns)
{
    while (!nc_flight_has_landed(flight))
        if (!nc_futex_wait(&flight->landed, 0, deadline_ns))
            return nc_flight_has_landed(flight);
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
