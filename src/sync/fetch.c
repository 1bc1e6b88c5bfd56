#include "sync/fetch.h"

#include "sync/chunk.h"
#include "sync/replay.h"

#include <stdlib.h>
#include <string.h>

/* ---- waiting ---- */

/* Copies a landed flight's outcome to one who waited. */
static void take_outcome(struct nc_cache_thread *self, struct nc_want *want)
{
    struct nc_flight *flight = want->flight;
    want->outcome = flight->outcome;
    want->read_s = flight->version;
    if (flight->outcome == 0)
        want->outcome =
            nc_cache_hold(self, want->key.tier, nc_cache_held_entry(&flight->held), want->result);
    if (want->outcome == 0) {
        want->result->source = NEARCACHE_SOURCE_REMOTE;
        want->result->age_ms = 0;
        if (!flight->cached)
            want->result->ttl_ms = 0;
    } else if (flight->outcome == NEARCACHE_MISS) {
        want->result->source = NEARCACHE_SOURCE_MISS;
    }
}

int nc_fetch_stale(struct nc_sync *any, struct nc_cache_thread *self, const struct nc_key *key,
                   uint64_t max_stale_ns, bool policy, int otherwise,
                   struct nearcache_result *result)
{
    struct nc_sync *sync = nc_sync_for(any, key);
    struct nc_intent *intent = nc_journal_find(&sync->journal, key);
    if (intent) {
        int outcome = NEARCACHE_MISS;
        if (intent->op == NC_INTENT_SET)
            outcome = nc_cache_copy(self, key, intent->value, intent->value_bytes, result);
        result->source = NEARCACHE_SOURCE_STALE;
        result->age_ms = (nc_clock_io_ns() - intent->taken_ns) / NC_NS_PER_MS;
        result->ttl_ms = 0;
        nc_journal_release(&sync->journal, intent);
        return outcome;
    }
    if (policy && key->tier->off_link != NEARCACHE_OFF_LINK_STALE)
        return otherwise;
    switch (nc_cache_find(self, key, true, max_stale_ns, result)) {
    case NC_FOUND_FRESH:
    case NC_FOUND_OLD:
        result->source = NEARCACHE_SOURCE_STALE;
        return 0;
    case NC_FOUND_FRESH_ABSENCE:
    case NC_FOUND_FRESH_VOUCHED:
    case NC_FOUND_OLD_ABSENCE:
        result->source = NEARCACHE_SOURCE_STALE;
        return NEARCACHE_MISS;
    default:
        return otherwise;
    }
}

bool nc_fetch_is_pending(struct nc_sync *any, const struct nc_key *key)
{
    struct nc_sync *sync = nc_sync_for(any, key);
    struct nc_intent *intent = nc_journal_find(&sync->journal, key);
    if (intent)
        nc_journal_release(&sync->journal, intent);
    return intent != NULL;
}

enum journal_says { NOTHING_PENDING, SETTLED, ANSWERED };

/* A key with a pending write: Redis first learns of that, else the write itself is the answer. */
static enum journal_says ask_journal(struct nc_sync *sync, struct nc_cache_thread *self,
                                     struct nc_want *want, uint64_t deadline_ns)
{
    enum nc_replay replay = NC_REPLAY_LATER;
    struct nc_intent *intent = nc_journal_find(&sync->journal, &want->key);
    if (!intent)
        return NOTHING_PENDING;
    if (nc_sync_state(sync) == NEARCACHE_LINK_LIVE)
        replay = nc_replay_intent(sync, self, intent, deadline_ns, true);
    nc_journal_release(&sync->journal, intent);
    if (replay == NC_REPLAY_DONE)
        return SETTLED;
    int outcome = nc_fetch_stale(sync, self, &want->key, 0, true, NC_OUTCOME_AGAIN, want->result);
    if (outcome == NC_OUTCOME_AGAIN)
        return SETTLED; /* just now */
    want->outcome = outcome;
    return ANSWERED;
}

/* A request under way. */
struct sent {
    struct nc_sync *sync;
    struct nc_call *call;
};

/* Flights of one lane that are to be sent together. */
struct begun {
    struct nc_flight *flights[NC_CHUNK_KEYS];
    uint32_t count;
};

static void send_begun(struct nc_sync *sync, struct begun *begun, uint64_t deadline_ns,
                       struct sent *sent, size_t *sent_count)
{
    if (begun->count == 0)
        return;
    struct nc_call *call =
        nc_chunk_send(sync, begun->flights, begun->count,
                      begun->count > 1 ? NC_CALL_BATCH : NC_CALL_SINGLE, deadline_ns);
    begun->count = 0;
    if (call)
        sent[(*sent_count)++] = (struct sent){sync, call};
}

/* Joins or begins the flights of those of wants[0..count) that are of this lane; begun ones are
 * sent in chunks. */
static void depart(struct nc_sync *sync, struct nc_cache_thread *self, struct nc_want *wants,
                   size_t count, uint64_t deadline_ns, struct sent *sent, size_t *sent_count)
{
    struct begun begun;
    begun.count = 0;
    for (size_t i = 0; i < count; i++) {
        struct nc_want *want = &wants[i];
        bool leads = false;
        if (want->key.lane != sync->number)
            continue;
        want->flight = NULL;
        want->soft = false;
        struct nc_ticket ticket;
        enum journal_says says;
        /* The ticket first: a write that comes to wait after this look makes it void. */
        do {
            ticket = nc_cache_ticket(&want->key);
            says = ask_journal(sync, self, want, deadline_ns);
        } while (says == SETTLED);
        if (says == ANSWERED)
            continue;
        want->flight = nc_flight_join(&sync->reads, &want->key, &ticket, &leads);
        if (!want->flight)
            want->outcome = NEARCACHE_ENOMEM;
        else if (leads)
            begun.flights[begun.count++] = want->flight;
        else
            nc_cache_count(self, want->key.tier, NC_COUNT_flight_waits, 1);
        if (begun.count == nc_chunk_keys(sync, want->key.tier))
            send_begun(sync, &begun, deadline_ns, sent, sent_count);
    }
    send_begun(sync, &begun, deadline_ns, sent, sent_count);
}

/* Those that wait only up to the soft deadline are the ones with something at hand. */
static bool mark_soft(struct nc_cache_thread *self, struct nc_want *wants, size_t count,
                      const struct nc_fetch_options *options)
{
    bool any = false;
    for (size_t i = 0; i < count; i++) {
        struct nearcache_result probe = {0};
        wants[i].soft = false;
        if (options->soft_deadline_ns >= options->deadline_ns || !wants[i].flight)
            continue;
        wants[i].soft =
            nc_cache_find(self, &wants[i].key, true, options->max_stale_ns, &probe) == NC_FOUND_OLD;
        nc_cache_release(&probe);
        any = any || wants[i].soft;
    }
    return any;
}

void nc_fetch_leave(struct nc_cache_thread *self, struct nc_want *want, bool landed)
{
    if (landed)
        take_outcome(self, want);
    else
        want->outcome = NEARCACHE_ETIMEOUT;
    nc_flight_release(want->flight);
    want->flight = NULL;
}

/* What an event loop asked for it reads when it comes to that; who waits here has less time. */
static bool wait_flight(struct nc_sync *any, const struct nc_want *want, uint64_t deadline_ns)
{
    struct nc_link *link = nc_sync_for(any, &want->key)->link;
    struct nc_flight *flight = want->flight;
    bool along = flight->in_loop && !nc_flight_has_landed(flight);
    if (along)
        nc_link_loop_await(link, true);
    bool landed = nc_flight_wait(flight, deadline_ns);
    if (along)
        nc_link_loop_await(link, false);
    return landed;
}

/* Drives our own requests, then waits for those of others. What is given up at the soft deadline
 * goes on and refreshes the cache. */
static void arrive(struct nc_sync *any, struct nc_cache_thread *self, struct nc_want *wants,
                   size_t count, const struct nc_fetch_options *options, const struct sent *sent,
                   size_t sent_count)
{
    bool waiting = true;
    if (mark_soft(self, wants, count, options)) {
        waiting = false;
        for (size_t i = 0; i < sent_count; i++)
            nc_link_wait_softly(sent[i].sync->link, sent[i].call, options->soft_deadline_ns);
        for (size_t i = 0; i < count; i++) {
            struct nc_want *want = &wants[i];
            if (want->flight && want->soft)
                nc_fetch_leave(self, want, wait_flight(any, want, options->soft_deadline_ns));
            waiting = waiting || want->flight;
        }
    }
    for (size_t i = 0; i < sent_count; i++) {
        if (waiting)
            nc_link_wait(sent[i].sync->link, sent[i].call, options->deadline_ns);
        nc_call_release(sent[i].call);
    }
    for (size_t i = 0; i < count; i++)
        if (wants[i].flight)
            nc_fetch_leave(self, &wants[i], wait_flight(any, &wants[i], options->deadline_ns));
}

static bool redis_cannot_be_asked(int outcome)
{
    return outcome == NEARCACHE_EOFFLINK || outcome == NEARCACHE_ETIMEOUT;
}

/* As many keys at a time as this many requests take: what one call holds on its stack stays small.
 */
#define ROUND_SENT 128

/* The most keys of a round: each lane may have one request that is not full. */
static size_t round_keys(const struct nc_sync *sync, const struct nearcache_tier *tier)
{
    if (sync->one_slot)
        return ROUND_SENT;
    return (size_t)(ROUND_SENT - NC_LANES_MOST) * nc_chunk_keys(sync, tier);
}

void nc_fetch(struct nc_sync *any, struct nc_cache_thread *self, struct nc_want *wants,
              size_t count, const struct nc_fetch_options *options)
{
    if (count == 0)
        return;
    size_t most = round_keys(any, wants[0].key.tier);
    for (size_t at = 0; at < count; at += most) {
        struct sent sent[ROUND_SENT];
        size_t sent_count = 0, n = count - at < most ? count - at : most;
        if (n == 1) {
            depart(nc_sync_for(any, &wants[at].key), self, wants + at, n, options->deadline_ns,
                   sent, &sent_count);
        } else {
            /* All lanes are asked before any is waited for. */
            NC_EACH_LANE(any, sync)
            depart(sync, self, wants + at, n, options->deadline_ns, sent, &sent_count);
        }
        arrive(any, self, wants + at, n, options, sent, sent_count);
        for (size_t i = at; i < at + n; i++)
            if (redis_cannot_be_asked(wants[i].outcome))
                wants[i].outcome =
                    nc_fetch_stale(any, self, &wants[i].key, options->max_stale_ns, !wants[i].soft,
                                   wants[i].outcome, wants[i].result);
    }
}

void nc_fetch_refresh(struct nc_sync *any, const struct nc_key *key)
{
    struct nc_sync *sync = nc_sync_for(any, key);
    bool leads;
    struct nc_ticket ticket = nc_cache_ticket(key);
    struct nc_flight *flight = nc_flight_join(&sync->reads, key, &ticket, &leads);
    if (!flight)
        return;
    if (leads) {
        struct nc_call *call = nc_chunk_send(sync, &flight, 1, NC_CALL_SINGLE,
                                             nc_clock_deadline_ns(NEARCACHE_DEFAULT_DEADLINE_US));
        if (call)
            nc_call_release(call);
    }
    nc_flight_release(flight);
}

/* EXISTS or PTTL: one integer. */
struct existence {
    struct nc_sink sink;
    int outcome;
};

static int on_existence(struct nc_sink *sink, const struct nc_reply_part *part)
{
    struct existence *e = (struct existence *)sink;
    if (part->type == NC_REPLY_INTEGER)
        e->outcome = part->integer > 0 ? 0 : NEARCACHE_MISS;
    else if (part->type == NC_REPLY_ERROR)
        e->outcome = nc_refusal_of(part->str, part->bytes) == NC_REFUSAL_UNAVAILABLE
                         ? NEARCACHE_EOFFLINK
                         : NEARCACHE_EREMOTE;
    return 0;
}

int nc_fetch_exists(struct nc_sync *any, const struct nc_key *key, uint64_t deadline_ns)
{
    struct nc_sync *sync = nc_sync_for(any, key);
    struct existence existence = {{on_existence}, NEARCACHE_EPROTOCOL};
    struct nc_intent *intent = nc_journal_find(&sync->journal, key);
    if (intent) {
        int outcome = intent->op == NC_INTENT_SET ? 0 : NEARCACHE_MISS;
        nc_journal_release(&sync->journal, intent);
        return outcome;
    }
    struct nc_call *call = nc_call_create();
    if (!call)
        return NEARCACHE_ENOMEM;
    nc_command_begin(nc_call_command(call), 2);
    nc_command_arg(nc_call_command(call), "EXISTS", 6);
    nc_sync_put_redis_key(sync, key, nc_call_command(call));
    nc_sync_mark_slot(sync, key, call);
    nc_call_expect(call, &existence.sink, NULL, NULL);
    int outcome = nc_link_call(sync->link, call, NC_CALL_SINGLE, deadline_ns);
    nc_call_release(call);
    return outcome != 0 ? outcome : existence.outcome;
}
