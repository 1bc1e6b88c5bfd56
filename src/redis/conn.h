/*
 * redis/conn: one connection: a non-blocking socket, its output buffer and its reader. It knows
 * nothing of calls and threads: one thread at a time.
 */
#ifndef NC_REDIS_CONN_H
#define NC_REDIS_CONN_H

#include "redis/command.h"
#include "redis/primary.h"
#include "redis/reply.h"
#include "redis/settings.h"
#include "redis/stats.h"
#include "redis/tls.h"

struct nc_conn {
    int fd;             /* -1: closed */
    struct nc_tls *tls; /* NULL: plain */
    const char *why;    /* of the last failure to open, static text; NULL: see the outcome */
    struct nc_reader *reader;
    struct nc_reader_events events; /* who gets the replies; changed between replies only */
    char *out;
    size_t out_used, out_sent, out_room;
    unsigned first;   /* of the host's addresses, to be tried first; kept when closed */
    uint32_t wait_ms; /* what the socket's timeout for receiving is; 0: none was set */
    struct nc_link_stats *stats;
};

void nc_conn_init(struct nc_conn *conn, struct nc_link_stats *stats);
/*
 * Connects (TCP, TLS) and presents itself (AUTH, SELECT, CLIENT SETNAME), within the deadline;
 * `stop_fd` readable ends it early. 0; NEARCACHE_EOFFLINK, NEARCACHE_ETIMEOUT, NEARCACHE_EAUTH,
 * NEARCACHE_EPROTOCOL, NEARCACHE_EIO, NEARCACHE_ENOMEM.
 */
int nc_conn_open(struct nc_conn *conn, const struct nc_redis_settings *settings, int stop_fd,
                 uint64_t deadline_ns);
/* The same to a server that the settings' Sentinels or nodes have named. */
int nc_conn_open_at(struct nc_conn *conn, const struct nc_redis_settings *settings,
                    const struct nc_primary *primary, int stop_fd, uint64_t deadline_ns);
void nc_conn_close(struct nc_conn *conn);

/* Makes room for so many bytes. NEARCACHE_ENOMEM: nothing changed. */
int nc_conn_reserve(struct nc_conn *conn, size_t count);
/* Queues bytes that there is room for; many at a time are sent from where they are. */
void nc_conn_put(struct nc_conn *conn, const char *bytes, size_t count);
/* Both. NEARCACHE_ENOMEM: nothing was queued. */
int nc_conn_queue(struct nc_conn *conn, const char *bytes, size_t count);
/* Sends what the socket takes. 0 or NEARCACHE_EOFFLINK. */
int nc_conn_flush(struct nc_conn *conn);
static inline bool nc_conn_has_output(const struct nc_conn *conn)
{
    return conn->out_sent < conn->out_used;
}
static inline size_t nc_conn_output_bytes(const struct nc_conn *conn)
{
    return conn->out_used - conn->out_sent;
}
/* Reads and parses once. 0 (also when nothing was there); a failure: the connection is lost. */
int nc_conn_read(struct nc_conn *conn);
/*
 * The same in one system call with the waiting, where there is time for that: a socket's timeout is
 * as coarse as the kernel's ticks, so the end of a deadline is waited for by polling.
 * nc_conn_may_wait says whether, and then nc_conn_read_waiting returns before so many ns have
 * passed.
 */
bool nc_conn_may_wait(struct nc_conn *conn, uint64_t left_ns);
int nc_conn_read_waiting(struct nc_conn *conn);

/*
 * One request and its reply, waiting; for handshakes. Replies of that request go to the sink.
 * Returns 0 or why not; an error reply is delivered as such.
 */
int nc_conn_round_trip(struct nc_conn *conn, const struct nc_command *command, struct nc_sink *sink,
                       int stop_fd, uint64_t deadline_ns);

#endif
