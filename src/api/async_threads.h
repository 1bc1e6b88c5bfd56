/*
 * api/async_threads: the threads that carry what the loop cannot, as synchronous calls, gets that
 * wait together as one batch. The first that needs one starts it.
 */
#ifndef NC_API_ASYNC_THREADS_H
#define NC_API_ASYNC_THREADS_H

#include "api/async.h"

/* Queues it for whichever thread comes first; one that no thread can be had for fails. */
void nc_async_threads_put_locked(struct nc_async *async, struct nc_async_part *part);
/* Ends the threads; async->stopping is set. */
void nc_async_threads_stop(struct nc_async *async);

#endif
