#include "redis/subscriber.h"

#include "base/clock.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#define TRACKING_CHANNEL "__redis__:invalidate"

static bool is(const struct nc_reply_part *part, const char *word)
{
    return part->type == NC_REPLY_BULK && part->bytes == strlen(word) &&
           memcmp(part->str, word, part->bytes) == 0;
}

/* [message, channel, payload]; a tracking payload is an array of keys or nil. */
static void on_part(void *arg, const struct nc_reply_part *part)
{
    struct nc_subscriber *s = arg;
    if (part->depth == 0) {
        s->kind = NC_PUSH_OTHER;
        s->channel_bytes = 0;
        s->refused = s->refused || part->type == NC_REPLY_ERROR;
    } else if (part->depth == 1 && part->index == 0) {
        s->kind = is(part, "message") || is(part, "smessage")       ? NC_PUSH_MESSAGE
                  : is(part, "subscribe") || is(part, "ssubscribe") ? NC_PUSH_ACK
                                                                    : NC_PUSH_OTHER;
        s->dropped = s->dropped || is(part, "sunsubscribe");
        if (s->kind == NC_PUSH_ACK)
            s->acks++;
    } else if (part->depth == 1 && part->index == 1 && part->type == NC_REPLY_BULK) {
        s->channel_bytes = part->bytes < sizeof s->channel ? part->bytes : 0;
        memcpy(s->channel, part->str, s->channel_bytes);
    } else if (s->kind == NC_PUSH_MESSAGE && s->channel_bytes > 0) {
        if (part->type == NC_REPLY_BULK)
            s->on_message(s->arg, s->channel, s->channel_bytes, part->str, part->bytes);
        else if (part->type == NC_REPLY_NIL)
            s->on_message(s->arg, s->channel, s->channel_bytes, NULL, 0);
    }
}

static void on_end(void *arg) { (void)arg; }

void nc_subscriber_init(struct nc_subscriber *subscriber, struct nc_link_stats *stats,
                        nc_message_fn on_message, void *arg)
{
    memset(subscriber, 0, sizeof *subscriber);
    nc_conn_init(&subscriber->conn, stats);
    subscriber->on_message = on_message;
    subscriber->arg = arg;
}

struct tracking {
    struct nc_sink sink;
    int64_t id;
    bool refused;
};

static int on_tracking(struct nc_sink *sink, const struct nc_reply_part *part)
{
    struct tracking *t = (struct tracking *)sink;
    if (part->type == NC_REPLY_INTEGER)
        t->id = part->integer;
    t->refused = t->refused || part->type == NC_REPLY_ERROR;
    return 0;
}

static void put(struct nc_command *command, const char *word)
{
    nc_command_arg(command, word, strlen(word));
}

/* Subscribes and reads until it is acknowledged or refused. */
static int subscribe(struct nc_subscriber *s, const char *how, const char *const *channels,
                     unsigned count, int stop_fd, uint64_t deadline_ns)
{
    struct nc_command command;
    nc_command_init(&command);
    nc_command_begin(&command, 1 + (size_t)count);
    put(&command, how);
    for (unsigned i = 0; i < count; i++)
        put(&command, channels[i]);
    s->conn.events = (struct nc_reader_events){on_part, on_end, s};
    s->acks = 0;
    s->refused = s->dropped = false;
    int outcome =
        command.failed ? NEARCACHE_ENOMEM : nc_conn_queue(&s->conn, command.bytes, command.used);
    nc_command_deinit(&command);
    while (outcome == 0 && s->acks < count && !s->refused) {
        struct pollfd fds[2] = {{s->conn.fd, POLLIN, 0}, {stop_fd, POLLIN, 0}};
        uint64_t now = nc_clock_io_ns();
        outcome = now >= deadline_ns ? NEARCACHE_ETIMEOUT : nc_conn_flush(&s->conn);
        if (outcome == 0)
            poll(fds, 2, (int)((deadline_ns - now) / NC_NS_PER_MS) + 1);
        if (outcome == 0 && fds[1].revents)
            outcome = NEARCACHE_ECLOSED;
        if (outcome == 0 && fds[0].revents)
            outcome = nc_conn_read(&s->conn);
    }
    return outcome != 0 ? outcome : s->refused ? NEARCACHE_EREMOTE : 0;
}

/* A user without the right to the channel of invalidations cannot track at all. */
static int listen_to_tracking(struct nc_subscriber *s, int stop_fd, uint64_t deadline_ns)
{
    static const char *const channel[] = {TRACKING_CHANNEL};
    return subscribe(s, "SUBSCRIBE", channel, 1, stop_fd, deadline_ns);
}

int nc_subscriber_track(struct nc_subscriber *s, const char *const *prefixes, unsigned count,
                        int stop_fd, uint64_t deadline_ns)
{
    struct tracking tracking = {{on_tracking}, 0, false};
    struct nc_command command;
    char id[24];
    nc_command_init(&command);
    nc_command_begin(&command, 2);
    put(&command, "CLIENT");
    put(&command, "ID");
    int outcome = nc_conn_round_trip(&s->conn, &command, &tracking.sink, stop_fd, deadline_ns);
    nc_command_deinit(&command);
    if (outcome != 0 || tracking.refused)
        return outcome != 0 ? outcome : NEARCACHE_EREMOTE;
    int id_bytes = snprintf(id, sizeof id, "%" PRId64, tracking.id);
    nc_command_init(&command);
    nc_command_begin(&command, 6 + 2 * (size_t)count);
    put(&command, "CLIENT");
    put(&command, "TRACKING");
    put(&command, "ON");
    put(&command, "REDIRECT");
    nc_command_arg(&command, id, (size_t)id_bytes);
    put(&command, "BCAST");
    for (unsigned i = 0; i < count; i++) {
        put(&command, "PREFIX");
        put(&command, prefixes[i]);
    }
    outcome = nc_conn_round_trip(&s->conn, &command, &tracking.sink, stop_fd, deadline_ns);
    nc_command_deinit(&command);
    if (outcome == 0 && tracking.refused)
        outcome = NEARCACHE_EREMOTE;
    return outcome != 0 ? outcome : listen_to_tracking(s, stop_fd, deadline_ns);
}

int nc_subscriber_subscribe(struct nc_subscriber *subscriber, bool sharded,
                            const char *const *channels, unsigned count, int stop_fd,
                            uint64_t deadline_ns)
{
    return subscribe(subscriber, sharded ? "SSUBSCRIBE" : "SUBSCRIBE", channels, count, stop_fd,
                     deadline_ns);
}
