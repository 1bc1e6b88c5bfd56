#include "redis/spread.h"

#include <string.h>

#define CALLS_BITS 16
#define UNIT_SHIFT 6

void nc_spread_init(struct nc_spread *spread)
{
    memset(spread, 0, sizeof *spread);
    spread->kept = NC_SPREAD_KEPT_LEAST;
}

static void go(struct nc_spread *spread, uint32_t way)
{
    atomic_store_explicit(&spread->way, way, memory_order_relaxed);
}

/* Of the better half of a way's rounds. */
static uint64_t mean_of_best(const uint64_t *took, unsigned rounds)
{
    uint64_t sorted[NC_SPREAD_TRIED], sum = 0;
    unsigned best = (rounds + 1) / 2;
    for (unsigned n = 0; n < rounds; n++) {
        unsigned at = n;
        for (; at > 0 && sorted[at - 1] > took[n]; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = took[n];
    }
    for (unsigned i = 0; i < best; i++)
        sum += sorted[i];
    return sum / best;
}

static void choose(struct nc_spread *spread, uint32_t way, uint64_t took)
{
    if (way != spread->chosen)
        spread->kept = NC_SPREAD_KEPT_LEAST;
    else if (spread->kept < NC_SPREAD_KEPT_MOST)
        spread->kept *= 2;
    spread->chosen = way;
    spread->took_chosen = took;
    spread->rounds_left = spread->kept;
    spread->tried = 0;
    spread->slow = false;
    go(spread, way);
}

/* A round of the trial is over. */
static void try_next(struct nc_spread *spread, uint64_t took)
{
    uint32_t way = atomic_load_explicit(&spread->way, memory_order_relaxed);
    spread->took[way][spread->tried / 2] = took;
    unsigned pairs = ++spread->tried / 2;
    if (spread->tried % 2 == 0) {
        uint64_t apart = mean_of_best(spread->took[NC_SPREAD_APART], pairs);
        uint64_t together = mean_of_best(spread->took[NC_SPREAD_TOGETHER], pairs);
        uint32_t better = together < apart ? NC_SPREAD_TOGETHER : NC_SPREAD_APART;
        uint64_t least = together < apart ? together : apart;
        if (pairs == NC_SPREAD_TRIED || apart + together > least * 5 / 2) {
            choose(spread, better, least);
            return;
        }
    }
    go(spread, !way);
}

/* A round is over, in which a call took so long. */
static void judge(struct nc_spread *spread, uint64_t took)
{
    if (spread->rounds_left == 0) {
        try_next(spread, took);
        return;
    }
    /* Twice in a row: what it was chosen for is over. */
    bool slow = took > 2 * spread->took_chosen;
    spread->rounds_left = slow && spread->slow ? 0 : spread->rounds_left - 1;
    spread->slow = slow;
}

void nc_spread_count(struct nc_spread *spread, uint64_t waited_ns, uint64_t now_ns)
{
    if (waited_ns > NC_SPREAD_WAITED_MOST_NS)
        waited_ns = NC_SPREAD_WAITED_MOST_NS;
    uint64_t mine = (waited_ns >> UNIT_SHIFT) << CALLS_BITS | 1;
    /* Relaxed: a sum. */
    uint64_t round = atomic_fetch_add_explicit(&spread->round, mine, memory_order_relaxed) + mine;
    uint32_t calls = (uint32_t)(round & ((1u << CALLS_BITS) - 1));
    /* Nearly always no: only every so many calls the time is looked at. */
    if (calls % NC_SPREAD_CALLS_LEAST != 0)
        return;
    /* Acquire and release hand on what belongs to who judges. */
    if (atomic_exchange_explicit(&spread->judging, 1, memory_order_acquire) != 0)
        return;
    if (calls >= NC_SPREAD_CALLS || now_ns - spread->begun_ns >= NC_SPREAD_ROUND_NS) {
        round = atomic_exchange_explicit(&spread->round, 0, memory_order_relaxed);
        calls = (uint32_t)(round & ((1u << CALLS_BITS) - 1));
        if (calls > 0)
            judge(spread, (round >> CALLS_BITS) / calls);
        spread->begun_ns = now_ns;
    }
    atomic_store_explicit(&spread->judging, 0, memory_order_release);
}
