/* api/async_batches: the exported functions of nearcache/async.h that read many keys. */
#include "api/async_batches.h"

#include "api/async_calls.h"
#include "api/statuses.h"

/* One call: what was given, and where the caller wants what is found. */
struct batch {
    struct nc_call_context call;
    struct nearcache_tier *tier;
    const struct nearcache_name *names;
    size_t count;
    bool refresh;
    struct nc_async_out out;
};

/* A row that was found here, or whose name is none. */
static void take_here(struct batch *batch, size_t row, struct nearcache_result *result)
{
    const struct nc_async_out *out = &batch->out;
    int status = out->statuses[row];
    nc_call_count_read(&batch->call, batch->tier, status, result);
    if (out->sources)
        out->sources[row] = result->source;
    if (!out->matrix)
        return;
    if (status == 0)
        memcpy(out->matrix + row * out->row_stride_bytes, result->data, batch->tier->row_bytes);
    nc_cache_release(result);
}

/* Up to NC_HIT_WAVE rows from `at` on; the others become NEARCACHE_PENDING. Returns how many. */
static size_t read_wave(struct batch *batch, size_t at, size_t n)
{
    struct nc_key keys[NC_HIT_WAVE];
    struct nearcache_result rows[NC_HIT_WAVE] = {{0}};
    struct nearcache_result *results = batch->out.results ? &batch->out.results[at] : rows;
    int *statuses = &batch->out.statuses[at];
    size_t pending = 0;
    for (size_t i = 0; i < n; i++) {
        const struct nearcache_name *name = &batch->names[at + i];
        statuses[i] = nc_cache_key(batch->tier, name->data, name->bytes, &keys[i]);
        if (statuses[i] == 0)
            nc_hit_announce(&keys[i]);
    }
    for (size_t i = 0; i < n; i++) {
        if (statuses[i] != 0 || (!batch->refresh && nc_async_read_hit(&batch->call, &keys[i],
                                                                      &results[i], &statuses[i]))) {
            take_here(batch, at + i, &results[i]);
        } else {
            statuses[i] = NEARCACHE_PENDING;
            pending++;
        }
    }
    return pending;
}

/* What is here is taken at once, the rest is asked for. */
static int run(struct batch *batch, enum nc_async_kind kind, const struct nearcache_read *how,
               nearcache_many_fn done, void *arg, nearcache_ticket *ticket)
{
    struct nc_read_options options;
    const struct nc_async_out *out = &batch->out;
    size_t pending = 0, n;
    int outcome = nc_config_read(batch->tier, batch->call.cache->config.deadline_us, how, &options);
    if (outcome != 0)
        return nc_statuses_fail_all(outcome, out->statuses, batch->count);
    batch->refresh = options.refresh;
    if (out->results)
        memset(out->results, 0, batch->count * sizeof *out->results);
    for (size_t at = 0; at < batch->count; at += n) {
        n = batch->count - at < NC_HIT_WAVE ? batch->count - at : NC_HIT_WAVE;
        pending += read_wave(batch, at, n);
    }
    if (pending == 0)
        return nc_statuses_first_failure(out->statuses, batch->count);
    struct nc_async_op *op =
        nc_async_op_create(kind, batch->tier, batch->names, batch->count, out->statuses, 0);
    if (op) {
        op->out = *out;
        op->done.many = done;
        op->arg = arg;
        for (size_t i = 0; out->matrix && i < op->part_count; i++)
            op->parts[i].loop.want.row = out->matrix + op->parts[i].row * out->row_stride_bytes;
        /* The caller gets them with the rest: until then they are not his to release. */
        if (out->results) {
            memcpy(op->results, out->results, batch->count * sizeof *op->results);
            memset(out->results, 0, batch->count * sizeof *out->results);
        }
    } else {
        nearcache_release_many(out->results, batch->count);
    }
    outcome = nc_async_submit_read(&batch->call, op, &options, ticket);
    return outcome < 0 ? nc_statuses_fail_all(outcome, out->statuses, batch->count) : outcome;
}

int nearcache_get_many_async(struct nearcache_tier *tier, const struct nearcache_name *names,
                             size_t count, const struct nearcache_read *how,
                             struct nearcache_result *results, int *statuses,
                             nearcache_many_fn done, void *arg, nearcache_ticket *ticket)
{
    struct batch batch = {.tier = tier, .names = names, .count = count};
    if (count == 0)
        return 0;
    if (!names || !results || !statuses || !done)
        return nc_statuses_fail_all(NEARCACHE_EINVAL, statuses, count);
    int outcome = nc_call_begin_tier(&batch.call, tier);
    if (outcome != 0)
        return nc_statuses_fail_all(outcome, statuses, count);
    if (!batch.call.cache->sync)
        return nearcache_get_many(tier, names, count, how, results, statuses);
    batch.out = (struct nc_async_out){.results = results, .statuses = statuses};
    return run(&batch, NC_ASYNC_GET_MANY, how, done, arg, ticket);
}

int nearcache_get_vectors_async(struct nearcache_tier *tier, const struct nearcache_name *names,
                                size_t count, const struct nearcache_read *how, void *matrix,
                                size_t row_stride_bytes, int *statuses,
                                enum nearcache_source *sources, nearcache_many_fn done, void *arg,
                                nearcache_ticket *ticket)
{
    struct batch batch = {.tier = tier, .names = names, .count = count};
    if (count == 0)
        return 0;
    if (!names || !matrix || !statuses || !done)
        return nc_statuses_fail_all(NEARCACHE_EINVAL, statuses, count);
    int outcome = nc_call_begin_tier(&batch.call, tier);
    if (outcome != 0)
        return nc_statuses_fail_all(outcome, statuses, count);
    size_t row_bytes = nearcache_tier_row_bytes(tier);
    if (row_bytes == 0 || (row_stride_bytes != 0 && row_stride_bytes < row_bytes))
        return nc_statuses_fail_all(NEARCACHE_EINVAL, statuses, count);
    if (!batch.call.cache->sync)
        return nearcache_get_vectors(tier, names, count, how, matrix, row_stride_bytes, NULL, NULL,
                                     statuses, sources);
    batch.out =
        (struct nc_async_out){.matrix = matrix,
                              .row_stride_bytes = row_stride_bytes ? row_stride_bytes : row_bytes,
                              .statuses = statuses,
                              .sources = sources};
    return run(&batch, NC_ASYNC_GET_VECTORS, how, done, arg, ticket);
}

int nc_async_hand_over(struct nc_async_op *op)
{
    if (op->out.results) {
        memcpy(op->out.results, op->results, op->rows * sizeof *op->results);
        memset(op->results, 0, op->rows * sizeof *op->results); /* theirs to release now */
    }
    return nc_statuses_first_failure(op->out.statuses, op->rows);
}
