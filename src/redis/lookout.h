/*
 * redis/lookout: listens to one of the Sentinels for as long as a link is up, so that the link
 * hears at once that another server was chosen as the primary. A Sentinel that is lost or cannot be
 * had is replaced by the next of the list, with a second between two attempts; since nothing is
 * heard until then, they are asked once it listens again.
 *
 *     due_ns = nc_lookout_tick(lookout, now_ns);        now and when it is due
 *     poll nc_lookout_fd(lookout) for reading           nc_lookout_read
 *
 * It knows no link: what it hears goes to a function. With settings that name no Sentinels it is
 * never due and has no descriptor. One thread: the link's, which a tick holds up for 100 ms at
 * most.
 */
#ifndef NC_REDIS_LOOKOUT_H
#define NC_REDIS_LOOKOUT_H

#include "redis/sentinel.h"

struct nc_lookout {
    const struct nc_redis_settings *settings;
    int stop_fd;
    /* This is the primary, as Sentinels say: another, or still the same. In a tick or a read. */
    void (*on_primary)(void *arg, const struct nc_primary *primary);
    void *arg;
    struct nc_subscriber subscriber;
    struct nc_link_stats unused; /* what it sends and receives is not the link's */
    uint64_t due_ns;
    unsigned tried; /* Sentinels so far, counted around the list */
};

/* `settings`: as long as the lookout. `stop_fd` readable ends its waits early. */
void nc_lookout_init(struct nc_lookout *lookout, const struct nc_redis_settings *settings,
                     int stop_fd, void (*on_primary)(void *arg, const struct nc_primary *primary),
                     void *arg);
/* Looks for a Sentinel if it has none and may try. When to come again, machine's monotonic ns. */
uint64_t nc_lookout_tick(struct nc_lookout *lookout, uint64_t now_ns);
/* Something can be read. */
void nc_lookout_read(struct nc_lookout *lookout);
/* The link is down. The next tick begins anew, and at once. */
void nc_lookout_close(struct nc_lookout *lookout);

/* -1: it listens to nobody. */
static inline int nc_lookout_fd(const struct nc_lookout *lookout)
{
    return lookout->subscriber.conn.fd;
}

#endif
