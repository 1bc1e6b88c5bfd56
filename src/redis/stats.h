/* redis/stats: what a link counts. Relaxed counters; read at leisure. */
#ifndef NC_REDIS_STATS_H
#define NC_REDIS_STATS_H

#include "metrics/histogram.h"

struct nc_link_stats {
    _Atomic uint64_t commands, writes, bytes_sent, bytes_received, errors, timeouts, connects,
        breaker_opens, redirects;
    struct nc_histogram round_trip_us;
};

#endif
