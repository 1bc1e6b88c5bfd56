#include "api/async_part.h"

#include <errno.h>

/* ---- its turn ---- */

/* Where those wait that the loop is to carry. */
static struct nc_async_queue *gathered(struct nc_async *async, const struct nc_async_part *part)
{
    if (nc_async_op_writes(part->op))
        return &async->writes_due;
    return part->op->kind == NC_ASYNC_GET ? &async->singles : &async->rows;
}

static bool loop_takes(struct nc_async *async, const struct nc_async_part *part)
{
    const struct nc_key *key = &part->loop.want.key;
    return nc_async_op_writes(part->op) ? nc_write_loop_takes(async->sync, key, async->epoll_fd)
                                        : nc_fetch_loop_takes(async->sync, key, async->epoll_fd);
}

/* One that fails makes others ready: no recursion. */
void nc_async_part_begin_ready_locked(struct nc_async *async)
{
    struct nc_async_part *part;
    if (async->beginning)
        return;
    async->beginning = true;
    while ((part = nc_async_queue_cut(&async->ready))) {
        if (loop_takes(async, part)) {
            part->state = NC_ASYNC_GATHERED;
            nc_async_queue_put(gathered(async, part), part);
        } else {
            nc_async_part_queue_locked(async, part);
        }
    }
    async->beginning = false;
}

/* With an outcome, of one that could not be carried. */
static void fail_locked(struct nc_async *async, struct nc_async_part *part, int outcome)
{
    part->has_outcome = true;
    if (nc_async_op_writes(part->op))
        part->op->write->item.outcome = outcome;
    else
        part->loop.want.outcome = outcome;
    nc_async_part_land_locked(async, part);
}

void nc_async_part_queue_locked(struct nc_async *async, struct nc_async_part *part)
{
    unsigned *count = &async->threads.count;
    if (*count < NC_ASYNC_WORKERS && async->threads.idle <= async->threads.queue.count &&
        !async->stopping) {
        int rc = pthread_create(&async->threads.all[*count], NULL, async->threads.work, async);
        if (rc == 0) {
            ++*count;
        } else if (*count == 0) {
            fail_locked(async, part, rc == ENOMEM ? NEARCACHE_ENOMEM : NEARCACHE_EIO);
            return;
        }
    }
    part->state = NC_ASYNC_QUEUED;
    nc_async_queue_put(&async->threads.queue, part);
    pthread_cond_signal(&async->threads.wake);
}

bool nc_async_part_cut_locked(struct nc_async *async, struct nc_async_part *part)
{
    if (part->state == NC_ASYNC_GATHERED)
        nc_async_queue_remove(gathered(async, part), part);
    else if (part->state == NC_ASYNC_QUEUED)
        nc_async_queue_remove(&async->threads.queue, part);
    else
        return part->state == NC_ASYNC_HELD;
    return true;
}

/* ---- its end ---- */

/* It flies no more. */
static void uncount_locked(struct nc_async *async, struct nc_async_part *part)
{
    async->flying--;
    async->row_bytes -= part->bytes;
    part->bytes = 0;
}

void nc_async_part_pass_on_locked(struct nc_async *async, struct nc_async_part *part)
{
    uncount_locked(async, part);
    part->state = NC_ASYNC_READY;
    nc_async_part_queue_locked(async, part);
}

void nc_async_part_land_locked(struct nc_async *async, struct nc_async_part *part)
{
    if (part->state == NC_ASYNC_FLYING)
        uncount_locked(async, part);
    nc_async_order_leave(async->orders, part, &async->ready);
    if (part->op->cancelled) {
        nc_async_part_end_locked(async, part);
    } else {
        part->state = NC_ASYNC_LANDED;
        nc_async_queue_put(&async->landed, part);
    }
    nc_async_part_begin_ready_locked(async);
}

static void end_op_locked(struct nc_async *async, struct nc_async_op *op)
{
    op->ended = true;
    op->next = NULL;
    *async->ended_last = op;
    async->ended_last = &op->next;
}

void nc_async_part_end_locked(struct nc_async *async, struct nc_async_part *part)
{
    struct nc_async_op *op = part->op;
    part->state = NC_ASYNC_OVER;
    if (--op->parts_left > 0)
        return;
    if (op->cancelled)
        nc_async_op_destroy(op);
    else
        end_op_locked(async, op);
}
