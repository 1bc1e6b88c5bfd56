/*
 * redis/call: the life of one request: what it says, who gets its replies, who waits for it. It
 * knows no connection: whoever carries it (redis/mux) or takes it over when a server refused it
 * (redis/redirect) is known here as a struct of its own with functions in it.
 *
 *     phase     QUEUED --sender--> SENT            its bytes may have left: in doubt until ended
 *                      --abandon-> WITHDRAWN       never sent, and never will be
 *     state     WAITING <--> LEAD (asked to take over) --> DONE          (they sleep on its bed)
 *                      --> ELSEWHERE --> DONE       refused: it is no longer with its carrier
 *     delivery  IDLE <--carrier--> BUSY --> (AWAITED) --> ABANDONED      (futex of who abandons)
 *     owner     OWNED (it waits, or will) --> LEFT (it does not) --> OVER (ended, or elsewhere)
 *
 * The reply's parts are handed to the sink only while `delivery` is BUSY; who abandons a call waits
 * for at most one buffer's worth of copying, after which sink and memory are never touched again.
 */
#ifndef NC_REDIS_CALL_H
#define NC_REDIS_CALL_H

#include "redis/beds.h"
#include "redis/command.h"
#include "redis/reply.h"

enum { NC_CALL_WAITING, NC_CALL_LEAD, NC_CALL_DONE, NC_CALL_ELSEWHERE };
enum { NC_CALL_QUEUED, NC_CALL_SENT, NC_CALL_WITHDRAWN };
enum { NC_CALL_OWNED, NC_CALL_LEFT, NC_CALL_OVER };
enum { NC_CALL_IDLE, NC_CALL_BUSY, NC_CALL_AWAITED, NC_CALL_ABANDONED };

/* Which of a link's connections it is for. */
enum nc_call_kind {
    NC_CALL_SINGLE, /* shared connections; who submits it waits for it next */
    NC_CALL_AHEAD,  /* the same, but sent at once: who submits it does other things first */
    NC_CALL_BATCH,  /* large replies, a connection of their own */
    NC_CALL_LOOP    /* what an event loop reads (redis/link); the caller sees to the sending */
};

/* A call that names no slot. */
#define NC_NO_SLOT UINT32_MAX

/* What carries calls: a connection, and those who wait for what comes on it. */
struct nc_carrier {
    _Atomic uint32_t left; /* calls whose owner has left, and see nc_mux_read_along */
    struct nc_beds beds;
    void (*on_left)(struct nc_carrier *carrier); /* a call was left: somebody has to read for it */
};

/* Where a call goes that a server refused: part of whoever takes it over. */
struct nc_detour {
    /* Its replies are complete: takes over the call and the carrier's reference to it. */
    void (*go)(struct nc_detour *detour);
    /* The call ended otherwise. */
    void (*drop)(struct nc_detour *detour);
};

/* Thread-safe by the states above; plain fields belong to the caller before submission, then to
 * the holder of the carrier's token that the call is with. */
struct nc_call {
    _Atomic uint32_t references;
    _Atomic uint32_t state;   /* futex, once ELSEWHERE */
    _Atomic uint32_t waiters; /* threads that wait for it */
    uint32_t bed;             /* where they sleep; set by the submission */
    _Atomic uint32_t phase;
    _Atomic uint32_t delivery; /* futex */
    _Atomic uint32_t owner;    /* what became of who submitted it */
    int status;                /* once DONE */
    uint32_t replies_done;     /* the carrier's */
    struct nc_sink *sink;
    void (*done)(void *arg, int status);
    void *arg;
    struct nc_carrier *carrier; /* NULL: it was never taken */
    struct nc_call *next;
    uint64_t deadline_ns; /* not sent any more after this */
    uint64_t sent_ns;
    uint32_t slot; /* of a cluster, or NC_NO_SLOT */
    enum nc_call_kind kind;
    bool own;                 /* the link's: says nothing of what callers may expect */
    bool moved;               /* it went elsewhere */
    struct nc_detour *detour; /* the carrier's: a server refused it */
    struct nc_command command;
};

/* ---- who asks ---- */

/* With one reference, the caller's. NULL: out of memory. */
struct nc_call *nc_call_create(void);
struct nc_command *nc_call_command(struct nc_call *call);
/* Who gets the reply's parts, and who is told of the end (may be NULL). Before submitting. `done`
 * runs once, on the thread that ends the call, under no lock, before waiters return. */
void nc_call_expect(struct nc_call *call, struct nc_sink *sink, void (*done)(void *arg, int status),
                    void *arg);
/* In a cluster: all its keys are in one slot, and it is one command or a MULTI with its EXEC. Only
 * such calls are repeated elsewhere when a node refuses them (redis/redirect), and their sinks then
 * get their replies from the first one again. Before submitting. */
void nc_call_in_slot(struct nc_call *call, uint32_t slot);
/* Once it ended: another server than that of its link, or a later connection, may have answered. */
bool nc_call_was_moved(const struct nc_call *call);
void nc_call_retain(struct nc_call *call);
void nc_call_release(struct nc_call *call);
/* The same where somebody reads for the call in any case: nobody is asked to. */
void nc_call_drop(struct nc_call *call);
/* After a failure: whether any byte of it has left. */
bool nc_call_was_sent(const struct nc_call *call);
/* From now on the sink is not called any more. */
void nc_call_abandon(struct nc_call *call);

/* ---- who carries it ---- */

/* Pairs with the stores in nc_call_end and nc_call_go_elsewhere. */
static inline uint32_t nc_call_state(const struct nc_call *call)
{
    return atomic_load(&((struct nc_call *)call)->state);
}
/* Nothing of it is to be expected from its carrier any more. */
static inline bool nc_call_is_over(const struct nc_call *call)
{
    uint32_t state = nc_call_state(call);
    return state == NC_CALL_DONE || state == NC_CALL_ELSEWHERE;
}

/* It is about to be sent, from here on in doubt. False: it was withdrawn and must not be. */
bool nc_call_begin_sending(struct nc_call *call);
/* Brackets of handing parts to the sink. False: it was abandoned. */
bool nc_call_begin_delivery(struct nc_call *call);
void nc_call_end_delivery(struct nc_call *call);
bool nc_call_is_abandoned(const struct nc_call *call);
/* Nobody waits for the call (any more): the carrier is told, unless it is over. */
void nc_call_leave(struct nc_call *call);

/* Ends a call; the reference of who carried it goes with it. */
void nc_call_end(struct nc_call *call, int status);
/* The same, but who waits is woken by the caller, on the call's bed, afterwards. True: somebody is
 * to be. */
bool nc_call_end_quietly(struct nc_call *call, int status);
/* Its replies said that it is to go elsewhere: with its carrier it ends here. */
void nc_call_go_elsewhere(struct nc_call *call);
/* The same in place of a submission: it goes elsewhere unsent, with a reference for who takes it.
 * `carrier`: which it would have been. */
void nc_call_hold(struct nc_call *call, struct nc_carrier *carrier);
/* Waits for the end of one that went elsewhere. 0 or NEARCACHE_ETIMEOUT. */
int nc_call_await_elsewhere(struct nc_call *call, uint64_t deadline_ns);

#endif
