#include "redis/link.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/hash.h"
#include "redis/backoff.h"
#include "redis/breaker.h"
#include "redis/identity.h"
#include "redis/lookout.h"
#include "redis/mux.h"
#include "redis/sentinel.h"
#include "redis/spread.h"
#include "redis/subscriber.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Making one connection of a link takes this long at most, by its round trips; a stopped server
 * accepts and is mute. */
#define CONNECT_NS (1 * NC_NS_PER_S)
/* Replies under way on the connection for batches: more only fills buffers. */
#define BATCH_BYTES (512 * 1024)
/* A subscription that is refused is tried again so often and so soon; then with backoff. */
#define REFUSALS_MOST 50
#define REFUSED_MS 20
/* A server that is to be left answers what it was asked, if it lives. */
#define LEAVE_NS (20 * NC_NS_PER_MS)
/* Shorter than any sensible `timeout` of a server. */
#define ALIVE_EVERY_NS (5 * NC_NS_PER_S)
#define SUBSCRIBE_NS (500 * NC_NS_PER_MS)
/* Opening the connection of an event loop holds up the link's thread: now and then, and not for
 * long. */
#define LOOP_EVERY_NS (1 * NC_NS_PER_S)
#define LOOP_NS (100 * NC_NS_PER_MS)

struct nc_link {
    struct nc_link_config config;
    struct nc_redis_settings *settings;
    struct nc_link_stats stats;
    struct nc_breaker breaker;
    struct nc_backoff backoff;
    struct nc_subscriber subscriber;
    struct nc_primary primary; /* with Sentinels or a guide: whom the link is with */
    struct nc_lookout lookout; /* tells of another */
    /* The link's thread's: which of the host's addresses answered last, how long the slowest
     * connection took, when to see to idle ones. */
    unsigned first;
    uint64_t opening_ns, alive_ns;
    unsigned singles; /* muxes[0 .. singles), then the one for batches, then the event loop's */
    unsigned loop;    /* its index */
    struct nc_mux *muxes;
    _Atomic int loop_epoll_fd; /* -1: there is no loop; written once */
    _Atomic bool loop_up;      /* written by the link's thread */
    uint64_t loop_due_ns;      /* when to try to open it; link's thread */
    _Atomic uint64_t spinning; /* processors on which somebody spins, one bit each */
    _Atomic uint32_t callers;  /* waiting for requests */
    struct nc_spread spread;
    pthread_t thread;
    bool started;
    pthread_t self;       /* the thread as it knows itself: `thread` is written by its maker */
    _Atomic bool running; /* self is set */
    int stop_fd, wake_fd;
    uint64_t generation;
    struct nc_identity server;
    const char *why;  /* the last attempt to connect failed; static text, NULL: see the outcome */
    const char *host; /* where to, with `port`; NULL: not known */
    uint32_t port;
    _Atomic bool auth_refused;
    _Atomic bool restart;           /* the failure is one by intent */
    _Atomic bool moving;            /* on its way to another server that the guide knows */
    const char *told;               /* the last failure in the log; link's thread */
    unsigned refused_subscriptions; /* in a row; link's thread */
    _Atomic(const char *) failure;  /* why the link is to be torn down; NULL: it is not */
};

static void signal_fd(int fd)
{
    uint64_t one = 1;
    while (write(fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

void nc_link_wake(struct nc_link *link) { signal_fd(link->wake_fd); }

void nc_link_fail(struct nc_link *link, const char *why)
{
    atomic_store(&link->failure, why);
    nc_link_wake(link);
}

static bool is_guided(const struct nc_link *link) { return link->config.guide.locate != NULL; }

void nc_link_restart(struct nc_link *link, const char *why)
{
    atomic_store(&link->restart, true);
    if (is_guided(link))
        atomic_store(&link->moving, true);
    nc_link_fail(link, why);
}

static void on_orphans(void *arg) { nc_link_wake(arg); }

static void on_reply(void *arg) { nc_breaker_answered(&((struct nc_link *)arg)->breaker); }

static bool begins(const char *text, size_t bytes, const char *word)
{
    size_t n = strlen(word);
    return bytes >= n && memcmp(text, word, n) == 0;
}

/* Errors that say that this server is not the one to talk to now. */
static void on_error(void *arg, const char *text, size_t bytes)
{
    struct nc_link *link = arg;
    atomic_fetch_add_explicit(&link->stats.errors, 1, memory_order_relaxed);
    if (begins(text, bytes, "READONLY"))
        nc_link_fail(link, "the server has become a replica");
    else if (begins(text, bytes, "LOADING"))
        nc_link_fail(link, "the server is loading its data");
    else if (begins(text, bytes, "MASTERDOWN"))
        nc_link_fail(link, "the replica has lost its primary");
}

static struct nc_detour *on_refusal(void *arg, struct nc_call *call, const char *text, size_t bytes)
{
    struct nc_link *link = arg;
    const struct nc_link_guide *guide = &link->config.guide;
    struct nc_detour *detour =
        is_guided(link) ? guide->on_refusal(guide->arg, call, text, bytes) : NULL;
    if (detour)
        atomic_fetch_add_explicit(&link->stats.redirects, 1, memory_order_relaxed);
    return detour;
}

static void on_primary(void *arg, const struct nc_primary *primary)
{
    struct nc_link *link = arg;
    if (!nc_primary_is(primary, &link->primary))
        nc_link_restart(link, "the Sentinels chose another primary");
}

/* ---- open ---- */

int nc_link_open(struct nc_link **out, const struct nc_link_config *config)
{
    if (config->settings->seed_count > 0 && !config->guide.locate)
        return NEARCACHE_EINVAL;
    struct nc_link *link = calloc(1, sizeof *link);
    if (!link)
        return NEARCACHE_ENOMEM;
    link->config = *config;
    int outcome = nc_redis_settings_copy(&link->settings, config->settings);
    if (outcome != 0) {
        free(link);
        return outcome;
    }
    link->config.settings = link->settings;
    link->singles = link->settings->connections;
    link->loop = link->singles + 1;
    atomic_init(&link->loop_epoll_fd, -1);
    link->muxes = aligned_alloc(64, (link->loop + 1) * sizeof *link->muxes);
    link->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    link->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!link->muxes || link->stop_fd < 0 || link->wake_fd < 0) {
        outcome = link->muxes ? NEARCACHE_EIO : NEARCACHE_ENOMEM;
        if (link->stop_fd >= 0)
            close(link->stop_fd);
        if (link->wake_fd >= 0)
            close(link->wake_fd);
        free(link->muxes);
        nc_redis_settings_destroy(link->settings);
        free(link);
        return outcome;
    }
    for (unsigned i = 0; i <= link->loop; i++) {
        nc_mux_init(&link->muxes[i], &link->stats, i == link->singles ? BATCH_BYTES : 0);
        link->muxes[i].spinning = &link->spinning;
        link->muxes[i].spin_ns = link->settings->spin_us * NC_NS_PER_US;
        link->muxes[i].looped = i == link->loop;
        link->muxes[i].on_orphans = on_orphans;
        link->muxes[i].on_reply = on_reply;
        link->muxes[i].on_error = on_error;
        link->muxes[i].on_refusal = on_refusal;
        link->muxes[i].arg = link;
    }
    nc_subscriber_init(&link->subscriber, &link->stats, config->on_message, config->arg);
    nc_lookout_init(&link->lookout, link->settings, link->stop_fd, on_primary, link);
    nc_breaker_init(&link->breaker, config->breaker_expiries);
    nc_spread_init(&link->spread);
    link->backoff.random = nc_hash_random();
    *out = link;
    return 0;
}

/* ---- connecting ---- */

/* A link is one server: every connection must reach the same. */
static int open_conn(struct nc_link *link, struct nc_conn *conn, bool first, uint64_t span_ns)
{
    struct nc_identity server;
    bool guided = link->settings->sentinel_count > 0 || is_guided(link);
    uint64_t began_ns = nc_clock_io_ns(), deadline_ns = began_ns + span_ns;
    conn->first = link->first;
    link->host = guided ? link->primary.host : link->settings->host;
    link->port = guided ? link->primary.port : link->settings->port;
    int outcome =
        guided ? nc_conn_open_at(conn, link->settings, &link->primary, link->stop_fd, deadline_ns)
               : nc_conn_open(conn, link->settings, link->stop_fd, deadline_ns);
    link->why = conn->why;
    if (outcome == 0)
        link->first = conn->first;
    if (outcome == 0)
        outcome = nc_identity_ask(&server, conn, link->stop_fd, deadline_ns);
    if (outcome == 0 && server.replica) {
        /* It may lag behind and takes no writes. */
        link->why = "the server is a replica";
        outcome = NEARCACHE_EOFFLINK;
    } else if (outcome == 0 && first) {
        link->server = server;
    } else if (outcome == 0 && !nc_identity_is(&server, &link->server)) {
        link->why = "its connections reach different servers";
        outcome = NEARCACHE_EOFFLINK;
    }
    uint64_t took_ns = nc_clock_io_ns() - began_ns;
    if (outcome == 0 && took_ns > link->opening_ns)
        link->opening_ns = took_ns;
    return outcome;
}

static void tell_ready(struct nc_link *link, bool ready)
{
    if (is_guided(link))
        link->config.guide.on_ready(link->config.guide.arg, ready);
}

static void tell_doubt(struct nc_link *link)
{
    if (is_guided(link))
        link->config.guide.on_doubt(link->config.guide.arg);
}

static void close_all(struct nc_link *link)
{
    tell_ready(link, false);
    atomic_store(&link->loop_up, false);
    /* Closing does not take it out of the set while a child of fork() has a copy. */
    int epoll_fd = atomic_load_explicit(&link->loop_epoll_fd, memory_order_acquire);
    if (epoll_fd >= 0 && link->muxes[link->loop].conn.fd >= 0)
        epoll_ctl(epoll_fd, EPOLL_CTL_DEL, link->muxes[link->loop].conn.fd, NULL);
    for (unsigned i = 0; i <= link->loop; i++)
        nc_mux_down(&link->muxes[i]);
    nc_conn_close(&link->subscriber.conn);
    nc_lookout_close(&link->lookout);
}

/* Who the server is, where the settings name only who knows it. */
static int locate(struct nc_link *link, uint64_t deadline_ns)
{
    if (is_guided(link))
        return link->config.guide.locate(link->config.guide.arg, &link->primary, &link->why);
    if (link->settings->sentinel_count > 0)
        return nc_sentinel_find(link->settings, link->stop_fd, deadline_ns, &link->primary,
                                &link->why);
    return 0;
}

static int open_all(struct nc_link *link)
{
    uint64_t deadline_ns = nc_clock_io_ns() + CONNECT_NS;
    link->why = link->host = NULL;
    link->loop_due_ns = link->opening_ns = 0;
    link->alive_ns = nc_clock_io_ns() + ALIVE_EVERY_NS;
    int outcome = locate(link, deadline_ns);
    if (outcome == 0 && link->config.subscriber)
        outcome = open_conn(link, &link->subscriber.conn, true, CONNECT_NS);
    for (unsigned i = 0; outcome == 0 && i <= link->singles; i++)
        outcome =
            open_conn(link, &link->muxes[i].conn, !link->config.subscriber && i == 0, CONNECT_NS);
    atomic_store(&link->auth_refused, outcome == NEARCACHE_EAUTH);
    if (outcome != 0) {
        close_all(link);
        atomic_store(&link->moving, false);
        return outcome;
    }
    for (unsigned i = 0; i <= link->singles; i++)
        nc_mux_up(&link->muxes[i]);
    tell_ready(link, true);
    atomic_store(&link->moving, false);
    return 0;
}

/* The event loop's, once the rest is up. When to come again. */
static uint64_t open_loop(struct nc_link *link, uint64_t now_ns)
{
    struct nc_mux *mux = &link->muxes[link->loop];
    struct epoll_event readable = {.events = EPOLLIN};
    int epoll_fd = atomic_load_explicit(&link->loop_epoll_fd, memory_order_acquire);
    if (epoll_fd < 0 || atomic_load(&link->loop_up))
        return UINT64_MAX;
    if (now_ns < link->loop_due_ns)
        return link->loop_due_ns;
    link->loop_due_ns = now_ns + LOOP_EVERY_NS;
    uint64_t span_ns = 2 * link->opening_ns > LOOP_NS ? 2 * link->opening_ns : LOOP_NS;
    if (open_conn(link, &mux->conn, false, span_ns) != 0 ||
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, mux->conn.fd, &readable) != 0) {
        nc_conn_close(&mux->conn);
        return link->loop_due_ns;
    }
    nc_mux_up(mux);
    atomic_store(&link->loop_up, true);
    return UINT64_MAX;
}

/* A server with a `timeout` ends connections that ask for nothing. When to come again. */
static uint64_t keep_alive(struct nc_link *link, uint64_t now_ns)
{
    if (now_ns < link->alive_ns)
        return link->alive_ns;
    link->alive_ns = now_ns + ALIVE_EVERY_NS;
    for (unsigned i = 0; i <= link->loop; i++) {
        struct nc_mux *mux = &link->muxes[i];
        if (nc_mux_is_broken(mux) || nc_mux_flying(mux) != 0)
            continue;
        struct nc_call *call = nc_call_create();
        if (!call)
            break;
        nc_command_begin(nc_call_command(call), 1);
        nc_command_arg(nc_call_command(call), "PING", 4);
        call->deadline_ns = link->alive_ns;
        call->own = true;
        nc_mux_submit(mux, call, NC_MUX_SENDS_NOW);
        nc_call_release(call);
    }
    return link->alive_ns;
}

static bool stopped(struct nc_link *link)
{
    struct pollfd fd = {link->stop_fd, POLLIN, 0};
    return poll(&fd, 1, 0) > 0;
}

/* ---- the thread ---- */

static int timeout_ms(uint64_t due_ns)
{
    uint64_t now = nc_clock_io_ns();
    if (due_ns <= now)
        return 0;
    uint64_t ms = (due_ns - now + NC_NS_PER_MS - 1) / NC_NS_PER_MS;
    return ms > 60000 ? 60000 : (int)ms;
}

static void drain(int fd)
{
    uint64_t count;
    while (read(fd, &count, sizeof count) > 0)
        ;
}

/* Ends early when the link is stopped, or restarted by who knows of another server. */
static void wait_backoff(struct nc_link *link)
{
    uint64_t due_ns = nc_clock_io_ns() + nc_backoff_next_ns(&link->backoff);
    struct pollfd fds[2] = {{link->stop_fd, POLLIN, 0}, {link->wake_fd, POLLIN, 0}};
    while (nc_clock_io_ns() < due_ns && !atomic_exchange(&link->restart, false)) {
        poll(fds, 2, timeout_ms(due_ns));
        if (fds[0].revents)
            return;
        if (fds[1].revents)
            drain(link->wake_fd);
    }
}

/* Serves everything until the link fails. Returns why, or NULL when stopped. */
static const char *serve(struct nc_link *link)
{
    unsigned last = link->loop + 4;
    struct pollfd *fds = calloc(last + 1, sizeof *fds);
    const char *why = fds ? NULL : "out of memory";
    while (fds && !(why = atomic_load(&link->failure))) {
        uint64_t due_ns = UINT64_MAX;
        if (link->config.on_tick)
            due_ns = link->config.on_tick(link->config.arg, nc_clock_io_ns());
        uint64_t lookout_ns = nc_lookout_tick(&link->lookout, nc_clock_io_ns());
        due_ns = lookout_ns < due_ns ? lookout_ns : due_ns;
        uint64_t loop_ns = open_loop(link, nc_clock_io_ns());
        due_ns = loop_ns < due_ns ? loop_ns : due_ns;
        uint64_t alive_ns = keep_alive(link, nc_clock_io_ns());
        due_ns = alive_ns < due_ns ? alive_ns : due_ns;
        fds[0] = (struct pollfd){link->stop_fd, POLLIN, 0};
        fds[1] = (struct pollfd){link->wake_fd, POLLIN, 0};
        fds[2] = (struct pollfd){link->subscriber.conn.fd, POLLIN, 0};
        for (unsigned i = 0; i <= link->loop; i++)
            fds[3 + i] = (struct pollfd){link->muxes[i].conn.fd, nc_mux_watch(&link->muxes[i]), 0};
        fds[last] = (struct pollfd){nc_lookout_fd(&link->lookout), POLLIN, 0};
        poll(fds, last + 1, timeout_ms(due_ns));
        for (unsigned i = 0; i <= link->loop; i++)
            nc_mux_unwatch(&link->muxes[i]);
        if (fds[0].revents)
            break;
        if (fds[1].revents)
            drain(link->wake_fd);
        if (fds[2].revents && nc_conn_read(&link->subscriber.conn) != 0)
            nc_link_fail(link, "the subscription's connection was lost");
        if (link->subscriber.dropped)
            nc_link_fail(link, "the slot of the subscription is elsewhere");
        if (fds[last].revents)
            nc_lookout_read(&link->lookout);
        for (unsigned i = 0; i <= link->loop; i++) {
            if (fds[3 + i].revents)
                nc_mux_serve(&link->muxes[i]);
            if (nc_mux_is_broken(&link->muxes[i]) && (i != link->loop || link->loop_up))
                nc_link_fail(link, "a connection was lost");
        }
    }
    free(fds);
    return why;
}

/* New calls are held meanwhile; those under way are answered by a server that lives. */
static void end_calls(struct nc_link *link)
{
    uint64_t until_ns = nc_clock_io_ns() + LEAVE_NS;
    for (bool any = true; any && nc_clock_io_ns() < until_ns && !stopped(link);) {
        any = false;
        for (unsigned i = 0; i <= link->loop; i++) {
            nc_mux_serve(&link->muxes[i]);
            any = any || (!nc_mux_is_broken(&link->muxes[i]) && nc_mux_flying(&link->muxes[i]) > 0);
        }
        if (any)
            poll(NULL, 0, 1);
    }
}

/* Each reason once until a link has lasted: attempts go on for as long as Redis is away. */
static void tell(struct nc_link *link, const char *what, const char *reason)
{
    nc_log_write(link->config.log,
                 reason == link->told ? NEARCACHE_LOG_DEBUG : NEARCACHE_LOG_WARNING, "%s: %s", what,
                 reason);
    link->told = reason;
}

static void tell_unreached(struct nc_link *link, int outcome)
{
    const struct nc_redis_settings *settings = link->settings;
    char what[sizeof link->primary.host + 64];
    if (settings->unix_path)
        snprintf(what, sizeof what, "cannot connect to Redis at %s", settings->unix_path);
    else if (link->host)
        snprintf(what, sizeof what, "cannot connect to Redis at %s port %" PRIu32, link->host,
                 link->port);
    else
        snprintf(what, sizeof what, "cannot connect to Redis");
    tell(link, what, link->why ? link->why : nc_error_text(outcome));
}

static void *run(void *arg)
{
    struct nc_link *link = arg;
    const struct nc_link_config *config = &link->config;
    link->self = pthread_self();
    /* Release pairs with the acquire in nc_link_submit. */
    atomic_store_explicit(&link->running, true, memory_order_release);
    while (!stopped(link)) {
        if (config->on_connecting)
            config->on_connecting(config->arg);
        atomic_store(&link->failure, NULL);
        int outcome = open_all(link);
        if (outcome == 0) {
            link->generation++;
            nc_breaker_answered(&link->breaker);
            uint64_t up_ns = nc_clock_io_ns();
            if (config->on_up)
                config->on_up(config->arg, link->generation);
            const char *why = serve(link);
            /* Told to restart before it was quite up, it had forgotten that it moves. */
            if (is_guided(link) && atomic_load(&link->restart))
                atomic_store(&link->moving, true);
            if (atomic_load(&link->moving))
                end_calls(link);
            close_all(link);
            if (why)
                tell(link, "link to Redis down", why);
            /* One that lasted was worth having: begin with short waits again. */
            if (nc_clock_io_ns() - up_ns > NC_NS_PER_S) {
                nc_backoff_reset(&link->backoff);
                link->told = NULL;
            }
        } else if (outcome != NEARCACHE_ECLOSED) {
            tell_unreached(link, outcome);
        }
        if (config->on_down)
            config->on_down(config->arg, link->generation);
        tell_doubt(link);
        if (!atomic_exchange(&link->restart, false) && !stopped(link))
            wait_backoff(link);
    }
    return NULL;
}

int nc_link_start(struct nc_link *link)
{
    int rc = pthread_create(&link->thread, NULL, run, link);
    if (rc != 0)
        return rc == EAGAIN ? NEARCACHE_EIO : NEARCACHE_ENOMEM;
    link->started = true;
    return 0;
}

void nc_link_close(struct nc_link *link, uint64_t deadline_ns)
{
    (void)deadline_ns; /* every wait of the thread ends when stop_fd becomes readable */
    signal_fd(link->stop_fd);
    if (link->started)
        pthread_join(link->thread, NULL);
    for (unsigned i = 0; i <= link->loop; i++)
        nc_mux_deinit(&link->muxes[i]);
    close(link->stop_fd);
    close(link->wake_fd);
    free(link->muxes);
    nc_redis_settings_destroy(link->settings);
    free(link);
}

/* ---- requests ---- */

/*
 * A connection of one's own while there are enough and that is faster; else one for all, whose
 * writes and reads then serve many. Threads begin to look at different ones, so that they seldom
 * meet.
 */
static struct nc_mux *choose(struct nc_link *link, enum nc_call_kind kind)
{
    if (kind > NC_CALL_AHEAD)
        return &link->muxes[kind == NC_CALL_BATCH ? link->singles : link->loop];
    if (!nc_spread_is_together(&link->spread) &&
        atomic_load_explicit(&link->callers, memory_order_relaxed) < link->singles) {
        uint64_t self = (uint64_t)pthread_self();
        unsigned first = (unsigned)(nc_hash_step(&self) % link->singles);
        for (unsigned i = 0; i < link->singles; i++) {
            unsigned at = first + i < link->singles ? first + i : first + i - link->singles;
            if (nc_mux_is_free(&link->muxes[at]))
                return &link->muxes[at];
        }
    }
    return &link->muxes[0];
}

static void refuse(struct nc_call *call, int status)
{
    nc_call_retain(call);
    nc_call_end(call, status);
}

/* `moving` says so only with a guide. */
static void hold(struct nc_link *link, struct nc_call *call, struct nc_mux *mux)
{
    nc_call_hold(call, &mux->carrier);
    link->config.guide.on_held(link->config.guide.arg, call);
}

/* Who waits while nothing is under way has been answered, and comes back soon. */
static enum nc_mux_sends sends(const struct nc_link *link, enum nc_call_kind kind)
{
    if (kind == NC_CALL_LOOP)
        return NC_MUX_SENDS_LATER;
    return kind == NC_CALL_SINGLE && nc_spread_is_together(&link->spread) &&
                   atomic_load_explicit(&((struct nc_link *)link)->callers, memory_order_relaxed) >
                       0
               ? NC_MUX_SENDS_WAITER
               : NC_MUX_SENDS_NOW;
}

void nc_link_submit(struct nc_link *link, struct nc_call *call, enum nc_call_kind kind,
                    uint64_t deadline_ns)
{
    /* The link's own requests (heartbeats) find out whether Redis answers again. */
    bool own = atomic_load_explicit(&link->running, memory_order_acquire) &&
               pthread_equal(pthread_self(), link->self);
    call->deadline_ns = deadline_ns;
    call->kind = kind;
    call->own = own;
    if (!own && !nc_breaker_lets_through(&link->breaker))
        refuse(call, NEARCACHE_EOFFLINK);
    else if (call->slot != NC_NO_SLOT && atomic_load(&link->moving))
        hold(link, call, choose(link, kind));
    else
        nc_mux_submit(choose(link, kind), call, sends(link, kind));
}

static void count_timeout(struct nc_link *link)
{
    atomic_fetch_add_explicit(&link->stats.timeouts, 1, memory_order_relaxed);
    if (nc_breaker_expired(&link->breaker)) {
        atomic_fetch_add_explicit(&link->stats.breaker_opens, 1, memory_order_relaxed);
        nc_log_write(link->config.log, NEARCACHE_LOG_WARNING,
                     "circuit breaker open: Redis does not answer in time");
    }
}

/* In company it is noted how long that took. */
static int wait_counted(struct nc_link *link, struct nc_call *call, uint64_t until_ns)
{
    uint32_t others = atomic_fetch_add_explicit(&link->callers, 1, memory_order_relaxed);
    bool in_company = others > 0 && call->kind == NC_CALL_SINGLE;
    uint64_t begun_ns = in_company ? nc_clock_io_ns() : 0;
    int outcome = nc_mux_wait(call, until_ns);
    atomic_fetch_sub_explicit(&link->callers, 1, memory_order_relaxed);
    if (in_company) {
        uint64_t now_ns = nc_clock_io_ns();
        nc_spread_count(&link->spread, now_ns - begun_ns, now_ns);
    }
    return outcome;
}

int nc_link_wait_softly(struct nc_link *link, struct nc_call *call, uint64_t until_ns)
{
    if (!call->carrier)
        return call->status;
    int outcome = wait_counted(link, call, until_ns);
    return outcome == 0 ? call->status : NEARCACHE_ETIMEOUT;
}

int nc_link_wait(struct nc_link *link, struct nc_call *call, uint64_t deadline_ns)
{
    if (!call->carrier)
        return call->status;
    int outcome = wait_counted(link, call, deadline_ns);
    if (outcome == 0)
        return call->status;
    count_timeout(link);
    return outcome;
}

int nc_link_call(struct nc_link *link, struct nc_call *call, enum nc_call_kind kind,
                 uint64_t deadline_ns)
{
    nc_link_submit(link, call, kind, deadline_ns);
    int outcome = nc_link_wait(link, call, deadline_ns);
    if (outcome == NEARCACHE_ETIMEOUT)
        nc_call_abandon(call);
    return outcome;
}

/* ---- event loop ---- */

void nc_link_loop_attach(struct nc_link *link, int epoll_fd)
{
    int nobodys = -1;
    /* Release pairs with the acquire of the link's thread. */
    if (atomic_compare_exchange_strong_explicit(&link->loop_epoll_fd, &nobodys, epoll_fd,
                                                memory_order_release, memory_order_relaxed))
        nc_link_wake(link);
}

bool nc_link_loop_is_up(const struct nc_link *link)
{
    /* Relaxed: a request that comes too late or too early for it is refused or goes another way. */
    return atomic_load_explicit(&link->loop_up, memory_order_relaxed);
}

void nc_link_loop_flush(struct nc_link *link) { nc_mux_flush(&link->muxes[link->loop]); }

void nc_link_loop_serve(struct nc_link *link)
{
    struct nc_mux *mux = &link->muxes[link->loop];
    if (nc_mux_flying(mux) != 0 && !nc_mux_is_broken(mux))
        nc_mux_serve(mux);
}

void nc_link_loop_await(struct nc_link *link, bool begin)
{
    nc_mux_read_along(&link->muxes[link->loop], begin);
}

void nc_link_expired(struct nc_link *link) { count_timeout(link); }

/* ---- state ---- */

struct nc_link_stats *nc_link_stats(struct nc_link *link) { return &link->stats; }

bool nc_link_breaker_is_open(const struct nc_link *link)
{
    return nc_breaker_is_open(&link->breaker);
}

bool nc_link_refused_auth(const struct nc_link *link) { return atomic_load(&link->auth_refused); }

void nc_link_server(struct nc_link *link, char *text, size_t capacity)
{
    size_t n = strlen(link->server.text);
    n = n < capacity ? n : capacity - 1;
    memcpy(text, link->server.text, n);
    text[n] = 0;
}

int nc_link_track(struct nc_link *link, const char *const *prefixes, unsigned count)
{
    return nc_subscriber_track(&link->subscriber, prefixes, count, link->stop_fd,
                               nc_clock_io_ns() + SUBSCRIBE_NS);
}

int nc_link_subscribe(struct nc_link *link, const char *const *channels, unsigned count)
{
    bool sharded = link->config.guide.sharded;
    int outcome = nc_subscriber_subscribe(&link->subscriber, sharded, channels, count,
                                          link->stop_fd, nc_clock_io_ns() + SUBSCRIBE_NS);
    if (outcome != NEARCACHE_EREMOTE || !sharded) {
        link->refused_subscriptions = 0;
    } else if (link->refused_subscriptions++ < REFUSALS_MOST) {
        /* The slot has left this server, and the map does not say so yet. */
        struct pollfd stop = {link->stop_fd, POLLIN, 0};
        tell_doubt(link);
        poll(&stop, 1, REFUSED_MS);
        nc_link_restart(link, "the slot of the subscription is elsewhere");
    }
    return outcome;
}
