/*
 * sync/flight: one piece of work per key, however many threads want its result: a read from Redis,
 * a loader's call, a write. The first to ask leads; the others wait for its outcome, each up to its
 * own deadline.
 *
 * A flight is on the heap and lives until its leader has landed it and the last waiter has left,
 * so a leader whose caller gave up goes on in peace. Those of one request may share a piece of
 * memory. Thread-safe.
 */
#ifndef NC_SYNC_FLIGHT_H
#define NC_SYNC_FLIGHT_H

#include "base/lock.h"
#include "cache/ticket.h"
#include "sync/row.h"

#define NC_FLIGHT_STRIPES 64
#define NC_FLIGHT_BUCKETS 16

enum { NC_FLIGHT_FLYING, NC_FLIGHT_AWAITED /* flying, and somebody sleeps */, NC_FLIGHT_LANDED };

/* Somebody who does not wait. `landed` runs once, on the thread that lands the flight, under no
 * lock; the flight is there for as long as he has a reference. */
struct nc_flight_watch {
    struct nc_flight_watch *next; /* guarded by the stripe's lock */
    void (*landed)(struct nc_flight_watch *watch);
};

struct nc_flight {
    struct nc_flight *next; /* in the bucket; guarded by the stripe's lock */
    struct nc_flights *flights;
    struct nc_flight_block *block; /* NULL: it is a piece of memory of its own */
    bool listed;                   /* in the bucket; guarded by the same lock */
    bool joined;  /* by others than who began it; guarded by the same lock, final once it landed */
    bool in_loop; /* an event loop began it, and reads for it when it comes to that; constant */
    struct nc_flight_watch *watches; /* guarded by the same lock */
    _Atomic uint32_t references;
    _Atomic uint32_t state; /* futex; NC_FLIGHT_LANDED: what follows is final */

    int outcome;                  /* 0: the result is pinned below, or in the row of who began it */
    struct nearcache_result held; /* the flight's own pin */
    struct nc_row row;            /* of who began it */
    uint64_t version;             /* s of the read; 0: unknown */
    bool cached;

    struct nc_ticket ticket;
    struct nc_entry *entry; /* while in flight: the value as it arrives */
    uint64_t sent_io_ns, sent_ns;
    int64_t pttl_ms;

    struct nc_key key; /* its name points to a copy behind the flight or its block */
};

/* Room for flights that begin together; lives as long as one of them. */
struct nc_flight_block {
    _Atomic uint32_t references; /* of its flights, and of who fills it */
    uint32_t used, most;
    char *names;
    size_t names_left;
    struct nc_flight flights[];
};

/*
 * A table of a fixed size: nearly always it is empty or holds one key, and a general one would be
 * made and freed for each of them, which cost a batch of writes a tenth of its time.
 */
struct nc_flights {
    struct nc_flight_stripe {
        _Alignas(64) struct nc_lock lock;
        struct nc_flight *buckets[NC_FLIGHT_BUCKETS]; /* guarded by lock */
    } stripes[NC_FLIGHT_STRIPES];
};

/* Nothing is to be freed once all flights have landed. */
void nc_flights_init(struct nc_flights *flights);

/* For so many flights of keys with so many bytes of names together. NULL: out of memory. One
 * thread; nc_flight_block_end when no more are to begin in it. */
struct nc_flight_block *nc_flight_block_create(uint32_t most, size_t names_bytes);
void nc_flight_block_end(struct nc_flight_block *block);

/*
 * Joins the flight of a key or begins it. Returns it with a reference for the caller, or NULL: out
 * of memory. *leads: it is new, and the caller must see to its landing; the leader has a second
 * reference, which nc_flight_land ends.
 * With a ticket (of this moment) only a flight whose own ticket is the same is joined: a read that
 * begins after a write was acknowledged must not wait for one that was sent before it.
 */
struct nc_flight *nc_flight_join(struct nc_flights *flights, const struct nc_key *key,
                                 const struct nc_ticket *ticket, bool *leads);

/* The same; a flight that begins does so in the block (NULL, or full: in memory of its own). One
 * thread at a time for each block. */
struct nc_flight *nc_flight_join_in(struct nc_flights *flights, struct nc_flight_block *block,
                                    const struct nc_key *key, const struct nc_ticket *ticket,
                                    bool *leads);

/* Begins one whatever is under way: who has that one gets its outcome, who comes later joins this
 * one. NULL: out of memory. */
struct nc_flight *nc_flight_begin_apart(struct nc_flights *flights, const struct nc_key *key,
                                        const struct nc_ticket *ticket);

/* As nc_flight_join_in, by an event loop: the watch is told when it lands. */
struct nc_flight *nc_flight_join_watched(struct nc_flights *flights, struct nc_flight_block *block,
                                         const struct nc_key *key, const struct nc_ticket *ticket,
                                         struct nc_flight_watch *watch, bool *leads);
/* Begins the flight of a key by an event loop, which nobody need be told of. NULL: it is under way
 * already, or out of memory. */
struct nc_flight *nc_flight_begin_in_loop(struct nc_flights *flights, const struct nc_key *key);
/* True: it will not be told any more. False: it has been or is being told. */
bool nc_flight_unwatch(struct nc_flight *flight, struct nc_flight_watch *watch);

/* The outcome is final: takes the flight out of the table, wakes and tells everybody, drops a
 * reference. A value that stands in the row of the only one who wants it is not pinned any more. */
void nc_flight_land(struct nc_flight *flight, int outcome);

/* Waits for the landing; false: the deadline passed first. */
bool nc_flight_wait(struct nc_flight *flight, uint64_t deadline_ns);

static inline bool nc_flight_has_landed(const struct nc_flight *flight)
{
    /* Acquire pairs with the release in nc_flight_land: outcome and result are visible. */
    return atomic_load_explicit(&flight->state, memory_order_acquire) == NC_FLIGHT_LANDED;
}

void nc_flight_release(struct nc_flight *flight);

#endif
