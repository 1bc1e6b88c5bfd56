#include "sync/write_loop.h"

#include "cache/drop.h"
#include "cache/fill.h"
#include "cache/removals.h"
#include "sync/write_step.h"

#include <stdlib.h>
#include <string.h>

/* Writes that share a call. On the heap until its answer has come and the last one has left. */
struct nc_write_flock {
    _Atomic uint32_t references;
    _Atomic bool ended; /* the breaker need not know of those that leave */
    struct nc_sync *sync;
    enum nc_script script;
    unsigned count;
    struct nc_script_run run;
    struct nc_answer answer;
    /* Who takes one out ends it: the answer, or who leaves. */
    struct nc_loop_write *_Atomic members[NC_COMMIT_KEYS];
};

bool nc_write_loop_takes(struct nc_sync *any, const struct nc_key *key, int epoll_fd)
{
    struct nc_sync *sync = nc_sync_for(any, key);
    if (nc_link_loop_is_up(sync->link))
        return nc_offset_known(&sync->offset);
    nc_link_loop_attach(sync->link, epoll_fd);
    return false;
}

static void release_flock(struct nc_write_flock *flock)
{
    /* Release: this holder's use ends before the count falls. Acquire: the last one frees after
     * everybody's use. */
    if (atomic_fetch_sub_explicit(&flock->references, 1, memory_order_acq_rel) == 1)
        free(flock);
}

static struct nc_write_terms terms_of(struct nc_sync *sync, struct nc_cache_thread *self,
                                      const struct nc_loop_write *write)
{
    bool versions = write->item.key.tier->coherence == NEARCACHE_COHERENCE_PUBSUB;
    return (struct nc_write_terms){.sync = sync,
                                   .self = self,
                                   .script = versions ? NC_SCRIPT_WRITE : NC_SCRIPT_PLAIN,
                                   .deadline_ns = write->deadline_ns};
}

/* Relaxed: what belongs to it is handed over by the caller's lock, or not yet shared. */
static void set_state(struct nc_loop_write *write, enum nc_write_loop_state state)
{
    atomic_store_explicit(&write->state, state, memory_order_relaxed);
}

/* ---- the answer ---- */

/* What became of one: ended, to be done again, or in doubt. */
static enum nc_write_loop_state judge(const struct nc_write_flock *flock, int outcome,
                                      struct nc_cache_thread *self, struct nc_loop_write *write)
{
    const struct nc_answer *answer = &flock->answer;
    struct nc_write_terms terms = terms_of(flock->sync, self, write);
    bool applied = outcome == 0 && answer->number[write->index + 2] == 1;
    if (!self ||
        (outcome == NEARCACHE_EOFFLINK && answer->sent && nc_clock_io_ns() < write->deadline_ns))
        return NC_WRITE_LOOP_DOUBT;
    if (applied)
        nc_write_applied(&terms, &write->item, NULL, (uint64_t)answer->number[0], answer->moved);
    else if (outcome == 0 ||
             (outcome == NEARCACHE_EREMOTE && answer->refusal == NC_REFUSAL_NOSCRIPT))
        return NC_WRITE_LOOP_AGAIN;
    else
        nc_write_not_applied(&terms, &write->item, outcome, answer);
    return NC_WRITE_LOOP_ENDED;
}

static bool any_is_late(const struct nc_answer *answer, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (answer->number[i + 2] != 1)
            return true;
    return false;
}

/* Runs on whoever reads the reply or ends the connection, under no lock. */
static void on_done(void *arg, int status)
{
    struct nc_write_flock *flock = arg;
    struct nc_answer *answer = &flock->answer;
    struct nc_cache_thread *self = nc_cache_self(flock->sync->cache);
    int outcome = nc_commit_end(&flock->run, status, flock->count);
    /* Relaxed: who leaves at this very moment is counted as one that was not answered. */
    atomic_store_explicit(&flock->ended, true, memory_order_relaxed);
    if (outcome == 0 &&
        !answer->moved) /* the clock of another server tells nothing of this one's */
        nc_offset_sample(&flock->sync->offset, answer->sent_ns, answer->received_ns,
                         (uint64_t)answer->number[1], (uint64_t)answer->number[0],
                         any_is_late(answer, flock->count));
    nc_removals_hold(self);
    for (unsigned i = 0; i < flock->count; i++) {
        /* Acquire and release: it changes hands with all that was done to it. */
        struct nc_loop_write *write =
            atomic_exchange_explicit(&flock->members[i], NULL, memory_order_acq_rel);
        if (!write)
            continue;
        enum nc_write_loop_state state = judge(flock, outcome, self, write);
        if (state != NC_WRITE_LOOP_DOUBT)
            nc_write_finish(&write->item);
        set_state(write, state);
        write->landed(write);
    }
    nc_sync_tell_read(flock->sync, self);
    release_flock(flock);
}

bool nc_write_loop_leave(struct nc_loop_write *write)
{
    struct nc_write_flock *flock = write->flock;
    struct nc_loop_write *is = write;
    /* Acquire and release: as above. */
    if (!atomic_compare_exchange_strong_explicit(&flock->members[write->index], &is, NULL,
                                                 memory_order_acq_rel, memory_order_relaxed))
        return false;
    write->unanswered =
        !atomic_load_explicit(&flock->ended, memory_order_relaxed); /* see on_done */
    set_state(write, NC_WRITE_LOOP_DOUBT);
    nc_write_loop_told(write);
    return true;
}

void nc_write_loop_told(struct nc_loop_write *write)
{
    release_flock(write->flock);
    write->flock = NULL;
}

void nc_write_loop_give_up(struct nc_sync *any, struct nc_cache_thread *self,
                           struct nc_loop_write *write)
{
    struct nc_write_terms terms = terms_of(nc_sync_for(any, &write->item.key), self, write);
    struct nc_answer answer = {.sent = write->item.flight != NULL};
    nc_write_not_applied(&terms, &write->item, NEARCACHE_ETIMEOUT, &answer);
    set_state(write, NC_WRITE_LOOP_ENDED);
    if (write->item.flight)
        nc_write_finish(&write->item);
}

void nc_write_loop_arrive(struct nc_cache_thread *self, const struct nc_loop_write *write)
{
    nc_write_leave_no_copy(self, &write->item);
}

/* ---- departing ---- */

/* Writes of one lane that are to be sent together. */
struct begun {
    struct nc_loop_write *writes[NC_COMMIT_KEYS];
    unsigned count;
    size_t bytes;
};

static size_t bytes_of(const struct nc_sync *sync, const struct nc_loop_write *write)
{
    return nc_sync_redis_key_bytes(sync, &write->item.key) + write->item.value_bytes;
}

/* Makes the flock's call. 0, or why not, and nothing was sent. */
static int prepare(struct nc_sync *sync, struct nc_write_flock *flock, const struct begun *begun,
                   uint64_t *deadline_ns)
{
    struct nc_commit_item items[NC_COMMIT_KEYS];
    const struct nc_commit_item *each[NC_COMMIT_KEYS] = {NULL};
    char small[4096], *names = small, *at;
    size_t bytes = 0;
    for (unsigned i = 0; i < begun->count; i++)
        bytes += nc_sync_redis_key_bytes(sync, &begun->writes[i]->item.key);
    if (bytes > sizeof small && !(names = malloc(bytes)))
        return NEARCACHE_ENOMEM;
    at = names;
    for (unsigned i = 0; i < begun->count; i++) {
        const struct nc_write_item *item = &begun->writes[i]->item;
        items[i] = (struct nc_commit_item){
            .redis_key = at,
            .redis_key_bytes = nc_sync_redis_key_bytes(sync, &item->key),
            .op = (enum nc_commit_op)item->op,
            .value = item->value,
            .value_bytes = item->value_bytes,
            .ttl_ms = item->ttl_ms == NEARCACHE_NONE ? 0 : item->ttl_ms,
            .deadline_ns = begun->writes[i]->deadline_ns,
        };
        each[i] = &items[i];
        at = nc_sync_write_redis_key(sync, &item->key, at);
    }
    int outcome = nc_commit_prepare(sync, flock->script, each, begun->count, &flock->run,
                                    &flock->answer, on_done, flock, deadline_ns);
    if (names != small)
        free(names);
    return outcome;
}

static struct nc_write_flock *make_flock(struct nc_sync *sync, const struct begun *begun,
                                         uint64_t *deadline_ns)
{
    struct nc_write_flock *flock = calloc(1, sizeof *flock);
    if (!flock)
        return NULL;
    flock->sync = sync;
    flock->script = begun->writes[0]->item.key.tier->coherence == NEARCACHE_COHERENCE_PUBSUB
                        ? NC_SCRIPT_WRITE
                        : NC_SCRIPT_PLAIN;
    flock->count = begun->count;
    atomic_init(&flock->references, begun->count + 1); /* theirs and the answer's */
    if (prepare(sync, flock, begun, deadline_ns) == 0)
        return flock;
    free(flock);
    return NULL;
}

static void send_begun(struct nc_sync *sync, struct nc_cache_thread *self, struct begun *begun)
{
    uint64_t deadline_ns;
    if (begun->count == 0)
        return;
    struct nc_write_flock *flock = make_flock(sync, begun, &deadline_ns);
    for (unsigned i = 0; i < begun->count; i++) {
        struct nc_loop_write *write = begun->writes[i];
        if (!flock) {
            nc_write_finish(&write->item); /* nc_write may have more luck */
            set_state(write, NC_WRITE_LOOP_IDLE);
            continue;
        }
        /* The copy goes before the request does. */
        nc_write_prepare(self, &write->item);
        write->flock = flock;
        write->index = i;
        atomic_init(&flock->members[i], write);
    }
    begun->count = 0;
    begun->bytes = 0;
    if (!flock)
        return;
    struct nc_call *call = flock->run.call;
    flock->answer.sent_ns = nc_clock_io_ns();
    /* From here on they may be told. */
    nc_link_submit(sync->link, call, NC_CALL_LOOP, deadline_ns);
    nc_call_drop(call);
}

/* Those of this lane. */
static void depart(struct nc_sync *sync, struct nc_cache_thread *self,
                   struct nc_loop_write *const *writes, size_t count)
{
    struct begun begun = {.count = 0};
    unsigned most = sync->one_slot ? 1 : NC_COMMIT_KEYS;
    nc_removals_hold(self);
    for (size_t i = 0; i <= count; i++) {
        bool ours = i < count && writes[i]->item.key.lane == sync->number;
        if (i == count || begun.count == most ||
            (ours && begun.count > 0 && begun.bytes + bytes_of(sync, writes[i]) > NC_COMMIT_BYTES))
            send_begun(sync, self, &begun);
        if (!ours)
            continue;
        struct nc_loop_write *write = writes[i];
        write->item.flight = nc_flight_begin_in_loop(&sync->writes, &write->item.key);
        if (!write->item.flight)
            continue;
        nc_cache_approach(self, &write->item.key);
        set_state(write, NC_WRITE_LOOP_FLIES);
        begun.writes[begun.count++] = write;
        begun.bytes += bytes_of(sync, write);
    }
    nc_link_loop_flush(sync->link);
    /* Who writes one of the keys in answer waits for its request, which has left. */
    nc_removals_tell(sync->cache, self);
}

void nc_write_loop_depart(struct nc_sync *any, struct nc_cache_thread *self,
                          struct nc_loop_write *const *writes, size_t count)
{
    NC_EACH_LANE(any, sync)
    depart(sync, self, writes, count);
}
