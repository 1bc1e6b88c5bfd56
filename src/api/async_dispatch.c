/* api/async_dispatch: the exported functions of nearcache/async.h for the loop itself. */
#include "api/async_batches.h"
#include "api/async_calls.h"
#include "api/async_loop.h"

static int begin(struct nearcache *cache, struct nc_async **async)
{
    if (!cache)
        return NEARCACHE_EINVAL;
    int outcome = nc_life_check(cache->cache.life.word);
    return outcome != 0 ? outcome : nc_async_of(cache, async);
}

int nearcache_cancel(struct nearcache *cache, nearcache_ticket ticket)
{
    struct nc_async *async;
    int outcome = begin(cache, &async);
    return outcome != 0 ? outcome : nc_async_cancel(async, ticket);
}

int nearcache_fd(struct nearcache *cache)
{
    struct nc_async *async;
    int outcome = begin(cache, &async);
    return outcome != 0 ? outcome : async->epoll_fd;
}

static void call_back(struct nc_async_op *op)
{
    struct nearcache_result result;
    switch (op->kind) {
    case NC_ASYNC_GET:
        result = op->results[0];
        memset(op->results, 0, sizeof *op->results); /* theirs to release now */
        op->done.get(op->arg, op->outcome, &result);
        break;
    case NC_ASYNC_GET_MANY:
    case NC_ASYNC_GET_VECTORS:
        op->done.many(op->arg, nc_async_hand_over(op));
        break;
    default:
        op->done.set(op->arg, op->outcome);
        break;
    }
}

int nearcache_dispatch(struct nearcache *cache, unsigned most)
{
    struct nc_async *async;
    struct nc_async_op *op;
    int ran = 0;
    int outcome = begin(cache, &async);
    if (outcome != 0)
        return outcome;
    nc_async_begin_dispatch(async);
    while ((most == 0 || (unsigned)ran < most) && (op = nc_async_take_ended(async)) != NULL) {
        call_back(op);
        nc_async_op_destroy(op);
        ran++;
    }
    nc_async_end_dispatch(async);
    return ran;
}
