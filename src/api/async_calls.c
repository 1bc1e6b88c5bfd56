/* api/async_calls: the exported functions of nearcache/async.h that are about one key. */
#include "api/async_calls.h"

#include "api/async_writes.h"

/* The part that operations need, made when it is needed first. */
int nc_async_of(struct nearcache *cache, struct nc_async **async)
{
    int outcome = 0;
    /* Acquire: pairs with the release below; the part is complete when it is seen. */
    *async = atomic_load_explicit(&cache->async, memory_order_acquire);
    if (*async)
        return 0;
    pthread_mutex_lock(&cache->async_lock);
    *async = atomic_load_explicit(&cache->async, memory_order_relaxed); /* only set with the lock */
    if (!*async && (outcome = nc_async_create(async, cache->sync)) == 0)
        atomic_store_explicit(&cache->async, *async, memory_order_release);
    pthread_mutex_unlock(&cache->async_lock);
    return outcome;
}

/* Submits; an operation that cannot be is destroyed. */
static int submit(struct nc_call_context *call, struct nc_async_op *op, nearcache_ticket *ticket)
{
    struct nc_async *async;
    int outcome = op ? nc_async_of(call->cache, &async) : NEARCACHE_ENOMEM;
    if (outcome == 0)
        outcome = nc_async_submit(async, op, ticket);
    if (outcome == 0)
        return NEARCACHE_PENDING;
    nc_async_op_destroy(op);
    return outcome;
}

int nc_async_submit_read(struct nc_call_context *call, struct nc_async_op *op,
                         const struct nc_read_options *options, nearcache_ticket *ticket)
{
    if (op) {
        op->options = nc_call_fetch_options(options);
        op->deadline_ns = op->wake_ns = options->deadline_ns;
        if (options->soft_deadline_ns < options->deadline_ns)
            op->wake_ns = options->soft_deadline_ns;
    }
    return submit(call, op, ticket);
}

bool nc_async_read_hit(struct nc_call_context *call, const struct nc_key *key,
                       struct nearcache_result *result, int *outcome)
{
    /* Acquire: as above. */
    struct nc_async *async = atomic_load_explicit(&call->cache->async, memory_order_acquire);
    return !nc_async_is_written(async, key) && nc_call_read_hit(call, key, false, result, outcome);
}

int nearcache_get_async(struct nearcache_tier *tier, const void *name, size_t name_bytes,
                        const struct nearcache_read *how, nearcache_get_fn done, void *arg,
                        struct nearcache_result *result, nearcache_ticket *ticket)
{
    const struct nearcache_name one = {name, name_bytes};
    struct nc_read_options options;
    struct nc_call_context call;
    struct nc_key key;
    int outcome;
    if (!result || !done)
        return NEARCACHE_EINVAL;
    outcome = nc_call_begin(&call, tier, name, name_bytes, result, &key);
    if (outcome != 0)
        return outcome;
    if (!call.cache->sync)
        return nearcache_get(tier, name, name_bytes, how, result);
    if (!(how && how->refresh) && nc_async_read_hit(&call, &key, result, &outcome))
        return nc_call_count_read(&call, tier, outcome, result);
    outcome = nc_config_read(tier, call.cache->config.deadline_us, how, &options);
    if (outcome != 0)
        return outcome;
    struct nc_async_op *op = nc_async_op_create(NC_ASYNC_GET, tier, &one, 1, NULL, 0);
    if (op) {
        op->done.get = done;
        op->arg = arg;
    }
    return nc_async_submit_read(&call, op, &options, ticket);
}

static int write_async(struct nearcache_tier *tier, enum nc_async_kind kind,
                       const struct nearcache_name *name, const void *value, size_t value_bytes,
                       const struct nearcache_write *how, nearcache_set_fn done, void *arg,
                       nearcache_ticket *ticket)
{
    struct nc_call_context call;
    struct nc_write_options options;
    struct nc_key key;
    int outcome = done ? nc_call_begin_tier(&call, tier) : NEARCACHE_EINVAL;
    if (outcome == 0)
        outcome = nc_config_write(tier, call.cache->config.deadline_us, how, &options);
    if (outcome == 0)
        outcome = nc_cache_key(tier, name->data, name->bytes, &key);
    if (outcome == 0 && kind == NC_ASYNC_SET)
        outcome = nc_call_check_value(tier, value, value_bytes);
    if (outcome != 0)
        return outcome;
    if (!call.cache->sync)
        return kind == NC_ASYNC_SET
                   ? nearcache_set(tier, name->data, name->bytes, value, value_bytes, how)
                   : nearcache_delete(tier, name->data, name->bytes, how);
    struct nc_async_op *op = nc_async_op_create(kind, tier, name, 1, NULL, value_bytes);
    if (op) {
        if (value_bytes)
            memcpy(op->value, value, value_bytes);
        nc_async_writes_init(op, &options, value_bytes);
        op->done.set = done;
        op->arg = arg;
    }
    return submit(&call, op, ticket);
}

int nearcache_set_async(struct nearcache_tier *tier, const void *name, size_t name_bytes,
                        const void *value, size_t value_bytes, const struct nearcache_write *how,
                        nearcache_set_fn done, void *arg, nearcache_ticket *ticket)
{
    const struct nearcache_name one = {name, name_bytes};
    return write_async(tier, NC_ASYNC_SET, &one, value, value_bytes, how, done, arg, ticket);
}

int nearcache_delete_async(struct nearcache_tier *tier, const void *name, size_t name_bytes,
                           const struct nearcache_write *how, nearcache_set_fn done, void *arg,
                           nearcache_ticket *ticket)
{
    const struct nearcache_name one = {name, name_bytes};
    return write_async(tier, NC_ASYNC_DELETE, &one, NULL, 0, how, done, arg, ticket);
}
