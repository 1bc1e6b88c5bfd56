#include "store/lru.h"

#include <string.h>

/* One eviction moves so many that were hit; then the next one goes though it was. */
#define ROUNDS_MOST 1024

void nc_lru_init(struct nc_lru *lru, _Atomic uint8_t *generation)
{
    memset(lru, 0, sizeof *lru);
    lru->generation = generation;
}

static struct nc_queue *queue_at(struct nc_lru *lru, uint8_t generation)
{
    return &lru->queues[generation % NC_GENERATIONS];
}

/* A queue's entries become the oldest of the next one. They keep the number of their own: there may
 * be very many, and who stands behind the oldest queue in use counts as standing in it. */
static void merge_oldest(struct nc_lru *lru)
{
    struct nc_queue *from = queue_at(lru, lru->oldest);
    nc_queue_prepend(queue_at(lru, (uint8_t)(lru->oldest + 1)), from);
    lru->oldest++;
}

/* The queue that begins or ends with this entry. */
static struct nc_queue *queue_with_end(struct nc_lru *lru, const struct nc_entry *entry)
{
    struct nc_queue *queue;
    for (uint8_t generation = lru->oldest;; generation++) {
        queue = queue_at(lru, generation);
        if (queue->tail == entry || queue->head == entry)
            return queue;
    }
}

static void pull(struct nc_lru *lru, struct nc_entry *entry)
{
    if (nc_entry_newer(entry) && nc_entry_older(entry))
        nc_queue_pull_middle(entry);
    else
        nc_queue_pull(queue_with_end(lru, entry), entry);
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
    pull(lru, entry);
    lru->entries--;
}

void nc_lru_replace(struct nc_lru *lru, const struct nc_entry *old, struct nc_entry *entry)
{
    struct nc_queue inner = {NULL, NULL}; /* in the middle no queue need be known */
    bool is_end = !nc_entry_newer(old) || !nc_entry_older(old);
    nc_queue_replace(is_end ? queue_with_end(lru, old) : &inner, old, entry);
}

/* Of an entry of the oldest queue. A stamp older than that queue counts as none. */
static bool was_hit_since(const struct nc_lru *lru, const struct nc_entry *entry, uint8_t mark)
{
    uint8_t hit = (uint8_t)(mark - lru->oldest), stands = (uint8_t)(entry->queue - lru->oldest);
    if (stands >= NC_GENERATIONS) /* in one that was merged */
        stands = 0;
    return hit < NC_GENERATIONS && hit > stands;
}

struct nc_entry *nc_lru_victim(struct nc_lru *lru)
{
    for (int rounds = 0;;) {
        struct nc_entry *entry = nc_queue_oldest(queue_at(lru, lru->oldest));
        if (!entry) {
            lru->oldest++;
            continue;
        }
        uint8_t mark = atomic_load_explicit(&entry->mark, memory_order_relaxed);
        if (!was_hit_since(lru, entry, mark) || rounds++ == ROUNDS_MOST)
            return entry;
        nc_queue_pull(queue_at(lru, lru->oldest), entry);
        entry->queue = mark;
        nc_queue_push(queue_at(lru, mark), entry);
    }
}
