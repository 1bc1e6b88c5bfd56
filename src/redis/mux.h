/*
 * redis/mux: concurrent callers share a connection without a thread of its own. One caller leads:
 * it reads for all and ends their calls. Who has something to send sends it himself, together with
 * what others have queued meanwhile. A lone caller pays no hop.
 *
 *       stack ----------> backlog ----------> ring ----------> ended
 *       anybody pushes    `sending` holder    `sending` holder  `leading` holder
 *       (lock-free)       reverses            appends, sends    takes, reads replies
 *       `------ redis/outbox ------'
 *
 * Two tokens, each one word, taken by exchange and never waited for on a caller's path:
 *  - `sending` owns the output side of the connection, the backlog and the ring's tail. Who cannot
 *    get it leaves: the holder looks again after letting go (store, then load the stack; the
 *    submitter pushes, then tries the token; both sequentially consistent, so one of them sees the
 *    other).
 *  - `leading` owns the input side, the reader and the ring's head. Its holder polls with its own
 *    deadline, and sends what was left to it each time replies have come. On leaving it asks the
 *    first call in the ring that somebody waits for to take over; if nobody waits but calls are
 *    under way whose owner has left, the link's thread is told to watch (on_orphans).
 *
 * A call's own life is drawn in redis/call.h; here it is QUEUED until a sender has put it on the
 * wire, and its replies are delivered by who leads. When a server refuses a call that may be asked
 * elsewhere, whoever registered for that (on_refusal) gets it once its replies are complete.
 *
 * Replies pair with the ring in order; calls that nobody wants any more keep their place until
 * their replies have been counted off, so a connection whose caller timed out stays usable.
 *
 * While calls are under way and somebody reads, a new call may be left to the reader to send: it
 * goes out in one write with all others that came meanwhile. Below EAGER calls under way it is sent
 * at once.
 *
 * When the stream breaks, the leader (or, without one, the link's thread) closes the outbox: later
 * submissions fail at once, and nothing is pushed after it was emptied.
 */
#ifndef NC_REDIS_MUX_H
#define NC_REDIS_MUX_H

#include "redis/call.h"
#include "redis/conn.h"
#include "redis/outbox.h"

#define NC_MUX_RING 1024u /* calls under way on one connection, at most */

/* Thread-safe, but for up, down, watch: the link's thread. On x86-64 what each submission and each
 * wait writes is the first line, and the words of the beds are the second. */
struct nc_mux {
    struct nc_outbox outbox; /* who has `sending` takes */
    _Atomic uint32_t sending;
    _Atomic uint32_t unsent;   /* the socket was full; written by the sender */
    _Atomic uint32_t leading;  /* futex of nc_mux_down only: 2 says that it waits */
    _Atomic uint32_t sleepers; /* threads in nc_mux_wait that do not lead */
    _Atomic uint32_t watched;  /* the link's thread polls it for them */
    _Atomic uint32_t broken;   /* the stream is lost; reset by the link's thread */
    struct nc_carrier carrier; /* of the calls */
    _Atomic bool gathers;      /* who leads lets others run before he sends the first calls */
    bool looped;               /* an event loop reads it: others only what it may not */
    uint32_t batch_bytes;      /* replies under way are kept below this; 0: no limit */
    uint32_t eager;
    uint64_t spin_ns;           /* who leads looks so long before he sleeps; 0: not at all */
    _Atomic uint64_t *spinning; /* processors on which somebody does, one bit each */
    /* The sender's. */
    _Atomic uint64_t tail __attribute__((aligned(64)));
    /* The leader's. */
    _Atomic uint64_t head __attribute__((aligned(64)));
    struct nc_call *receiving; /* parts of its reply stand in the buffer being read */
    bool delivering;           /* its delivery is BUSY: it was not abandoned */
    bool in_time;              /* a reply came that somebody may still want */
    bool unasked;              /* a reply came to no call */
    struct nc_call *finished, **finished_end;
    uint64_t read_ns;
    uint32_t spins_vain;    /* leads that sleep at once after the next vain spin */
    uint32_t spins_skipped; /* that are left of them */
    uint64_t reply_bytes;   /* of the call at the head, so far */
    _Atomic uint64_t usual_reply_bytes;
    struct nc_conn conn;
    void (*on_orphans)(void *arg); /* calls are under way that nobody reads for */
    void (*on_reply)(void *arg);   /* Redis answered something */
    void (*on_error)(void *arg, const char *text, size_t bytes); /* Redis answered an error */
    /* The same to a call with a slot: who takes it over, or NULL: it is an error as any other. */
    struct nc_detour *(*on_refusal)(void *arg, struct nc_call *call, const char *text,
                                    size_t bytes);
    void *arg;
    struct nc_call *ring[NC_MUX_RING];
};

/* `batch_bytes`: see there. */
void nc_mux_init(struct nc_mux *mux, struct nc_link_stats *stats, uint32_t batch_bytes);
void nc_mux_deinit(struct nc_mux *mux);

/* The connection is open: calls may come. */
void nc_mux_up(struct nc_mux *mux);
/* Ends all calls with NEARCACHE_EOFFLINK, waits until nobody leads, closes the connection. */
void nc_mux_down(struct nc_mux *mux);

/* Who sends what is submitted. */
enum nc_mux_sends {
    NC_MUX_SENDS_NOW,   /* the submission, or whoever reads */
    NC_MUX_SENDS_LATER, /* nc_mux_flush on the same thread, where several are submitted in a row */
    NC_MUX_SENDS_WAITER /* who waits for it next; others that are about to come go with it */
};
/* Takes the call or ends it at once. */
void nc_mux_submit(struct nc_mux *mux, struct nc_call *call, enum nc_mux_sends sends);
void nc_mux_flush(struct nc_mux *mux);
/* 0: it ended, see its status. NEARCACHE_ETIMEOUT. */
int nc_mux_wait(struct nc_call *call, uint64_t deadline_ns);

/* Somebody waits for what only an event loop reads by itself: until he says that he is done, the
 * link's thread reads as well. */
void nc_mux_read_along(struct nc_mux *mux, bool begin);

/* What the link's thread must poll for: 0 when others do all that is to do. */
short nc_mux_watch(struct nc_mux *mux);
void nc_mux_unwatch(struct nc_mux *mux);
/* Sends and reads what is possible without waiting, unless somebody leads. Any thread may. */
void nc_mux_serve(struct nc_mux *mux);

/* Calls under way. */
static inline uint64_t nc_mux_flying(struct nc_mux *mux)
{
    return atomic_load(&mux->tail) - atomic_load(&mux->head);
}
/* A hint: nobody uses it right now. */
static inline bool nc_mux_is_free(struct nc_mux *mux)
{
    return atomic_load_explicit(&mux->leading, memory_order_relaxed) == 0 &&
           nc_outbox_looks_free(&mux->outbox) && nc_mux_flying(mux) == 0;
}
static inline bool nc_mux_is_broken(struct nc_mux *mux) { return atomic_load(&mux->broken) != 0; }

#endif
