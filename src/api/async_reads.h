/*
 * api/async_reads: reads that the event loop carries itself: what is asked for while others are
 * under way leaves with others in one request, what is asked for alone leaves at once. Of batches
 * only so much is under way at a time that a get that comes then is not kept waiting.
 */
#ifndef NC_API_ASYNC_READS_H
#define NC_API_ASYNC_READS_H

#include "api/async_loop.h"

void nc_async_reads_init(struct nc_async *async);
/* True: nc_async_reads_depart is due, without the lock. */
bool nc_async_reads_are_due_locked(struct nc_async *async);
/* Asks Redis for what was gathered. */
void nc_async_reads_depart(struct nc_async *async);
/* Whether something is at hand that the soft deadline is for. */
bool nc_async_reads_has_old(const struct nc_async_part *part);
/* The outcome of one that has landed, to where the caller wants it, if he still does: cancelling is
 * for this thread only. Dispatch, without the lock. */
void nc_async_reads_arrive(struct nc_async *async, struct nc_async_part *part);

#endif
