/*
 * redis/outbox: calls that wait to be sent on a connection. Anybody pushes one, without a lock; one
 * thread at a time takes them, oldest first. Who that is, is for the owner to see to (redis/mux:
 * who has the token).
 *
 *       stack -----------------> backlog -----------------> taken
 *       anybody pushes           collecting reverses
 *
 * A closed one lets nothing in: its stack is a value that no push replaces, so that later pushes
 * fail at once and nothing is pushed after it was emptied. It begins closed.
 *
 * What changes the stack or the count of those in the backlog, and nc_outbox_is_waiting, are
 * sequentially consistent: who pushes and then looks at a word of the owner's, and who stores that
 * word and then asks whether calls wait, cannot both miss the other.
 */
#ifndef NC_REDIS_OUTBOX_H
#define NC_REDIS_OUTBOX_H

#include "redis/call.h"

#define NC_OUTBOX_CLOSED ((struct nc_call *)(uintptr_t)1)

struct nc_outbox {
    struct nc_call *_Atomic stack;
    _Atomic uint32_t held;                  /* calls in the backlog; written by who takes */
    struct nc_call *backlog, **backlog_end; /* of who takes */
};

static inline void nc_outbox_init(struct nc_outbox *box)
{
    atomic_init(&box->stack, NC_OUTBOX_CLOSED);
    atomic_init(&box->held, 0);
    box->backlog = NULL;
    box->backlog_end = &box->backlog;
}

static inline void nc_outbox_open(struct nc_outbox *box) { atomic_store(&box->stack, NULL); }

/* ---- anybody ---- */

/* False: it is closed. */
static inline bool nc_outbox_push(struct nc_outbox *box, struct nc_call *call)
{
    /* Relaxed: the exchange compares it again. */
    struct nc_call *top = atomic_load_explicit(&box->stack, memory_order_relaxed);
    do {
        if (top == NC_OUTBOX_CLOSED)
            return false;
        call->next = top;
    } while (!atomic_compare_exchange_weak(&box->stack, &top, call));
    return true;
}

static inline bool nc_outbox_is_waiting(struct nc_outbox *box)
{
    struct nc_call *top = atomic_load(&box->stack);
    return (top && top != NC_OUTBOX_CLOSED) || atomic_load(&box->held) != 0;
}

/* A hint: it is open, and what was pushed has been collected. */
static inline bool nc_outbox_looks_free(struct nc_outbox *box)
{
    return atomic_load_explicit(&box->stack, memory_order_relaxed) == NULL;
}

/* Returns what was pushed and not collected, newest first. */
static inline struct nc_call *nc_outbox_close(struct nc_outbox *box)
{
    struct nc_call *top = atomic_exchange(&box->stack, NC_OUTBOX_CLOSED);
    return top == NC_OUTBOX_CLOSED ? NULL : top;
}

/* ---- who takes ---- */

/* What was pushed goes to the end of the backlog, oldest first. */
static inline void nc_outbox_collect(struct nc_outbox *box)
{
    struct nc_call *top = atomic_load(&box->stack), *oldest = NULL;
    uint32_t count = 0;
    do {
        if (!top || top == NC_OUTBOX_CLOSED)
            return;
    } while (!atomic_compare_exchange_weak(&box->stack, &top, NULL));
    struct nc_call *newest = top;
    while (top) {
        struct nc_call *below = top->next;
        top->next = oldest;
        oldest = top;
        top = below;
        count++;
    }
    *box->backlog_end = oldest;
    box->backlog_end = &newest->next;
    atomic_fetch_add(&box->held, count);
}

/* Whether one that was collected can be taken. */
static inline bool nc_outbox_has_next(const struct nc_outbox *box) { return box->backlog != NULL; }

/* The oldest; there is one. */
static inline struct nc_call *nc_outbox_take(struct nc_outbox *box)
{
    struct nc_call *call = box->backlog;
    box->backlog = call->next;
    if (!box->backlog)
        box->backlog_end = &box->backlog;
    atomic_fetch_sub(&box->held, 1);
    call->next = NULL;
    return call;
}

/* All that were collected, oldest first. */
static inline struct nc_call *nc_outbox_take_all(struct nc_outbox *box)
{
    struct nc_call *list = box->backlog;
    box->backlog = NULL;
    box->backlog_end = &box->backlog;
    atomic_store(&box->held, 0);
    return list;
}

#endif
