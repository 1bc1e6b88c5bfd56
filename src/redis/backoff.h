/*
 * redis/backoff: when to try again, as pure arithmetic: doubling from 50 ms to 2 s, each with a
 * random quarter taken off so that processes do not come back in step.
 */
#ifndef NC_REDIS_BACKOFF_H
#define NC_REDIS_BACKOFF_H

#include <stdint.h>

struct nc_backoff {
    uint64_t random;
    unsigned failures;
};

void nc_backoff_reset(struct nc_backoff *backoff);
/* One more failure: how long to wait, in ns. */
uint64_t nc_backoff_next_ns(struct nc_backoff *backoff);

#endif
