/*
 * api/async_reads: gets that the event loop carries itself: what is asked for while others are
 * under way leaves with others in one request, what is asked for alone leaves at once.
 */
#ifndef NC_API_ASYNC_READS_H
#define NC_API_ASYNC_READS_H

#include "api/async.h"

/* Gathers it. True: nc_async_reads_depart is due, without the lock. */
bool nc_async_reads_put_locked(struct nc_async *async, struct nc_async_op *op);
/* Asks Redis for all that was gathered. */
void nc_async_reads_depart(struct nc_async *async);
/* The outcome of one that has ended. Dispatch. */
void nc_async_reads_arrive(struct nc_async *async, struct nc_async_op *op);
/* Ends those whose time is over; the time of the next one is noted in *next_ns. */
void nc_async_reads_end_late_locked(struct nc_async *async, uint64_t now_ns, uint64_t *next_ns);
/* It is taken back. True: it is the caller's to free; false: it will be freed. */
bool nc_async_reads_cancel_locked(struct nc_async *async, struct nc_async_op *op);

#endif
