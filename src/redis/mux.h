/*
 * redis/mux: concurrent callers share a connection. One leads: it reads for all and ends their
 * calls; who has something to send sends it himself, together with what others have queued
 * meanwhile. There is no thread of its own, so a lone caller pays no hop.
 *
 *      pending  --pump-->  flying  --reply-->  done
 *      (lock)   (sending)  (lock)  (leading)
 *
 * A call's life: WAITING -> DONE, and WAITING <-> LEAD while its waiter is asked to take over the
 * lead. Replies belong to the flying calls in order; a call that nobody wants any more stays in the
 * row until its replies have been read, so the connection stays usable.
 *
 * Locks, never held together but in this order: sending, lock; leading is a flag under `lock`;
 * `delivering` is held while parts are handed out, so that abandoning waits for at most a copy.
 */
#ifndef NC_REDIS_MUX_H
#define NC_REDIS_MUX_H

#include "redis/conn.h"

#include <pthread.h>

enum { NC_CALL_WAITING, NC_CALL_LEAD, NC_CALL_DONE };

struct nc_mux;

struct nc_call {
    _Atomic uint32_t references;
    _Atomic uint32_t state; /* futex */
    _Atomic bool waited_for, sent;
    int status; /* once DONE */
    struct nc_command command;
    struct nc_sink *sink; /* guarded by the mux's `delivering`; NULL: abandoned */
    void (*done)(void *arg, int status);
    void *arg;
    struct nc_mux *mux;
    struct nc_call *next;
    uint32_t replies_done; /* leader only */
    uint64_t sent_ns;
};

struct nc_mux {
    struct nc_conn conn;
    void (*on_orphans)(void *arg); /* calls are under way that nobody waits for */
    void (*on_reply)(void *arg);   /* Redis answered something */
    void *arg;
    pthread_mutex_t sending;       /* whoever holds it looks for pending calls after letting go */
    _Atomic bool unsent;           /* the socket was full; written under sending */
    pthread_mutex_t lock;
    /* Guarded by lock. */
    struct nc_call *pending, **pending_end;
    struct nc_call *flying, **flying_end;
    bool leading;
    int broken; /* why nothing can be sent; 0: it can */
    pthread_cond_t idle; /* nobody leads */
    pthread_mutex_t delivering;
    /* Leader only. */
    struct nc_call *current; /* the head of the flying, once a part of its reply has come */
    struct nc_call *finished, **finished_end;
};

void nc_mux_init(struct nc_mux *mux, struct nc_link_stats *stats);
void nc_mux_deinit(struct nc_mux *mux);

/* The connection is open: calls may come. */
void nc_mux_up(struct nc_mux *mux);
/* Ends all calls with NEARCACHE_EOFFLINK, waits until nobody leads, closes the connection. */
void nc_mux_down(struct nc_mux *mux);

/* Takes the call or ends it at once. */
void nc_mux_submit(struct nc_mux *mux, struct nc_call *call);
/* 0: it ended, see its status. NEARCACHE_ETIMEOUT. */
int nc_mux_wait(struct nc_call *call, uint64_t deadline_ns);
/* Reads once without waiting, if nobody leads. False: the connection is lost. */
bool nc_mux_serve(struct nc_mux *mux);
/* A descriptor and events to poll for those whom nobody serves, -1: somebody leads or nothing is
 * under way. */
int nc_mux_orphan_fd(struct nc_mux *mux, short *events);
bool nc_mux_is_broken(struct nc_mux *mux);
/* Open, and nothing is under way: a guess that may be old at once. */
bool nc_mux_is_free(struct nc_mux *mux);

/* Ends a call that was never submitted. */
void nc_call_end(struct nc_call *call, int status);

#endif
