/*
 * sync/fetch_loop: reading through for an event loop, whose thread never waits: ask, be told, take.
 * Flights and requests are those of sync/fetch, so a key has one request whoever wants it; what
 * differs is who reads the reply (redis/link, "event loop").
 *
 *     nc_fetch_loop_depart     asks; each read's watch is told once, maybe before that returns
 *     nc_fetch_loop_arrive     takes what came, or what stands in for it
 *
 * Thread-safe, but for the calls of one read: one after the other.
 */
#ifndef NC_SYNC_FETCH_LOOP_H
#define NC_SYNC_FETCH_LOOP_H

#include "sync/fetch.h"

/* The most reads that depart together. */
#define NC_FETCH_LOOP_MOST 64

/* One key; `want.key`, `want.result`, `want.row` and `watch.landed` are set by the caller. */
struct nc_loop_read {
    struct nc_want want;
    struct nc_flight_watch watch;
    _Atomic uint32_t gate; /* of its row; 0 */
    bool counted;          /* the breaker knows of its call that it was not answered in time */
};

/* Whether the key can be read in this way now: no write of it waits for Redis, and the link has its
 * connection for it, whose descriptor is in the epoll set; else it is asked to make it. */
bool nc_fetch_loop_takes(struct nc_sync *any, const struct nc_key *key, int epoll_fd);

/*
 * Asks for the keys of one tier. A read that has no flight after that was not taken (see above, or
 * out of memory) and is not told. `deadline_ns`: the latest of theirs.
 */
void nc_fetch_loop_depart(struct nc_sync *any, struct nc_cache_thread *self,
                          struct nc_loop_read *const *reads, size_t count, uint64_t deadline_ns);

/* From here on nobody writes to its row, which may go; waits for one copy at most. Any thread, also
 * while it departs; nobody may let it arrive or drop it meanwhile. */
void nc_fetch_loop_close(struct nc_loop_read *read);

/* Nobody wants it any more. True: its watch will not be told. False: it was, or is being told. */
bool nc_fetch_loop_leave(struct nc_loop_read *read);

/* Whether something is at hand that the soft deadline is for. */
bool nc_fetch_loop_has_old(struct nc_cache_thread *self, const struct nc_loop_read *read,
                           const struct nc_fetch_options *options);

/* The end of a read that was told (`landed`) or that was left at its deadline: sets outcome and
 * result. */
void nc_fetch_loop_arrive(struct nc_sync *any, struct nc_cache_thread *self,
                          struct nc_loop_read *read, const struct nc_fetch_options *options,
                          bool landed);

/* Lets go of a read that will not arrive. */
void nc_fetch_loop_drop(struct nc_loop_read *read);

#endif
