/*
 * api/async_part: the way of a part, from its turn to its end.
 *
 *     its turn    the loop can carry it: it is gathered; else it is queued for the threads
 *     carried     by async_reads or async_writes once they depart, by a thread of async_threads
 *     landed      given back by who carried it; what waited for it (async_order) has its turn
 *     over        taken by the dispatch, or at once if nobody wants it
 *
 * Who carries is not called from here: what is gathered waits for its departure, and a thread that
 * has to be started runs what async_threads has registered. Guarded by the lock of the nc_async.
 */
#ifndef NC_API_ASYNC_PART_H
#define NC_API_ASYNC_PART_H

#include "api/async_loop.h"

/* It is the turn of those that are ready. */
void nc_async_part_begin_ready_locked(struct nc_async *async);
/* Queues it for whichever thread comes first, and starts one if none is idle; one that no thread
 * can be had for lands with that outcome. */
void nc_async_part_queue_locked(struct nc_async *async, struct nc_async_part *part);
/* One that flies, and that the loop cannot carry after all: for a thread. */
void nc_async_part_pass_on_locked(struct nc_async *async, struct nc_async_part *part);
/* The part is in no queue any more: it goes to the landed ones, or is over if nobody wants it; what
 * waited for it begins. The operation may be gone afterwards. */
void nc_async_part_land_locked(struct nc_async *async, struct nc_async_part *part);
/* Its last use is over. The operation has ended with its last part, or is gone if nobody wants it.
 */
void nc_async_part_end_locked(struct nc_async *async, struct nc_async_part *part);
/* Cuts a part that has not begun out of where it waits. False: it has. */
bool nc_async_part_cut_locked(struct nc_async *async, struct nc_async_part *part);

#endif
