/*
 * api/async: calls that wait for Redis on behalf of an event loop.
 *
 * What the cache can answer at once is answered on the caller's thread (async_calls,
 * async_batches). The rest becomes an operation with a part for each key (async_op). The loop
 * itself carries them (async_reads, async_writes): they leave together, their replies are read by
 * the dispatch. What cannot be carried so at the moment is by a few threads of the cache
 * (async_threads). nearcache_dispatch (async_dispatch) takes what has landed and calls back for
 * what is complete. The timer behind nearcache_fd sees to deadlines. Parts of one key keep their
 * order (async_order).
 *
 *     async_dispatch, async_batches, async_calls   the exported functions
 *     async                                        operations: submit, cancel, stop, dispatch
 *     async_threads, async_reads, async_writes     who carries
 *     async_part                                   turn, landing and end of a part
 *     async_loop                                   the lock, the queues, the descriptor
 *     async_order, async_op                        what stands in them
 *
 * Each of these calls those below it only; what comes from below, an answer, comes through the
 * function that was left with the request.
 *
 * Made by the first call that needs it. Thread-safe, but for the dispatch: one thread at a time.
 */
#ifndef NC_API_ASYNC_H
#define NC_API_ASYNC_H

#include "api/async_op.h"

/* 0, NEARCACHE_ENOMEM or NEARCACHE_EIO. */
int nc_async_create(struct nc_async **async, struct nc_sync *sync);
/* Ends the threads. Operations that have not been dispatched end without a callback. NULL is fine,
 * here and below. */
void nc_async_stop(struct nc_async *async);
/* After the links have been closed: nothing is told any more. */
void nc_async_destroy(struct nc_async *async);

/* Takes an operation over. 0, or NEARCACHE_ENOMEM and the operation is as before. */
int nc_async_submit(struct nc_async *async, struct nc_async_op *op, nearcache_ticket *ticket);
int nc_async_cancel(struct nc_async *async, nearcache_ticket ticket);
/* Whether a write of the key is under way, so that a copy here is older than what was asked for.
 * NULL: none is. */
bool nc_async_is_written(struct nc_async *async, const struct nc_key *key);

/* Brackets of a dispatch; between them: the oldest operation that has ended, taken out; NULL: none.
 */
void nc_async_begin_dispatch(struct nc_async *async);
struct nc_async_op *nc_async_take_ended(struct nc_async *async);
void nc_async_end_dispatch(struct nc_async *async);

#endif
