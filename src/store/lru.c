#include "store/lru.h"

#include <string.h>

void nc_lru_init(struct nc_lru *lru, _Atomic uint8_t *generation)
{
    memset(lru, 0, sizeof *lru);
    lru->generation = generation;
}

static struct nc_queue *queue_at(struct nc_lru *lru, uint8_t generation)
{
    return &lru->queues[generation % NC_GENERATIONS];
}

/* A queue's entries become the oldest of the next one. */
static void merge_oldest(struct nc_lru *lru)
{
    uint8_t next = (uint8_t)(lru->oldest + 1);
    struct nc_queue *from = queue_at(lru, lru->oldest);
    for (struct nc_entry *entry = nc_queue_oldest(from); entry; entry = nc_queue_newer(entry))
        entry->queue = next;
    nc_queue_prepend(queue_at(lru, next), from);
    lru->oldest = next;
}

/* A sixteenth of the entries is one generation. */
static void count_insertion(struct nc_lru *lru)
{
    if (++lru->inserted * 16 < lru->entries)
        return;
    uint8_t now = atomic_load_explicit(lru->generation, memory_order_relaxed);
    lru->inserted = 0;
    if ((uint8_t)(now - lru->oldest) == NC_GENERATIONS - 1)
        merge_oldest(lru);
    atomic_store_explicit(lru->generation, (uint8_t)(now + 1), memory_order_relaxed);
}

void nc_lru_insert(struct nc_lru *lru, struct nc_entry *entry)
{
    entry->queue = atomic_load_explicit(lru->generation, memory_order_relaxed);
    atomic_store_explicit(&entry->mark, entry->queue, memory_order_relaxed);
    nc_queue_push(queue_at(lru, entry->queue), entry);
    lru->entries++;
    count_insertion(lru);
}

void nc_lru_remove(struct nc_lru *lru, struct nc_entry *entry)
{
    nc_queue_pull(queue_at(lru, entry->queue), entry);
    lru->entries--;
}

/* A stamp older than the queue that the entry stands in counts as none. */
static bool was_hit_since(const struct nc_lru *lru, const struct nc_entry *entry, uint8_t mark)
{
    return (uint8_t)(mark - lru->oldest) < NC_GENERATIONS &&
           (uint8_t)(mark - lru->oldest) > (uint8_t)(entry->queue - lru->oldest);
}

struct nc_entry *nc_lru_victim(struct nc_lru *lru)
{
    for (;;) {
        struct nc_entry *entry = nc_queue_oldest(queue_at(lru, lru->oldest));
        if (!entry) {
            lru->oldest++;
            continue;
        }
        uint8_t mark = atomic_load_explicit(&entry->mark, memory_order_relaxed);
        if (!was_hit_since(lru, entry, mark))
            return entry;
        nc_queue_pull(queue_at(lru, entry->queue), entry);
        entry->queue = mark;
        nc_queue_push(queue_at(lru, mark), entry);
    }
}
