/*
 * sync/write_loop: writing through for an event loop, whose thread never waits: send, be told. The
 * steps, the script calls and the rule of one write per key are those of sync/write; what differs
 * is who reads the answer (redis/link, "event loop"), and that nobody waits for anything.
 *
 *     nc_write_loop_depart     sends; each write's `landed` is called once, maybe before it returns
 *     nc_write_loop_give_up    what stands in for an answer that has not come by the deadline
 *
 * What would have to be waited for before it can be sent (another write of the key, Redis' clock)
 * is not taken: nc_write does it. Thread-safe, but for the calls of one write.
 */
#ifndef NC_SYNC_WRITE_LOOP_H
#define NC_SYNC_WRITE_LOOP_H

#include "sync/write_item.h"

/* The most writes that depart together. */
#define NC_WRITE_LOOP_MOST 64

enum nc_write_loop_state {
    NC_WRITE_LOOP_IDLE,  /* not taken, or taken back */
    NC_WRITE_LOOP_FLIES, /* it will be told, unless it is left */
    NC_WRITE_LOOP_ENDED, /* item.outcome is final */
    NC_WRITE_LOOP_AGAIN, /* nothing was done and nc_write may do it: the script or the clock was
                            not as expected */
    NC_WRITE_LOOP_DOUBT  /* the connection broke: nobody knows until the deadline has passed */
};

struct nc_write_flock;

/* `item` (key, op, value, ttl_ms, taken_ns), the deadline and `landed` are set by the caller, who
 * leaves it alone from departing until it was told or left, but for its state. */
struct nc_loop_write {
    struct nc_write_item item;
    uint64_t deadline_ns;
    /* On whatever thread ends the request, under no lock. */
    void (*landed)(struct nc_loop_write *write);
    void *owner;                  /* the caller's */
    _Atomic uint32_t state;       /* enum nc_write_loop_state */
    bool unanswered;              /* it was left: nc_link_expired is due, without locks */
    struct nc_write_flock *flock; /* those it flies with; the write has a reference */
    unsigned index;
};

/* Whether the key can be written in this way now; asks for what it lacks. */
bool nc_write_loop_takes(struct nc_sync *any, const struct nc_key *key, int epoll_fd);

/* Writes of one tier, different keys. What is IDLE after that was not taken and is not told. */
void nc_write_loop_depart(struct nc_sync *any, struct nc_cache_thread *self,
                          struct nc_loop_write *const *writes, size_t count);

/* True: it will not be told, and is the caller's to give up. False: it is being told. Not once it
 * was: the caller's lock orders this and the next one. */
bool nc_write_loop_leave(struct nc_loop_write *write);
/* It was told: by `landed`. */
void nc_write_loop_told(struct nc_loop_write *write);

/* The deadline of one that is IDLE, was left or is in DOUBT has passed: sets the outcome. */
void nc_write_loop_give_up(struct nc_sync *any, struct nc_cache_thread *self,
                           struct nc_loop_write *write);

/* It has ended and its owner is about to be told: what may call back, so without locks. */
void nc_write_loop_arrive(struct nc_cache_thread *self, const struct nc_loop_write *write);

#endif
