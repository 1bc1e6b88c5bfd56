/*
 * redis/redirect: calls that a node of a cluster refused because the slot is elsewhere (MOVED, ASK)
 * or not to be had just now (TRYAGAIN, CLUSTERDOWN). They are repeated inside their deadlines: at
 * once where it is known whom to ask, else by a thread that waits in between; ASKING goes before
 * the command in the same write. What was refused was not executed, so the last refusal is handed
 * to the call's sink, as the certain answer that it is, when seven eighths of the time are over.
 *
 *     connection --refused--> begin --replies complete--> go --> a link that is there
 *                                        ^                          |
 *                                        +--- later <--- refused, or no link
 *                                                                   | answered
 *                                                                   v
 *                                                              the call ends
 *
 * A call that was abandoned is not repeated. One whose repetition was sent and lost its connection
 * is in doubt, as any other. Thread-safe.
 */
#ifndef NC_REDIS_REDIRECT_H
#define NC_REDIS_REDIRECT_H

#include "redis/cluster.h"

struct nc_redirects;

struct nc_redirects *nc_redirects_create(struct nc_cluster *cluster);
int nc_redirects_start(struct nc_redirects *redirects);
/* Stops the thread; what it had, and whatever comes now, ends with NEARCACHE_EOFFLINK. */
void nc_redirects_stop(struct nc_redirects *redirects);
void nc_redirects_destroy(struct nc_redirects *redirects);

/* With an error reply to a call on the lane's link: who takes the call over once its replies are
 * complete, or NULL when the error says something else (or there is no memory): it is then the
 * answer. */
struct nc_detour *nc_redirect_begin(struct nc_redirects *redirects, unsigned lane,
                                    struct nc_call *call, const char *text, size_t bytes);
/* A call for a lane whose link is on its way to another primary (nc_call_hold): kept until it is
 * there, and ended with NEARCACHE_EOFFLINK, unsent, when seven eighths of the time are over. */
void nc_redirect_hold(struct nc_redirects *redirects, unsigned lane, struct nc_call *call);

#endif
