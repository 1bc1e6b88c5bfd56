/*
 * queue/cron: patterns parsed into sets of bits, and the next time that matches. The rules are
 * those of the parser that BullMQ uses, so that a schedule runs alike whoever computes it; what
 * that parser refuses is refused here. The public functions stand in nearcache/queue.h.
 */
#ifndef NC_QUEUE_CRON_H
#define NC_QUEUE_CRON_H

#include "nearcache/queue.h"
#include "queue/zone.h"

#include <stdbool.h>
#include <stdint.h>

/* Immutable after creation: thread-safe. Bit n of a set stands for the value n. */
struct nearcache_cron {
    uint64_t seconds, minutes;
    uint32_t hours, days, months;
    uint32_t weekdays;      /* 0..6 */
    uint32_t last_weekdays; /* the last one of the month: 5L */
    uint32_t nth;           /* of the weekday in `weekdays`: 1#2; 0: all of them */
    bool last_day;          /* L */
    bool any_hour, any_day, any_weekday;
    struct nc_zone *zone;
};

#endif
