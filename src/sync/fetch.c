#include "sync/fetch.h"

#include "cache/fill.h"
#include "cache/find.h"
#include "cache/removals.h"
#include "sync/chunk.h"
#include "sync/replay.h"

#include <stdlib.h>
#include <string.h>

/* ---- waiting ---- */

/* A landed flight's outcome is taken by one who waited: its pin, if nobody else wants that. */
static void take_outcome(struct nc_cache_thread *self, struct nc_want *want)
{
    struct nc_flight *flight = want->flight;
    want->outcome = flight->outcome;
    want->read_s = flight->version;
    if (flight->outcome == 0 && !want->in_row) {
        if (flight->joined) {
            want->outcome = nc_cache_hold(self, want->key.tier, nc_cache_held_entry(&flight->held),
                                          want->result);
        } else {
            *want->result = flight->held;
            memset(&flight->held, 0, sizeof flight->held);
        }
    }
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

/* Flights of one lane that are to be sent together. */
struct begun {
    struct nc_flight_block *block;
    struct nc_flight *flights[NC_CHUNK_KEYS];
    uint32_t count;
    enum nc_call_kind alone; /* one of a single flight */
};

/* Room for the flights of the next request. A lone one has its own; without memory they all do. */
static struct nc_flight_block *make_room(const struct nc_sync *sync, const struct nc_want *wants,
                                         size_t count)
{
    size_t most = nc_chunk_keys(sync, wants[0].key.tier), names_bytes = 0;
    if (most > count)
        most = count;
    if (most == 1)
        return NULL;
    for (size_t i = 0; i < most; i++)
        names_bytes += wants[i].key.name_bytes;
    return nc_flight_block_create((uint32_t)most, names_bytes);
}

static void send_begun(struct nc_sync *sync, struct begun *begun, uint64_t deadline_ns,
                       struct nc_fetch_round *round)
{
    nc_flight_block_end(begun->block);
    begun->block = NULL;
    if (begun->count == 0)
        return;
    struct nc_call *call =
        nc_chunk_send(sync, begun->flights, begun->count,
                      begun->count > 1 ? NC_CALL_BATCH : begun->alone, deadline_ns);
    begun->count = 0;
    if (call) {
        round->sent[round->sent_count].sync = sync;
        round->sent[round->sent_count++].call = call;
    }
}

/* Joins or begins the flight of a want, unless the journal knows the answer. */
static void join(struct nc_sync *sync, struct nc_cache_thread *self, struct nc_want *want,
                 uint64_t deadline_ns, struct begun *begun)
{
    struct nc_ticket ticket;
    enum journal_says says;
    /* The ticket first: a write that comes to wait after this look makes it void. */
    do {
        ticket = nc_cache_ticket(&want->key);
        says = ask_journal(sync, self, want, deadline_ns);
    } while (says == SETTLED);
    if (says == ANSWERED)
        return;
    if (self->serves) { /* see nc_sync_serves */
        want->flight = nc_flight_begin_apart(&sync->reads, &want->key, &ticket);
        want->leads = want->flight != NULL;
    } else {
        want->flight =
            nc_flight_join_in(&sync->reads, begun->block, &want->key, &ticket, &want->leads);
    }
    if (!want->flight) {
        want->outcome = NEARCACHE_ENOMEM;
    } else if (want->leads) {
        if (want->row)
            nc_row_open(&want->flight->row, want->row);
        begun->flights[begun->count++] = want->flight;
    } else {
        nc_cache_count(self, want->key.tier, NC_COUNT_flight_waits, 1);
    }
}

/* Joins or begins the flights of those of wants[0..count) that are of this lane; begun ones are
 * sent in chunks. */
static void depart(struct nc_sync *sync, struct nc_cache_thread *self, struct nc_want *wants,
                   size_t count, uint64_t deadline_ns, struct nc_fetch_round *round)
{
    struct begun begun;
    begun.block = NULL;
    begun.count = 0;
    begun.alone = count == 1 && !round->amid ? NC_CALL_SINGLE : NC_CALL_AHEAD;
    for (size_t i = 0; i < count; i++) {
        struct nc_want *want = &wants[i];
        if (want->key.lane != sync->number)
            continue;
        want->flight = NULL;
        want->leads = want->soft = want->in_row = false;
        if (!begun.block && begun.count == 0)
            begun.block = make_room(sync, want, count - i);
        join(sync, self, want, deadline_ns, &begun);
        if (begun.count == nc_chunk_keys(sync, want->key.tier))
            send_begun(sync, &begun, deadline_ns, round);
    }
    send_begun(sync, &begun, deadline_ns, round);
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
    bool full = want->leads && want->row && nc_row_close(&want->flight->row);
    want->in_row = landed && full && want->flight->outcome == 0;
    if (landed)
        take_outcome(self, want);
    else
        want->outcome = NEARCACHE_ETIMEOUT;
    nc_flight_release(want->flight);
    want->flight = NULL;
}

static bool wait_flight(struct nc_sync *any, const struct nc_want *want, uint64_t deadline_ns)
{
    return nc_sync_wait_flight(nc_sync_for(any, &want->key), want->flight, deadline_ns);
}

/* Drives our own requests, then waits for those of others. What is given up at the soft deadline
 * goes on and refreshes the cache. */
static void arrive(struct nc_sync *any, struct nc_cache_thread *self, struct nc_want *wants,
                   size_t count, const struct nc_fetch_options *options,
                   const struct nc_fetch_round *round)
{
    bool waiting = true;
    if (mark_soft(self, wants, count, options)) {
        waiting = false;
        for (size_t i = 0; i < round->sent_count; i++)
            nc_link_wait_softly(round->sent[i].sync->link, round->sent[i].call,
                                options->soft_deadline_ns);
        for (size_t i = 0; i < count; i++) {
            struct nc_want *want = &wants[i];
            if (want->flight && want->soft)
                nc_fetch_leave(self, want, wait_flight(any, want, options->soft_deadline_ns));
            waiting = waiting || want->flight;
        }
    }
    for (size_t i = 0; i < round->sent_count; i++) {
        if (waiting)
            nc_link_wait(round->sent[i].sync->link, round->sent[i].call, options->deadline_ns);
        nc_call_release(round->sent[i].call);
    }
    for (size_t i = 0; i < count; i++)
        if (wants[i].flight)
            nc_fetch_leave(self, &wants[i], wait_flight(any, &wants[i], options->deadline_ns));
}

static bool redis_cannot_be_asked(int outcome)
{
    return outcome == NEARCACHE_EOFFLINK || outcome == NEARCACHE_ETIMEOUT;
}

/* Requests have eight keys and more, but for the last of each lane and those of one slot. */
size_t nc_fetch_round_keys(const struct nc_sync *any)
{
    return any->one_slot || any->cache->lane_count == 1 ? NC_FETCH_ROUND : NC_FETCH_ROUND_MOST;
}

void nc_fetch_depart(struct nc_sync *any, struct nc_cache_thread *self, struct nc_want *wants,
                     size_t count, const struct nc_fetch_options *options,
                     struct nc_fetch_round *round)
{
    round->sent_count = 0;
    if (count == 1) {
        depart(nc_sync_for(any, &wants[0].key), self, wants, 1, options->deadline_ns, round);
        return;
    }
    /* All lanes are asked before any is waited for. */
    NC_EACH_LANE(any, sync)
    depart(sync, self, wants, count, options->deadline_ns, round);
}

void nc_fetch_arrive(struct nc_sync *any, struct nc_cache_thread *self, struct nc_want *wants,
                     size_t count, const struct nc_fetch_options *options,
                     struct nc_fetch_round *round)
{
    nc_removals_hold(self); /* while this thread may read for others */
    arrive(any, self, wants, count, options, round);
    nc_removals_tell(any->cache, self);
    for (size_t i = 0; i < count; i++)
        if (redis_cannot_be_asked(wants[i].outcome))
            wants[i].outcome = nc_fetch_stale(any, self, &wants[i].key, options->max_stale_ns,
                                              !wants[i].soft, wants[i].outcome, wants[i].result);
}

void nc_fetch(struct nc_sync *any, struct nc_cache_thread *self, struct nc_want *wants,
              size_t count, const struct nc_fetch_options *options)
{
    struct nc_fetch_round rounds[2];
    size_t most = nc_fetch_round_keys(any), at = 0;
    unsigned number = 0;
    for (; at + most < count; at += most, number ^= 1) {
        rounds[number].amid = at > 0;
        nc_fetch_depart(any, self, wants + at, most, options, &rounds[number]);
        if (at > 0)
            nc_fetch_arrive(any, self, wants + at - most, most, options, &rounds[number ^ 1]);
    }
    rounds[number].amid = at > 0;
    if (at < count)
        nc_fetch_depart(any, self, wants + at, count - at, options, &rounds[number]);
    if (at > 0)
        nc_fetch_arrive(any, self, wants + at - most, most, options, &rounds[number ^ 1]);
    if (at < count)
        nc_fetch_arrive(any, self, wants + at, count - at, options, &rounds[number]);
}

void nc_fetch_refresh(struct nc_sync *any, const struct nc_key *key)
{
    struct nc_sync *sync = nc_sync_for(any, key);
    bool leads;
    struct nc_ticket ticket = nc_cache_ticket(key);
    /* The hit may have been before a write that waits. After the ticket, as in join. */
    if (nc_fetch_is_pending(any, key))
        return;
    struct nc_flight *flight = nc_flight_join(&sync->reads, key, &ticket, &leads);
    if (!flight)
        return;
    if (leads) {
        struct nc_call *call = nc_chunk_send(sync, &flight, 1, NC_CALL_AHEAD,
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
    struct nc_cache_thread *self = nc_cache_self(sync->cache);
    nc_removals_hold(self); /* as in nc_fetch_arrive */
    int outcome = nc_link_call(sync->link, call, NC_CALL_SINGLE, deadline_ns);
    nc_call_release(call);
    nc_removals_tell(sync->cache, self);
    return outcome != 0 ? outcome : existence.outcome;
}
