#include "api/async_op.h"

#include "cache/key.h"

#include <stdlib.h>
#include <string.h>

static bool is_part(const int *statuses, size_t row)
{
    return !statuses || statuses[row] == NEARCACHE_PENDING;
}

/* What an operation is made of, behind its struct. */
struct room {
    size_t parts, results, writes, text_bytes, bytes;
};

/* False: more than there can be. */
static bool measure(enum nc_async_kind kind, const struct nearcache_name *names, size_t count,
                    const int *statuses, size_t value_bytes, struct room *room)
{
    memset(room, 0, sizeof *room);
    for (size_t i = 0; i < count; i++)
        if (is_part(statuses, i)) {
            room->parts++;
            room->text_bytes += names[i].bytes;
        }
    if (count > SIZE_MAX / 1024 || value_bytes > SIZE_MAX / 4 || room->text_bytes > SIZE_MAX / 4)
        return false;
    if (kind == NC_ASYNC_GET_MANY)
        room->results = count;
    else if (kind <= NC_ASYNC_GET_VECTORS)
        room->results = room->parts;
    else
        room->writes = 1;
    room->bytes = sizeof(struct nc_async_op) + room->parts * sizeof(struct nc_async_part) +
                  room->results * sizeof(struct nearcache_result) +
                  room->writes * sizeof(struct nc_loop_write) + room->text_bytes + value_bytes;
    return true;
}

static void make_parts(struct nc_async_op *op, const struct nearcache_name *names, size_t count,
                       const int *statuses, char *text)
{
    struct nc_async_part *part = op->parts;
    for (size_t i = 0; i < count; i++) {
        if (!is_part(statuses, i))
            continue;
        memcpy(text, names[i].data, names[i].bytes);
        nc_cache_key(op->tier, text, names[i].bytes, &part->loop.want.key); /* checked before */
        text += names[i].bytes;
        part->op = op;
        part->row = i;
        if (op->results)
            part->loop.want.result =
                &op->results[op->kind == NC_ASYNC_GET_MANY ? i : (size_t)(part - op->parts)];
        part++;
    }
}

struct nc_async_op *nc_async_op_create(enum nc_async_kind kind, struct nearcache_tier *tier,
                                       const struct nearcache_name *names, size_t count,
                                       const int *statuses, size_t value_bytes)
{
    struct room room;
    struct nc_async_op *op = NULL;
    if (measure(kind, names, count, statuses, value_bytes, &room))
        op = malloc(room.bytes);
    if (!op)
        return NULL;
    memset(op, 0, room.bytes - room.text_bytes - value_bytes);
    op->kind = kind;
    op->tier = tier;
    op->rows = count;
    op->parts = (struct nc_async_part *)(op + 1);
    op->part_count = op->parts_left = room.parts;
    struct nearcache_result *results = (struct nearcache_result *)(op->parts + room.parts);
    if (room.results)
        op->results = results;
    op->result_count = room.results;
    struct nc_loop_write *writes = (struct nc_loop_write *)(results + room.results);
    if (room.writes)
        op->write = writes;
    char *text = (char *)(writes + room.writes);
    make_parts(op, names, count, statuses, text);
    op->value = text + room.text_bytes;
    return op;
}

void nc_async_op_destroy(struct nc_async_op *op)
{
    if (!op)
        return;
    for (size_t i = 0; i < op->part_count; i++)
        if (op->parts[i].loop.want.flight)
            nc_fetch_loop_drop(&op->parts[i].loop);
    if (op->results)
        nearcache_release_many(op->results, op->result_count);
    free(op);
}

/* ---- queues ---- */

void nc_async_queue_put(struct nc_async_queue *queue, struct nc_async_part *part)
{
    part->next = NULL;
    part->before = queue->last;
    if (queue->last)
        queue->last->next = part;
    else
        queue->first = part;
    queue->last = part;
    queue->count++;
}

void nc_async_queue_remove(struct nc_async_queue *queue, struct nc_async_part *part)
{
    *(part->before ? &part->before->next : &queue->first) = part->next;
    *(part->next ? &part->next->before : &queue->last) = part->before;
    queue->count--;
}

struct nc_async_part *nc_async_queue_cut(struct nc_async_queue *queue)
{
    struct nc_async_part *part = queue->first;
    if (part)
        nc_async_queue_remove(queue, part);
    return part;
}
