#include "redis/conn.h"

#include "base/clock.h"
#include "redis/resolve.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* A black hole: sent data that nobody acknowledges for this long ends the connection. */
#define USER_TIMEOUT_MS 2000
#define READ_BYTES (64 * 1024)
#define FIRST_OUT_BYTES (4 * 1024)
/* A request that is worth a system call of its own rather than a copy. */
#define DIRECT_BYTES (16 * 1024)
/* Waits in recv: the kernel rounds up to its ticks, 10 ms at most. */
#define WAIT_SLACK_MS 12u
#define WAIT_LEAST_MS 16u
#define WAIT_MOST_MS 1024u
/* A buffer that a large request has grown is given back. */
#define KEEP_OUT_BYTES (256 * 1024)

static void count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static void on_part(void *arg, const struct nc_reply_part *part)
{
    struct nc_conn *conn = arg;
    conn->events.on_part(conn->events.arg, part);
}

static void on_end(void *arg)
{
    struct nc_conn *conn = arg;
    conn->events.on_end(conn->events.arg);
}

void nc_conn_init(struct nc_conn *conn, struct nc_link_stats *stats)
{
    memset(conn, 0, sizeof *conn);
    conn->fd = -1;
    conn->stats = stats;
}

void nc_conn_close(struct nc_conn *conn)
{
    nc_tls_close(conn->tls);
    conn->tls = NULL;
    if (conn->fd >= 0)
        close(conn->fd);
    conn->fd = -1;
    nc_reader_destroy(conn->reader);
    conn->reader = NULL;
    free(conn->out);
    conn->out = NULL;
    conn->out_used = conn->out_sent = conn->out_room = 0;
    conn->wait_ms = 0;
}

/* ---- bytes ---- */

static ssize_t transmit(struct nc_conn *conn, const char *bytes, size_t bytes_count)
{
    if (conn->tls)
        return nc_tls_send(conn->tls, bytes, bytes_count);
    return send(conn->fd, bytes, bytes_count, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static ssize_t receive(struct nc_conn *conn, char *buffer, size_t room, int flags)
{
    if (conn->tls)
        return nc_tls_recv(conn->tls, buffer, room);
    return recv(conn->fd, buffer, room, flags);
}

int nc_conn_reserve(struct nc_conn *conn, size_t bytes_count)
{
    if (conn->out_sent == conn->out_used)
        conn->out_sent = conn->out_used = 0;
    if (conn->out_room - conn->out_used >= bytes_count)
        return 0;
    if (bytes_count > SIZE_MAX / 4)
        return NEARCACHE_ENOMEM;
    size_t room = conn->out_used + bytes_count;
    room = room < FIRST_OUT_BYTES ? FIRST_OUT_BYTES : room + room / 2;
    char *grown = realloc(conn->out, room);
    if (!grown)
        return NEARCACHE_ENOMEM;
    conn->out = grown;
    conn->out_room = room;
    return 0;
}

void nc_conn_put(struct nc_conn *conn, const char *bytes, size_t bytes_count)
{
    if (bytes_count >= DIRECT_BYTES && !nc_conn_has_output(conn)) {
        ssize_t n = transmit(conn, bytes, bytes_count);
        /* A failure shows again when the rest is flushed. */
        if (n > 0) {
            count(&conn->stats->bytes_sent, (uint64_t)n);
            count(&conn->stats->writes, 1);
            bytes += n;
            bytes_count -= (size_t)n;
        }
    }
    memcpy(conn->out + conn->out_used, bytes, bytes_count);
    conn->out_used += bytes_count;
}

int nc_conn_queue(struct nc_conn *conn, const char *bytes, size_t bytes_count)
{
    int outcome = nc_conn_reserve(conn, bytes_count);
    if (outcome == 0)
        nc_conn_put(conn, bytes, bytes_count);
    return outcome;
}

int nc_conn_flush(struct nc_conn *conn)
{
    while (nc_conn_has_output(conn)) {
        ssize_t n = transmit(conn, conn->out + conn->out_sent, conn->out_used - conn->out_sent);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR ? 0 : NEARCACHE_EOFFLINK;
        conn->out_sent += (size_t)n;
        count(&conn->stats->bytes_sent, (uint64_t)n);
        count(&conn->stats->writes, 1);
    }
    conn->out_sent = conn->out_used = 0;
    if (conn->out_room > KEEP_OUT_BYTES) {
        free(conn->out);
        conn->out = NULL;
        conn->out_room = 0;
    }
    return 0;
}

static int read_once(struct nc_conn *conn, int flags)
{
    char buffer[READ_BYTES];
    for (;;) {
        ssize_t n = receive(conn, buffer, sizeof buffer, flags);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR ? 0 : NEARCACHE_EOFFLINK;
        if (n == 0)
            return NEARCACHE_EOFFLINK;
        count(&conn->stats->bytes_received, (uint64_t)n);
        int outcome = nc_reader_feed(conn->reader, buffer, (size_t)n);
        /* What TLS has decrypted already would not wake a poll of the socket. */
        if (outcome != 0 || !conn->tls || !nc_tls_pending(conn->tls))
            return outcome;
    }
}

int nc_conn_read(struct nc_conn *conn) { return read_once(conn, MSG_DONTWAIT); }

bool nc_conn_may_wait(struct nc_conn *conn, uint64_t left_ns)
{
    uint64_t most_ms = left_ns / NC_NS_PER_MS;
    if (conn->tls || most_ms < WAIT_LEAST_MS + WAIT_SLACK_MS)
        return false;
    most_ms -= WAIT_SLACK_MS;
    /* Callers with different deadlines come to share the shortest: changing it costs more. */
    if (conn->wait_ms != 0 && conn->wait_ms <= most_ms)
        return true;
    uint32_t ms = WAIT_LEAST_MS;
    while (ms < WAIT_MOST_MS && 2 * ms <= most_ms)
        ms *= 2;
    struct timeval timeout = {ms / 1000, (suseconds_t)(ms % 1000) * 1000};
    if (setsockopt(conn->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) != 0)
        return false;
    conn->wait_ms = ms;
    return true;
}

int nc_conn_read_waiting(struct nc_conn *conn) { return read_once(conn, 0); }

/* ---- waiting ---- */

/* 0: ready. NEARCACHE_ETIMEOUT, or NEARCACHE_ECLOSED when stopped. */
static int wait_ready(int fd, short events, int stop_fd, uint64_t deadline_ns)
{
    for (;;) {
        struct pollfd fds[2] = {{fd, events, 0}, {stop_fd, POLLIN, 0}};
        uint64_t now = nc_clock_io_ns();
        if (now >= deadline_ns)
            return NEARCACHE_ETIMEOUT;
        uint64_t left = deadline_ns - now;
        struct timespec timeout = {(time_t)(left / NC_NS_PER_S), (long)(left % NC_NS_PER_S)};
        int n = ppoll(fds, stop_fd >= 0 ? 2 : 1, &timeout, NULL);
        if (n < 0 && errno != EINTR)
            return NEARCACHE_EIO;
        if (n > 0 && fds[1].revents)
            return NEARCACHE_ECLOSED;
        if (n > 0)
            return 0;
    }
}

/* ---- connecting ---- */

static void set_options(int fd, bool tcp)
{
    int on = 1, idle_s = 5, interval_s = 1, probes = 3, user_timeout_ms = USER_TIMEOUT_MS;
    if (!tcp)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms, sizeof user_timeout_ms);
}

static const char *why_not_connected(int error)
{
    switch (error) {
    case ECONNREFUSED:
        return "nobody listens there (connection refused)";
    case ENOENT:
        return "there is no such socket";
    case EACCES:
    case EPERM:
        return "permission denied";
    case ENETUNREACH:
    case EHOSTUNREACH:
        return "the host cannot be reached";
    case EMFILE:
    case ENFILE:
        return "too many open files";
    default:
        return NULL;
    }
}

static int connect_to(struct nc_conn *conn, const struct sockaddr *address, socklen_t bytes,
                      int stop_fd, uint64_t deadline_ns)
{
    int error = 0;
    socklen_t error_bytes = sizeof error;
    conn->fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (conn->fd < 0) {
        conn->why = why_not_connected(errno);
        return NEARCACHE_EIO;
    }
    set_options(conn->fd, address->sa_family != AF_UNIX);
    if (connect(conn->fd, address, bytes) == 0)
        return 0;
    int outcome = 0;
    if (errno != EINPROGRESS)
        error = errno;
    else if ((outcome = wait_ready(conn->fd, POLLOUT, stop_fd, deadline_ns)) == 0 &&
             getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &error, &error_bytes) != 0)
        error = errno;
    if (error != 0) {
        conn->why = why_not_connected(error);
        outcome = NEARCACHE_EOFFLINK;
    }
    if (outcome != 0) {
        close(conn->fd);
        conn->fd = -1;
    }
    return outcome;
}

static int connect_unix(struct nc_conn *conn, const char *path, int stop_fd, uint64_t deadline_ns)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, path, strlen(path) + 1);
    return connect_to(conn, (const struct sockaddr *)&address, sizeof address, stop_fd,
                      deadline_ns);
}

static int connect_any(struct nc_conn *conn, const struct nc_redis_settings *settings, int stop_fd,
                       uint64_t deadline_ns)
{
    struct nc_addresses addresses;
    if (settings->unix_path)
        return connect_unix(conn, settings->unix_path, stop_fd, deadline_ns);
    int outcome =
        nc_resolve(settings->host, (uint16_t)settings->port, stop_fd, deadline_ns, &addresses);
    if (outcome == NEARCACHE_EOFFLINK)
        conn->why = "the name of the host is not known";
    for (unsigned i = 0; outcome == 0 && i < addresses.count; i++) {
        unsigned at = (conn->first + i) % addresses.count;
        /* One that swallows everything leaves time for the others. */
        uint64_t now = nc_clock_io_ns(), left = deadline_ns > now ? deadline_ns - now : 0;
        int tried = connect_to(conn, (const struct sockaddr *)&addresses.address[at],
                               addresses.bytes[at], stop_fd, now + left / (addresses.count - i));
        if (tried == 0) {
            conn->first = at;
            conn->why = NULL; /* of those before it */
        }
        if (tried == 0 || tried == NEARCACHE_ECLOSED || i + 1 == addresses.count)
            return tried;
    }
    return outcome;
}

/* ---- TLS ---- */

static int start_tls(struct nc_conn *conn, const struct nc_redis_settings *settings, int stop_fd,
                     uint64_t deadline_ns)
{
    int outcome = nc_tls_open(&conn->tls, settings->tls, conn->fd, settings->host);
    while (outcome == 0) {
        int needs = nc_tls_handshake(conn->tls, &conn->why);
        if (needs <= 0)
            return needs;
        outcome = wait_ready(conn->fd, (short)needs, stop_fd, deadline_ns);
    }
    return outcome;
}

/* A server that wants another certificate of us says so after its part of the handshake. */
static const char *why_tls_ended(struct nc_tls *tls)
{
    char alert;
    const char *why = nc_tls_why(tls);
    if (!why && nc_tls_recv(tls, &alert, 1) < 0)
        why = nc_tls_why(tls);
    return why;
}

/* ---- handshake ---- */

struct round_trip {
    struct nc_sink *sink;
    uint32_t due, done;
};

static void trip_part(void *arg, const struct nc_reply_part *part)
{
    struct round_trip *trip = arg;
    struct nc_reply_part mine = *part;
    mine.reply = trip->done;
    if (trip->sink && trip->done < trip->due)
        trip->sink->part(trip->sink, &mine);
}

static void trip_end(void *arg) { ((struct round_trip *)arg)->done++; }

int nc_conn_round_trip(struct nc_conn *conn, const struct nc_command *command, struct nc_sink *sink,
                       int stop_fd, uint64_t deadline_ns)
{
    struct round_trip trip = {sink, command->replies, 0};
    struct nc_reader_events before = conn->events;
    int outcome =
        command->failed ? NEARCACHE_ENOMEM : nc_conn_queue(conn, command->bytes, command->used);
    conn->events = (struct nc_reader_events){trip_part, trip_end, &trip};
    while (outcome == 0 && trip.done < trip.due) {
        outcome = nc_conn_flush(conn);
        if (outcome == NEARCACHE_EOFFLINK)
            (void)nc_conn_read(conn); /* why it was turned away may stand there */
        if (outcome == 0)
            outcome = wait_ready(conn->fd, nc_conn_has_output(conn) ? POLLIN | POLLOUT : POLLIN,
                                 stop_fd, deadline_ns);
        if (outcome == 0)
            outcome = nc_conn_read(conn);
    }
    conn->events = before;
    return outcome;
}

/* Errors of the first commands; what Redis says goes nowhere near a log with secrets. */
struct greeting {
    struct nc_sink sink;
    uint32_t must; /* the replies before this one must not be errors */
    int outcome;
    const char *why; /* static text */
};

static bool begins(const struct nc_reply_part *part, const char *text)
{
    size_t bytes = strlen(text);
    return part->bytes >= bytes && memcmp(part->str, text, bytes) == 0;
}

static const char *why_refused(const struct nc_reply_part *part)
{
    if (begins(part, "ERR DB ") || begins(part, "ERR invalid DB"))
        return "the server does not have this database";
    if (begins(part, "ERR SELECT"))
        return "a cluster has no database but 0";
    if (begins(part, "ERR max"))
        return "the server has as many clients as it takes";
    if (begins(part, "LOADING"))
        return "the server is loading its data";
    if (begins(part, "MASTERDOWN"))
        return "the server is a replica without its primary";
    return "the server refuses the first commands";
}

static int on_greeting(struct nc_sink *sink, const struct nc_reply_part *part)
{
    struct greeting *g = (struct greeting *)sink;
    if (part->type != NC_REPLY_ERROR || part->reply >= g->must || g->outcome != 0)
        return 0;
    /* One that cannot save answers so to PING, too, and serves reads. */
    if (begins(part, "MISCONF"))
        return 0;
    bool auth = begins(part, "NOAUTH") || begins(part, "WRONGP") || begins(part, "NOPERM") ||
                begins(part, "ERR invalid password") || begins(part, "ERR AU");
    g->outcome = auth ? NEARCACHE_EAUTH : NEARCACHE_EOFFLINK;
    g->why = auth ? NULL : why_refused(part);
    return 0;
}

static void put_word(struct nc_command *command, const char *word)
{
    nc_command_arg(command, word, strlen(word));
}

static void write_greeting(struct nc_command *command, const struct nc_redis_settings *settings)
{
    char number[16];
    if (settings->password) {
        nc_command_begin(command, settings->username ? 3 : 2);
        put_word(command, "AUTH");
        if (settings->username)
            put_word(command, settings->username);
        put_word(command, settings->password);
    }
    int n = 0;
    for (uint32_t v = settings->database, d = 1000000000; d; d /= 10)
        if (n > 0 || v / d % 10)
            number[n++] = (char)('0' + v / d % 10);
    /* Connections begin in database 0, and a Sentinel has none. */
    if (n > 0) {
        nc_command_begin(command, 2);
        put_word(command, "SELECT");
        nc_command_arg(command, number, (size_t)n);
    }
    /* Also finds out about LOADING before anybody's request does. */
    nc_command_begin(command, 1);
    put_word(command, "PING");
    nc_command_begin(command, 3);
    put_word(command, "CLIENT");
    put_word(command, "SETNAME");
    put_word(command, settings->client_name);
}

static int greet(struct nc_conn *conn, const struct nc_redis_settings *settings, int stop_fd,
                 uint64_t deadline_ns)
{
    struct nc_command command;
    nc_command_init(&command);
    write_greeting(&command, settings);
    /* A user without the right to CLIENT SETNAME goes nameless. */
    struct greeting greeting = {{on_greeting}, command.replies - 1, 0, NULL};
    int outcome = nc_conn_round_trip(conn, &command, &greeting.sink, stop_fd, deadline_ns);
    if (command.bytes)
        explicit_bzero(command.bytes, command.used);
    nc_command_deinit(&command);
    if (conn->out)
        explicit_bzero(conn->out, conn->out_room);
    conn->why = greeting.why;
    return greeting.outcome != 0 ? greeting.outcome : outcome;
}

int nc_conn_open(struct nc_conn *conn, const struct nc_redis_settings *settings, int stop_fd,
                 uint64_t deadline_ns)
{
    struct nc_reader_events events = {on_part, on_end, conn};
    conn->why = NULL;
    int outcome = connect_any(conn, settings, stop_fd, deadline_ns);
    if (outcome == 0 && settings->tls)
        outcome = start_tls(conn, settings, stop_fd, deadline_ns);
    if (outcome == 0 && !(conn->reader = nc_reader_create(&events)))
        outcome = NEARCACHE_ENOMEM;
    if (outcome == 0)
        outcome = greet(conn, settings, stop_fd, deadline_ns);
    /* So that who has time may wait in recv; everything else says MSG_DONTWAIT. */
    if (outcome == 0 && !conn->tls && fcntl(conn->fd, F_SETFL, 0) != 0)
        outcome = NEARCACHE_EIO;
    if (outcome == 0)
        count(&conn->stats->connects, 1);
    if (outcome == NEARCACHE_EOFFLINK && !conn->why && conn->tls)
        conn->why = why_tls_ended(conn->tls);
    if (outcome != 0)
        nc_conn_close(conn);
    return outcome;
}

int nc_conn_open_at(struct nc_conn *conn, const struct nc_redis_settings *settings,
                    const struct nc_primary *primary, int stop_fd, uint64_t deadline_ns)
{
    struct nc_redis_settings there = *settings;
    there.host = (char *)primary->host;
    there.port = primary->port;
    return nc_conn_open(conn, &there, stop_fd, deadline_ns);
}
