/*
 * queue/remote: what the queue needs of Redis. Commands and scripts go over the shared link of
 * redis/link, a wait for the bell over a connection of its own (struct nc_waiter), because it
 * blocks. Scripts are called by their hash; a server that lost them is given the text again.
 */
#ifndef NC_QUEUE_REMOTE_H
#define NC_QUEUE_REMOTE_H

#include "base/log.h"
#include "nearcache.h"
#include "queue/args.h"
#include "queue/scripts.h"
#include "queue/value.h"

/* Thread-safe. */
struct nc_remote;

/* Never waits: connecting goes on in the background. As nearcache_queue_open. */
int nc_remote_open(struct nc_remote **remote, const struct nearcache_redis *redis,
                   const struct nc_log *log);
void nc_remote_close(struct nc_remote *remote);

/*
 * Sends one command, waiting for the link and for the answer until deadline_ns (machine's
 * monotonic time). Returns 0 and *answer, to be freed with nc_value_free; NEARCACHE_EREMOTE when
 * that is an error (it is logged); EOFFLINK: it was not sent; ETIMEOUT: it may have been carried
 * out; EAUTH, EPROTOCOL, ENOMEM.
 */
int nc_remote_command(struct nc_remote *remote, const struct nc_args *args, uint64_t deadline_ns,
                      struct nc_value **answer);
/* The same for a script on the queue whose keys begin with `prefix`. */
int nc_remote_script(struct nc_remote *remote, enum nc_queue_script script, const char *prefix,
                     const struct nc_args *args, uint64_t deadline_ns, struct nc_value **answer);

/* ---- a connection that blocks ---------------------------------------------------------------- */

/* One thread. Connects when it is first used and again after a failure. */
struct nc_waiter;

/* `client_name` is what CLIENT LIST shows. Copied. */
int nc_waiter_open(struct nc_waiter **waiter, struct nc_remote *remote, const char *client_name);
void nc_waiter_close(struct nc_waiter *waiter);

/* Sends without waiting for the answer. At most one is outstanding. */
int nc_waiter_send(struct nc_waiter *waiter, const struct nc_args *args, uint64_t deadline_ns);
/* Readable when an answer, or the end of the connection, is there; -1 when not connected. */
int nc_waiter_fd(const struct nc_waiter *waiter);
/*
 * The answer to what was sent: 0; NEARCACHE_MISS when it is not there at the deadline (call
 * again); else as nc_remote_command, and what was outstanding is lost.
 */
int nc_waiter_read(struct nc_waiter *waiter, uint64_t deadline_ns, struct nc_value **answer);

#endif
