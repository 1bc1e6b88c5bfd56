/*
 * api/async_order: calls of one key run in the order in which they were made. Reads of a key run
 * together; a write waits for all that is before it, and all that is behind it waits for it.
 *
 * Keys share an order where their hashes do: what waits for a stranger only waits. Guarded by the
 * lock of the nc_async.
 */
#ifndef NC_API_ASYNC_ORDER_H
#define NC_API_ASYNC_ORDER_H

#include "api/async_op.h"

#define NC_ASYNC_ORDERS 1024

struct nc_async_order {
    uint32_t reads, writes; /* begun and not ended */
    struct nc_async_queue held;
};

static inline uint32_t nc_async_order_of(uint64_t hash)
{
    return (uint32_t)(hash >> 32) % NC_ASYNC_ORDERS;
}

/* True: it is to begin, and counts as begun. False: it is HELD. */
bool nc_async_order_enter(struct nc_async_order *orders, struct nc_async_part *part);
/* It has ended, or will not begin: what may begin now, and counts as begun, goes to `ready`. Once
 * is enough. */
void nc_async_order_leave(struct nc_async_order *orders, struct nc_async_part *part,
                          struct nc_async_queue *ready);
/* Whether a write of the order has been asked for and has not ended. */
bool nc_async_order_is_written(const struct nc_async_order *order);

#endif
