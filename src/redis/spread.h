/*
 * redis/spread: whether callers who wait at the same time share a connection or have one each.
 *
 * Neither is right everywhere. Where Redis has a processor of its own, a connection each keeps both
 * sides busy; sharing makes them take turns. Where Redis and the callers share one, sharing saves
 * it more (one read and one write for all of them) than it costs. Nothing tells beforehand, so both
 * are tried in turn, some hundred calls at a time, and the one in which a call took less time is
 * kept for a while: longer and longer as long as trials end the same, and no longer once calls
 * suddenly take twice the time.
 *
 *       trial   APART  TOGETHER  APART  TOGETHER ...      then the better one, then a trial
 *
 * Only calls in company count. Thread-safe; who counts the last call of a round judges it.
 */
#ifndef NC_REDIS_SPREAD_H
#define NC_REDIS_SPREAD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { NC_SPREAD_APART, NC_SPREAD_TOGETHER, NC_SPREAD_WAYS };

/* The calls of a round, and the time after which fewer will do. */
#define NC_SPREAD_CALLS 256u
#define NC_SPREAD_CALLS_LEAST 16u
#define NC_SPREAD_ROUND_NS UINT64_C(20000000)
/* One that waited longer says little about the others. */
#define NC_SPREAD_WAITED_MOST_NS UINT64_C(1000000)
/* Rounds of each way in a trial at most; the better half of them counts, since what disturbs a
 * round only makes it longer. It ends before where the difference is clear. */
#define NC_SPREAD_TRIED 4u
/* Rounds for which what was found is kept, at first and at most. */
#define NC_SPREAD_KEPT_LEAST 4u
#define NC_SPREAD_KEPT_MOST 1024u

struct nc_spread {
    _Atomic uint32_t way;
    _Atomic uint32_t judging;
    /* Calls in the lowest 16 bits, above them what they waited, in units of 64 ns. */
    _Atomic uint64_t round;
    /* Of who judges. */
    uint64_t begun_ns;
    uint64_t took[NC_SPREAD_WAYS][NC_SPREAD_TRIED]; /* a call, in each round of the trial */
    uint32_t tried;                                 /* rounds of the trial so far */
    uint32_t kept, rounds_left; /* of the way that was chosen; 0: a trial goes on */
    uint32_t chosen;
    uint64_t took_chosen;
    bool slow; /* the last round took more than twice as long */
};

void nc_spread_init(struct nc_spread *spread);
/* A call in company took so long. */
void nc_spread_count(struct nc_spread *spread, uint64_t waited_ns, uint64_t now_ns);
/* How they are to do now. */
static inline bool nc_spread_is_together(const struct nc_spread *spread)
{
    /* Relaxed: either is right, one is faster. */
    return atomic_load_explicit(&((struct nc_spread *)spread)->way, memory_order_relaxed) ==
           NC_SPREAD_TOGETHER;
}

#endif
