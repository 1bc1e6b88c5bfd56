/* redis/call: the life of one request; its states are drawn in redis/mux.h. */
#include "base/futex.h"
#include "nearcache.h"
#include "redis/mux.h"

#include <limits.h>
#include <stdlib.h>

struct nc_call *nc_call_create(void)
{
    struct nc_call *call = malloc(sizeof *call);
    if (!call)
        return NULL;
    atomic_init(&call->references, 1);
    atomic_init(&call->state, NC_CALL_WAITING);
    atomic_init(&call->waited_for, false);
    atomic_init(&call->sent, false);
    call->status = 0;
    nc_command_init(&call->command);
    call->sink = NULL;
    call->done = NULL;
    call->arg = NULL;
    call->mux = NULL;
    call->next = NULL;
    call->replies_done = 0;
    call->sent_ns = 0;
    return call;
}

struct nc_command *nc_call_command(struct nc_call *call)
{
    return &call->command;
}

void nc_call_expect(struct nc_call *call, struct nc_sink *sink,
                    void (*done)(void *arg, int status), void *arg)
{
    call->sink = sink;
    call->done = done;
    call->arg = arg;
}

void nc_call_retain(struct nc_call *call)
{
    /* Relaxed: the caller has a reference already. */
    atomic_fetch_add_explicit(&call->references, 1, memory_order_relaxed);
}

void nc_call_release(struct nc_call *call)
{
    /* Release ends this holder's use, acquire lets the last one free after all of them. */
    if (atomic_fetch_sub_explicit(&call->references, 1, memory_order_acq_rel) != 1)
        return;
    nc_command_deinit(&call->command);
    free(call);
}

bool nc_call_was_sent(const struct nc_call *call)
{
    return atomic_load_explicit(&call->sent, memory_order_acquire);
}

void nc_call_end(struct nc_call *call, int status)
{
    call->status = status;
    if (call->done)
        call->done(call->arg, status);
    /* Release pairs with the acquire of who waits: status and what the sink wrote are visible. */
    atomic_store_explicit(&call->state, NC_CALL_DONE, memory_order_release);
    nc_futex_wake(&call->state, INT_MAX);
    nc_call_release(call);
}

void nc_call_abandon(struct nc_call *call)
{
    if (!call->mux)
        return;
    pthread_mutex_lock(&call->mux->delivering);
    call->sink = NULL;
    pthread_mutex_unlock(&call->mux->delivering);
}
