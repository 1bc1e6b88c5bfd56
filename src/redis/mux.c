#include "redis/mux.h"

#include "base/clock.h"
#include "base/futex.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

/* Bytes that one sender puts on the wire for itself and others before it looks again. */
#define PUMP_BYTES (256 * 1024)

static struct nc_call *current_call(struct nc_mux *mux)
{
    if (!mux->current) {
        pthread_mutex_lock(&mux->lock);
        mux->current = mux->flying;
        pthread_mutex_unlock(&mux->lock);
    }
    return mux->current;
}

static void on_part(void *arg, const struct nc_reply_part *part)
{
    struct nc_mux *mux = arg;
    struct nc_call *call = current_call(mux);
    struct nc_reply_part mine = *part;
    if (!call || !call->sink)
        return;
    mine.reply = call->replies_done;
    call->sink->part(call->sink, &mine);
}

static struct nc_call *pop_flying(struct nc_mux *mux)
{
    pthread_mutex_lock(&mux->lock);
    struct nc_call *call = mux->flying;
    if (call) {
        mux->flying = call->next;
        if (!mux->flying)
            mux->flying_end = &mux->flying;
        call->next = NULL;
    }
    mux->current = NULL;
    pthread_mutex_unlock(&mux->lock);
    return call;
}

static void on_end(void *arg)
{
    struct nc_mux *mux = arg;
    struct nc_call *call = current_call(mux);
    if (!call || ++call->replies_done < call->command.replies)
        return;
    pop_flying(mux);
    uint64_t us = (nc_clock_io_ns() - call->sent_ns) / NC_NS_PER_US;
    nc_histogram_add(&mux->conn.stats->round_trip_us, us);
    *mux->finished_end = call;
    mux->finished_end = &call->next;
}

void nc_mux_init(struct nc_mux *mux, struct nc_link_stats *stats)
{
    memset(mux, 0, sizeof *mux);
    nc_conn_init(&mux->conn, stats);
    pthread_mutex_init(&mux->sending, NULL);
    pthread_mutex_init(&mux->lock, NULL);
    pthread_mutex_init(&mux->delivering, NULL);
    pthread_cond_init(&mux->idle, NULL);
    mux->pending_end = &mux->pending;
    mux->flying_end = &mux->flying;
    mux->finished_end = &mux->finished;
    mux->broken = NEARCACHE_EOFFLINK;
}

void nc_mux_deinit(struct nc_mux *mux)
{
    pthread_cond_destroy(&mux->idle);
    pthread_mutex_destroy(&mux->delivering);
    pthread_mutex_destroy(&mux->lock);
    pthread_mutex_destroy(&mux->sending);
}

void nc_mux_up(struct nc_mux *mux)
{
    mux->conn.events = (struct nc_reader_events){on_part, on_end, mux};
    pthread_mutex_lock(&mux->lock);
    mux->broken = 0;
    pthread_mutex_unlock(&mux->lock);
}

/* From here on nothing new is taken; the leader, if any, sees the end of the stream. */
static void break_off(struct nc_mux *mux, int why)
{
    pthread_mutex_lock(&mux->lock);
    if (mux->broken == 0)
        mux->broken = why;
    if (mux->conn.fd >= 0)
        shutdown(mux->conn.fd, SHUT_RDWR);
    pthread_mutex_unlock(&mux->lock);
}

/* ---- sending ---- */

/* Moves what is pending to the row of the flying and into the buffer. */
static struct nc_call *take_pending(struct nc_mux *mux)
{
    struct nc_call *first;
    pthread_mutex_lock(&mux->lock);
    first = mux->pending;
    mux->pending = NULL;
    mux->pending_end = &mux->pending;
    pthread_mutex_unlock(&mux->lock);
    return first;
}

static bool fly(struct nc_mux *mux, struct nc_call *call)
{
    call->next = NULL;
    call->sent_ns = nc_clock_io_ns();
    atomic_fetch_add_explicit(&mux->conn.stats->commands, call->command.replies,
                              memory_order_relaxed);
    pthread_mutex_lock(&mux->lock);
    *mux->flying_end = call;
    mux->flying_end = &call->next;
    /* Before the bytes: whoever learns of a failure must not believe that none has left. */
    atomic_store_explicit(&call->sent, true, memory_order_release);
    pthread_mutex_unlock(&mux->lock);
    return nc_conn_queue(&mux->conn, call->command.bytes, call->command.used) == 0;
}

/* Sends everything that is pending, unless somebody is at it: then he sends ours too. */
static void pump(struct nc_mux *mux)
{
    for (;;) {
        if (pthread_mutex_trylock(&mux->sending) != 0)
            return; /* the holder looks again after it has let go */
        bool good = true;
        struct nc_call *call = take_pending(mux), *next;
        for (; call; call = next) {
            next = call->next;
            good = fly(mux, call) && good;
            if (mux->conn.out_used - mux->conn.out_sent > PUMP_BYTES)
                good = nc_conn_flush(&mux->conn) == 0 && good;
        }
        good = good && nc_conn_flush(&mux->conn) == 0;
        atomic_store(&mux->unsent, nc_conn_has_output(&mux->conn));
        pthread_mutex_unlock(&mux->sending);
        if (!good)
            break_off(mux, NEARCACHE_EOFFLINK);
        pthread_mutex_lock(&mux->lock);
        bool more = mux->pending != NULL;
        pthread_mutex_unlock(&mux->lock);
        if (!more)
            return;
    }
}

void nc_mux_submit(struct nc_mux *mux, struct nc_call *call)
{
    call->mux = mux;
    nc_call_retain(call);
    if (call->command.failed) {
        nc_call_end(call, NEARCACHE_ENOMEM);
        return;
    }
    pthread_mutex_lock(&mux->lock);
    int broken = mux->broken;
    if (!broken) {
        call->next = NULL;
        *mux->pending_end = call;
        mux->pending_end = &call->next;
    }
    pthread_mutex_unlock(&mux->lock);
    if (broken)
        nc_call_end(call, broken);
    else
        pump(mux);
}

/* ---- leading ---- */

static bool try_lead(struct nc_mux *mux)
{
    pthread_mutex_lock(&mux->lock);
    bool leads = !mux->leading;
    if (leads)
        mux->leading = true;
    pthread_mutex_unlock(&mux->lock);
    return leads;
}

static bool ask_to_lead(struct nc_call *list)
{
    for (struct nc_call *call = list; call; call = call->next) {
        uint32_t waiting = NC_CALL_WAITING;
        if (!atomic_load(&call->waited_for))
            continue;
        /* A call that is asked already counts: its waiter is on the way. */
        if (atomic_compare_exchange_strong(&call->state, &waiting, NC_CALL_LEAD))
            nc_futex_wake(&call->state, 1);
        return true;
    }
    return false;
}

/* Nobody leads (any more): the first who waits is asked to, else those who serve orphans. */
static void hand_over(struct nc_mux *mux)
{
    pthread_mutex_lock(&mux->lock);
    bool needed = !mux->leading && (mux->flying || mux->pending);
    bool asked = needed && (ask_to_lead(mux->flying) || ask_to_lead(mux->pending));
    pthread_mutex_unlock(&mux->lock);
    if (needed && !asked)
        mux->on_orphans(mux->arg);
}

static void stop_leading(struct nc_mux *mux)
{
    pthread_mutex_lock(&mux->lock);
    mux->leading = false;
    pthread_cond_broadcast(&mux->idle);
    pthread_mutex_unlock(&mux->lock);
    hand_over(mux);
}

static void end_finished(struct nc_mux *mux)
{
    struct nc_call *call = mux->finished, *next;
    if (!call)
        return;
    mux->finished = NULL;
    mux->finished_end = &mux->finished;
    mux->on_reply(mux->arg);
    for (; call; call = next) {
        next = call->next;
        nc_call_end(call, 0);
    }
}

/* The connection is lost: every call in it ends. Leader only. */
static void end_all(struct nc_mux *mux, int status)
{
    struct nc_call *call, *next;
    break_off(mux, status);
    /* Who is sending finishes first; after that nothing becomes flying any more. */
    pthread_mutex_lock(&mux->sending);
    while ((call = pop_flying(mux)))
        nc_call_end(call, status);
    for (call = take_pending(mux); call; call = next) {
        next = call->next;
        nc_call_end(call, status);
    }
    pthread_mutex_unlock(&mux->sending);
    atomic_fetch_add_explicit(&mux->conn.stats->errors, 1, memory_order_relaxed);
    mux->on_orphans(mux->arg);
}

/* Reads what is there. False: the connection is lost and all calls have ended. Leader only. */
static bool read_once(struct nc_mux *mux)
{
    pthread_mutex_lock(&mux->delivering);
    int outcome = nc_conn_read(&mux->conn);
    pthread_mutex_unlock(&mux->delivering);
    end_finished(mux);
    if (outcome != 0)
        end_all(mux, outcome);
    return outcome == 0;
}

static bool is_done(const struct nc_call *call)
{
    /* Acquire pairs with the release in nc_call_end. */
    return atomic_load_explicit(&call->state, memory_order_acquire) == NC_CALL_DONE;
}

/* Reads for all until the own call is done or its deadline passes. */
static void lead(struct nc_mux *mux, struct nc_call *call, uint64_t deadline_ns)
{
    while (!is_done(call)) {
        bool output = atomic_load(&mux->unsent);
        uint64_t now = nc_clock_io_ns();
        struct pollfd fd = {mux->conn.fd, output ? POLLIN | POLLOUT : POLLIN, 0};
        uint64_t left = now < deadline_ns ? deadline_ns - now : 0;
        struct timespec timeout = {(time_t)(left / NC_NS_PER_S), (long)(left % NC_NS_PER_S)};
        if (left == 0)
            return;
        int n = ppoll(&fd, 1, &timeout, NULL);
        if (n < 0 && errno != EINTR) {
            end_all(mux, NEARCACHE_EOFFLINK);
            return;
        }
        if (n <= 0)
            continue;
        if (fd.revents & POLLOUT)
            pump(mux);
        if (fd.revents & ~POLLOUT && !read_once(mux))
            return;
    }
}

int nc_mux_wait(struct nc_call *call, uint64_t deadline_ns)
{
    struct nc_mux *mux = call->mux;
    atomic_store(&call->waited_for, true);
    while (!is_done(call)) {
        if (try_lead(mux)) {
            lead(mux, call, deadline_ns);
            stop_leading(mux);
        } else {
            uint32_t asked = NC_CALL_LEAD;
            /* Asked, but somebody was faster: back to waiting, then look once more. */
            if (!atomic_compare_exchange_strong(&call->state, &asked, NC_CALL_WAITING))
                nc_futex_wait(&call->state, NC_CALL_WAITING, deadline_ns);
        }
        if (!is_done(call) && nc_clock_io_ns() >= deadline_ns) {
            /* Whoever was counting on this thread to lead finds another. */
            atomic_store(&call->waited_for, false);
            hand_over(mux);
            return is_done(call) ? 0 : NEARCACHE_ETIMEOUT;
        }
    }
    return 0;
}

bool nc_mux_serve(struct nc_mux *mux)
{
    if (!try_lead(mux))
        return true;
    if (atomic_load(&mux->unsent))
        pump(mux);
    bool good = !nc_mux_is_broken(mux) && read_once(mux);
    if (!good)
        end_all(mux, NEARCACHE_EOFFLINK);
    stop_leading(mux);
    return good;
}

int nc_mux_orphan_fd(struct nc_mux *mux, short *events)
{
    bool output = atomic_load(&mux->unsent);
    pthread_mutex_lock(&mux->lock);
    int fd = !mux->leading && mux->flying ? mux->conn.fd : -1;
    pthread_mutex_unlock(&mux->lock);
    *events = output ? POLLIN | POLLOUT : POLLIN;
    return fd;
}

bool nc_mux_is_broken(struct nc_mux *mux)
{
    pthread_mutex_lock(&mux->lock);
    bool broken = mux->broken != 0;
    pthread_mutex_unlock(&mux->lock);
    return broken;
}

bool nc_mux_is_free(struct nc_mux *mux)
{
    if (pthread_mutex_trylock(&mux->lock) != 0)
        return false;
    bool is_free = !mux->broken && !mux->leading && !mux->flying && !mux->pending;
    pthread_mutex_unlock(&mux->lock);
    return is_free;
}

void nc_mux_down(struct nc_mux *mux)
{
    break_off(mux, NEARCACHE_EOFFLINK);
    /* A leader sees the shutdown at once and ends all calls; without one it is done here. */
    while (!try_lead(mux)) {
        pthread_mutex_lock(&mux->lock);
        while (mux->leading)
            pthread_cond_wait(&mux->idle, &mux->lock);
        pthread_mutex_unlock(&mux->lock);
    }
    end_all(mux, NEARCACHE_EOFFLINK);
    pthread_mutex_lock(&mux->sending);
    pthread_mutex_lock(&mux->lock);
    nc_conn_close(&mux->conn);
    mux->leading = false;
    pthread_mutex_unlock(&mux->lock);
    pthread_mutex_unlock(&mux->sending);
}
