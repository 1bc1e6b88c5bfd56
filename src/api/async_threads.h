/*
 * api/async_threads: the threads that run operations as synchronous calls, gets of one tier that
 * wait together as one batch. The operations of a key go to the same thread.
 */
#ifndef NC_API_ASYNC_THREADS_H
#define NC_API_ASYNC_THREADS_H

#include "api/async.h"

void nc_async_threads_init(struct nc_async *async);
/* Queues it for the thread of its order, which is started if it is the first. 0, NEARCACHE_ENOMEM,
 * NEARCACHE_EIO. */
int nc_async_threads_put_locked(struct nc_async *async, struct nc_async_op *op);
/* The reads by the loop of an order have ended. */
void nc_async_threads_wake_locked(struct nc_async *async, uint32_t order);
/* Takes a queued one out. */
void nc_async_threads_remove_locked(struct nc_async *async, const struct nc_async_op *op);
/* Ends the threads; async->stopping is set. */
void nc_async_threads_stop(struct nc_async *async);

#endif
