#include "sync/write.h"

#include "base/futex.h"
#include "base/mutant.h"
#include "cache/drop.h"
#include "cache/fill.h"
#include "cache/removals.h"
#include "sync/replay.h"
#include "sync/write_step.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the local half ---- */

void nc_write_local(struct nc_cache_thread *self, struct nc_write_item *item,
                    const struct nc_ticket *made_under)
{
    struct nearcache_tier *tier = item->key.tier;
    if (item->op == NC_WRITE_SET && !nc_write_fits_locally(item)) {
        item->outcome = NEARCACHE_ETOOBIG;
        return;
    }
    if (item->op != NC_WRITE_SET) {
        nc_cache_drop(self, &item->key, NEARCACHE_CAUSE_INVALIDATED);
        item->outcome = 0;
        return;
    }
    item->outcome =
        nc_write_keep(self, item, made_under, NULL, nc_clock_now_ns(&tier->cache->clock));
    /* As if it had been made first, and what voided the ticket came then. */
    if (made_under && item->outcome == NEARCACHE_ETOOBIG)
        item->outcome = 0;
}

/* ---- one write per key ---- */

static bool comes_before(const struct nc_write_item *a, const struct nc_write_item *b)
{
    return a->key.hash != b->key.hash ? a->key.hash < b->key.hash : a < b;
}

/* The order in which a batch takes its keys: the same for all batches, so none waits for a ring.
 * Adds `item` to `count` that are in order; qsort would take three times as long for as few. */
static void add_in_order(struct nc_write_item **items, unsigned count, struct nc_write_item *item)
{
    for (; count > 0 && comes_before(item, items[count - 1]); count--)
        items[count] = items[count - 1];
    items[count] = item;
}

static int take_key(struct nc_sync *sync, struct nc_write_item *item, uint64_t deadline_ns)
{
    for (;;) {
        bool leads;
        struct nc_flight *flight = nc_flight_join(&sync->writes, &item->key, NULL, &leads);
        if (!flight)
            return NEARCACHE_ENOMEM;
        if (leads) {
            item->flight = flight;
            return 0;
        }
        bool landed = nc_sync_wait_flight(sync, flight, deadline_ns);
        nc_flight_release(flight);
        if (!landed)
            return NEARCACHE_ETIMEOUT;
    }
}

/* ---- the call ---- */

struct call {
    struct nc_write_terms terms;
    struct nc_write_item **items; /* distinct keys, each with its flight */
    unsigned count;
    char *names; /* what the following point into */
    const void *redis_key[NC_COMMIT_KEYS];
    size_t redis_key_bytes[NC_COMMIT_KEYS];
    struct nc_entry *made[NC_COMMIT_KEYS]; /* the copies to be, or NULL */
};

/* The request is on its way: what does not depend on its answer is done meanwhile. */
static void make_copies(void *arg)
{
    struct call *call = arg;
    if (call->items[0]->key.tier->coherence == NEARCACHE_COHERENCE_TRACKING)
        return;
    for (unsigned i = 0; i < call->count; i++)
        if (!call->made[i] && nc_write_leaves_a_copy(call->items[i]))
            call->made[i] = nc_write_make_copy(call->terms.self, call->items[i]);
}

static void drop_copies(struct call *call)
{
    for (unsigned i = 0; i < call->count; i++)
        if (call->made[i])
            nc_cache_entry_destroy(call->items[i]->key.tier, call->made[i]);
}

/* Sends the items; `answer` has a status for each. */
static int send_items(struct call *call, struct nc_answer *answer)
{
    struct nc_commit_item items[NC_COMMIT_KEYS];
    for (unsigned i = 0; i < call->count; i++) {
        const struct nc_write_item *item = call->items[i];
        items[i] = (struct nc_commit_item){
            .redis_key = call->redis_key[i],
            .redis_key_bytes = call->redis_key_bytes[i],
            .op = (enum nc_commit_op)item->op,
            .value = item->value,
            .value_bytes = item->value_bytes,
            .ttl_ms = item->ttl_ms == NEARCACHE_NONE ? 0 : item->ttl_ms,
            .deadline_ns = call->terms.deadline_ns,
        };
    }
    return nc_commit(call->terms.sync, call->terms.script, items, call->count, make_copies, call,
                     answer);
}

/* A connection that broke leaves the write in doubt until its not_after has passed (R11), or the
 * cache closes. */
static void wait_out_doubt(struct call *call)
{
    const _Atomic uint32_t *life = call->terms.sync->cache->life.word;
    while (nc_life_check(life) == 0 && nc_futex_wait(life, NC_LIFE_ALIVE, call->terms.deadline_ns))
        ;
}

/* One script call, and a second one for what came too late because our idea of Redis' time was
 * wrong. */
static void run_call(struct call *call)
{
    struct nc_answer answer;
    struct nc_sync *sync = call->terms.sync;
    for (int attempt = 0; attempt < 2 && call->count > 0; attempt++) {
        memset(&answer, 0, offsetof(struct nc_answer, number));
        int outcome = nc_write_learn_clock(sync, call->terms.deadline_ns);
        if (outcome == 0)
            outcome = send_items(call, &answer);
        if (outcome != 0) {
            if (outcome == NEARCACHE_EOFFLINK && answer.sent)
                wait_out_doubt(call);
            for (unsigned i = 0; i < call->count; i++)
                nc_write_not_applied(&call->terms, call->items[i], outcome, &answer);
            drop_copies(call);
            return;
        }
        unsigned late = 0;
        for (unsigned i = 0; i < call->count; i++) {
            if (answer.number[i + 2] == 1) {
                nc_write_applied(&call->terms, call->items[i], call->made[i],
                                 (uint64_t)answer.number[0], answer.moved);
            } else {
                call->redis_key[late] = call->redis_key[i];
                call->redis_key_bytes[late] = call->redis_key_bytes[i];
                call->made[late] = call->made[i];
                call->items[late++] = call->items[i];
            }
        }
        if (!answer.moved) /* the clock of another server tells nothing of this one's */
            nc_offset_sample(&sync->offset, answer.sent_ns, answer.received_ns,
                             (uint64_t)answer.number[1], (uint64_t)answer.number[0], late > 0);
        call->count = late;
    }
    drop_copies(call);
    for (unsigned i = 0; i < call->count; i++)
        call->items[i]->outcome = nc_write_keep_for_later(&call->terms, call->items[i], 0);
}

int nc_write_learn_clock(struct nc_sync *sync, uint64_t deadline_ns)
{
    struct nc_answer answer;
    if (nc_offset_known(&sync->offset))
        return 0;
    int outcome = nc_script_call(&sync->scripts, NC_SCRIPT_PLAIN, NULL, 0, NULL, 0, deadline_ns,
                                 &answer, NULL, NULL);
    if (outcome != 0)
        return outcome == NEARCACHE_EREMOTE ? NEARCACHE_EREMOTE : NEARCACHE_EOFFLINK;
    if (answer.count != 2 || answer.number[1] <= 0)
        return NEARCACHE_EPROTOCOL;
    nc_offset_sample(&sync->offset, answer.sent_ns, answer.received_ns, (uint64_t)answer.number[1],
                     0, false);
    return 0;
}

/* The names of the keys in Redis, one behind the other. False: out of memory. */
static bool name_keys(struct call *call, char *small, size_t room)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < call->count; i++)
        bytes += nc_sync_redis_key_bytes(call->terms.sync, &call->items[i]->key);
    char *at = call->names = bytes <= room ? small : malloc(bytes);
    for (unsigned i = 0; at && i < call->count; i++) {
        call->redis_key[i] = at;
        call->redis_key_bytes[i] = nc_sync_redis_key_bytes(call->terms.sync, &call->items[i]->key);
        nc_sync_write_redis_key(call->terms.sync, &call->items[i]->key, at);
        at += call->redis_key_bytes[i];
    }
    return at != NULL;
}

/* Distinct keys with their flights, at most one call's worth. */
static void write_group(struct call *call)
{
    char small[2048];
    struct nc_write_item *all[NC_COMMIT_KEYS];
    unsigned count = call->count;
    for (unsigned i = 0; i < count; i++)
        nc_cache_approach(call->terms.self, &call->items[i]->key);
    bool named = name_keys(call, small, sizeof small);
    for (unsigned i = 0; i < count; i++) {
        struct nc_write_item *item = all[i] = call->items[i];
        if (!named) {
            item->outcome = NEARCACHE_ENOMEM;
            continue;
        }
        /* The copy goes before the request does. */
        nc_write_prepare(call->terms.self, item);
    }
    memset(call->made, 0, count * sizeof call->made[0]);
    if (named)
        run_call(call);
    for (unsigned i = 0; i < count; i++) {
        nc_write_finish(all[i]);
        nc_write_leave_no_copy(call->terms.self, all[i]);
    }
    if (call->names != small)
        free(call->names);
}

static size_t item_bytes(const struct nc_sync *sync, const struct nc_write_item *item)
{
    return nc_sync_redis_key_bytes(sync, &item->key) + item->value_bytes;
}

static bool same_key(const struct nc_write_item *a, const struct nc_write_item *b)
{
    return a->key.hash == b->key.hash && a->key.name_bytes == b->key.name_bytes &&
           memcmp(a->key.name, b->key.name, a->key.name_bytes) == 0;
}

/* ---- what loaders made ---- */

static void write_loaded_in_lane(struct nc_sync *sync, struct nc_cache_thread *self,
                                 struct nc_write_item *items, unsigned count, uint64_t deadline_ns)
{
    struct nc_loaded loaded[NC_COMMIT_KEYS];
    for (unsigned i = 0; i < count; i++) {
        loaded[i] = (struct nc_loaded){.key = &items[i].key,
                                       .value = items[i].value,
                                       .value_bytes = items[i].value_bytes,
                                       .ttl_ms = items[i].ttl_ms,
                                       .read_s = items[i].read_s,
                                       .taken_ns = items[i].taken_ns};
        items[i].ticket = nc_cache_ticket(&items[i].key);
    }
    nc_removals_hold(self);
    nc_replay_loaded(sync, loaded, count, deadline_ns);
    for (unsigned i = 0; i < count; i++) {
        items[i].outcome = loaded[i].outcome;
        if (loaded[i].outcome != 0)
            continue;
        items[i].version = loaded[i].version;
        nc_cache_observe(self, &items[i].key, loaded[i].version, NEARCACHE_CAUSE_REPLACED);
        items[i].ticket.generation = 0; /* an own write holds on any link */
        if (nc_write_fits_locally(&items[i]) && !loaded[i].moved)
            nc_write_keep(self, &items[i], &items[i].ticket, NULL,
                          nc_clock_now_ns(&sync->cache->clock));
    }
    nc_removals_tell(sync->cache, self);
}

/*
 * What changes a key without its value (its copies go, its time ends sooner) leaves a version
 * behind, which would refuse what was written before and still waits: that goes first. False: it
 * cannot, or not in time.
 */
static bool write_pending_first(struct nc_sync *sync, struct nc_cache_thread *self,
                                const struct nc_key *key, uint64_t deadline_ns)
{
    enum nc_replay replay = NC_REPLAY_DONE;
    struct nc_intent *intent;
    /* While one was waited for another may have taken its place. */
    while (replay == NC_REPLAY_DONE && (intent = nc_journal_find(&sync->journal, key))) {
        replay = nc_sync_state(sync) == NEARCACHE_LINK_LIVE
                     ? nc_replay_intent(sync, self, intent, deadline_ns, true)
                     : NC_REPLAY_LATER;
        nc_journal_release(&sync->journal, intent);
    }
    return replay == NC_REPLAY_DONE;
}

/* Items of one lane, of a call that began at called_ns. */
static void write_in_lane(struct nc_sync *sync, struct nc_cache_thread *self,
                          struct nc_write_item *items, size_t count, uint64_t called_ns,
                          uint64_t deadline_ns)
{
    struct nc_write_item *sorted[NC_COMMIT_KEYS], *group[NC_COMMIT_KEYS];
    struct call call = {.terms = {.sync = sync, .self = self, .deadline_ns = deadline_ns},
                        .items = group};
    if (items[0].op == NC_WRITE_INVALIDATE && /* it comes alone */
        !write_pending_first(sync, self, &items[0].key, deadline_ns)) {
        items[0].outcome = NEARCACHE_EOFFLINK;
        return;
    }
    for (size_t at = 0; at < count;) {
        unsigned picked = 0;
        size_t bytes = 0;
        nc_removals_hold(self); /* while this thread has flights */
        for (; at < count && picked < (sync->one_slot ? 1 : NC_COMMIT_KEYS); at++) {
            if (picked > 0 && bytes + item_bytes(sync, &items[at]) > NC_COMMIT_BYTES)
                break;
            bytes += item_bytes(sync, &items[at]);
            if (items[at].taken_ns == 0)
                items[at].taken_ns = called_ns;
            nc_cache_announce(&items[at].key);
            add_in_order(sorted, picked++, &items[at]);
        }
        call.count = 0;
        for (unsigned i = 0; i < picked; i++) {
            struct nc_write_item *item = sorted[i];
            if (i + 1 < picked && same_key(item, sorted[i + 1]))
                continue; /* of equal keys the last one counts */
            item->outcome = take_key(sync, item, deadline_ns);
            if (item->outcome == NEARCACHE_ETIMEOUT) {
                item->outcome = nc_write_keep_for_later(&call.terms, item, 0);
                nc_write_leave_no_copy(self, item);
            } else if (item->outcome == 0) {
                group[call.count++] = item;
            }
        }
        call.terms.script = items[0].key.tier->coherence == NEARCACHE_COHERENCE_PUBSUB
                                ? NC_SCRIPT_WRITE
                                : NC_SCRIPT_PLAIN;
        write_group(&call);
        for (unsigned i = picked - 1; i-- > 0;)
            if (same_key(sorted[i], sorted[i + 1]))
                sorted[i]->outcome = sorted[i + 1]->outcome;
        nc_removals_tell(sync->cache, self);
    }
}

static int by_lane(const void *a, const void *b)
{
    const struct nc_write_item *x = a, *y = b;
    if (x->key.lane != y->key.lane)
        return x->key.lane < y->key.lane ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

/* How many items from the first on are of its lane. */
static size_t of_one_lane(const struct nc_write_item *items, size_t count)
{
    size_t n = 1;
    while (n < count && items[n].key.lane == items[0].key.lane)
        n++;
    return n;
}

void nc_write(struct nc_sync *any, struct nc_cache_thread *self, struct nc_write_item *items,
              size_t count, uint64_t deadline_ns)
{
    /* For all lanes: what is asked for while the first one's items are under way is newer than the
     * last one's. */
    uint64_t called_ns = nc_clock_io_ns();
    if (count > 1 && of_one_lane(items, count) < count)
        qsort(items, count, sizeof items[0], by_lane);
    for (size_t at = 0, n; at < count; at += n) {
        n = of_one_lane(items + at, count - at);
        write_in_lane(nc_sync_for(any, &items[at].key), self, items + at, n, called_ns,
                      deadline_ns);
    }
}

void nc_write_loaded(struct nc_sync *any, struct nc_cache_thread *self, struct nc_write_item *items,
                     unsigned count, uint64_t deadline_ns)
{
    if (count > 1 && of_one_lane(items, count) < count)
        qsort(items, count, sizeof items[0], by_lane);
    for (unsigned at = 0, n; at < count; at += n) {
        n = (unsigned)of_one_lane(items + at, count - at);
        write_loaded_in_lane(nc_sync_for(any, &items[at].key), self, items + at, n, deadline_ns);
    }
}

static int touch(struct nc_sync *sync, struct nc_cache_thread *self, const struct nc_key *key,
                 uint64_t ttl_ms, uint64_t deadline_ns)
{
    char small[NC_SMALL_KEY], ttl[24], not_after[24];
    struct nc_answer answer;
    size_t bytes;
    int outcome = nc_write_learn_clock(sync, deadline_ns);
    if (outcome != 0)
        return outcome;
    if (!write_pending_first(sync, self, key, deadline_ns))
        return NEARCACHE_EOFFLINK;
    void *redis_key = nc_sync_redis_key(sync, key, small, &bytes);
    if (!redis_key)
        return NEARCACHE_ENOMEM;
    struct nc_slice keys[3] = {[2] = {redis_key, bytes}};
    if (!sync->one_slot) {
        keys[0] = (struct nc_slice){sync->key_s, strlen(sync->key_s)};
        keys[1] = (struct nc_slice){sync->key_w, strlen(sync->key_w)};
    }
    int ttl_bytes = snprintf(ttl, sizeof ttl, "%" PRIu64, ttl_ms == NEARCACHE_NONE ? 0 : ttl_ms);
    int not_after_bytes = snprintf(not_after, sizeof not_after, "%" PRIu64,
                                   nc_offset_not_after_us(&sync->offset, deadline_ns));
    struct nc_slice args[] = {{sync->channel_inv, strlen(sync->channel_inv)},
                              {sync->origin_hex, 16},
                              {ttl, (size_t)ttl_bytes},
                              {not_after, (size_t)not_after_bytes}};
    /* A key that stands alone brings neither the index nor a message. */
    outcome = sync->one_slot ? nc_script_call(&sync->scripts, NC_SCRIPT_TOUCH_TRACKED, keys + 2, 1,
                                              args + 2, 2, deadline_ns, &answer, NULL, NULL)
                             : nc_script_call(&sync->scripts, NC_SCRIPT_TOUCH, keys, 3, args, 4,
                                              deadline_ns, &answer, NULL, NULL);
    if (redis_key != small)
        free(redis_key);
    if (outcome == 0 && (answer.count != 3 || answer.number[0] < -1 || answer.number[0] > 2))
        outcome = NEARCACHE_EPROTOCOL;
    if (outcome == NEARCACHE_EREMOTE && answer.refusal == NC_REFUSAL_UNAVAILABLE)
        return NEARCACHE_EOFFLINK;
    if (outcome != 0)
        return outcome;
    uint64_t version = (uint64_t)answer.number[1];
    uint64_t ttl_ns = ttl_ms == NEARCACHE_NONE || ttl_ms > UINT64_MAX / NC_NS_PER_MS
                          ? NEARCACHE_NONE
                          : ttl_ms * NC_NS_PER_MS;
    switch (answer.number[0]) {
    case -1:
        nc_cache_drop(self, key, NEARCACHE_CAUSE_INVALIDATED);
        return NEARCACHE_MISS;
    case 0:
        return NEARCACHE_ETIMEOUT;
    case 1:
        /* Shorter is a write: the copy here carries the new version and ends with the key. */
        nc_sync_saw(sync, version);
        if (!nc_cache_touch(self, key, ttl_ns, version))
            nc_cache_observe(self, key, version, NEARCACHE_CAUSE_REPLACED);
        return 0;
    default:
        nc_cache_touch(self, key, ttl_ns, 0);
        return 0;
    }
}

int nc_write_touch(struct nc_sync *any, struct nc_cache_thread *self, const struct nc_key *key,
                   uint64_t ttl_ms, uint64_t deadline_ns)
{
    struct nc_sync *sync = nc_sync_for(any, key);
    nc_removals_hold(self);
    int outcome = touch(sync, self, key, ttl_ms, deadline_ns);
    nc_removals_tell(sync->cache, self);
    return outcome;
}
