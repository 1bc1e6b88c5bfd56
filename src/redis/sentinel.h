/*
 * redis/sentinel: who is the primary. The Sentinels are asked in turn until more than half of those
 * configured have answered, and the newest answer (the highest configuration epoch) counts: an
 * election needs that majority too, so one of them has seen the last one. Fewer answers are none: a
 * Sentinel cut off from the others may still name a primary of the past.
 *
 * That the server is a primary is for who connects to check. The link's thread, or who waits inside
 * its own deadline.
 */
#ifndef NC_REDIS_SENTINEL_H
#define NC_REDIS_SENTINEL_H

#include "redis/conn.h"
#include "redis/primary.h"
#include "redis/subscriber.h"

/* 0; NEARCACHE_EOFFLINK (*why tells, static text), NEARCACHE_ETIMEOUT, NEARCACHE_ECLOSED (stop_fd),
 * NEARCACHE_EAUTH (all refused the password), NEARCACHE_ENOMEM. */
int nc_sentinel_find(const struct nc_redis_settings *settings, int stop_fd, uint64_t deadline_ns,
                     struct nc_primary *primary, const char **why);

/* As nc_conn_open, to wherever the settings lead: with Sentinels they are asked first. */
int nc_sentinel_open(struct nc_conn *conn, const struct nc_redis_settings *settings, int stop_fd,
                     uint64_t deadline_ns);

/*
 * Listens for the switch to another primary at one of the Sentinels, `which` counted around the
 * list. 0 or an error; the subscriber's connection is then closed.
 */
int nc_sentinel_listen(struct nc_subscriber *subscriber, const struct nc_redis_settings *settings,
                       unsigned which, int stop_fd, uint64_t deadline_ns);
/* Whether a message that was heard is about our primary; where it is now. */
bool nc_sentinel_heard(const struct nc_redis_settings *settings, const char *text, size_t bytes,
                       struct nc_primary *primary);

#endif
