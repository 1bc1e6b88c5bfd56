#include "redis/call.h"

#include "nearcache.h"

#include <stdlib.h>

struct nc_call *nc_call_create(void)
{
    struct nc_call *call = malloc(sizeof *call);
    if (!call)
        return NULL;
    atomic_init(&call->references, 1);
    atomic_init(&call->state, NC_CALL_WAITING);
    atomic_init(&call->waiters, 0);
    atomic_init(&call->phase, NC_CALL_QUEUED);
    atomic_init(&call->delivery, NC_CALL_IDLE);
    atomic_init(&call->owner, NC_CALL_OWNED);
    call->status = 0;
    nc_command_init(&call->command);
    call->sink = NULL;
    call->done = NULL;
    call->arg = NULL;
    call->carrier = NULL;
    call->next = NULL;
    call->replies_done = 0;
    call->bed = 0;
    call->deadline_ns = UINT64_MAX;
    call->sent_ns = 0;
    call->slot = NC_NO_SLOT;
    call->kind = NC_CALL_SINGLE;
    call->own = false;
    call->moved = false;
    call->detour = NULL;
    return call;
}

struct nc_command *nc_call_command(struct nc_call *call) { return &call->command; }

void nc_call_expect(struct nc_call *call, struct nc_sink *sink, void (*done)(void *arg, int status),
                    void *arg)
{
    call->sink = sink;
    call->done = done;
    call->arg = arg;
}

void nc_call_in_slot(struct nc_call *call, uint32_t slot) { call->slot = slot; }

bool nc_call_was_moved(const struct nc_call *call) { return call->moved; }

void nc_call_retain(struct nc_call *call)
{
    /* Relaxed: the caller has a reference already. */
    atomic_fetch_add_explicit(&call->references, 1, memory_order_relaxed);
}

void nc_call_drop(struct nc_call *call)
{
    /* Release ends this holder's use, acquire lets the last one free after all of them. */
    if (atomic_fetch_sub_explicit(&call->references, 1, memory_order_acq_rel) != 1)
        return;
    nc_command_deinit(&call->command);
    free(call);
}

void nc_call_leave(struct nc_call *call)
{
    uint32_t owned = NC_CALL_OWNED;
    if (atomic_compare_exchange_strong(&call->owner, &owned, NC_CALL_LEFT))
        atomic_fetch_add(&call->carrier->left, 1);
    else if (owned == NC_CALL_OVER)
        return;
    call->carrier->on_left(call->carrier);
}

void nc_call_release(struct nc_call *call)
{
    /* Given away without waiting: somebody has to read for it. Relaxed: a call seen as DONE needs
     * nobody, one that ends meanwhile costs a needless look. */
    if (call->carrier && atomic_load_explicit(&call->state, memory_order_relaxed) != NC_CALL_DONE &&
        atomic_load_explicit(&call->waiters, memory_order_relaxed) == 0)
        nc_call_leave(call);
    nc_call_drop(call);
}

bool nc_call_begin_sending(struct nc_call *call)
{
    uint32_t phase = NC_CALL_QUEUED;
    return atomic_compare_exchange_strong(&call->phase, &phase, NC_CALL_SENT) ||
           phase == NC_CALL_SENT;
}

bool nc_call_was_sent(const struct nc_call *call)
{
    /* Acquire pairs with the sender's exchange: who sees SENT may not assume otherwise later. */
    return atomic_load_explicit(&((struct nc_call *)call)->phase, memory_order_acquire) ==
           NC_CALL_SENT;
}

/* ---- the end ---- */

/* The carrier owes it nothing from here on, and may be gone when the call ends elsewhere. */
static void part_from_carrier(struct nc_call *call)
{
    if (atomic_exchange(&call->owner, NC_CALL_OVER) == NC_CALL_LEFT)
        atomic_fetch_sub(&call->carrier->left, 1);
}

bool nc_call_end_quietly(struct nc_call *call, int status)
{
    call->status = status;
    if (call->detour)
        call->detour->drop(call->detour);
    part_from_carrier(call);
    if (call->done)
        call->done(call->arg, status);
    /* Sequentially consistent, as the waiter's count and its look at the state: either it sees
     * DONE or it is seen here. Also publishes the status and what the sink wrote. */
    uint32_t was = atomic_exchange(&call->state, NC_CALL_DONE);
    bool awaited = atomic_load(&call->waiters) != 0;
    /* Who knows that it went elsewhere sleeps on its state. */
    if (awaited && was == NC_CALL_ELSEWHERE)
        nc_futex_wake(&call->state, INT_MAX);
    nc_call_drop(call);
    return awaited && was != NC_CALL_ELSEWHERE;
}

void nc_call_end(struct nc_call *call, int status)
{
    struct nc_carrier *carrier = call->carrier;
    uint32_t bed = call->bed;
    if (nc_call_end_quietly(call, status))
        nc_beds_wake(&carrier->beds, bed);
}

/* ---- elsewhere ---- */

void nc_call_go_elsewhere(struct nc_call *call)
{
    struct nc_detour *detour = call->detour;
    call->detour = NULL;
    call->moved = true;
    part_from_carrier(call);
    /* As in nc_call_end: who leads or sleeps for it here goes to sleep for it there. */
    atomic_store(&call->state, NC_CALL_ELSEWHERE);
    if (atomic_load(&call->waiters) != 0)
        nc_beds_wake(&call->carrier->beds, call->bed);
    detour->go(detour);
}

void nc_call_hold(struct nc_call *call, struct nc_carrier *carrier)
{
    call->carrier = carrier;
    call->moved = true;
    nc_call_retain(call);
    /* Nobody else has it yet: as it would be after nc_call_go_elsewhere. */
    atomic_store(&call->owner, NC_CALL_OVER);
    atomic_store(&call->state, NC_CALL_ELSEWHERE);
}

int nc_call_await_elsewhere(struct nc_call *call, uint64_t deadline_ns)
{
    atomic_fetch_add(&call->waiters, 1);
    while (nc_call_state(call) != NC_CALL_DONE &&
           nc_futex_wait(&call->state, NC_CALL_ELSEWHERE, deadline_ns))
        ;
    atomic_fetch_sub(&call->waiters, 1);
    return nc_call_state(call) == NC_CALL_DONE ? 0 : NEARCACHE_ETIMEOUT;
}

/* ---- delivery ---- */

bool nc_call_begin_delivery(struct nc_call *call)
{
    uint32_t idle = NC_CALL_IDLE;
    /* Acquire and release pair with nc_call_abandon: after ABANDONED nothing is delivered, before
     * it everything that was is visible to who abandons. */
    return atomic_compare_exchange_strong(&call->delivery, &idle, NC_CALL_BUSY);
}

void nc_call_end_delivery(struct nc_call *call)
{
    uint32_t busy = NC_CALL_BUSY;
    if (atomic_compare_exchange_strong(&call->delivery, &busy, NC_CALL_IDLE))
        return;
    atomic_store(&call->delivery, NC_CALL_ABANDONED);
    nc_futex_wake(&call->delivery, INT_MAX);
}

bool nc_call_is_abandoned(const struct nc_call *call)
{
    return atomic_load(&((struct nc_call *)call)->delivery) == NC_CALL_ABANDONED;
}

void nc_call_abandon(struct nc_call *call)
{
    uint32_t phase = NC_CALL_QUEUED, is = NC_CALL_IDLE;
    atomic_compare_exchange_strong(&call->phase, &phase, NC_CALL_WITHDRAWN);
    while (is != NC_CALL_ABANDONED) {
        if (is == NC_CALL_IDLE) {
            if (atomic_compare_exchange_strong(&call->delivery, &is, NC_CALL_ABANDONED))
                return;
        } else if (is == NC_CALL_AWAITED ||
                   atomic_compare_exchange_strong(&call->delivery, &is, NC_CALL_AWAITED)) {
            nc_futex_wait(&call->delivery, NC_CALL_AWAITED, UINT64_MAX);
            is = atomic_load(&call->delivery);
        }
    }
}
