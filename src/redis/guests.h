/*
 * redis/guests: links to nodes of a cluster that have no lane, such as one that gets its first
 * slot: refused calls are sent there meanwhile. At most NC_GUESTS_MOST; one that nobody has used
 * for a while is closed, so that addresses which a refusal once named are not connected to for
 * ever.
 */
#ifndef NC_REDIS_GUESTS_H
#define NC_REDIS_GUESTS_H

#include "base/clock.h"
#include "redis/link.h"
#include "redis/primary.h"

#include <pthread.h>

#define NC_GUESTS_MOST 8u
#define NC_GUESTS_IDLE_NS (30 * NC_NS_PER_S)

struct nc_guests;

/* Guarded by the lock of the guests. */
struct nc_guest {
    struct nc_guests *guests;
    struct nc_link *link;
    struct nc_primary at;
    bool up, leaves; /* leaves: it is being closed, outside the lock */
    unsigned users;  /* threads that hand calls over to the link */
    uint64_t used_ns;
};

/* Thread-safe. */
struct nc_guests {
    const struct nc_redis_settings *settings;
    const struct nc_log *log;
    uint64_t idle_ns;
    pthread_mutex_t lock;
    pthread_cond_t unused; /* one has no users any more */
    struct nc_guest guest[NC_GUESTS_MOST];
};

/* `settings`, `log`: as long as the guests. */
void nc_guests_init(struct nc_guests *guests, const struct nc_redis_settings *settings,
                    const struct nc_log *log, uint64_t idle_ns);
void nc_guests_deinit(struct nc_guests *guests);

/* Connects to the server unless there is a link to it, or no place for one. Never waits. */
void nc_guests_invite(struct nc_guests *guests, const struct nc_primary *server);
/* A link to the server that is up, until nc_guests_end_use(*which); NULL. */
struct nc_link *nc_guests_use(struct nc_guests *guests, const struct nc_primary *server,
                              unsigned *which);
void nc_guests_end_use(struct nc_guests *guests, unsigned which);

/* Closes those that were not used for `idle_ns`, or all. One thread at a time. */
void nc_guests_dismiss(struct nc_guests *guests, bool all);

#endif
