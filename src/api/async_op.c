#include "api/async_op.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

static size_t names_bytes(const struct nearcache_name *names, size_t count)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += names[i].bytes;
    return bytes;
}

static bool make_room_for_results(struct nc_async_op *op, size_t row_bytes)
{
    if (op->kind == NC_ASYNC_GET) {
        op->results = &op->one;
        return true;
    }
    op->results = calloc(op->count, sizeof *op->results);
    op->statuses = calloc(op->count, sizeof *op->statuses);
    if (!op->results || !op->statuses)
        return false;
    if (op->kind != NC_ASYNC_GET_VECTORS)
        return true;
    op->sources = calloc(op->count, sizeof *op->sources);
    op->matrix = aligned_alloc(64, (op->count * row_bytes + 63) / 64 * 64);
    return op->sources && op->matrix;
}

struct nc_async_op *nc_async_op_create(enum nc_async_kind kind, struct nearcache_tier *tier,
                                       const struct nearcache_name *names, size_t count,
                                       size_t value_bytes)
{
    if (count > SIZE_MAX / 256 || value_bytes > SIZE_MAX / 4)
        return NULL;
    size_t text_bytes = names_bytes(names, count);
    struct nc_async_op *op =
        malloc(sizeof *op + count * sizeof *op->names + text_bytes + value_bytes);
    if (!op)
        return NULL;
    memset(op, 0, sizeof *op);
    op->kind = kind;
    op->tier = tier;
    op->count = count;
    op->names = (struct nearcache_name *)(op + 1);
    char *text = (char *)(op->names + count);
    for (size_t i = 0; i < count; i++) {
        if (names[i].bytes)
            memcpy(text, names[i].data, names[i].bytes);
        op->names[i] = (struct nearcache_name){text, names[i].bytes};
        text += names[i].bytes;
    }
    op->value = text;
    op->value_bytes = value_bytes;
    op->read.size = sizeof op->read;
    op->write.size = sizeof op->write;
    if (!nc_async_op_writes(op) && !make_room_for_results(op, nearcache_tier_row_bytes(tier))) {
        nc_async_op_destroy(op);
        return NULL;
    }
    return op;
}

void nc_async_op_destroy(struct nc_async_op *op)
{
    if (!op)
        return;
    if (op->loop.want.flight)
        nc_fetch_loop_drop(&op->loop);
    if (op->results)
        nearcache_release_many(op->results, op->count);
    if (op->results != &op->one)
        free(op->results);
    free(op->statuses);
    free(op->sources);
    free(op->matrix);
    free(op);
}

uint64_t nc_async_op_left_us(const struct nc_async_op *op)
{
    uint64_t now_ns = nc_clock_io_ns();
    uint64_t left_us = op->deadline_ns > now_ns ? (op->deadline_ns - now_ns) / 1000 : 0;
    return left_us ? left_us : 1;
}

void nc_async_op_run(struct nc_async_op *op)
{
    op->read.timeout_us = op->write.timeout_us = nc_async_op_left_us(op);
    const struct nearcache_name *name = op->names;
    switch (op->kind) {
    case NC_ASYNC_GET:
        op->outcome = nearcache_get(op->tier, name->data, name->bytes, &op->read, op->results);
        break;
    case NC_ASYNC_GET_MANY:
        op->outcome = nearcache_get_many(op->tier, op->names, op->count, &op->read, op->results,
                                         op->statuses);
        break;
    case NC_ASYNC_GET_VECTORS:
        op->outcome = nearcache_get_vectors(op->tier, op->names, op->count, &op->read, op->matrix,
                                            0, NULL, NULL, op->statuses, op->sources);
        break;
    case NC_ASYNC_SET:
        op->outcome = nearcache_set(op->tier, name->data, name->bytes, op->value, op->value_bytes,
                                    &op->write);
        break;
    case NC_ASYNC_DELETE:
        op->outcome = nearcache_delete(op->tier, name->data, name->bytes, &op->write);
        break;
    }
}

/* ---- queues ---- */

void nc_async_queue_init(struct nc_async_queue *queue)
{
    queue->first = NULL;
    queue->last = &queue->first;
}

void nc_async_queue_put(struct nc_async_queue *queue, struct nc_async_op *op)
{
    op->next = NULL;
    *queue->last = op;
    queue->last = &op->next;
}

struct nc_async_op *nc_async_queue_cut(struct nc_async_queue *queue, struct nc_async_op **at)
{
    struct nc_async_op *op = *at;
    *at = op->next;
    if (!*at)
        queue->last = at;
    return op;
}

bool nc_async_queue_remove(struct nc_async_queue *queue, const struct nc_async_op *op)
{
    for (struct nc_async_op **at = &queue->first; *at; at = &(*at)->next)
        if (*at == op) {
            nc_async_queue_cut(queue, at);
            return true;
        }
    return false;
}
