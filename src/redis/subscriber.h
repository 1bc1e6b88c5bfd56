/*
 * redis/subscriber: the connection that listens: pub/sub messages and tracking's invalidations
 * become calls of a function. One thread: the link's.
 */
#ifndef NC_REDIS_SUBSCRIBER_H
#define NC_REDIS_SUBSCRIBER_H

#include "redis/conn.h"

typedef void (*nc_message_fn)(void *arg, const char *channel, size_t channel_bytes,
                              const char *payload, size_t payload_bytes);

struct nc_subscriber {
    struct nc_conn conn;
    nc_message_fn on_message;
    void *arg;
    /* The push that is being read. */
    enum { NC_PUSH_OTHER, NC_PUSH_MESSAGE, NC_PUSH_ACK } kind;
    char channel[256];
    size_t channel_bytes;
    unsigned acks;
    bool refused;
    bool dropped; /* the server ended a subscription: the channel's slot went elsewhere */
};

void nc_subscriber_init(struct nc_subscriber *subscriber, struct nc_link_stats *stats,
                        nc_message_fn on_message, void *arg);
/* Before subscribing: all keys with one of the prefixes are tracked, redirected to this very
 * connection, so that it is one failure unit with the subscription. */
int nc_subscriber_track(struct nc_subscriber *subscriber, const char *const *prefixes,
                        unsigned count, int stop_fd, uint64_t deadline_ns);
/* `sharded`: channels of one slot of a cluster, heard where they are sent and nowhere else. */
int nc_subscriber_subscribe(struct nc_subscriber *subscriber, bool sharded,
                            const char *const *channels, unsigned count, int stop_fd,
                            uint64_t deadline_ns);

#endif
