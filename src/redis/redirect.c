#include "redis/redirect.h"

#include "base/clock.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* Between two tries, doubled each time up to the most. */
#define FIRST_PAUSE_NS (2 * NC_NS_PER_MS)
#define MOST_PAUSE_NS (32 * NC_NS_PER_MS)
/* A call without a deadline is repeated for so long. */
#define MOST_NS (5 * NC_NS_PER_S)

enum kind { MOVED, ASK, TRYAGAIN, CLUSTERDOWN, HELD };

/* One refused call. One thread at a time: who reads its reply, then the thread or who submits. */
struct nc_redirect {
    struct nc_sink sink; /* of the repetition */
    struct nc_detour detour;
    struct nc_redirect *next;
    struct nc_redirects *home;
    struct nc_call *call, *repetition;
    unsigned lane;
    enum nc_call_kind call_kind;
    enum kind kind;
    struct nc_primary target;
    bool asking;        /* the repetition's first reply is that to ASKING */
    bool refused_again; /* so was the repetition */
    unsigned tries;
    uint64_t due_ns, give_up_ns;
    size_t text_bytes;
    char text[384]; /* the refusal */
};

/* Guarded by the lock. */
struct nc_redirects {
    struct nc_cluster *cluster;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct nc_redirect *waiting;
    bool stopped, started;
    pthread_t thread;
};

/* ---- what a refusal says ---- */

static bool begins(const char *text, size_t bytes, const char *word)
{
    size_t n = strlen(word);
    return bytes >= n && memcmp(text, word, n) == 0 && (bytes == n || text[n] == ' ');
}

/* `MOVED slot host:port`; an address of IPv6 has colons of its own. An empty host is `from`, that
 * of who says so. */
static bool parse_target(const char *text, size_t bytes, const char *from,
                         struct nc_primary *target)
{
    const char *end = text + bytes, *slot = memchr(text, ' ', bytes);
    const char *host = slot ? memchr(slot + 1, ' ', (size_t)(end - slot - 1)) : NULL;
    const char *colon = host ? memrchr(host, ':', (size_t)(end - host)) : NULL;
    bool elsewhere = colon && colon > host + 1;
    return colon &&
           nc_primary_put_host(target, elsewhere ? host + 1 : from,
                               elsewhere ? (size_t)(colon - host - 1) : strlen(from)) &&
           nc_primary_put_port(target, colon + 1, (size_t)(end - colon - 1));
}

static bool parse(struct nc_redirect *r, const char *text, size_t bytes, const char *from)
{
    struct nc_primary target = {"", 0};
    enum kind kind;
    if (begins(text, bytes, "MOVED"))
        kind = MOVED;
    else if (begins(text, bytes, "ASK"))
        kind = ASK;
    else if (begins(text, bytes, "TRYAGAIN"))
        kind = TRYAGAIN;
    else if (begins(text, bytes, "CLUSTERDOWN"))
        kind = CLUSTERDOWN;
    else
        return false;
    if (bytes > sizeof r->text || (kind <= ASK && !parse_target(text, bytes, from, &target)))
        return false;
    r->kind = kind;
    r->target = target;
    memcpy(r->text, text, bytes);
    r->text_bytes = bytes;
    return true;
}

/* ---- the end ---- */

static void end(struct nc_redirect *r, int status)
{
    struct nc_call *call = r->call;
    free(r);
    nc_call_end(call, status);
}

static void deliver(struct nc_call *call, const struct nc_reply_part *part)
{
    if (!call->sink || !nc_call_begin_delivery(call))
        return;
    call->sink->part(call->sink, part);
    nc_call_end_delivery(call);
}

/* The refusal is the answer. */
static void give_up(struct nc_redirect *r)
{
    if (r->kind == HELD) {
        end(r, NEARCACHE_EOFFLINK);
        return;
    }
    const struct nc_reply_part part = {
        .type = NC_REPLY_ERROR, .str = r->text, .bytes = r->text_bytes};
    deliver(r->call, &part);
    end(r, 0);
}

/* ---- later ---- */

static void later(struct nc_redirect *r)
{
    struct nc_redirects *all = r->home;
    uint64_t pause_ns = FIRST_PAUSE_NS << (r->tries < 4 ? r->tries : 4);
    r->tries++;
    r->due_ns = nc_clock_io_ns() + (pause_ns < MOST_PAUSE_NS ? pause_ns : MOST_PAUSE_NS);
    if (r->due_ns > r->give_up_ns)
        r->due_ns = r->give_up_ns;
    pthread_mutex_lock(&all->lock);
    bool stopped = all->stopped;
    if (!stopped) {
        r->next = all->waiting;
        all->waiting = r;
        pthread_cond_signal(&all->changed);
    }
    pthread_mutex_unlock(&all->lock);
    if (stopped)
        end(r, NEARCACHE_EOFFLINK);
}

/* ---- the repetition ---- */

static int on_part(struct nc_sink *sink, const struct nc_reply_part *part)
{
    struct nc_redirect *r = (struct nc_redirect *)sink;
    struct nc_reply_part mine = *part;
    if (r->refused_again || (r->asking && part->reply == 0))
        return 0;
    if (part->depth == 0 && part->type == NC_REPLY_ERROR &&
        parse(r, part->str, part->bytes, r->target.host)) {
        r->refused_again = true;
        return 0;
    }
    mine.reply -= r->asking;
    deliver(r->call, &mine);
    return 0;
}

static void on_done(void *arg, int status)
{
    struct nc_redirect *r = arg;
    bool sent = nc_call_was_sent(r->repetition);
    if (status == 0 && !r->refused_again)
        end(r, 0);
    else if (status == 0) {
        if (r->kind == MOVED)
            nc_cluster_doubt(r->home->cluster);
        later(r);
    } else if (!sent && status == NEARCACHE_EOFFLINK)
        later(r);
    else if (!sent && status == NEARCACHE_ETIMEOUT)
        give_up(r);
    else
        end(r, status);
}

static void send_by(struct nc_redirect *r, struct nc_link *link)
{
    /* One that was held has not been sent before. */
    if (!nc_call_begin_sending(r->call)) {
        end(r, NEARCACHE_ETIMEOUT);
        return;
    }
    struct nc_call *repetition = nc_call_create();
    if (!repetition) {
        end(r, NEARCACHE_ENOMEM);
        return;
    }
    r->repetition = repetition;
    r->asking = r->kind == ASK;
    r->refused_again = false;
    if (r->asking) {
        nc_command_begin(&repetition->command, 1);
        nc_command_arg(&repetition->command, "ASKING", 6);
    }
    nc_command_append(&repetition->command, &r->call->command);
    nc_call_expect(repetition, &r->sink, on_done, r);
    /* From here on the redirect is whose the answer is. */
    nc_link_submit(link, repetition, r->call_kind, r->call->deadline_ns);
    nc_call_release(repetition);
}

/* Where it was sent to; else, and now and then because the map may know better, by the map. */
static struct nc_link *choose(struct nc_redirect *r, unsigned *place)
{
    struct nc_cluster *cluster = r->home->cluster;
    bool by_map = r->kind > ASK || r->tries % 4 == 3;
    return by_map ? nc_cluster_use(cluster, r->lane, r->call->slot, place)
                  : nc_cluster_use_at(cluster, &r->target, r->lane, place);
}

/* `paced`: on the thread, which may make links. */
static void go(struct nc_redirect *r, bool paced)
{
    struct nc_redirects *all = r->home;
    unsigned place;
    if (nc_call_is_abandoned(r->call)) {
        end(r, NEARCACHE_ETIMEOUT);
        return;
    }
    if (nc_clock_io_ns() >= r->give_up_ns) {
        give_up(r);
        return;
    }
    struct nc_link *link = choose(r, &place);
    if (!link) {
        nc_cluster_doubt(all->cluster);
        if (paced && r->kind <= ASK)
            nc_cluster_invite(all->cluster, &r->target);
        later(r);
        return;
    }
    if (r->kind == ASK && r->tries % 4 == 3)
        r->kind = TRYAGAIN; /* by the map, so without ASKING */
    send_by(r, link);
    nc_cluster_end_use(all->cluster, place);
}

/* ---- from the connection ---- */

static struct nc_redirect *redirect_of(struct nc_detour *detour)
{
    return (struct nc_redirect *)((char *)detour - offsetof(struct nc_redirect, detour));
}

/* The replies are complete. */
static void on_complete(struct nc_detour *detour)
{
    struct nc_redirect *r = redirect_of(detour);
    if (r->kind != ASK)
        nc_cluster_doubt(r->home->cluster);
    if (r->kind > ASK)
        later(r);
    else
        go(r, false);
}

static void on_ended(struct nc_detour *detour) { free(redirect_of(detour)); }

static void set_up(struct nc_redirect *r, struct nc_redirects *home, unsigned lane,
                   struct nc_call *call)
{
    r->sink.part = on_part;
    r->detour = (struct nc_detour){on_complete, on_ended};
    r->home = home;
    r->call = call;
    r->repetition = NULL;
    r->lane = lane;
    /* What an event loop asked for is repeated by a link that no loop reads. */
    r->call_kind = call->kind == NC_CALL_BATCH ? NC_CALL_BATCH : NC_CALL_AHEAD;
    r->tries = 0;
    uint64_t most_ns = call->sent_ns + MOST_NS;
    uint64_t until_ns = call->deadline_ns < most_ns ? call->deadline_ns : most_ns;
    r->give_up_ns = until_ns > call->sent_ns ? until_ns - (until_ns - call->sent_ns) / 8 : until_ns;
}

void nc_redirect_hold(struct nc_redirects *redirects, unsigned lane, struct nc_call *call)
{
    struct nc_redirect *r = malloc(sizeof *r);
    if (!r || call->command.failed) {
        free(r);
        nc_call_end(call, NEARCACHE_ENOMEM);
        return;
    }
    call->sent_ns = nc_clock_io_ns();
    set_up(r, redirects, lane, call);
    r->kind = HELD;
    later(r);
}

struct nc_detour *nc_redirect_begin(struct nc_redirects *redirects, unsigned lane,
                                    struct nc_call *call, const char *text, size_t bytes)
{
    struct nc_redirect *r = malloc(sizeof *r);
    struct nc_primary from = {"", 0};
    nc_cluster_where(redirects->cluster, lane, &from);
    if (!r || !parse(r, text, bytes, from.host)) {
        free(r);
        return NULL;
    }
    set_up(r, redirects, lane, call);
    return &r->detour;
}

/* ---- the thread ---- */

/* What is due, chained; *next_ns is when more will be. With the lock. */
static struct nc_redirect *take_due_locked(struct nc_redirects *all, uint64_t *next_ns)
{
    struct nc_redirect *due = NULL, **at = &all->waiting;
    uint64_t now_ns = nc_clock_io_ns();
    *next_ns = UINT64_MAX;
    while (*at) {
        struct nc_redirect *r = *at;
        if (r->due_ns <= now_ns) {
            *at = r->next;
            r->next = due;
            due = r;
        } else {
            *next_ns = r->due_ns < *next_ns ? r->due_ns : *next_ns;
            at = &r->next;
        }
    }
    return due;
}

static void *run(void *arg)
{
    struct nc_redirects *all = arg;
    pthread_mutex_lock(&all->lock);
    while (!all->stopped) {
        uint64_t next_ns;
        struct nc_redirect *due = take_due_locked(all, &next_ns);
        if (due) {
            pthread_mutex_unlock(&all->lock);
            while (due) {
                struct nc_redirect *r = due;
                due = r->next;
                go(r, true);
            }
            pthread_mutex_lock(&all->lock);
        } else if (next_ns == UINT64_MAX) {
            pthread_cond_wait(&all->changed, &all->lock);
        } else {
            struct timespec until = {(time_t)(next_ns / NC_NS_PER_S),
                                     (long)(next_ns % NC_NS_PER_S)};
            pthread_cond_timedwait(&all->changed, &all->lock, &until);
        }
    }
    pthread_mutex_unlock(&all->lock);
    return NULL;
}

struct nc_redirects *nc_redirects_create(struct nc_cluster *cluster)
{
    struct nc_redirects *all = calloc(1, sizeof *all);
    pthread_condattr_t monotonic;
    if (!all)
        return NULL;
    all->cluster = cluster;
    pthread_mutex_init(&all->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&all->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return all;
}

int nc_redirects_start(struct nc_redirects *all)
{
    int rc = pthread_create(&all->thread, NULL, run, all);
    if (rc != 0)
        return rc == EAGAIN ? NEARCACHE_EIO : NEARCACHE_ENOMEM;
    all->started = true;
    return 0;
}

void nc_redirects_stop(struct nc_redirects *all)
{
    pthread_mutex_lock(&all->lock);
    struct nc_redirect *left = all->waiting;
    all->waiting = NULL;
    all->stopped = true;
    pthread_cond_signal(&all->changed);
    pthread_mutex_unlock(&all->lock);
    if (all->started)
        pthread_join(all->thread, NULL);
    all->started = false;
    while (left) {
        struct nc_redirect *r = left;
        left = r->next;
        end(r, NEARCACHE_EOFFLINK);
    }
}

void nc_redirects_destroy(struct nc_redirects *all)
{
    if (!all)
        return;
    pthread_cond_destroy(&all->changed);
    pthread_mutex_destroy(&all->lock);
    free(all);
}
