/* api/async_calls: the exported functions of nearcache/async.h. */
#include "api/async.h"
#include "api/call.h"

#include <stdlib.h>

/* The part that operations need, made when it is needed first. */
static int async_of(struct nearcache *cache, struct nc_async **async)
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

static uint64_t hash_of(const struct nc_call_context *call, const struct nearcache_name *name)
{
    return nc_hash_key(call->cache->cache.hash_seed, 0, name->data, name->bytes) >> 32;
}

/* Submits; an operation that cannot be is destroyed. */
static int submit(struct nc_call_context *call, struct nc_async_op *op, nearcache_ticket *ticket)
{
    struct nc_async *async;
    int outcome = async_of(call->cache, &async);
    if (outcome == 0)
        outcome = nc_async_submit(async, op, hash_of(call, op->names), ticket);
    if (outcome == 0)
        return NEARCACHE_PENDING;
    nc_async_op_destroy(op);
    return outcome;
}

static int check_names(struct nearcache_tier *tier, const struct nearcache_name *names,
                       size_t count)
{
    struct nc_key key;
    if (!names)
        return NEARCACHE_EINVAL;
    for (size_t i = 0; i < count; i++) {
        int outcome = nc_cache_key(tier, names[i].data, names[i].bytes, &key);
        if (outcome != 0)
            return outcome;
    }
    return 0;
}

/* Options checked, then an operation that asks so. */
static int make_read(struct nc_call_context *call, enum nc_async_kind kind,
                     struct nearcache_tier *tier, const struct nearcache_name *names, size_t count,
                     const struct nearcache_read *how, struct nc_async_op **op)
{
    struct nc_read_options options;
    int outcome = nc_config_read(tier, call->cache->config.deadline_us, how, &options);
    if (outcome == 0)
        outcome = check_names(tier, names, count);
    if (outcome != 0)
        return outcome;
    *op = nc_async_op_create(kind, tier, names, count, 0);
    if (!*op)
        return NEARCACHE_ENOMEM;
    (*op)->deadline_ns = (*op)->wake_ns = options.deadline_ns;
    (*op)->options = nc_call_fetch_options(&options);
    if (kind == NC_ASYNC_GET) {
        const struct nearcache_name *name = (*op)->names;
        if (options.soft_deadline_ns < options.deadline_ns)
            (*op)->wake_ns = options.soft_deadline_ns;
        nc_cache_key(tier, name->data, name->bytes, &(*op)->loop.want.key); /* checked above */
    }
    if (how)
        nc_config_copy(&(*op)->read, sizeof(*op)->read, how);
    (*op)->read.size = sizeof(*op)->read;
    return 0;
}

int nearcache_get_async(struct nearcache_tier *tier, const void *name, size_t name_bytes,
                        const struct nearcache_read *how, nearcache_get_fn done, void *arg,
                        struct nearcache_result *result, nearcache_ticket *ticket)
{
    struct nc_call_context call;
    struct nc_key key;
    struct nc_async_op *op;
    int outcome;
    if (!result || !done)
        return NEARCACHE_EINVAL;
    outcome = nc_call_begin(&call, tier, name, name_bytes, result, &key);
    if (outcome != 0)
        return outcome;
    if (!call.cache->sync)
        return nearcache_get(tier, name, name_bytes, how, result);
    if (!(how && how->refresh) && nc_call_read_hit(&call, &key, false, result, &outcome))
        return nc_call_count_read(&call, tier, outcome, result);
    const struct nearcache_name one = {name, name_bytes};
    outcome = make_read(&call, NC_ASYNC_GET, tier, &one, 1, how, &op);
    if (outcome != 0)
        return outcome;
    op->done.get = done;
    op->arg = arg;
    return submit(&call, op, ticket);
}

/* Whether all of them were here. */
static bool read_many_here(struct nc_call_context *call, struct nearcache_tier *tier,
                           const struct nearcache_name *names, size_t count,
                           struct nearcache_result *results, int *statuses)
{
    for (size_t i = 0; i < count; i++) {
        struct nc_key key;
        memset(&results[i], 0, sizeof results[i]);
        if (nc_cache_key(tier, names[i].data, names[i].bytes, &key) != 0 ||
            !nc_call_read_hit(call, &key, false, &results[i], &statuses[i])) {
            nearcache_release_many(results, i);
            return false;
        }
    }
    for (size_t i = 0; i < count; i++)
        nc_call_count_read(call, tier, statuses[i], &results[i]);
    return true;
}

int nearcache_get_many_async(struct nearcache_tier *tier, const struct nearcache_name *names,
                             size_t count, const struct nearcache_read *how,
                             struct nearcache_result *results, int *statuses,
                             nearcache_many_fn done, void *arg, nearcache_ticket *ticket)
{
    struct nc_call_context call;
    struct nc_async_op *op;
    if (count == 0)
        return 0;
    if (!names || !results || !statuses || !done)
        return NEARCACHE_EINVAL;
    int outcome = nc_call_begin_tier(&call, tier);
    if (outcome != 0)
        return outcome;
    if (!call.cache->sync)
        return nearcache_get_many(tier, names, count, how, results, statuses);
    if (!(how && how->refresh) && read_many_here(&call, tier, names, count, results, statuses))
        return 0;
    outcome = make_read(&call, NC_ASYNC_GET_MANY, tier, names, count, how, &op);
    if (outcome != 0)
        return outcome;
    op->out.results = results;
    op->out.statuses = statuses;
    op->done.many = done;
    op->arg = arg;
    return submit(&call, op, ticket);
}

int nearcache_get_vectors_async(struct nearcache_tier *tier, const struct nearcache_name *names,
                                size_t count, const struct nearcache_read *how, void *matrix,
                                size_t row_stride_bytes, int *statuses,
                                enum nearcache_source *sources, nearcache_many_fn done, void *arg,
                                nearcache_ticket *ticket)
{
    struct nc_call_context call;
    struct nc_async_op *op;
    if (count == 0)
        return 0;
    if (!names || !matrix || !statuses || !done)
        return NEARCACHE_EINVAL;
    int outcome = nc_call_begin_tier(&call, tier);
    if (outcome != 0)
        return outcome;
    size_t row_bytes = nearcache_tier_row_bytes(tier);
    if (row_bytes == 0)
        return NEARCACHE_ETYPE;
    if (row_stride_bytes != 0 && row_stride_bytes < row_bytes)
        return NEARCACHE_EINVAL;
    if (!call.cache->sync)
        return nearcache_get_vectors(tier, names, count, how, matrix, row_stride_bytes, NULL, NULL,
                                     statuses, sources);
    outcome = make_read(&call, NC_ASYNC_GET_VECTORS, tier, names, count, how, &op);
    if (outcome != 0)
        return outcome;
    op->out =
        (struct nc_async_out){.matrix = matrix,
                              .row_stride_bytes = row_stride_bytes ? row_stride_bytes : row_bytes,
                              .statuses = statuses,
                              .sources = sources};
    op->done.many = done;
    op->arg = arg;
    return submit(&call, op, ticket);
}

static int write_async(struct nearcache_tier *tier, enum nc_async_kind kind,
                       const struct nearcache_name *name, const void *value, size_t value_bytes,
                       const struct nearcache_write *how, nearcache_set_fn done, void *arg,
                       nearcache_ticket *ticket)
{
    struct nc_call_context call;
    struct nearcache_write options = NEARCACHE_WRITE_INIT;
    int outcome = done ? nc_call_begin_tier(&call, tier) : NEARCACHE_EINVAL;
    if (outcome == 0 && nc_config_copy(&options, sizeof options, how) != 0)
        outcome = NEARCACHE_EINVAL;
    if (outcome == 0)
        outcome = check_names(tier, name, 1);
    if (outcome == 0 && kind == NC_ASYNC_SET)
        outcome = nc_call_check_value(tier, value, value_bytes);
    if (outcome != 0)
        return outcome;
    if (!call.cache->sync)
        return kind == NC_ASYNC_SET
                   ? nearcache_set(tier, name->data, name->bytes, value, value_bytes, how)
                   : nearcache_delete(tier, name->data, name->bytes, how);
    struct nc_async_op *op = nc_async_op_create(kind, tier, name, 1, value_bytes);
    if (!op)
        return NEARCACHE_ENOMEM;
    if (value_bytes)
        memcpy(op->value, value, value_bytes);
    op->deadline_ns = nc_call_deadline(call.cache, options.timeout_us);
    op->write = options;
    op->write.size = sizeof op->write;
    op->done.set = done;
    op->arg = arg;
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

/* ---- the loop's side ---- */

static int begin(struct nearcache *cache, struct nc_async **async)
{
    if (!cache)
        return NEARCACHE_EINVAL;
    int outcome = nc_life_check(cache->cache.life.word);
    return outcome != 0 ? outcome : async_of(cache, async);
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

static void hand_over(struct nc_async_op *op)
{
    struct nc_async_out *out = &op->out;
    size_t row_bytes = nearcache_tier_row_bytes(op->tier);
    if (out->results) {
        memcpy(out->results, op->results, op->count * sizeof *op->results);
        memset(op->results, 0, op->count * sizeof *op->results); /* theirs to release now */
    }
    if (out->statuses)
        memcpy(out->statuses, op->statuses, op->count * sizeof *op->statuses);
    if (out->sources)
        memcpy(out->sources, op->sources, op->count * sizeof *op->sources);
    if (out->matrix)
        for (size_t i = 0; i < op->count; i++)
            memcpy((char *)out->matrix + i * out->row_stride_bytes,
                   (const char *)op->matrix + i * row_bytes, row_bytes);
}

static void call_back(struct nc_async_op *op)
{
    struct nearcache_result result;
    switch (op->kind) {
    case NC_ASYNC_GET:
        result = op->results[0];
        memset(op->results, 0, sizeof *op->results);
        op->done.get(op->arg, op->outcome, &result);
        break;
    case NC_ASYNC_GET_MANY:
    case NC_ASYNC_GET_VECTORS:
        hand_over(op);
        op->done.many(op->arg, op->outcome);
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
