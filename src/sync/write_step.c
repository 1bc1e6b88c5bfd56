#include "sync/write_step.h"

#include "base/mutant.h"
#include "cache/drop.h"
#include "cache/fill.h"
#include "cache/find.h"

#include <string.h>

/* ---- the copy here ---- */

bool nc_write_fits_locally(const struct nc_write_item *item)
{
    return item->value_bytes <= item->key.tier->largest_local_bytes;
}

static uint64_t ttl_ns_of(const struct nc_write_item *item)
{
    if (item->ttl_ms == NEARCACHE_NONE || item->ttl_ms > UINT64_MAX / NC_NS_PER_MS)
        return item->key.tier->local_ttl_ns;
    uint64_t ttl_ns = item->ttl_ms * NC_NS_PER_MS;
    return ttl_ns < item->key.tier->local_ttl_ns ? ttl_ns : item->key.tier->local_ttl_ns;
}

bool nc_write_leaves_a_copy(const struct nc_write_item *item)
{
    const struct nearcache_tier *tier = item->key.tier;
    if (item->op == NC_WRITE_DELETE)
        return tier->linked && tier->negative_ttl_ns != NEARCACHE_NONE;
    return item->op == NC_WRITE_SET && nc_write_fits_locally(item);
}

struct nc_entry *nc_write_make_copy(struct nc_cache_thread *self, const struct nc_write_item *item)
{
    bool absent = item->op == NC_WRITE_DELETE;
    struct nc_entry *entry =
        nc_cache_entry_create(self, &item->key, absent ? 0 : item->value_bytes, absent);
    if (entry && !absent && item->value_bytes)
        memcpy(nc_entry_value(entry), item->value, item->value_bytes);
    return entry;
}

int nc_write_keep(struct nc_cache_thread *self, const struct nc_write_item *item,
                  const struct nc_ticket *ticket, struct nc_entry *made, uint64_t now_ns)
{
    struct nearcache_tier *tier = item->key.tier;
    if (!made && !nc_write_leaves_a_copy(item))
        return 0;
    struct nc_entry *entry = made ? made : nc_write_make_copy(self, item);
    if (!entry)
        return NEARCACHE_ENOMEM;
    nc_entry_set_version(entry, item->version);
    nc_cache_entry_times(self, &item->key, entry, now_ns,
                         item->op == NC_WRITE_DELETE ? tier->negative_ttl_ns : ttl_ns_of(item));
    return nc_cache_fill(self, &item->key, ticket, entry) ? 0 : NEARCACHE_ETOOBIG;
}

/* ---- before ---- */

/* Where other programs write too, an outage's write may only replace what was seen here. */
static void remember(struct nc_cache_thread *self, struct nc_write_item *item)
{
    if (item->key.tier->coherence != NEARCACHE_COHERENCE_TRACKING ||
        item->key.tier->outage_writes != NEARCACHE_OUTAGE_JOURNAL)
        return;
    memset(&item->before, 0, sizeof item->before);
    switch (nc_cache_find(self, &item->key, true, UINT64_MAX, &item->before)) {
    case NC_FOUND_NOTHING:
        return;
    case NC_FOUND_FRESH:
    case NC_FOUND_OLD:
        item->before_known = true;
        return;
    default:
        item->before_known = true;
        item->before.data = NULL;
    }
}

static void let_go(struct nc_write_item *item)
{
    if (item->before_known)
        nc_cache_release(&item->before);
    item->before_known = false;
}

void nc_write_prepare(struct nc_cache_thread *self, struct nc_write_item *item)
{
    item->ticket = nc_cache_ticket(&item->key);
    remember(self, item);
    nc_cache_drop(self, &item->key,
                  item->op == NC_WRITE_SET ? NEARCACHE_CAUSE_REPLACED
                                           : NEARCACHE_CAUSE_INVALIDATED);
}

/* ---- after ---- */

int nc_write_keep_for_later(const struct nc_write_terms *terms, struct nc_write_item *item,
                            uint64_t not_before_ns)
{
    struct nc_sync *sync = terms->sync;
    uint64_t taken_ns = item->taken_ns;
    struct nearcache_tier *tier = item->key.tier;
    uint64_t ends_ns = NEARCACHE_NONE;
    if (item->op == NC_WRITE_INVALIDATE)
        return NEARCACHE_EOFFLINK;
    if (tier->outage_writes == NEARCACHE_OUTAGE_REFUSE)
        return not_before_ns ? NEARCACHE_ETIMEOUT : NEARCACHE_EREFUSED;
    if (item->ttl_ms != NEARCACHE_NONE && item->ttl_ms < (UINT64_MAX - taken_ns) / NC_NS_PER_MS)
        ends_ns = taken_ns + item->ttl_ms * NC_NS_PER_MS;
    struct nc_digest before;
    /* Who never began has not looked yet. */
    if (!item->flight && terms->self)
        remember(terms->self, item);
    if (item->before_known)
        nc_digest_of(&before, item->before.data, item->before.bytes);
    int outcome = nc_journal_put(
        &sync->journal, &item->key, item->op == NC_WRITE_SET ? NC_INTENT_SET : NC_INTENT_DELETE,
        item->value, item->op == NC_WRITE_SET ? item->value_bytes : 0, taken_ns, ends_ns,
        not_before_ns, item->before_known ? &before : NULL);
    if (!item->flight)
        let_go(item);
    if (outcome == 0) {
        nc_link_wake(sync->link);
        return NEARCACHE_LOCAL;
    }
    if (outcome == NEARCACHE_EFULL)
        nc_cache_count(terms->self, tier, NC_COUNT_journal_full, 1);
    return outcome;
}

/* NULL: none. An empty one is not none. */
static const void *value_left_by(const struct nc_write_item *item)
{
    if (item->op != NC_WRITE_SET)
        return NULL;
    return item->value_bytes ? item->value : "";
}

void nc_write_applied(const struct nc_write_terms *terms, struct nc_write_item *item,
                      struct nc_entry *made, uint64_t version, bool moved)
{
    struct nc_sync *sync = terms->sync;
    item->version = version;
    item->outcome = 0;
    if (terms->script == NC_SCRIPT_WRITE)
        nc_sync_saw(sync, version);
    /* An invalidation writes nothing that could stand for what is pending. */
    bool newer_waits = false;
    if (item->op != NC_WRITE_INVALIDATE)
        newer_waits = nc_journal_forget(&sync->journal, &item->key, item->taken_ns,
                                        terms->script == NC_SCRIPT_WRITE ? version : 0,
                                        value_left_by(item), item->value_bytes);
    if (terms->script == NC_SCRIPT_WRITE)
        nc_cache_observe(terms->self, &item->key, version, NEARCACHE_CAUSE_REPLACED);
    /* Tracking tiers keep a value only after reading it; an invalidation keeps nothing. */
    if (item->op == NC_WRITE_INVALIDATE || !nc_write_fits_locally(item) ||
        item->key.tier->coherence == NEARCACHE_COHERENCE_TRACKING)
        return;
    if (moved || newer_waits) {
        if (made)
            nc_cache_entry_destroy(item->key.tier, made);
        return;
    }
    item->ticket.generation = 0; /* an own write holds on any link, epoch and version decide */
    nc_write_keep(terms->self, item, &item->ticket, made, nc_clock_now_ns(&sync->cache->clock));
}

void nc_write_not_applied(const struct nc_write_terms *terms, struct nc_write_item *item,
                          int outcome, const struct nc_answer *answer)
{
    bool in_doubt = answer->sent && outcome != NEARCACHE_EREMOTE;
    if (outcome == NEARCACHE_ENOMEM || outcome == NEARCACHE_EPROTOCOL ||
        (outcome == NEARCACHE_EREMOTE && answer->refusal != NC_REFUSAL_UNAVAILABLE)) {
        item->outcome = outcome == NEARCACHE_EREMOTE && answer->refusal == NC_REFUSAL_TYPE
                            ? NEARCACHE_ETYPE
                            : outcome;
        return;
    }
    /* One tick of slack: Redis compares whole microseconds. */
    item->outcome = nc_write_keep_for_later(
        terms, item, in_doubt && !NC_MUTANT(early_give_up) ? terms->deadline_ns + NC_NS_PER_MS : 0);
}

void nc_write_leave_no_copy(struct nc_cache_thread *self, const struct nc_write_item *item)
{
    if (item->outcome == NEARCACHE_LOCAL)
        nc_cache_supersede(self, &item->key,
                           item->op == NC_WRITE_SET ? NEARCACHE_CAUSE_REPLACED
                                                    : NEARCACHE_CAUSE_INVALIDATED);
}

void nc_write_finish(struct nc_write_item *item)
{
    nc_flight_land(item->flight, 0);
    nc_flight_release(item->flight);
    item->flight = NULL;
    let_go(item);
}
