#include "store/as3.h"

#include <string.h>

#define TARGET_FIRST 0.10
#define TARGET_LEAST 0.01
#define TARGET_MOST 0.90
/* A ghost is young, and moves the target, for so many evictions in parts of the entries. */
#define YOUNG 0.25
/* The gate looks past so many entries that would get another round. */
#define GATE_SKIPS 8
/* Of so many who were not let in one gives whom it lost to another round: else one key whose count
 * is too high by chance would keep the gate shut for ever. */
#define ROTATE_EVERY 16
/* One eviction gives so many entries another round; then the next one goes though it was hit. */
#define ROUNDS_MOST 64
/* Fewer would forget before they learn. */
#define FIT_LEAST 16u

void nc_as3_init(struct nc_as3 *as3, bool by_entries)
{
    memset(as3, 0, sizeof *as3);
    as3->by_entries = by_entries;
    as3->target = TARGET_FIRST;
    nc_ghost_init(&as3->ghost);
    nc_sketch_init(&as3->sketch);
}

void nc_as3_deinit(struct nc_as3 *as3)
{
    nc_ghost_deinit(&as3->ghost);
    nc_sketch_deinit(&as3->sketch);
}

size_t nc_as3_bytes(const struct nc_as3 *as3)
{
    return nc_ghost_bytes(&as3->ghost) + nc_sketch_bytes(&as3->sketch);
}

static uint64_t weight_of(const struct nc_as3 *as3, const struct nc_entry *entry)
{
    return as3->by_entries ? 1 : nc_entry_charge(entry);
}

static uint64_t whole_weight(const struct nc_as3 *as3)
{
    return as3->weights[NC_AS3_SMALL] + as3->weights[NC_AS3_MAIN];
}

static uint8_t hits_of(const struct nc_entry *entry)
{
    /* Relaxed: see nc_as3_hit. */
    return atomic_load_explicit(&((struct nc_entry *)entry)->mark, memory_order_relaxed);
}

static void set_hits(struct nc_entry *entry, uint8_t hits)
{
    atomic_store_explicit(&entry->mark, hits, memory_order_relaxed);
}

static void link_at(struct nc_as3 *as3, struct nc_entry *entry, uint8_t queue, uint8_t hits)
{
    entry->queue = queue;
    set_hits(entry, hits);
    nc_queue_push(&as3->queues[queue], entry);
    as3->weights[queue] += weight_of(as3, entry);
    as3->entries++;
}

void nc_as3_remove(struct nc_as3 *as3, struct nc_entry *entry)
{
    nc_queue_pull(&as3->queues[entry->queue], entry);
    as3->weights[entry->queue] -= weight_of(as3, entry);
    as3->entries--;
}

/* ---- arriving ---- */

static void adapt(struct nc_as3 *as3, int queue, double step)
{
    as3->target += queue == NC_AS3_SMALL ? step : -step;
    if (as3->target < TARGET_LEAST)
        as3->target = TARGET_LEAST;
    if (as3->target > TARGET_MOST)
        as3->target = TARGET_MOST;
}

bool nc_as3_arrive(struct nc_as3 *as3, const struct nc_entry *entry)
{
    uint32_t age;
    int queue =
        nc_ghost_take(&as3->ghost, entry->hash, (uint64_t)as3->entries * NC_GHOST_REACH, &age);
    if (queue < 0)
        return false;
    uint64_t whole = whole_weight(as3);
    if (whole && age < YOUNG * as3->entries)
        adapt(as3, queue, (double)weight_of(as3, entry) / (double)whole);
    return true;
}

/* Of M's oldest the first that would go. NULL: M is empty. */
static struct nc_entry *next_of_main(const struct nc_as3 *as3)
{
    struct nc_entry *oldest = nc_queue_oldest(&as3->queues[NC_AS3_MAIN]), *at = oldest;
    for (int i = 0; i < GATE_SKIPS && at && hits_of(at) > 0; i++)
        at = nc_queue_newer(at);
    return at ? at : oldest;
}

static unsigned seen(const struct nc_as3 *as3, const struct nc_entry *entry)
{
    return nc_sketch_count(&as3->sketch, entry->hash) + hits_of(entry);
}

static void relink(struct nc_as3 *as3, struct nc_entry *entry, uint8_t queue, uint8_t hits)
{
    nc_as3_remove(as3, entry);
    link_at(as3, entry, queue, hits);
}

/* Whether a key that is remembered goes to M at once: seen more often than whom it drives out. */
static bool gate_lets_in(struct nc_as3 *as3, const struct nc_entry *entry)
{
    struct nc_entry *next = next_of_main(as3);
    if (!next || nc_sketch_count(&as3->sketch, entry->hash) > seen(as3, next))
        return true;
    uint8_t hits = hits_of(next);
    if (++as3->kept_out % ROTATE_EVERY == 0)
        relink(as3, next, NC_AS3_MAIN, hits > 0 ? (uint8_t)(hits - 1) : 0);
    return false;
}

/* Whether an entry of S that was hit goes to M: while there is room in it, else seen as often. */
static bool may_promote(const struct nc_as3 *as3, const struct nc_entry *entry)
{
    if (as3->weights[NC_AS3_MAIN] <= whole_weight(as3) / 2)
        return true;
    const struct nc_entry *next = next_of_main(as3);
    return !next || seen(as3, entry) >= seen(as3, next);
}

void nc_as3_insert(struct nc_as3 *as3, struct nc_entry *entry, bool remembered)
{
    bool into_main = remembered && gate_lets_in(as3, entry);
    link_at(as3, entry, into_main ? NC_AS3_MAIN : NC_AS3_SMALL, 0);
}

void nc_as3_insert_instead(struct nc_as3 *as3, struct nc_entry *entry, uint8_t queue, uint8_t hits)
{
    link_at(as3, entry, queue, hits < NC_AS3_MOST_HITS ? hits + 1 : hits);
}

/* ---- leaving ---- */

static bool small_is_full(const struct nc_as3 *as3)
{
    return (double)as3->weights[NC_AS3_SMALL] >= as3->target * (double)whole_weight(as3);
}

struct nc_entry *nc_as3_victim(struct nc_as3 *as3)
{
    for (int rounds = 0;;) {
        struct nc_entry *small = nc_queue_oldest(&as3->queues[NC_AS3_SMALL]);
        struct nc_entry *main = nc_queue_oldest(&as3->queues[NC_AS3_MAIN]);
        if (small && (!main || small_is_full(as3))) {
            if (hits_of(small) == 0 || !may_promote(as3, small))
                return small;
            relink(as3, small, NC_AS3_MAIN, 0);
        } else {
            uint8_t hits = hits_of(main);
            if (hits == 0 || rounds++ == ROUNDS_MOST)
                return main;
            relink(as3, main, NC_AS3_MAIN, (uint8_t)(hits - 1));
        }
    }
}

static void remember(struct nc_as3 *as3, const struct nc_entry *entry, unsigned uses)
{
    nc_ghost_add(&as3->ghost, entry->queue, entry->hash);
    nc_sketch_add(&as3->sketch, entry->hash, uses);
}

void nc_as3_evicted(struct nc_as3 *as3, const struct nc_entry *entry)
{
    /* The first time that somebody has to go tells how many fit. */
    if (as3->ghost.capacity == 0 || as3->entries > 2 * as3->ghost.capacity)
        nc_as3_fit(as3);
    remember(as3, entry, entry->queue == NC_AS3_SMALL ? 1u + hits_of(entry) : 1u);
}

void nc_as3_expired(struct nc_as3 *as3, const struct nc_entry *entry)
{
    unsigned hits = hits_of(entry);
    if (entry->queue == NC_AS3_MAIN || hits > 0)
        remember(as3, entry, 1 + hits);
}

void nc_as3_fit(struct nc_as3 *as3)
{
    uint32_t fit = as3->entries > FIT_LEAST ? as3->entries : FIT_LEAST;
    if (fit <= 2 * as3->ghost.capacity && fit >= as3->ghost.capacity / 4)
        return;
    /* Without memory for them it goes on with those that it has. */
    nc_ghost_resize(&as3->ghost, fit);
    nc_sketch_resize(&as3->sketch, fit);
}
