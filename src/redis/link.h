/*
 * redis/link: what the rest of the library sees of Redis: send requests with deadlines, hear about
 * up, down and messages. A client that knows no cache.
 *
 * A link is a set of connections to one server: shared ones for single requests, one for batches,
 * one that subscribes, and one for an event loop once there is one. It has one thread (connecting,
 * subscription, ticks); requests are sent and their replies read by the calling threads themselves,
 * one of whom leads at a time (redis/mux). If any connection breaks, the link goes down as a whole
 * and is made anew with backoff; each new one has a new generation. Everything here is thread-safe
 * unless it says "link thread".
 */
#ifndef NC_REDIS_LINK_H
#define NC_REDIS_LINK_H

#include "redis/call.h"
#include "redis/primary.h"
#include "redis/settings.h"
#include "redis/stats.h"

struct nc_link;

/*
 * Who leads a link to its server where the settings name only a cluster (redis/fleet): what the
 * link asks and tells. All of it, or none of it.
 */
struct nc_link_guide {
    /* Where to connect. 0; NEARCACHE_EOFFLINK, NEARCACHE_EAUTH (*why tells, static text). Link
     * thread, as the next two. */
    int (*locate)(void *arg, struct nc_primary *primary, const char **why);
    /* It takes calls, or does not any more. */
    void (*on_ready)(void *arg, bool ready);
    /* It was lost, or its server is not the right one: where it leads may be known wrongly. */
    void (*on_doubt)(void *arg);
    /* A call with a slot was answered with this error: who takes the call over; NULL: nobody, it is
     * an error as any other. Under no lock, the thread that reads. */
    struct nc_detour *(*on_refusal)(void *arg, struct nc_call *call, const char *text,
                                    size_t bytes);
    /* A call with a slot came while the link was on its way to another server: it is held for who
     * takes it over here (nc_call_hold). The thread that submits. */
    void (*on_held)(void *arg, struct nc_call *call);
    bool sharded; /* subscribes by SSUBSCRIBE, see nc_link_subscribe */
    void *arg;
};

/* All run on the link's thread, under no lock. */
struct nc_link_config {
    const struct nc_redis_settings *settings; /* copied */
    const struct nc_log *log;
    uint64_t breaker_expiries;  /* UINT64_MAX: no breaker */
    bool subscriber;            /* a connection for messages is wanted */
    struct nc_link_guide guide; /* without one the settings lead to one server */
    void (*on_connecting)(void *arg);
    void (*on_up)(void *arg, uint64_t generation);
    void (*on_down)(void *arg, uint64_t generation);
    /* A message; a NULL payload is a nil one (tracking: everything). */
    void (*on_message)(void *arg, const char *channel, size_t channel_bytes, const char *payload,
                       size_t payload_bytes);
    /* Returns when to come again, machine's monotonic ns. */
    uint64_t (*on_tick)(void *arg, uint64_t io_ns);
    void *arg;
};

/* Creates it; nothing runs before nc_link_start. 0, NEARCACHE_ENOMEM, NEARCACHE_EIO,
 * NEARCACHE_EINVAL (settings of a cluster, and no guide). */
int nc_link_open(struct nc_link **link, const struct nc_link_config *config);
int nc_link_start(struct nc_link *link);
/* Stops the thread, fails what is under way, frees it. No call may be using it. */
void nc_link_close(struct nc_link *link, uint64_t deadline_ns);

/* ---- requests ---- */

/*
 * Hands a call over to be sent; never waits. It ends with 0 (its replies were delivered),
 * NEARCACHE_EOFFLINK (no link, the breaker is open, or the connection broke), NEARCACHE_EPROTOCOL
 * or NEARCACHE_ENOMEM. `deadline_ns` lets a call that nobody waits for expire unsent.
 */
void nc_link_submit(struct nc_link *link, struct nc_call *call, enum nc_call_kind kind,
                    uint64_t deadline_ns);
/* Waits for the end, driving the connection if nobody else does. NEARCACHE_ETIMEOUT: it goes on. */
int nc_link_wait(struct nc_link *link, struct nc_call *call, uint64_t deadline_ns);
/* The same, but by somebody who has something else to answer with and leaves before the call's
 * deadline: the breaker does not count that as an expired one. */
int nc_link_wait_softly(struct nc_link *link, struct nc_call *call, uint64_t until_ns);
/* Submit, wait, and abandon at the deadline. */
int nc_link_call(struct nc_link *link, struct nc_call *call, enum nc_call_kind kind,
                 uint64_t deadline_ns);

/* ---- event loop ---- */

/*
 * The replies of requests of the kind LOOP are read by the thread that calls nc_link_loop_serve;
 * the descriptor that it must poll for that is put into its epoll set. The connection is opened
 * when the link's thread comes to it: until nc_link_loop_is_up such requests end at once with
 * NEARCACHE_EOFFLINK. Attaching again changes nothing; the epoll set stays open until the link is
 * closed.
 */
void nc_link_loop_attach(struct nc_link *link, int epoll_fd);
bool nc_link_loop_is_up(const struct nc_link *link);
/* Sends what was submitted. */
void nc_link_loop_flush(struct nc_link *link);
/* Reads and sends what is possible without waiting. */
void nc_link_loop_serve(struct nc_link *link);
/* Between begin and end the caller waits for what such a request brings: the link's thread reads
 * too, whatever the event loop does meanwhile. */
void nc_link_loop_await(struct nc_link *link, bool begin);
/* A request that nobody sits waiting for was not answered in time: the breaker counts it. */
void nc_link_expired(struct nc_link *link);

/* ---- state ---- */

struct nc_link_stats *nc_link_stats(struct nc_link *link);
bool nc_link_breaker_is_open(const struct nc_link *link);
/* The last attempt to connect was refused for its credentials. */
bool nc_link_refused_auth(const struct nc_link *link);
/* Lets the link's thread tick now. */
void nc_link_wake(struct nc_link *link);
/* Tears the link down and connects again; `why` is static text for the log. */
void nc_link_fail(struct nc_link *link, const char *why);
/* The same by intent: not a failure, so no waiting between. With a guide calls with a slot are held
 * until it is up again, as long as their deadlines allow. */
void nc_link_restart(struct nc_link *link, const char *why);

/* ---- link thread, in on_up ---- */

/* Run id and replication id of the server, empty when it does not tell. */
void nc_link_server(struct nc_link *link, char *text, size_t capacity);
/* Tracks all keys with one of the prefixes on the subscription's own connection. Before
 * subscribing. 0 or an error. */
int nc_link_track(struct nc_link *link, const char *const *prefixes, unsigned count);
/* Subscribes and waits for the acknowledgements. 0 or an error. Sharded (a cluster with partitions)
 * by SSUBSCRIBE: the channels' names carry the partition's tag, and messages are sent by SPUBLISH.
 */
int nc_link_subscribe(struct nc_link *link, const char *const *channels, unsigned count);

#endif
