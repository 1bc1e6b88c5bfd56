/*
 * api/async_writes: writes that the event loop carries itself: those that come while others are
 * under way leave with others in one call.
 */
#ifndef NC_API_ASYNC_WRITES_H
#define NC_API_ASYNC_WRITES_H

#include "api/async_loop.h"
#include "api/config.h"

/* Fills in the write of a new operation, whose value is in its place. */
void nc_async_writes_init(struct nc_async_op *op, const struct nc_write_options *options,
                          size_t value_bytes);
/* True: nc_async_writes_depart is due, without the lock. */
bool nc_async_writes_are_due_locked(struct nc_async *async);
/* Sends what was gathered. */
void nc_async_writes_depart(struct nc_async *async);
/* Whether it was sent, and nobody knows whether it counts. */
bool nc_async_writes_in_doubt(const struct nc_async_part *part);
/* Its deadline has passed: sets its outcome. The lock may be held. */
void nc_async_writes_give_up(struct nc_async *async, struct nc_async_part *part);
/* As the synchronous call, or waits until there is no doubt any more. A thread of the cache. */
void nc_async_writes_run(struct nc_async *async, struct nc_async_part *part);
/* The outcome of one that has landed. Dispatch, without the lock. */
void nc_async_writes_arrive(struct nc_async *async, struct nc_async_part *part);

#endif
