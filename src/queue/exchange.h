/*
 * queue/exchange: the worker's round trip: the arguments of lua/exchange-1.lua, and what its answer
 * means. A job that cannot be reported stays in the ended list until Redis is back. Where an
 * exchange was sent and its answer never came, the next one has the same token and takes nothing
 * new: it asks for what was taken under that token, so that a Redis that was slow hands out no job
 * to nobody. A worker that closes has it put back instead.
 */
#ifndef NC_QUEUE_EXCHANGE_H
#define NC_QUEUE_EXCHANGE_H

#include "queue/hand.h"

/* What an exchange found. */
struct nc_exchange {
    size_t taken;
    uint32_t asked;  /* how many it might have taken */
    int64_t due_ms;  /* when the next delayed job is due; 0: none */
    int64_t wait_ms; /* until the rate limit allows more */
    int64_t waiting; /* jobs that a limit keeps from being taken, when none was taken */
    bool paused;
    uint64_t look; /* the latest look that was asked for before it was sent */
};

/*
 * Reports all ended jobs and takes up to `want`, none when the worker closes. Only the talker calls
 * it. On failure the ended jobs are back in their list.
 */
int nc_worker_exchange(struct nearcache_worker *worker, uint32_t want, struct nc_exchange *found);

#endif
