#include "sync/load.h"

#include "cache/drop.h"
#include "cache/fill.h"
#include "cache/find.h"
#include "cache/removals.h"
#include "sync/lease.h"
#include "sync/replay.h"
#include "sync/write.h"
#include "sync/write_step.h"

#include <string.h>

/* Giving a lease back is a courtesy: it ends anyway. */
#define GIVE_NS (50 * NC_NS_PER_MS)
/* What a question to Redis may take when the caller's time has been used up. */
#define ASK_NS (100 * NC_NS_PER_MS)

struct loading {
    struct nc_sync *sync; /* NULL: local-only */
    struct nc_cache_thread *self;
    const struct nc_key *key;
    const struct nc_fetch_options *options;
    uint64_t read_s;
    uint64_t ttl_ms;
    uint64_t taken_ns;      /* when the loader was called */
    struct nc_ticket begun; /* local-only: from before the last look for a value */
    bool kept;              /* there is a copy of it */
};

/* Puts the value into the cache and pins it, or only pins it. */
static int hold_value(struct loading *l, const struct nearcache_loaded *loaded, uint64_t version,
                      bool keep, const struct nc_ticket *ticket, struct nearcache_result *held)
{
    struct nearcache_tier *tier = l->key->tier;
    uint64_t ttl_ns = tier->local_ttl_ns;
    struct nc_entry *entry = nc_cache_entry_create(l->self, l->key, loaded->bytes, false);
    if (!entry)
        return NEARCACHE_ENOMEM;
    if (loaded->bytes)
        memcpy(nc_entry_value(entry), loaded->data, loaded->bytes);
    if (l->ttl_ms != NEARCACHE_NONE && l->ttl_ms < ttl_ns / NC_NS_PER_MS)
        ttl_ns = l->ttl_ms * NC_NS_PER_MS;
    uint64_t now_ns = nc_clock_now_ns(&tier->cache->clock);
    nc_entry_set_version(entry, version);
    nc_cache_entry_times(l->self, l->key, entry, now_ns, ttl_ns);
    int outcome = nc_cache_hold_new(l->self, tier, entry, now_ns, held);
    if (keep && loaded->bytes <= tier->largest_local_bytes)
        l->kept = nc_cache_fill(l->self, l->key, ticket, entry);
    else
        nc_cache_orphan(l->self, tier, entry);
    return outcome;
}

void nc_load_absence(struct nc_sync *sync, struct nc_cache_thread *self, const struct nc_key *key,
                     uint64_t read_s, const struct nc_ticket *ticket)
{
    struct nearcache_tier *tier = key->tier;
    if (tier->negative_ttl_ns == NEARCACHE_NONE || (sync && read_s == 0))
        return;
    /* A write that came to wait before the ticket was taken is newer than the read that missed. One
     * that comes after this look voids the ticket. */
    if (sync && nc_fetch_is_pending(sync, key))
        return;
    struct nc_entry *entry = nc_cache_entry_create(self, key, 0, true);
    if (!entry)
        return;
    nc_entry_set_version(entry, read_s);
    nc_entry_set(entry, NC_ENTRY_VOUCHED);
    nc_cache_entry_times(self, key, entry, nc_clock_now_ns(&tier->cache->clock),
                         tier->negative_ttl_ns);
    nc_cache_fill(self, key, ticket, entry);
}

/* A loader is not held to the deadline; what it made must be written within some. */
static uint64_t write_deadline_ns(const struct loading *l)
{
    uint64_t now_ns = nc_clock_io_ns(), deadline_ns = l->options->deadline_ns;
    return deadline_ns == UINT64_MAX || deadline_ns <= now_ns ? now_ns + ASK_NS : deadline_ns;
}

/* The value goes to Redis, or by the tier's outage policy into the journal; the caller gets it in
 * any case. NEARCACHE_MISS: something newer stands in Redis. */
static int write_through(struct loading *l, const struct nearcache_loaded *loaded,
                         struct nearcache_result *held)
{
    struct nearcache_tier *tier = l->key->tier;
    /* No version tells what was written or deleted while the loader ran: its ticket does. */
    if (!l->sync)
        return hold_value(l, loaded, 0, true, &l->begun, held);
    struct nc_ticket ticket = nc_cache_ticket(l->key);
    uint64_t version = 0, deadline_ns = write_deadline_ns(l);
    if (tier->coherence == NEARCACHE_COHERENCE_PUBSUB && l->read_s != 0) {
        struct nc_loaded made = {.key = l->key,
                                 .value = loaded->data,
                                 .value_bytes = loaded->bytes,
                                 .ttl_ms = l->ttl_ms,
                                 .read_s = l->read_s,
                                 .taken_ns = l->taken_ns};
        nc_replay_loaded(l->sync, &made, 1, deadline_ns);
        int outcome = made.outcome;
        version = made.version;
        if (outcome == NEARCACHE_MISS)
            return NEARCACHE_MISS;
        if (outcome == 0) {
            nc_cache_observe(l->self, l->key, version, NEARCACHE_CAUSE_REPLACED);
            ticket.generation = 0;
        }
        return hold_value(l, loaded, version, outcome == 0 && !made.moved, &ticket, held);
    }
    struct nc_write_item item = {.key = *l->key,
                                 .op = NC_WRITE_SET,
                                 .value = loaded->data,
                                 .value_bytes = loaded->bytes,
                                 .ttl_ms = l->ttl_ms,
                                 .taken_ns = l->taken_ns};
    nc_write(l->sync, l->self, &item, 1, deadline_ns);
    l->kept = item.outcome >= 0 && nc_write_leaves_a_copy(&item);
    return hold_value(l, loaded, 0, false, &ticket, held);
}

/* Whoever waits for a loader without end does not so for a server that stands. */
static uint64_t asked_by_ns(uint64_t deadline_ns)
{
    return deadline_ns == UINT64_MAX ? nc_clock_io_ns() + ASK_NS : deadline_ns;
}

/*
 * Where processes take turns: 0 when it is ours to make the value (with the lease, or because
 * nobody can be asked), NC_OUTCOME_AGAIN when another process has made it, NEARCACHE_ETIMEOUT.
 */
static int take_turn(struct loading *l, struct nc_lease *lease)
{
    uint64_t deadline_ns = l->options->deadline_ns;
    if (!l->sync || l->key->tier->load_lease_ms == 0 ||
        nc_sync_state(l->sync) != NEARCACHE_LINK_LIVE)
        return 0;
    for (;;) {
        struct nc_ticket ticket = nc_cache_ticket(l->key);
        switch (nc_lease_take(l->sync, lease, l->key, asked_by_ns(deadline_ns))) {
        case NC_LEASE_THERE:
            return NC_OUTCOME_AGAIN;
        case NC_LEASE_OTHERS:
            if (!nc_lease_wait(l->sync, l->key, &ticket, deadline_ns))
                return NEARCACHE_ETIMEOUT;
            break;
        default:
            return 0;
        }
    }
}

/* One loader call, inside a hold (cache/removals). The outcome is everybody's who waits; 0: pinned
 * in *held. */
static int run(struct loading *l, nearcache_load_fn load, void *arg, struct nearcache_result *held)
{
    struct nearcache_tier *tier = l->key->tier;
    struct nearcache_loaded loaded = {0};
    nc_cache_count(l->self, tier, NC_COUNT_loads, 1);
    struct nc_ticket ticket = l->sync ? nc_cache_ticket(l->key) : l->begun;
    /* What is written from here on is newer than what the loader makes. */
    l->taken_ns = nc_clock_io_ns();
    nc_removals_tell(tier->cache, l->self); /* it may take its time */
    int outcome = load(arg, l->key->name, l->key->name_bytes, &loaded);
    nc_removals_hold(l->self);
    if (outcome == 0 &&
        (tier->row_bytes ? loaded.bytes != tier->row_bytes : loaded.bytes > 0 && !loaded.data))
        outcome = NEARCACHE_ETYPE;
    if (outcome == 0) {
        l->ttl_ms = loaded.ttl_ms ? loaded.ttl_ms : tier->redis_ttl_ms;
        if (nc_tier_takes_ttl(tier, l->ttl_ms)) {
            outcome = write_through(l, &loaded, held);
        } else {
            nc_cache_count(l->self, tier, NC_COUNT_load_errors, 1);
            outcome = NEARCACHE_EINVAL;
        }
        if (outcome == NEARCACHE_MISS)
            outcome = NC_OUTCOME_AGAIN;
    } else if (outcome == NEARCACHE_MISS) {
        nc_load_absence(l->sync, l->self, l->key, l->read_s, &ticket);
    } else {
        nc_cache_count(l->self, tier, NC_COUNT_load_errors, 1);
        outcome = NEARCACHE_ELOADER;
    }
    if (loaded.free_data)
        loaded.free_data((void *)loaded.data);
    return outcome;
}

/* Another thread's load may have landed between this one's look and its flight. False: the load
 * begins. */
static bool has_landed_meanwhile(struct loading *l, struct nearcache_result *held)
{
    bool look = !l->options->refresh;
    if (!l->sync)
        return nc_cache_load_begin(l->self, l->key, look, &l->begun, held) == NC_FOUND_FRESH;
    return look && nc_cache_find(l->self, l->key, false, 0, held) == NC_FOUND_FRESH;
}

int nc_load(struct nc_sync *any, struct nc_flights *loads, struct nc_cache_thread *self,
            const struct nc_key *key, nearcache_load_fn load, void *arg, uint64_t read_s,
            const struct nc_fetch_options *options, struct nearcache_result *result)
{
    struct nc_sync *sync = any ? nc_sync_for(any, key) : NULL;
    struct loading loading = {
        .sync = sync, .self = self, .key = key, .options = options, .read_s = read_s};
    bool leads;
    struct nc_flight *flight = nc_flight_join(loads, key, NULL, &leads);
    if (!flight)
        return NEARCACHE_ENOMEM;
    if (!leads) {
        nc_cache_count(self, key->tier, NC_COUNT_flight_waits, 1);
    } else if (has_landed_meanwhile(&loading, &flight->held)) {
        flight->cached = true;
        nc_flight_land(flight, 0);
    } else {
        struct nc_lease lease = {false, ""};
        nc_removals_hold(self); /* while others wait for this load */
        int loaded = take_turn(&loading, &lease);
        if (loaded == 0)
            loaded = run(&loading, load, arg, &flight->held);
        flight->cached = loading.kept;
        nc_flight_land(flight, loaded);
        if (sync)
            nc_lease_give(sync, &lease, key, nc_clock_io_ns() + GIVE_NS);
        else
            nc_cache_load_end(key);
        nc_removals_tell(key->tier->cache, self);
    }
    int outcome = NEARCACHE_ETIMEOUT;
    if (nc_flight_wait(flight, options->deadline_ns))
        outcome = flight->outcome;
    if (outcome == 0)
        outcome = nc_cache_hold(self, key->tier, nc_cache_held_entry(&flight->held), result);
    if (outcome == 0) {
        result->source = NEARCACHE_SOURCE_LOADED;
        if (!flight->cached)
            result->ttl_ms = 0;
    }
    nc_flight_release(flight);

    if (outcome == NC_OUTCOME_AGAIN) {
        struct nc_want want = {.key = *key, .result = result};
        struct nc_fetch_options again = *options;
        again.deadline_ns = asked_by_ns(options->deadline_ns);
        nc_fetch(sync, self, &want, 1, &again);
        return want.outcome;
    }
    if (outcome == NEARCACHE_ELOADER || outcome == NEARCACHE_ETIMEOUT) {
        if (sync) {
            int old =
                nc_fetch_stale(sync, self, key, options->max_stale_ns, false, outcome, result);
            /* Who asked to have it made is not served by knowing that it was not there. */
            return old == NEARCACHE_MISS && !nc_fetch_is_pending(sync, key) ? outcome : old;
        }
        if (nc_cache_find(self, key, true, options->max_stale_ns, result) == NC_FOUND_OLD) {
            result->source = NEARCACHE_SOURCE_STALE;
            return 0;
        }
    }
    return outcome;
}
