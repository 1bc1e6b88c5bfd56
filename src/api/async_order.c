#include "api/async_order.h"

static bool may_begin(const struct nc_async_order *order, const struct nc_async_part *part)
{
    return order->writes == 0 && (!nc_async_op_writes(part->op) || order->reads == 0);
}

static void count(struct nc_async_order *order, struct nc_async_part *part)
{
    *(nc_async_op_writes(part->op) ? &order->writes : &order->reads) += 1;
    part->counted = true;
    part->state = NC_ASYNC_READY;
}

bool nc_async_order_enter(struct nc_async_order *orders, struct nc_async_part *part)
{
    part->order = nc_async_order_of(part->loop.want.key.hash);
    struct nc_async_order *order = &orders[part->order];
    if (!order->held.first && may_begin(order, part)) {
        count(order, part);
        return true;
    }
    part->state = NC_ASYNC_HELD;
    nc_async_queue_put(&order->held, part);
    return false;
}

void nc_async_order_leave(struct nc_async_order *orders, struct nc_async_part *part,
                          struct nc_async_queue *ready)
{
    struct nc_async_order *order = &orders[part->order];
    if (part->counted)
        *(nc_async_op_writes(part->op) ? &order->writes : &order->reads) -= 1;
    else if (part->state == NC_ASYNC_HELD)
        nc_async_queue_remove(&order->held, part);
    else
        return;
    part->counted = false;
    part->state = NC_ASYNC_OVER;
    while (order->held.first && may_begin(order, order->held.first)) {
        struct nc_async_part *next = nc_async_queue_cut(&order->held);
        count(order, next);
        nc_async_queue_put(ready, next);
    }
}

bool nc_async_order_is_written(const struct nc_async_order *order)
{
    return order->writes > 0 || order->held.first;
}
