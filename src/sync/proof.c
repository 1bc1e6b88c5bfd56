#include "sync/proof.h"

#include "base/mutant.h"
#include "cache/drop.h"
#include "cache/removals.h"
#include "sync/audit.h"
#include "sync/invalidate.h"
#include "sync/lease.h"
#include "sync/message.h"
#include "sync/replay.h"
#include "sync/state.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* No answer of the link thread's own requests is worth more than this. */
#define CALL_NS (250 * NC_NS_PER_MS)

void nc_proof_init(struct nc_sync *sync)
{
    memset(&sync->proof, 0, sizeof sync->proof);
    nc_chain_init(&sync->proof.chain);
    atomic_init(&sync->state, NEARCACHE_LINK_DOWN);
}

/* Release pairs with the acquire in nc_cache_find: the drops before it are seen by who sees it. */
static void set_proof(struct nc_sync *sync, uint64_t io_ns)
{
    if (io_ns)
        atomic_store_explicit(&sync->lane->last_proof_ns, io_ns, memory_order_relaxed);
    atomic_store_explicit(&sync->lane->proof_ns, io_ns, memory_order_release);
}

static void set_last(struct nc_sync *sync)
{
    atomic_store_explicit(&sync->last, sync->proof.chain.last, memory_order_release);
    nc_state_wake(sync);
}

/* Tracking has no index to resume from: whatever was missed, all of it is forgotten. */
static void forget_tracked(struct nc_sync *sync, struct nc_cache_thread *self)
{
    nc_invalidate_tracked(sync, self, NULL, 0);
}

void nc_proof_track_again(struct nc_sync *any)
{
    NC_EACH_LANE(any, sync)
    {
        /* Nobody may take the old subscription for one that hears of the new tier. */
        atomic_store(&sync->track_due, true);
        if (nc_sync_state(sync) == NEARCACHE_LINK_LIVE)
            nc_state_set(sync, NEARCACHE_LINK_SYNCING);
        nc_link_restart(sync->link, "a tier in tracking mode was opened");
    }
}

static void set_deaf(struct nc_sync *sync, struct nearcache_tier *tier, bool deaf)
{
    uint64_t bit = UINT64_C(1) << sync->number;
    /* Release pairs with the acquire of hits. */
    if (deaf)
        atomic_fetch_or_explicit(&tier->deaf, bit, memory_order_release);
    else
        atomic_fetch_and_explicit(&tier->deaf, ~bit, memory_order_release);
}

/* Without tracking its tiers are deaf and the others go on. */
static int track(struct nc_sync *sync)
{
    const char *prefixes[NEARCACHE_MAX_TIERS];
    struct nearcache_tier *tier;
    unsigned count = 0;
    atomic_store(&sync->track_due, false);
    for (uint32_t i = 0; (tier = nc_cache_tier_at(sync->cache, i)); i++)
        if (tier->coherence == NEARCACHE_COHERENCE_TRACKING)
            prefixes[count++] = tier->prefix;
    int outcome = count ? nc_link_track(sync->link, prefixes, count) : 0;
    for (uint32_t i = 0; (tier = nc_cache_tier_at(sync->cache, i)); i++)
        if (tier->coherence == NEARCACHE_COHERENCE_TRACKING)
            set_deaf(sync, tier, outcome != 0);
    if (outcome == NEARCACHE_EREMOTE) {
        nc_log_write(sync->log, NEARCACHE_LOG_ERROR,
                     "Redis refuses tracking: tiers in tracking mode read through every time");
        outcome = 0;
    }
    return outcome;
}

static int listen_for_changes(struct nc_sync *sync)
{
    const char *channels[] = {sync->channel_inv, sync->channel_hb};
    int outcome = track(sync);
    return outcome != 0 ? outcome : nc_link_subscribe(sync->link, channels, 2);
}

void nc_proof_up(struct nc_sync *sync, uint64_t generation)
{
    struct nc_proof *proof = &sync->proof;
    struct nc_cache_thread *self = nc_cache_self(sync->cache);
    char server[sizeof proof->server];

    if (self)
        self->serves = true;
    set_proof(sync, 0);
    atomic_store_explicit(&sync->lane->link_generation, generation, memory_order_release);
    nc_offset_reset(&sync->offset);
    if (sync->lanes->name)
        sync->lanes->name(sync->lanes->arg, sync);
    nc_chain_subscribe(&proof->chain);
    nc_link_server(sync->link, server, sizeof server);
    proof->same_server = server[0] && strcmp(server, proof->server) == 0;
    memcpy(proof->server, server, sizeof server);
    proof->up = true;
    proof->resume_due = false;
    proof->up_since_ns = proof->next_beat_ns = nc_clock_io_ns();
    for (int i = 0; i < NC_HEARTBEATS; i++)
        proof->beats[i].sequence = 0;
    nc_state_set(sync, NEARCACHE_LINK_SYNCING);
    /* What was read before the subscription stood is not vouched for: RESUME sees to versioned
     * tiers, an epoch to the others. */
    if (!self || listen_for_changes(sync) != 0)
        nc_link_fail(sync->link, "subscribing failed");
    else
        forget_tracked(sync, self);
    nc_scripts_load(&sync->scripts, nc_clock_io_ns() + CALL_NS);
}

void nc_proof_down(struct nc_sync *sync)
{
    sync->proof.up = false;
    set_proof(sync, 0);
    nc_state_set(sync, NEARCACHE_LINK_DOWN);
    nc_removals_tell_kept(sync->cache, nc_cache_self(sync->cache));
}

/* The partition is going to another primary. That proves nothing any more, but the link goes there
 * by itself, and until then its calls are sent on: tearing it down would fail them. A lane that is
 * a primary takes another slot for its own names when it comes up again. */
static bool is_leaving(const struct nc_sync *sync, const struct nc_answer *answer)
{
    return sync->sharded &&
           (strncmp(answer->error, "MOVED ", 6) == 0 || strncmp(answer->error, "ASK ", 4) == 0 ||
            strncmp(answer->error, "TRYAGAIN", 8) == 0);
}

/* ---- heartbeats ---- */

static void beat(struct nc_sync *sync, uint64_t io_ns)
{
    struct nc_proof *proof = &sync->proof;
    struct nc_answer answer;
    char token[24];
    uint64_t sequence = ++proof->beat_sequence;
    int token_bytes = snprintf(token, sizeof token, "%" PRIu64, sequence);
    struct nc_slice keys[] = {{sync->key_s, strlen(sync->key_s)},
                              {sync->key_w, strlen(sync->key_w)}};
    struct nc_slice args[] = {{sync->channel_hb, strlen(sync->channel_hb)},
                              {token, (size_t)token_bytes}};

    unsigned slot = sequence % NC_HEARTBEATS;
    proof->beats[slot].sequence = sequence;
    proof->beats[slot].sent_ns = io_ns;
    proof->beats[slot].after_answer = proof->chain.whole;
    proof->next_beat_ns = io_ns + sync->config.heartbeat_ns;

    int outcome = nc_script_call(&sync->scripts, NC_SCRIPT_HEARTBEAT, keys, 2, args, 2,
                                 io_ns + CALL_NS, &answer, NULL, NULL);
    if (outcome == 0 && answer.count == 2 && answer.number[0] > 0 && answer.number[1] > 0) {
        proof->refusal[0] = 0;
        nc_sync_saw(sync, (uint64_t)answer.number[0]);
        nc_offset_sample(&sync->offset, answer.sent_ns, answer.received_ns,
                         (uint64_t)answer.number[1], (uint64_t)answer.number[0], false);
    } else if (outcome == NEARCACHE_EREMOTE && !is_leaving(sync, &answer)) {
        /* The same once: attempts go on for as long as it takes. */
        bool again = strcmp(proof->refusal, answer.error) == 0;
        nc_log_write(sync->log, again ? NEARCACHE_LOG_DEBUG : NEARCACHE_LOG_ERROR,
                     "heartbeat refused: %s", answer.error);
        snprintf(proof->refusal, sizeof proof->refusal, "%s", answer.error);
        nc_link_fail(sync->link, "Redis refuses the heartbeat");
    }
}

/* ---- gaps ---- */

struct changes {
    struct nc_sync *sync;
    struct nc_cache_thread *self;
    char *bytes; /* per change: length (size_t), version (u64), member */
    size_t used, room;
    char *member; /* waits for its version */
    size_t member_bytes;
    uint64_t count, top; /* top: the largest version */
    bool failed;
};

/* Members and versions alternate; they are kept until the answer as a whole is judged. */
static void add_change(void *arg, const char *text, size_t bytes)
{
    struct changes *c = arg;
    if (c->failed)
        return;
    if (!c->member) {
        c->member = malloc(bytes ? bytes : 1);
        c->member_bytes = bytes;
        if (c->member)
            memcpy(c->member, text, bytes);
        c->failed = !c->member;
        return;
    }
    uint64_t version;
    size_t need = sizeof(size_t) + sizeof version + c->member_bytes;
    if (!nc_message_number(&text, text + bytes, &version)) {
        c->failed = true;
    } else if (c->used + need > c->room) {
        size_t room = 2 * (c->used + need);
        char *grown = realloc(c->bytes, room);
        c->failed = !grown;
        if (grown) {
            c->bytes = grown;
            c->room = room;
        }
    }
    if (!c->failed) {
        char *at = c->bytes + c->used;
        memcpy(at, &c->member_bytes, sizeof(size_t));
        memcpy(at + sizeof(size_t), &version, sizeof version);
        memcpy(at + sizeof(size_t) + sizeof version, c->member, c->member_bytes);
        c->used += need;
        c->count++;
        c->top = version; /* in the order of versions */
    }
    free(c->member);
    c->member = NULL;
}

static void apply_changes(struct changes *c)
{
    for (size_t at = 0; at < c->used;) {
        size_t bytes;
        uint64_t version;
        memcpy(&bytes, c->bytes + at, sizeof bytes);
        memcpy(&version, c->bytes + at + sizeof bytes, sizeof version);
        const char *member = c->bytes + at + sizeof bytes + sizeof version;
        nc_sync_saw(c->sync, version);
        if (bytes > 0 && member[0] == 'k')
            nc_invalidate_observe(c->sync, c->self, member + 1, bytes - 1, version, true);
        else if (bytes > 0 && (member[0] == '\0' || member[0] == '\1')) /* cleared, swept */
            nc_invalidate_prefix(c->sync, c->self, member + 1, bytes - 1);
        at += sizeof bytes + sizeof version + bytes;
    }
}

static void forget_all(struct nc_sync *sync, bool began)
{
    nc_cache_link_epoch(sync->cache, sync->number);
    if (!began)
        return;
    atomic_fetch_add_explicit(&sync->epochs, 1, memory_order_relaxed);
    nc_log_write(sync->log, NEARCACHE_LOG_WARNING,
                 "what was missed cannot be told: all local copies are forgotten");
}

/* More changed than one answer holds: part after part, with messages and heartbeats between. */
static void judge_part(struct nc_sync *sync, struct changes *changes,
                       const struct nc_answer *answer)
{
    struct nc_proof *proof = &sync->proof;
    bool began = proof->chain.incarnation != 0;
    if (nc_chain_part(&proof->chain, (uint64_t)answer->number[0], (uint64_t)answer->number[1],
                      (uint64_t)answer->number[2], changes->top,
                      proof->same_server) == NC_CHAIN_ACCEPTED)
        apply_changes(changes);
    else
        forget_all(sync, began);
    proof->same_server = true;
    proof->next_beat_ns = 0;
}

static void judge(struct nc_sync *sync, struct changes *changes, const struct nc_answer *answer)
{
    struct nc_proof *proof = &sync->proof;
    bool began = proof->chain.incarnation != 0;
    if (changes->count > NC_RESUME_MOST) {
        judge_part(sync, changes, answer);
        return;
    }
    switch (nc_chain_resume(&proof->chain, (uint64_t)answer->number[0], (uint64_t)answer->number[1],
                            (uint64_t)answer->number[2], changes->count, proof->same_server)) {
    case NC_CHAIN_AGAIN:
        return;
    case NC_CHAIN_ACCEPTED:
        if (!NC_MUTANT(resume_unobserved))
            apply_changes(changes);
        atomic_fetch_add_explicit(&sync->repairs, 1, memory_order_relaxed);
        break;
    case NC_CHAIN_FORGET:
        forget_all(sync, began);
        break;
    }
    proof->same_server = true;
    proof->resume_due = false;
    for (int i = 0; i < NC_HEARTBEATS; i++)
        proof->beats[i].after_answer = false; /* those under way were sent before this answer */
    proof->next_beat_ns = 0;                  /* prove it at once */
    set_last(sync);
}

static void resume(struct nc_sync *sync, struct nc_cache_thread *self)
{
    struct nc_proof *proof = &sync->proof;
    struct changes changes = {.sync = sync, .self = self};
    struct nc_answer answer;
    char last[24];
    int last_bytes = snprintf(last, sizeof last, "%" PRIu64, proof->chain.last);
    struct nc_slice keys[] = {{sync->key_s, strlen(sync->key_s)},
                              {sync->key_w, strlen(sync->key_w)}};
    struct nc_slice args[] = {{last, (size_t)last_bytes}};

    set_proof(sync, 0);
    proof->resume_due = true;
    int outcome = nc_script_call(&sync->scripts, NC_SCRIPT_RESUME, keys, 2, args, 1,
                                 nc_clock_io_ns() + CALL_NS, &answer, add_change, &changes);
    if (outcome == 0 && !changes.failed && answer.count == 3)
        judge(sync, &changes, &answer);
    else if (outcome == NEARCACHE_EREMOTE && !is_leaving(sync, &answer))
        nc_link_fail(sync->link, "Redis refuses to tell what changed");
    free(changes.member);
    free(changes.bytes);
}

static void gap(struct nc_sync *sync, struct nc_cache_thread *self)
{
    if (nc_sync_state(sync) == NEARCACHE_LINK_LIVE) {
        atomic_fetch_add_explicit(&sync->gaps, 1, memory_order_relaxed);
        forget_tracked(sync, self);
        nc_state_set(sync, NEARCACHE_LINK_SYNCING);
    }
    sync->proof.chain.whole = false;
    resume(sync, self);
}

/* ---- what arrives ---- */

static void own_heartbeat(struct nc_sync *sync, struct nc_cache_thread *self, const char *text,
                          size_t bytes)
{
    struct nc_proof *proof = &sync->proof;
    const char *at = text, *end = text + bytes;
    uint64_t sequence, s;
    if (!nc_message_number(&at, end, &sequence) || !nc_message_number(&at, end, &s))
        return;
    unsigned slot = sequence % NC_HEARTBEATS;
    if (sequence == 0 || proof->beats[slot].sequence != sequence)
        return; /* too old to prove anything, or not ours */
    switch (nc_chain_heartbeat(&proof->chain, s, proof->beats[slot].after_answer)) {
    case NC_CHAIN_PROVEN:
        if (atomic_load(&sync->track_due))
            break;
        set_proof(sync, proof->beats[slot].sent_ns);
        nc_state_set(sync, NEARCACHE_LINK_LIVE);
        break;
    case NC_CHAIN_GAP:
        gap(sync, self);
        break;
    case NC_CHAIN_FINE:
        break;
    }
}

static bool is_channel(const char *name, const char *channel, size_t bytes)
{
    return strlen(name) == bytes && memcmp(name, channel, bytes) == 0;
}

void nc_proof_message(struct nc_sync *sync, const char *channel, size_t channel_bytes,
                      const char *payload, size_t payload_bytes)
{
    struct nc_cache_thread *self = nc_cache_self(sync->cache);
    if (!self) {
        nc_link_fail(sync->link, "out of memory for an invalidation");
        return;
    }
    if (is_channel(sync->channel_inv, channel, channel_bytes)) {
        if (!payload || !nc_invalidate_message(sync, self, payload, payload_bytes))
            gap(sync, self);
        else if (sync->proof.chain.whole)
            set_last(sync);
    } else if (is_channel("__redis__:invalidate", channel, channel_bytes)) {
        nc_invalidate_tracked(sync, self, payload, payload_bytes);
    } else if (payload && is_channel(sync->channel_hb, channel, channel_bytes)) {
        own_heartbeat(sync, self, payload, payload_bytes);
    }
    nc_lease_heard(sync);
}

static uint64_t tick(struct nc_sync *sync, struct nc_cache_thread *self, uint64_t io_ns)
{
    struct nc_proof *proof = &sync->proof;
    if (!proof->up || !self)
        return UINT64_MAX;
    if (io_ns >= proof->next_beat_ns) {
        if (proof->resume_due)
            resume(sync, self);
        beat(sync, io_ns);
    }
    uint64_t proven = atomic_load_explicit(&sync->lane->proof_ns, memory_order_relaxed);
    uint64_t since = proven ? proven : proof->up_since_ns;
    uint64_t now = nc_clock_io_ns();
    if (now - since > 2 * sync->config.lease_ns && now > since) {
        nc_link_fail(sync->link, "no heartbeat came back for two leases");
        return now;
    }
    if (proven && now > proven && now - proven > sync->config.lease_ns)
        nc_state_set(sync, NEARCACHE_LINK_SUSPECT);
    if (sync->config.audit_per_million && nc_sync_state(sync) == NEARCACHE_LINK_LIVE)
        nc_audit_tick(sync, self);
    uint64_t due_ns = proof->next_beat_ns;
    if (nc_sync_state(sync) == NEARCACHE_LINK_LIVE && nc_journal_entries(&sync->journal) > 0) {
        uint64_t replay_ns = nc_replay_round(sync, self, now);
        if (nc_journal_entries(&sync->journal) == 0)
            nc_state_wake(sync);
        due_ns = replay_ns < due_ns ? replay_ns : due_ns;
    }
    return due_ns;
}

uint64_t nc_proof_tick(struct nc_sync *sync, uint64_t io_ns)
{
    struct nc_cache_thread *self = nc_cache_self(sync->cache);
    nc_removals_tell_kept(sync->cache, self); /* of what it read for others before */
    uint64_t due_ns = tick(sync, self, io_ns);
    nc_removals_tell_kept(sync->cache, self); /* and meanwhile */
    return due_ns;
}
