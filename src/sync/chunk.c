#include "sync/chunk.h"

#include "cache/fill.h"
#include "cache/removals.h"

#include <stdlib.h>
#include <string.h>

/*
 * What is asked and where in the reply it stands. `unit` requests are MULTI ... EXEC, so that the
 * parts belong together; a tier without versions and expiry needs only the value.
 *
 *     MULTI   HGET S s   GET k | MGET k...   PTTL k...   EXEC -> [s] [value | [value...]] [pttl...]
 *
 * A value that is newer than the version beside it would be followed by an own write that is newer
 * than that version and older than the value: the process would go back. Without versions a TTL
 * that comes behind the value belongs to it, or to one that has replaced it: a lone key is asked
 * for by two plain commands, of which Redis makes 13,100 instructions in place of 19,800. For
 * several keys MULTI is a twelfth of the work, and nothing else tells an absent key from one of
 * another type that MGET passes over; in a cluster a slot on the move must refuse all or nothing.
 */
struct chunk {
    struct nc_sink sink;
    struct nc_sync *sync;
    struct nc_call *call;
    uint32_t count;
    uint32_t last_reply; /* index of EXEC's reply, or of the last one */
    bool unit, versioned, expires;
    int outcome; /* an error reply's meaning */
    bool whole;  /* the reply was of the right shape so far */
    uint64_t version;
    struct nc_flight *flights[];
};

static struct nc_flight *flight_of(struct chunk *chunk, uint64_t index)
{
    return index < chunk->count ? chunk->flights[index] : NULL;
}

static void take_value(struct chunk *chunk, struct nc_flight *flight,
                       const struct nc_reply_part *part)
{
    struct nc_cache_thread *self;
    if (part->type == NC_REPLY_NIL)
        return;
    if (part->type == NC_REPLY_ERROR) {
        flight->outcome = nc_refusal_of(part->str, part->bytes) == NC_REFUSAL_TYPE
                              ? NEARCACHE_ETYPE
                              : NEARCACHE_EREMOTE;
        return;
    }
    if (part->type != NC_REPLY_BULK || flight->entry) {
        chunk->whole = false;
        return;
    }
    uint32_t row_bytes = flight->key.tier->row_bytes;
    if (row_bytes && part->bytes != row_bytes) {
        flight->outcome = NEARCACHE_ETYPE;
        return;
    }
    self = nc_cache_self(chunk->sync->cache);
    flight->entry = self ? nc_cache_entry_create(self, &flight->key, part->bytes, false) : NULL;
    if (!flight->entry) {
        flight->outcome = NEARCACHE_ENOMEM;
        return;
    }
    memcpy(nc_entry_value(flight->entry), part->str, part->bytes);
    if (nc_row_begin(&flight->row)) {
        memcpy(flight->row.at, part->str, part->bytes);
        nc_row_end(&flight->row);
    }
}

static void take_top(struct chunk *chunk, const struct nc_reply_part *part, uint64_t at)
{
    if (chunk->versioned) {
        if (at == 0) {
            /* No S: the handshake makes it; until then nothing read here can be kept. */
            const char *text = part->str;
            chunk->version = 0;
            chunk->whole =
                chunk->whole && (part->type == NC_REPLY_BULK || part->type == NC_REPLY_NIL);
            if (part->type == NC_REPLY_BULK)
                for (size_t i = 0; i < part->bytes && text[i] >= '0' && text[i] <= '9'; i++)
                    chunk->version = chunk->version * 10 + (uint64_t)(text[i] - '0');
            return;
        }
        at--;
    }
    if (at == 0) {
        if (chunk->count == 1)
            take_value(chunk, chunk->flights[0], part);
        else if (part->type != NC_REPLY_ARRAY || part->elements != chunk->count)
            chunk->whole = false;
        return;
    }
    struct nc_flight *flight = flight_of(chunk, at - 1);
    if (!flight || part->type != NC_REPLY_INTEGER)
        chunk->whole = false;
    else
        flight->pttl_ms = part->integer;
}

static int on_part(struct nc_sink *sink, const struct nc_reply_part *part)
{
    struct chunk *chunk = (struct chunk *)sink;
    if (part->type == NC_REPLY_ERROR && (part->reply < chunk->last_reply || part->depth == 0)) {
        enum nc_refusal refusal = nc_refusal_of(part->str, part->bytes);
        if (chunk->outcome == 0)
            chunk->outcome = refusal == NC_REFUSAL_UNAVAILABLE ? NEARCACHE_EOFFLINK
                             : refusal == NC_REFUSAL_TYPE      ? NEARCACHE_ETYPE
                                                               : NEARCACHE_EREMOTE;
        return 0;
    }
    if (chunk->unit && part->reply < chunk->last_reply)
        return 0; /* OK, QUEUED */
    if (chunk->unit && part->depth == 0)
        chunk->whole = chunk->whole && part->type == NC_REPLY_ARRAY;
    else if (part->depth == chunk->unit)
        take_top(chunk, part, chunk->unit ? part->index : part->reply);
    else if (part->depth == 1u + chunk->unit && flight_of(chunk, part->index))
        take_value(chunk, chunk->flights[part->index], part);
    else
        chunk->whole = false;
    return 0;
}

/* ---- its end ---- */

/* PTTL of a key that is not there. */
#define GONE (-2)

/* TTL of what was read: the server's and the tier's, whichever is shorter. */
static uint64_t local_ttl_ns(const struct nc_flight *flight)
{
    uint64_t ttl_ns = flight->key.tier->local_ttl_ns;
    if (flight->pttl_ms >= 0) {
        uint64_t pttl_ns = (uint64_t)flight->pttl_ms * NC_NS_PER_MS;
        return pttl_ns < ttl_ns ? pttl_ns : ttl_ns;
    }
    return ttl_ns;
}

/* `self` may be NULL where the flight has failed. */
static void finish_flight(struct chunk *chunk, struct nc_cache_thread *self,
                          struct nc_flight *flight, uint64_t now_ns)
{
    struct nearcache_tier *tier = flight->key.tier;
    bool keep = (!chunk->versioned || chunk->version != 0) && !nc_call_was_moved(chunk->call);
    if (flight->outcome != 0) {
        if (flight->entry)
            nc_cache_entry_destroy(tier, flight->entry);
        flight->entry = NULL;
        nc_flight_land(flight, flight->outcome);
        return;
    }
    int outcome = 0;
    flight->version = chunk->version;
    if (!flight->entry) {
        bool there = chunk->expires && flight->pttl_ms > GONE;
        outcome = there && chunk->count > 1 ? NEARCACHE_ETYPE : NEARCACHE_MISS;
        if (outcome == NEARCACHE_MISS && keep && tier->negative_ttl_ns != NEARCACHE_NONE &&
            (flight->entry = nc_cache_entry_create(self, &flight->key, 0, true)) != NULL) {
            nc_entry_set_version(flight->entry, chunk->version);
            nc_cache_entry_times(self, &flight->key, flight->entry, flight->sent_ns,
                                 tier->negative_ttl_ns);
            flight->cached = nc_cache_fill(self, &flight->key, &flight->ticket, flight->entry);
        }
    } else {
        nc_entry_set_version(flight->entry, chunk->version);
        nc_cache_entry_times(self, &flight->key, flight->entry, flight->sent_ns,
                             local_ttl_ns(flight));
        keep = keep && flight->pttl_ms != GONE; /* it went since its value was read */
        outcome = nc_cache_hold_new(self, tier, flight->entry, now_ns, &flight->held);
        if (keep && nc_entry_value_bytes(flight->entry) <= tier->largest_local_bytes)
            flight->cached = nc_cache_fill(self, &flight->key, &flight->ticket, flight->entry);
        else
            nc_cache_orphan(self, tier, flight->entry);
    }
    flight->entry = NULL;
    nc_flight_land(flight, outcome);
}

/* Runs on whoever reads the reply, or ends the connection: under no lock. */
static void on_done(void *arg, int status)
{
    struct chunk *chunk = arg;
    struct nc_cache_thread *self = nc_cache_self(chunk->sync->cache);
    uint64_t now_ns = nc_clock_now_ns(&chunk->sync->cache->clock);
    int outcome = status != 0 ? status : chunk->outcome;
    if (outcome == 0 && !chunk->whole)
        outcome = NEARCACHE_EPROTOCOL;
    if (!self)
        outcome = NEARCACHE_ENOMEM;
    /* One that the breaker or an absent link turned away was no request. */
    if (nc_call_was_sent(chunk->call))
        nc_cache_count(self, chunk->flights[0]->key.tier, NC_COUNT_flights, chunk->count);
    nc_removals_hold(self);
    for (uint32_t i = 0; i < chunk->count; i++) {
        struct nc_flight *flight = chunk->flights[i];
        if (outcome != 0)
            flight->outcome = outcome;
        finish_flight(chunk, self, flight, now_ns);
    }
    nc_sync_tell_read(chunk->sync, self);
    nc_sync_saw(chunk->sync, chunk->version);
    nc_call_release(chunk->call);
    free(chunk);
}

/* ---- its beginning ---- */

/* Rows are asked for in replies of some 128 KiB, so that several fit what may be under way. */
#define CHUNK_BYTES 131072u
#define CHUNK_KEYS_LEAST 8u

uint32_t nc_chunk_keys(const struct nc_sync *sync, const struct nearcache_tier *tier)
{
    if (sync->one_slot)
        return 1;
    uint32_t keys = tier->row_bytes ? CHUNK_BYTES / tier->row_bytes : NC_CHUNK_KEYS;
    if (keys > NC_CHUNK_KEYS)
        return NC_CHUNK_KEYS;
    return keys < CHUNK_KEYS_LEAST ? CHUNK_KEYS_LEAST : keys;
}

static void put_literal(struct nc_command *command, const char *text)
{
    nc_command_arg(command, text, strlen(text));
}

/* MULTI, EXEC and the like have one word each; the mistakes of the buffer are sticky. */
static void write_commands(struct chunk *chunk, struct nc_command *command)
{
    if (chunk->unit) {
        nc_command_begin(command, 1);
        put_literal(command, "MULTI");
    }
    if (chunk->versioned) {
        nc_command_begin(command, 3);
        put_literal(command, "HGET");
        put_literal(command, chunk->sync->key_s);
        put_literal(command, "s");
    }
    nc_command_begin(command, 1 + chunk->count);
    put_literal(command, chunk->count == 1 ? "GET" : "MGET");
    for (uint32_t i = 0; i < chunk->count; i++)
        nc_sync_put_redis_key(chunk->sync, &chunk->flights[i]->key, command);
    for (uint32_t i = 0; chunk->expires && i < chunk->count; i++) {
        nc_command_begin(command, 2);
        put_literal(command, "PTTL");
        nc_sync_put_redis_key(chunk->sync, &chunk->flights[i]->key, command);
    }
    if (chunk->unit) {
        nc_command_begin(command, 1);
        put_literal(command, "EXEC");
    }
}

struct nc_call *nc_chunk_send(struct nc_sync *sync, struct nc_flight **flights, uint32_t count,
                              enum nc_call_kind kind, uint64_t deadline_ns)
{
    struct nearcache_tier *tier = flights[0]->key.tier;
    struct chunk *chunk = malloc(sizeof *chunk + count * sizeof flights[0]);
    struct nc_call *call = chunk ? nc_call_create() : NULL;
    if (!call) {
        free(chunk);
        for (uint32_t i = 0; i < count; i++)
            nc_flight_land(flights[i], NEARCACHE_ENOMEM);
        return NULL;
    }
    memset(chunk, 0, sizeof *chunk);
    chunk->sink.part = on_part;
    chunk->sync = sync;
    chunk->call = call;
    chunk->count = count;
    chunk->whole = true;
    chunk->versioned = tier->coherence == NEARCACHE_COHERENCE_PUBSUB;
    chunk->expires = tier->redis_ttl_ms != NEARCACHE_NONE;
    chunk->unit =
        chunk->versioned || (chunk->expires && (count > 1 || sync->sharded || sync->one_slot));
    memcpy(chunk->flights, flights, count * sizeof flights[0]);
    uint64_t sent_ns = nc_clock_now_ns(&sync->cache->clock);
    for (uint32_t i = 0; i < count; i++)
        flights[i]->sent_ns = sent_ns;
    write_commands(chunk, nc_call_command(call));
    chunk->last_reply = nc_call_command(call)->replies - 1;
    nc_sync_mark_slot(sync, &flights[0]->key, call);
    nc_call_expect(call, &chunk->sink, on_done, chunk);
    nc_call_retain(call);
    nc_link_submit(sync->link, call, kind, deadline_ns);
    return call;
}
