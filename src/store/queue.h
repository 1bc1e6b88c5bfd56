/*
 * store/queue: a list of entries from the newest to the oldest, through the links that entries
 * carry. The one place that knows those links; an entry stands in one queue at a time. Guarded by
 * the lock of the shard. It allocates nothing and counts nothing.
 */
#ifndef NC_STORE_QUEUE_H
#define NC_STORE_QUEUE_H

#include "memory/entry.h"

struct nc_queue {
    struct nc_entry *head, *tail; /* newest, oldest */
};

static inline struct nc_entry *nc_queue_oldest(const struct nc_queue *queue) { return queue->tail; }

/* The next newer one; NULL after the newest. */
static inline struct nc_entry *nc_queue_newer(const struct nc_entry *entry) { return entry->newer; }

static inline void nc_queue_push(struct nc_queue *queue, struct nc_entry *entry)
{
    entry->newer = NULL;
    entry->older = queue->head;
    if (queue->head)
        queue->head->newer = entry;
    else
        queue->tail = entry;
    queue->head = entry;
}

static inline void nc_queue_pull(struct nc_queue *queue, struct nc_entry *entry)
{
    if (entry->newer)
        entry->newer->older = entry->older;
    else
        queue->head = entry->older;
    if (entry->older)
        entry->older->newer = entry->newer;
    else
        queue->tail = entry->newer;
}

/* What stands in `from` becomes the oldest of `to`. */
static inline void nc_queue_prepend(struct nc_queue *to, struct nc_queue *from)
{
    if (!from->head)
        return;
    if (to->tail) {
        to->tail->older = from->head;
        from->head->newer = to->tail;
    } else {
        to->head = from->head;
    }
    to->tail = from->tail;
    from->head = from->tail = NULL;
}

#endif
