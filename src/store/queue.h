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
static inline struct nc_entry *nc_queue_newer(const struct nc_entry *entry)
{
    return nc_entry_newer(entry);
}

static inline void nc_queue_push(struct nc_queue *queue, struct nc_entry *entry)
{
    nc_entry_set_newer(entry, NULL);
    nc_entry_set_older(entry, queue->head);
    if (queue->head)
        nc_entry_set_newer(queue->head, entry);
    else
        queue->tail = entry;
    queue->head = entry;
}

/* The same as below for one that is neither end: its queue need not be known. */
static inline void nc_queue_pull_middle(struct nc_entry *entry)
{
    struct nc_entry *newer = nc_entry_newer(entry), *older = nc_entry_older(entry);
    nc_entry_set_older(newer, older);
    nc_entry_set_newer(older, newer);
}

static inline void nc_queue_pull(struct nc_queue *queue, struct nc_entry *entry)
{
    struct nc_entry *newer = nc_entry_newer(entry), *older = nc_entry_older(entry);
    if (newer)
        nc_entry_set_older(newer, older);
    else
        queue->head = older;
    if (older)
        nc_entry_set_newer(older, newer);
    else
        queue->tail = newer;
}

/* `entry`, not linked, takes the place of `old`. */
static inline void nc_queue_replace(struct nc_queue *queue, const struct nc_entry *old,
                                    struct nc_entry *entry)
{
    struct nc_entry *newer = nc_entry_newer(old), *older = nc_entry_older(old);
    nc_entry_set_newer(entry, newer);
    nc_entry_set_older(entry, older);
    if (newer)
        nc_entry_set_older(newer, entry);
    else
        queue->head = entry;
    if (older)
        nc_entry_set_newer(older, entry);
    else
        queue->tail = entry;
}

/* What stands in `from` becomes the oldest of `to`. */
static inline void nc_queue_prepend(struct nc_queue *to, struct nc_queue *from)
{
    if (!from->head)
        return;
    if (to->tail) {
        nc_entry_set_older(to->tail, from->head);
        nc_entry_set_newer(from->head, to->tail);
    } else {
        to->head = from->head;
    }
    to->tail = from->tail;
    from->head = from->tail = NULL;
}

#endif
