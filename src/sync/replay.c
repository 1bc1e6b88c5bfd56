#include "sync/replay.h"

#include "base/mutant.h"
#include "cache/drop.h"
#include "cache/removals.h"
#include "sync/commit.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * At most 8,000 intents a second, 64 at a time so that messages are heard between. A replay costs
 * Redis about 15 us, so one process that comes back takes an eighth of a server's time at most,
 * and what its callers want meanwhile is not kept waiting; a get of a key replays its intent first
 * in any case.
 */
#define ROUND_INTENTS 64
#define ROUND_NS (8 * NC_NS_PER_MS)
#define CALL_NS (200 * NC_NS_PER_MS)
#define RETRY_NS (50 * NC_NS_PER_MS)
#define TELL_EVERY_NS (10 * NC_NS_PER_S)

struct replay {
    const struct nc_key *key;
    bool set;
    const void *value;
    size_t value_bytes;
    uint64_t deadline_us; /* Redis time; 0: no expiry */
    uint64_t stamp, doubt_us;
    const struct nc_digest *digests;
    unsigned digest_count;
};

enum { REFUSED = 0, APPLIED = 1, ALREADY_SO = 2, OVER = 3, LATE = 4 };

/* Refers to the replay's bytes and its own. */
struct arguments {
    struct nc_slice keys[3], args[9 + NC_DIGESTS];
    unsigned key_count, arg_count;
    char small[NC_SMALL_KEY], deadline[24], stamp[24], not_after[24], doubt[24];
    void *redis_key;
};

static struct nc_slice number_in(char text[24], uint64_t number)
{
    return (struct nc_slice){text, (size_t)snprintf(text, 24, "%" PRIu64, number)};
}

/* False: out of memory. */
static bool write_arguments(struct nc_sync *sync, const struct replay *replay, uint64_t deadline_ns,
                            struct arguments *a)
{
    size_t bytes;
    a->redis_key = nc_sync_redis_key(sync, replay->key, a->small, &bytes);
    if (!a->redis_key)
        return false;
    bool versions = replay->key->tier->coherence != NEARCACHE_COHERENCE_TRACKING;
    struct nc_slice op = {replay->set ? "s" : "d", 1};
    struct nc_slice value = {replay->set ? replay->value : "",
                             replay->set ? replay->value_bytes : 0};
    a->key_count = a->arg_count = 0;
    if (!sync->one_slot) {
        a->keys[a->key_count++] = (struct nc_slice){sync->key_s, strlen(sync->key_s)};
        a->keys[a->key_count++] = (struct nc_slice){sync->key_w, strlen(sync->key_w)};
        a->args[a->arg_count++] = (struct nc_slice){sync->channel_inv, strlen(sync->channel_inv)};
        a->args[a->arg_count++] = (struct nc_slice){sync->origin_hex, 16};
    }
    a->keys[a->key_count++] = (struct nc_slice){a->redis_key, bytes};
    a->args[a->arg_count++] = op;
    a->args[a->arg_count++] = value;
    a->args[a->arg_count++] = number_in(a->deadline, replay->deadline_us);
    if (!sync->one_slot)
        a->args[a->arg_count++] = number_in(a->stamp, replay->stamp);
    a->args[a->arg_count++] = (struct nc_slice){!versions ? "t" : sync->one_slot ? "n" : "p", 1};
    a->args[a->arg_count++] =
        number_in(a->not_after, nc_offset_not_after_us(&sync->offset, deadline_ns));
    if (!sync->one_slot)
        a->args[a->arg_count++] = number_in(a->doubt, replay->doubt_us);
    if (replay->digest_count <= NC_DIGESTS)
        for (unsigned i = 0; i < replay->digest_count; i++)
            a->args[a->arg_count++] =
                (struct nc_slice){replay->digests[i].hex, strlen(replay->digests[i].hex)};
    return true;
}

static void free_arguments(struct arguments *a)
{
    if (a->redis_key != a->small)
        free(a->redis_key);
}

/* answer->number: status, s, TIME. */
static int check_answer(int outcome, const struct nc_answer *answer)
{
    if (outcome == 0 && (answer->count != 3 || answer->number[0] < REFUSED ||
                         answer->number[0] > LATE || answer->number[1] < 0))
        return NEARCACHE_EPROTOCOL;
    return outcome;
}

/* Nothing was done, because our idea of Redis' time was wrong: it says what it is. */
static bool was_late(struct nc_sync *sync, const struct nc_answer *answer)
{
    if (answer->number[0] != LATE)
        return false;
    if (!answer->moved)
        nc_offset_sample(&sync->offset, answer->sent_ns, answer->received_ns,
                         (uint64_t)answer->number[2], 0, true);
    return true;
}

static int send_replay(struct nc_sync *sync, const struct replay *replay, uint64_t deadline_ns,
                       struct nc_answer *answer)
{
    struct arguments a;
    memset(answer, 0, offsetof(struct nc_answer, number));
    if (!write_arguments(sync, replay, deadline_ns, &a))
        return NEARCACHE_ENOMEM;
    int outcome =
        nc_script_call(&sync->scripts, sync->one_slot ? NC_SCRIPT_REPLAY_TRACKED : NC_SCRIPT_REPLAY,
                       a.keys, a.key_count, a.args, a.arg_count, deadline_ns, answer, NULL, NULL);
    free_arguments(&a);
    return check_answer(outcome, answer);
}

static void tell_refused(struct nc_sync *sync, const struct nc_intent *intent, int outcome)
{
    if (!sync->config.on_refusal)
        return;
    struct nearcache_refusal refusal = {intent->tier, nc_intent_name(intent), intent->name_bytes,
                                        outcome};
    sync->config.on_refusal(sync->config.on_refusal_arg, &refusal);
}

/* 0, or what is to be told of it. */
static int settle(struct nc_sync *sync, struct nc_cache_thread *self, struct nc_intent *intent,
                  const struct nc_key *key, const struct nc_answer *answer)
{
    uint64_t version = (uint64_t)answer->number[1];
    bool newest = nc_journal_settle(&sync->journal, intent);
    if (version) {
        nc_sync_saw(sync, version);
        nc_cache_observe(self, key, version,
                         answer->number[0] == APPLIED ? NEARCACHE_CAUSE_REPLACED
                                                      : NEARCACHE_CAUSE_INVALIDATED);
    }
    if (!newest) {
        /* A newer intent took its place and will be told of its own fate. It was asked for before
         * this version was made, so it would take that for the write of somebody else. */
        if (answer->number[0] == APPLIED)
            nc_journal_follow(&sync->journal, intent, version);
        return 0;
    }
    switch (answer->number[0]) {
    case REFUSED:
        nc_cache_count(self, intent->tier, NC_COUNT_journal_refused, 1);
        return NEARCACHE_EREFUSED;
    case OVER:
        nc_cache_count(self, intent->tier, NC_COUNT_journal_dropped, 1);
        return NEARCACHE_MISS;
    default:
        nc_cache_count(self, intent->tier, NC_COUNT_journal_replayed, 1);
        return 0;
    }
}

/* An error that Redis answers does not hold up the others: no right to the key, no memory. Larger
 * than the server takes, it would end the connection each time. */
static enum nc_replay take_refusal(struct nc_sync *sync, struct nc_cache_thread *self,
                                   struct nc_intent *intent, const char *error, int *refused)
{
    static const char too_large[] = "ERR Protocol error";
    uint64_t io_ns = nc_clock_io_ns();
    bool tell = io_ns >= atomic_load(&sync->replay_told_ns);
    if (tell)
        atomic_store(&sync->replay_told_ns, io_ns + TELL_EVERY_NS);
    bool waits = strncmp(error, too_large, sizeof too_large - 1) != 0;
    nc_log_write(sync->log, tell ? NEARCACHE_LOG_WARNING : NEARCACHE_LOG_DEBUG, "replay %s: %s",
                 waits ? "waits" : "given up", error);
    if (waits) {
        nc_journal_refused(&sync->journal, intent, io_ns);
        return NC_REPLAY_REFUSED;
    }
    if (nc_journal_settle(&sync->journal, intent)) {
        nc_cache_count(self, intent->tier, NC_COUNT_journal_refused, 1);
        *refused = NEARCACHE_ETOOBIG;
    }
    return NC_REPLAY_DONE;
}

static struct nc_flight *take_key(struct nc_sync *sync, const struct nc_key *key,
                                  uint64_t deadline_ns, bool wait)
{
    for (;;) {
        bool leads;
        struct nc_flight *flight = nc_flight_join(&sync->writes, key, NULL, &leads);
        if (!flight || leads)
            return flight;
        /* What an event loop wrote may have been answered, and the loop may stand. */
        if (!wait && flight->in_loop)
            nc_link_loop_serve(sync->link);
        bool landed =
            wait ? nc_sync_wait_flight(sync, flight, deadline_ns) : nc_flight_has_landed(flight);
        nc_flight_release(flight);
        if (!landed)
            return NULL;
    }
}

enum nc_replay nc_replay_intent(struct nc_sync *sync, struct nc_cache_thread *self,
                                struct nc_intent *intent, uint64_t deadline_ns, bool wait)
{
    enum nc_replay result = NC_REPLAY_LATER;
    int refused = 0;
    struct nc_answer answer;
    struct nc_key key = {intent->tier, nc_intent_name(intent), intent->name_bytes, intent->hash,
                         sync->number};
    if (!nc_offset_known(&sync->offset))
        return NC_REPLAY_LATER;
    struct nc_flight *flight = take_key(sync, &key, deadline_ns, wait);
    if (!flight)
        return NC_REPLAY_LATER;
    nc_removals_hold(self);

    struct nc_intent *newest = nc_journal_find(&sync->journal, &key);
    if (newest == intent && intent->not_before_ns <= nc_clock_io_ns()) {
        struct nc_replaceable replaceable;
        nc_journal_depart(&sync->journal, intent, deadline_ns, &replaceable);
        uint64_t stamp = nc_offset_stamp_us(
            &sync->offset, NC_MUTANT(late_stamp) ? nc_clock_io_ns() : intent->taken_ns);
        struct replay replay = {
            .key = &key,
            .set = intent->op == NC_INTENT_SET,
            .value = intent->value,
            .value_bytes = intent->value_bytes,
            /* The lower bound, so that a replayed TTL never grows. */
            .deadline_us = intent->ends_ns == NEARCACHE_NONE
                               ? 0
                               : nc_offset_not_after_us(&sync->offset, intent->ends_ns),
            .stamp = stamp > replaceable.seen ? stamp : replaceable.seen,
            .doubt_us = nc_offset_redis_us(&sync->offset, replaceable.doubt_until_ns),
            .digests = replaceable.digests,
            .digest_count = replaceable.digest_count,
        };
        int outcome = send_replay(sync, &replay, deadline_ns, &answer);
        if (outcome == 0 && !was_late(sync, &answer)) {
            refused = settle(sync, self, intent, &key, &answer);
            result = NC_REPLAY_DONE;
        } else if (outcome == NEARCACHE_EREMOTE && answer.refusal != NC_REFUSAL_UNAVAILABLE) {
            result = take_refusal(sync, self, intent, answer.error, &refused);
        }
    } else if (newest != intent) {
        result = NC_REPLAY_DONE;
    }
    if (newest)
        nc_journal_release(&sync->journal, newest);
    nc_flight_land(flight, 0);
    nc_flight_release(flight);
    /* Who is told may write the key again, which would wait for the flight. */
    nc_removals_tell(sync->cache, self);
    if (refused != 0)
        tell_refused(sync, intent, refused);
    return result;
}

uint64_t nc_replay_round(struct nc_sync *sync, struct nc_cache_thread *self, uint64_t io_ns)
{
    uint64_t due_ns = UINT64_MAX;
    if (io_ns < sync->next_replay_ns)
        return sync->next_replay_ns;
    for (int i = 0; i < ROUND_INTENTS; i++) {
        struct nc_intent *intent = nc_journal_ready(&sync->journal, io_ns, &due_ns);
        if (!intent)
            return due_ns;
        enum nc_replay result =
            nc_replay_intent(sync, self, intent, nc_clock_io_ns() + CALL_NS, false);
        nc_journal_release(&sync->journal, intent);
        if (result == NC_REPLAY_LATER)
            return io_ns + RETRY_NS;
    }
    /* Kept, because the answers' own messages wake the thread before. */
    return sync->next_replay_ns = io_ns + ROUND_NS;
}

/* ---- what loaders made ---- */

static struct replay replay_of(const struct nc_sync *sync, const struct nc_loaded *loaded)
{
    struct replay replay = {
        .key = loaded->key,
        .set = true,
        .value = loaded->value,
        .value_bytes = loaded->value_bytes,
        .stamp = loaded->read_s,
    };
    if (loaded->ttl_ms < NEARCACHE_NONE / 1000)
        replay.deadline_us =
            nc_offset_not_after_us(&sync->offset, nc_clock_deadline_ns(loaded->ttl_ms * 1000));
    return replay;
}

static void take_answer(struct nc_sync *sync, struct nc_loaded *loaded, int outcome,
                        const struct nc_answer *answer)
{
    loaded->outcome = outcome;
    loaded->sent = answer->sent;
    if (outcome == NEARCACHE_EREMOTE && answer->refusal == NC_REFUSAL_UNAVAILABLE)
        loaded->outcome = NEARCACHE_EOFFLINK;
    if (outcome == 0 && was_late(sync, answer)) {
        loaded->outcome = NEARCACHE_ETIMEOUT;
        loaded->sent = false;
    } else if (outcome == 0) {
        loaded->version = (uint64_t)answer->number[1];
        loaded->moved = answer->moved;
        loaded->outcome = answer->number[0] == REFUSED ? NEARCACHE_MISS : 0;
    }
}

static void send_alone(struct nc_sync *sync, struct nc_loaded *loaded, uint64_t deadline_ns)
{
    struct nc_answer answer;
    struct replay replay = replay_of(sync, loaded);
    int outcome = send_replay(sync, &replay, deadline_ns, &answer);
    take_answer(sync, loaded, outcome, &answer);
}

/* One of several under way at a time. */
struct sent {
    struct nc_script_run run;
    struct nc_answer answer;
};

static int submit(struct nc_sync *sync, struct nc_loaded *loaded, struct sent *sent,
                  uint64_t deadline_ns)
{
    struct arguments a;
    struct replay replay = replay_of(sync, loaded);
    if (!write_arguments(sync, &replay, deadline_ns, &a))
        return NEARCACHE_ENOMEM;
    int outcome = nc_script_prepare(&sync->scripts, NC_SCRIPT_REPLAY, a.keys, a.key_count, a.args,
                                    a.arg_count, &sent->run, &sent->answer, NULL, NULL);
    free_arguments(&a);
    if (outcome == 0) {
        sent->answer.sent_ns = nc_clock_io_ns();
        nc_link_submit(sync->link, sent->run.call, NC_CALL_BATCH, deadline_ns);
    }
    return outcome;
}

static void receive(struct nc_sync *sync, struct nc_loaded *loaded, struct sent *sent,
                    uint64_t deadline_ns)
{
    int status = nc_link_wait(sync->link, sent->run.call, deadline_ns);
    if (status == NEARCACHE_ETIMEOUT)
        nc_call_abandon(sent->run.call);
    int outcome = check_answer(nc_script_end(&sent->run, status), &sent->answer);
    nc_call_release(sent->run.call);
    if (outcome == NEARCACHE_EREMOTE && sent->answer.refusal == NC_REFUSAL_NOSCRIPT)
        send_alone(sync, loaded, deadline_ns);
    else
        take_answer(sync, loaded, outcome, &sent->answer);
}

static void send_all(struct nc_sync *sync, struct nc_loaded *const *loaded, unsigned count,
                     uint64_t deadline_ns)
{
    struct sent *sent = count > 1 ? malloc(count * sizeof *sent) : NULL;
    if (!sent) {
        for (unsigned i = 0; i < count; i++)
            send_alone(sync, loaded[i], deadline_ns);
        return;
    }
    for (unsigned i = 0; i < count; i++)
        loaded[i]->outcome = submit(sync, loaded[i], &sent[i], deadline_ns);
    for (unsigned i = 0; i < count; i++)
        if (loaded[i]->outcome == 0)
            receive(sync, loaded[i], &sent[i], deadline_ns);
    free(sent);
}

/*
 * With the key's flight: what is written here in the meantime waits, and what waits in the journal
 * already is newer than the read. False: it is not to be sent; its outcome says why.
 */
static bool begin_loaded(struct nc_sync *sync, struct nc_loaded *loaded, uint64_t deadline_ns)
{
    loaded->sent = false;
    loaded->flight = take_key(sync, loaded->key, deadline_ns, true);
    loaded->outcome = loaded->flight ? NEARCACHE_MISS : NEARCACHE_ETIMEOUT;
    struct nc_intent *pending =
        loaded->flight ? nc_journal_find(&sync->journal, loaded->key) : NULL;
    if (pending)
        nc_journal_release(&sync->journal, pending);
    return loaded->flight && !pending;
}

/* What came into the journal meanwhile was asked for before the loader was called, or after. */
static void end_loaded(struct nc_sync *sync, struct nc_loaded *loaded, uint64_t deadline_ns)
{
    const void *value = loaded->value_bytes ? loaded->value : "";
    if (loaded->outcome == 0) {
        nc_sync_saw(sync, loaded->version);
        nc_journal_forget(&sync->journal, loaded->key, loaded->taken_ns, loaded->version, value,
                          loaded->value_bytes);
    } else if (loaded->sent &&
               (loaded->outcome == NEARCACHE_ETIMEOUT || loaded->outcome == NEARCACHE_EOFFLINK)) {
        nc_journal_doubt(&sync->journal, loaded->key, loaded->taken_ns, deadline_ns, value,
                         loaded->value_bytes);
    }
    if (!loaded->flight)
        return;
    nc_flight_land(loaded->flight, 0);
    nc_flight_release(loaded->flight);
}

static bool is_twin(const struct nc_loaded *a, const struct nc_loaded *b)
{
    return a->key->hash == b->key->hash && a->key->name_bytes == b->key->name_bytes &&
           memcmp(a->key->name, b->key->name, a->key->name_bytes) == 0;
}

void nc_replay_loaded(struct nc_sync *sync, struct nc_loaded *loaded, unsigned count,
                      uint64_t deadline_ns)
{
    struct nc_loaded *order[NC_COMMIT_KEYS], *sent[NC_COMMIT_KEYS];
    unsigned sent_count = 0;
    /* In the order in which batches of writes take their keys, so that none waits for a ring. */
    for (unsigned i = 0, at; i < count; i++) {
        for (at = i; at > 0 && loaded[i].key->hash < order[at - 1]->key->hash; at--)
            order[at] = order[at - 1];
        order[at] = &loaded[i];
    }
    for (unsigned i = 0; i < count; i++)
        if ((i + 1 == count || !is_twin(order[i], order[i + 1])) &&
            begin_loaded(sync, order[i], deadline_ns))
            sent[sent_count++] = order[i];
    send_all(sync, sent, sent_count, deadline_ns);
    for (unsigned i = count; i-- > 0;) {
        if (i + 1 < count && is_twin(order[i], order[i + 1])) {
            order[i]->outcome = order[i + 1]->outcome;
            order[i]->version = order[i + 1]->version;
            order[i]->moved = order[i + 1]->moved;
        } else {
            end_loaded(sync, order[i], deadline_ns);
        }
    }
}
