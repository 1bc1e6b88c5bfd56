/*
 * api/async_threads: the threads that carry what the loop cannot, as synchronous calls, gets that
 * wait together as one batch. The first that needs one starts it.
 */
#ifndef NC_API_ASYNC_THREADS_H
#define NC_API_ASYNC_THREADS_H

#include "api/async_loop.h"

/* Says what the threads do; the first part that is queued starts one (async_part). */
void nc_async_threads_init(struct nc_async *async);
/* Ends the threads; async->stopping is set. */
void nc_async_threads_stop(struct nc_async *async);

#endif
