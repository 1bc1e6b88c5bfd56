#include "redis/mux.h"

#include "base/clock.h"
#include "base/futex.h"

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

/*
 * Memory order: everything that decides whether somebody still has to act (the outbox's stack,
 * sending, leading, head, tail, sleepers, left, watched, a call's state and waiters) is
 * sequentially consistent, because each of the pairs below is of the form "I store mine, then look
 * at yours". The operations are locked instructions on x86 in any case; what costs is the shared
 * lines.
 *
 *   push, then token       against   token let go, then stack         (no call stays unsent)
 *   head moved, then stack against   push, then flying and leading    (a call left to the reader)
 *   sleepers, then leading against   leading let go, then sleepers    (no sleeper without a leader)
 *   left, then leading     against   leading let go, then left        (no orphan without a reader)
 *   waiters, bed, state    against   state, then waiters, then bed    (no call ends unheard)
 *   leading or left, then watched  against  watched 0, then leading and left   (no lost wake-up)
 */

/* Bytes that one sender puts on the wire for itself and others before it looks again. */
#define PUMP_BYTES (256 * 1024)
/* Calls under way above which a new one is left to the reader, see nc_mux_submit. */
#define EAGER 1
/* Spinning: a yield that took longer gave the processor to somebody else. */
#define YIELDED_NS (2 * NC_NS_PER_US)
/* Leads that sleep at once after spinning was in vain again and again. */
#define SPINS_VAIN_MOST 63
/* What a reply of the batch connection is taken to have before one has been seen. */
#define GUESS_REPLY_BYTES (64 * 1024)

/* ---- replies: with the lead ---- */

static struct nc_call *at_head(struct nc_mux *mux)
{
    uint64_t head = atomic_load_explicit(&mux->head, memory_order_relaxed); /* ours */
    /* Acquire pairs with the sender's store: the slot is filled. */
    if (head == atomic_load_explicit(&mux->tail, memory_order_acquire))
        return NULL;
    return mux->ring[head % NC_MUX_RING];
}

static void end_receiving(struct nc_mux *mux)
{
    if (mux->receiving && mux->delivering)
        nc_call_end_delivery(mux->receiving);
    mux->receiving = NULL;
}

static void on_part(void *arg, const struct nc_reply_part *part)
{
    struct nc_mux *mux = arg;
    struct nc_call *call = mux->receiving;
    if (!call) {
        call = mux->receiving = at_head(mux);
        if (!call)
            return;
        mux->delivering = call->sink && nc_call_begin_delivery(call);
    }
    mux->reply_bytes += part->bytes + 8;
    if (part->type == NC_REPLY_ERROR && part->depth == 0 && !call->detour) {
        /* What nobody wants any more is not repeated. */
        if (call->slot != NC_NO_SLOT && (mux->delivering || !call->sink))
            call->detour = mux->on_refusal(mux->arg, call, part->str, part->bytes);
        if (!call->detour)
            mux->on_error(mux->arg, part->str, part->bytes);
    }
    if (mux->delivering && !call->detour) {
        struct nc_reply_part mine = *part;
        mine.reply = call->replies_done;
        call->sink->part(call->sink, &mine);
    }
}

static void learn_reply_bytes(struct nc_mux *mux)
{
    /* Relaxed: a guide for how many calls to send at a time. */
    uint64_t usual = atomic_load_explicit(&mux->usual_reply_bytes, memory_order_relaxed);
    usual = mux->reply_bytes > usual ? mux->reply_bytes : usual - (usual - mux->reply_bytes) / 8;
    atomic_store_explicit(&mux->usual_reply_bytes, usual, memory_order_relaxed);
}

static void on_end(void *arg)
{
    struct nc_mux *mux = arg;
    struct nc_call *call = at_head(mux);
    if (!call) {
        mux->unasked = true;
        return;
    }
    if (++call->replies_done < call->command.replies)
        return;
    end_receiving(mux);
    if (mux->batch_bytes)
        learn_reply_bytes(mux);
    mux->reply_bytes = 0;
    if (mux->read_ns == 0)
        mux->read_ns = nc_clock_io_ns();
    nc_histogram_add(&mux->conn.stats->round_trip_us,
                     (mux->read_ns - call->sent_ns) / NC_NS_PER_US);
    mux->in_time = mux->in_time || (!call->own && mux->read_ns < call->deadline_ns);
    call->next = NULL;
    *mux->finished_end = call;
    mux->finished_end = &call->next;
    atomic_fetch_add(&mux->head, 1);
}

/* ---- sending ---- */

static bool has_waiting(struct nc_mux *mux) { return nc_outbox_is_waiting(&mux->outbox); }

/* Whether another call may go out now. */
static bool has_room(struct nc_mux *mux)
{
    uint64_t flying = nc_mux_flying(mux);
    if (flying < 2) /* whatever their replies: with one alone the server idles between them */
        return true;
    if (flying >= NC_MUX_RING)
        return false;
    if (mux->batch_bytes == 0)
        return true;
    uint64_t usual = atomic_load_explicit(&mux->usual_reply_bytes, memory_order_relaxed);
    return (flying + 1) * usual <= mux->batch_bytes;
}

/* Puts a call on the wire. Why not: it has not left and is to be ended so. */
static int fly(struct nc_mux *mux, struct nc_call *call, uint64_t now_ns)
{
    if (now_ns >= call->deadline_ns)
        return NEARCACHE_ETIMEOUT;
    int outcome = nc_conn_reserve(&mux->conn, call->command.used);
    if (outcome != 0)
        return outcome;
    if (!nc_call_begin_sending(call))
        return NEARCACHE_ETIMEOUT;
    call->sent_ns = now_ns;
    uint64_t tail = atomic_load_explicit(&mux->tail, memory_order_relaxed); /* ours */
    mux->ring[tail % NC_MUX_RING] = call;
    atomic_fetch_add_explicit(&mux->conn.stats->commands, call->command.replies,
                              memory_order_relaxed);
    /* Before the bytes leave: the reader must find the call that a reply belongs to. From here on
     * it may end, answered by a server that did not wait for all of them. */
    nc_call_retain(call);
    atomic_store(&mux->tail, tail + 1);
    nc_conn_put(&mux->conn, call->command.bytes, call->command.used);
    nc_call_drop(call);
    return 0;
}

/* With the token. Calls that will not be sent are chained to *refused. False: the stream broke. */
static bool send_waiting(struct nc_mux *mux, struct nc_call **refused)
{
    uint64_t now_ns = 0;
    nc_outbox_collect(&mux->outbox);
    if (nc_conn_has_output(&mux->conn) && nc_conn_flush(&mux->conn) != 0)
        return false;
    while (nc_outbox_has_next(&mux->outbox) && has_room(mux) && !nc_conn_has_output(&mux->conn)) {
        /* As many as fit one write. */
        while (nc_outbox_has_next(&mux->outbox) && has_room(mux) &&
               nc_conn_output_bytes(&mux->conn) < PUMP_BYTES) {
            struct nc_call *call = nc_outbox_take(&mux->outbox);
            if (now_ns == 0)
                now_ns = nc_clock_io_ns();
            int outcome = fly(mux, call, now_ns);
            if (outcome != 0) {
                call->status = outcome;
                call->next = *refused;
                *refused = call;
            }
        }
        if (nc_conn_flush(&mux->conn) != 0)
            return false;
    }
    return true;
}

static void end_list(struct nc_call *call)
{
    while (call) {
        struct nc_call *next = call->next;
        nc_call_end(call, call->status);
        call = next;
    }
}

static bool try_token(struct nc_mux *mux)
{
    return atomic_load_explicit(&mux->sending, memory_order_relaxed) == 0 &&
           atomic_exchange(&mux->sending, 1) == 0;
}

/* Sends what waits, unless somebody is at it: then he sends ours too. */
static void pump(struct nc_mux *mux, bool leads)
{
    bool good = true;
    do {
        struct nc_call *refused = NULL;
        if (atomic_exchange(&mux->sending, 1) != 0)
            return;
        if (!nc_mux_is_broken(mux)) {
            good = send_waiting(mux, &refused);
            atomic_store(&mux->unsent, nc_conn_has_output(&mux->conn));
            /* The reader finds the end of the stream and ends the calls. */
            if (!good)
                shutdown(mux->conn.fd, SHUT_RDWR);
        }
        bool unsent = atomic_load(&mux->unsent);
        atomic_store(&mux->sending, 0);
        end_list(refused);
        /* The socket is full and who leads does not know, or does not stay: the link's thread sends
         * the rest. */
        if (unsent && (!leads || mux->looped))
            mux->on_orphans(mux->arg);
        if (unsent)
            return;
    } while (good && !nc_mux_is_broken(mux) && has_waiting(mux) && has_room(mux));
}

void nc_mux_flush(struct nc_mux *mux)
{
    if (has_waiting(mux))
        pump(mux, false);
}

void nc_mux_submit(struct nc_mux *mux, struct nc_call *call, enum nc_mux_sends sends)
{
    call->carrier = &mux->carrier;
    call->bed = nc_beds_next(&mux->carrier.beds);
    nc_call_retain(call);
    if (call->command.failed) {
        nc_call_end(call, NEARCACHE_ENOMEM);
        return;
    }
    if (!nc_outbox_push(&mux->outbox, call)) {
        nc_call_end(call, NEARCACHE_EOFFLINK);
        return;
    }
    if (sends == NC_MUX_SENDS_LATER)
        return;
    bool gathers = sends == NC_MUX_SENDS_WAITER;
    /* Relaxed: a hint for who leads. Written when it changes. */
    if (atomic_load_explicit(&mux->gathers, memory_order_relaxed) != gathers)
        atomic_store_explicit(&mux->gathers, gathers, memory_order_relaxed);
    if (gathers && nc_mux_flying(mux) == 0)
        return;
    /* Replies are due and somebody reads them: it sends this call with others that come till then.
     */
    if (nc_mux_flying(mux) >= mux->eager &&
        (atomic_load(&mux->leading) || atomic_load(&mux->watched)))
        return;
    pump(mux, false);
}

/* ---- leading ---- */

static bool try_lead(struct nc_mux *mux)
{
    uint32_t nobody = 0;
    return atomic_compare_exchange_strong(&mux->leading, &nobody, 1);
}

static void let_lead_go(struct nc_mux *mux)
{
    if (atomic_exchange(&mux->leading, 0) == 2)
        nc_futex_wake(&mux->leading, 1);
}

static void end_finished(struct nc_mux *mux)
{
    struct nc_call *call = mux->finished;
    mux->read_ns = 0;
    if (!call)
        return;
    mux->finished = NULL;
    mux->finished_end = &mux->finished;
    /* A late one does not say that the next will be in time. */
    if (mux->in_time)
        mux->on_reply(mux->arg);
    mux->in_time = false;
    struct nc_beds *beds = &mux->carrier.beds;
    uint32_t bed = call->bed;
    bool somebody = false;
    while (call) {
        struct nc_call *next = call->next;
        if (somebody && !nc_beds_are_near(call->bed, bed)) {
            nc_beds_wake(beds, bed);
            somebody = false;
        }
        bed = call->bed;
        if (call->detour)
            nc_call_go_elsewhere(call);
        else if (nc_call_end_quietly(call, 0))
            somebody = true;
        call = next;
    }
    if (somebody)
        nc_beds_wake(beds, bed);
}

/* The stream is lost: every call ends, the one being answered with `status`. Leader only. */
static void end_all(struct nc_mux *mux, int status)
{
    struct nc_call *list = NULL, **end = &list, *call;
    atomic_store(&mux->broken, 1);
    struct nc_call *top = nc_outbox_close(&mux->outbox);
    /* Who is sending never blocks; after it nothing gets into the ring any more. */
    while (!try_token(mux))
        sched_yield();
    if (mux->conn.fd >= 0)
        shutdown(mux->conn.fd, SHUT_RDWR);
    while ((call = at_head(mux))) {
        atomic_fetch_add(&mux->head, 1);
        call->status = status;
        call->next = NULL;
        *end = call;
        end = &call->next;
        status = NEARCACHE_EOFFLINK;
    }
    *end = nc_outbox_take_all(&mux->outbox);
    atomic_store(&mux->unsent, 0);
    for (call = *end; call; call = call->next)
        call->status = NEARCACHE_EOFFLINK;
    atomic_store(&mux->sending, 0);
    end_list(list);
    while (top) {
        struct nc_call *next = top->next;
        nc_call_end(top, NEARCACHE_EOFFLINK);
        top = next;
    }
    mux->on_orphans(mux->arg);
}

/* Reads what is there, or what comes. False: the stream is lost and all calls have ended. */
static bool read_once(struct nc_mux *mux, bool waits)
{
    int outcome = waits ? nc_conn_read_waiting(&mux->conn) : nc_conn_read(&mux->conn);
    if (outcome == 0 && mux->unasked)
        outcome = NEARCACHE_EPROTOCOL;
    end_receiving(mux);
    end_finished(mux);
    if (outcome != 0) {
        atomic_fetch_add_explicit(&mux->conn.stats->errors, 1, memory_order_relaxed);
        end_all(mux, outcome);
    }
    return outcome == 0;
}

/*
 * Looks for replies without sleeping for as long as nobody else wants the processor: one that would
 * go idle takes longer to wake than Redis to answer. True: that paid; else the reply has not come,
 * or came while somebody else ran, and sleeping would have been as good.
 */
static bool spin(struct nc_mux *mux, const struct nc_call *call, uint64_t deadline_ns)
{
    uint64_t now = nc_clock_io_ns(), until = now + mux->spin_ns, away_ns;
    until = until < deadline_ns ? until : deadline_ns;
    do {
        uint64_t before = nc_clock_io_ns();
        sched_yield();
        now = nc_clock_io_ns();
        away_ns = now - before;
        if (!read_once(mux, false))
            return true; /* the call is over, as all are */
    } while (!nc_call_is_over(call) && now < until && away_ns < YIELDED_NS);
    return nc_call_is_over(call) && away_ns < YIELDED_NS;
}

/* Looks, unless that was in vain lately, others sleep for what comes here, or somebody looks on
 * this processor already. */
static void try_spin(struct nc_mux *mux, const struct nc_call *call, uint64_t deadline_ns)
{
    if (mux->spin_ns == 0 || atomic_load_explicit(&mux->sleepers, memory_order_relaxed) != 0)
        return;
    if (mux->spins_skipped > 0) {
        mux->spins_skipped--;
        return;
    }
    uint64_t processor = UINT64_C(1) << ((unsigned)sched_getcpu() % 64);
    /* Relaxed, here and below: a hint. */
    if (atomic_fetch_or_explicit(mux->spinning, processor, memory_order_relaxed) & processor)
        return;
    if (spin(mux, call, deadline_ns))
        mux->spins_vain = 0;
    else if (mux->spins_vain < SPINS_VAIN_MOST)
        mux->spins_vain = 2 * mux->spins_vain + 1;
    mux->spins_skipped = mux->spins_vain;
    atomic_fetch_and_explicit(mux->spinning, ~processor, memory_order_relaxed);
}

/* Reads for all, asleep in between, until the own call is done or its deadline passes. */
static void sleep_and_read(struct nc_mux *mux, const struct nc_call *call, uint64_t deadline_ns)
{
    while (!nc_call_is_over(call)) {
        if (has_waiting(mux))
            pump(mux, true);
        if (nc_call_is_over(call))
            return;
        struct pollfd fd = {mux->conn.fd, POLLIN, 0};
        uint64_t now = nc_clock_io_ns(), left = deadline_ns - now;
        if (now >= deadline_ns)
            return;
        if (atomic_load(&mux->unsent)) {
            fd.events |= POLLOUT;
        } else if (nc_conn_may_wait(&mux->conn, left)) {
            if (!read_once(mux, true))
                return;
            continue;
        }
        struct timespec timeout = {(time_t)(left / NC_NS_PER_S), (long)(left % NC_NS_PER_S)};
        int n = ppoll(&fd, 1, &timeout, NULL);
        if (n < 0 && errno != EINTR) {
            end_all(mux, NEARCACHE_EOFFLINK);
            return;
        }
        if (n <= 0)
            continue;
        if (fd.revents & POLLOUT)
            pump(mux, true);
        if (fd.revents & ~POLLOUT && !read_once(mux, false))
            return;
    }
}

/* Those whose replies came together are about to ask again, each when he gets the processor: they
 * get it now, and what they ask for leaves in one write. */
static void gather(struct nc_mux *mux)
{
    if (nc_mux_flying(mux) == 0 && atomic_load_explicit(&mux->gathers, memory_order_relaxed))
        sched_yield();
}

static void lead(struct nc_mux *mux, const struct nc_call *call, uint64_t deadline_ns)
{
    if (has_waiting(mux)) {
        gather(mux);
        pump(mux, true);
    }
    if (!nc_call_is_over(call))
        try_spin(mux, call, deadline_ns);
    sleep_and_read(mux, call, deadline_ns);
}

/* The first call under way that somebody waits for, with a reference. With the lead. */
static struct nc_call *successor(struct nc_mux *mux)
{
    uint64_t head = atomic_load_explicit(&mux->head, memory_order_relaxed); /* ours */
    uint64_t tail = atomic_load(&mux->tail);
    for (; head != tail; head++) {
        struct nc_call *call = mux->ring[head % NC_MUX_RING];
        if (atomic_load(&call->waiters) != 0) {
            nc_call_retain(call);
            return call;
        }
    }
    return NULL;
}

static void ask_to_lead(struct nc_call *call)
{
    uint32_t waiting = NC_CALL_WAITING;
    if (atomic_compare_exchange_strong(&call->state, &waiting, NC_CALL_LEAD))
        nc_beds_wake_one(&call->carrier->beds, call->bed);
    nc_call_drop(call);
}

static void stop_leading(struct nc_mux *mux)
{
    for (int tries = 0;; tries++) {
        if (has_waiting(mux))
            pump(mux, true);
        struct nc_call *next = successor(mux);
        let_lead_go(mux);
        if (next) {
            ask_to_lead(next);
            return;
        }
        if (nc_mux_flying(mux) == 0 && !has_waiting(mux))
            return;
        /* Somebody may have come to wait after the ring was looked through. */
        if (tries > 0 || atomic_load(&mux->sleepers) == 0)
            break;
        if (!try_lead(mux))
            return;
    }
    if ((atomic_load(&mux->sleepers) != 0 || atomic_load(&mux->carrier.left) != 0) &&
        atomic_load(&mux->watched) == 0)
        mux->on_orphans(mux->arg);
}

static struct nc_mux *mux_of(struct nc_carrier *carrier)
{
    return (struct nc_mux *)((char *)carrier - offsetof(struct nc_mux, carrier));
}

static void on_left(struct nc_carrier *carrier)
{
    struct nc_mux *mux = mux_of(carrier);
    if (try_lead(mux))
        stop_leading(mux);
}

/* Somebody else leads: sleeps until done, asked to lead, or the deadline. */
static bool follow(struct nc_mux *mux, struct nc_call *call, uint64_t deadline_ns)
{
    struct nc_beds *beds = &mux->carrier.beds;
    bool leads = false;
    atomic_fetch_add(&mux->sleepers, 1);
    atomic_fetch_add(&call->waiters, 1);
    for (;;) {
        uint32_t asked = NC_CALL_LEAD, seen = nc_beds_look(beds, call->bed);
        if (nc_call_is_over(call) || (leads = try_lead(mux)))
            break;
        /* Asked, but somebody was faster: back to waiting, then look once more. */
        if (!atomic_compare_exchange_strong(&call->state, &asked, NC_CALL_WAITING) &&
            !nc_beds_sleep(beds, call->bed, seen, deadline_ns))
            break;
    }
    atomic_fetch_sub(&call->waiters, 1);
    atomic_fetch_sub(&mux->sleepers, 1);
    return leads;
}

int nc_mux_wait(struct nc_call *call, uint64_t deadline_ns)
{
    struct nc_mux *mux = mux_of(call->carrier);
    while (!nc_call_is_over(call)) {
        if (try_lead(mux) || follow(mux, call, deadline_ns)) {
            lead(mux, call, deadline_ns);
            stop_leading(mux);
        }
        if (!nc_call_is_over(call) && nc_clock_io_ns() >= deadline_ns) {
            nc_call_leave(call);
            return nc_call_state(call) == NC_CALL_DONE ? 0 : NEARCACHE_ETIMEOUT;
        }
    }
    return nc_call_state(call) == NC_CALL_DONE ? 0 : nc_call_await_elsewhere(call, deadline_ns);
}

/* ---- the link's thread ---- */

short nc_mux_watch(struct nc_mux *mux)
{
    /* The end of an idle connection is noticed without being woken by its replies. */
    short events = POLLRDHUP;
    if (atomic_load(&mux->unsent))
        events |= POLLOUT;
    if (atomic_load(&mux->leading) == 0 && (nc_mux_flying(mux) != 0 || has_waiting(mux)) &&
        (!mux->looped || atomic_load(&mux->carrier.left) != 0)) {
        events |= POLLIN;
        atomic_store(&mux->watched, 1);
    }
    return events;
}

void nc_mux_read_along(struct nc_mux *mux, bool begin)
{
    if (!begin)
        atomic_fetch_sub(&mux->carrier.left, 1);
    else if (atomic_fetch_add(&mux->carrier.left, 1) == 0 && atomic_load(&mux->watched) == 0)
        mux->on_orphans(mux->arg);
}

void nc_mux_unwatch(struct nc_mux *mux)
{
    if (atomic_load_explicit(&mux->watched, memory_order_relaxed)) /* ours */
        atomic_store(&mux->watched, 0);
}

void nc_mux_serve(struct nc_mux *mux)
{
    if (atomic_load(&mux->unsent) || has_waiting(mux))
        pump(mux, true);
    if (!try_lead(mux))
        return;
    if (!nc_mux_is_broken(mux))
        read_once(mux, false);
    stop_leading(mux);
}

/* ---- begin, end ---- */

void nc_mux_init(struct nc_mux *mux, struct nc_link_stats *stats, uint32_t batch_bytes)
{
    memset(mux, 0, sizeof *mux);
    nc_conn_init(&mux->conn, stats);
    nc_outbox_init(&mux->outbox);
    atomic_init(&mux->broken, 1);
    atomic_init(&mux->usual_reply_bytes, GUESS_REPLY_BYTES);
    mux->carrier.on_left = on_left;
    mux->batch_bytes = batch_bytes;
    mux->eager = batch_bytes ? UINT32_MAX : EAGER;
    mux->finished_end = &mux->finished;
}

void nc_mux_deinit(struct nc_mux *mux) { nc_conn_close(&mux->conn); }

void nc_mux_up(struct nc_mux *mux)
{
    mux->conn.events = (struct nc_reader_events){on_part, on_end, mux};
    mux->unasked = false;
    mux->reply_bytes = 0;
    atomic_store(&mux->broken, 0);
    /* From here on calls come; whoever takes one up sees the connection. */
    nc_outbox_open(&mux->outbox);
}

void nc_mux_down(struct nc_mux *mux)
{
    atomic_store(&mux->broken, 1);
    if (mux->conn.fd >= 0)
        shutdown(mux->conn.fd, SHUT_RDWR);
    /* A leader sees the shutdown at once. */
    for (uint32_t is = 0; !atomic_compare_exchange_strong(&mux->leading, &is, 1); is = 0)
        if (is == 2 || atomic_compare_exchange_strong(&mux->leading, &is, 2))
            nc_futex_wait(&mux->leading, 2, UINT64_MAX);
    end_all(mux, NEARCACHE_EOFFLINK);
    while (!try_token(mux))
        sched_yield();
    nc_conn_close(&mux->conn);
    atomic_store(&mux->sending, 0);
    let_lead_go(mux);
}
