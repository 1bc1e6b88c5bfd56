#include "sync/replay.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of one round: enough to drain a full journal in seconds, few enough to hear messages between. */
#define ROUND_INTENTS 64
#define CALL_NS (200 * NC_NS_PER_MS)
#define RETRY_NS (50 * NC_NS_PER_MS)

struct replay {
    const struct nc_key *key;
    bool set;
    const void *value;
    size_t value_bytes;
    uint64_t deadline_us; /* Redis time; 0: no expiry */
    uint64_t stamp;
};

enum { REFUSED = 0, APPLIED = 1, ALREADY_SO = 2, OVER = 3 };

/* answer->number: status, s, TIME. */
static int send_replay(struct nc_sync *sync, const struct replay *replay, uint64_t deadline_ns,
                       struct nc_answer *answer)
{
    char small[NC_SMALL_KEY], deadline[24], stamp[24];
    size_t bytes;
    memset(answer, 0, offsetof(struct nc_answer, number));
    void *redis_key = nc_sync_redis_key(replay->key, small, &bytes);
    if (!redis_key)
        return NEARCACHE_ENOMEM;
    bool versions = replay->key->tier->coherence != NEARCACHE_COHERENCE_TRACKING;
    int deadline_bytes = snprintf(deadline, sizeof deadline, "%" PRIu64, replay->deadline_us);
    int stamp_bytes = snprintf(stamp, sizeof stamp, "%" PRIu64, replay->stamp);
    struct nc_slice keys[] = {
        {sync->key_s, strlen(sync->key_s)}, {sync->key_w, strlen(sync->key_w)}, {redis_key, bytes}};
    struct nc_slice args[] = {
        {sync->channel_inv, strlen(sync->channel_inv)},
        {sync->origin_hex, 16},
        {replay->set ? "s" : "d", 1},
        {replay->set ? replay->value : "", replay->set ? replay->value_bytes : 0},
        {deadline, (size_t)deadline_bytes},
        {stamp, (size_t)stamp_bytes},
        {versions ? "p" : "t", 1}};
    int outcome = nc_script_call(&sync->scripts, NC_SCRIPT_REPLAY, keys, 3, args, 7, deadline_ns,
                                 answer, NULL, NULL);
    if (redis_key != small)
        free(redis_key);
    if (outcome == 0 && (answer->count != 3 || answer->number[0] < REFUSED ||
                         answer->number[0] > OVER || answer->number[1] < 0))
        return NEARCACHE_EPROTOCOL;
    return outcome;
}

static void tell_refused(struct nc_sync *sync, const struct nc_intent *intent, int outcome)
{
    if (!sync->config.on_refusal)
        return;
    struct nearcache_refusal refusal = {intent->tier, nc_intent_name(intent), intent->name_bytes,
                                        outcome};
    sync->config.on_refusal(sync->config.on_refusal_arg, &refusal);
}

static void settle(struct nc_sync *sync, struct nc_cache_thread *self, struct nc_intent *intent,
                   const struct nc_key *key, const struct nc_answer *answer)
{
    uint64_t version = (uint64_t)answer->number[1];
    bool newest = nc_journal_settle(&sync->journal, intent);
    if (version) {
        nc_sync_saw(sync, version);
        nc_cache_observe(self, key, version);
    }
    if (!newest)
        return; /* a newer intent took its place and will be told of its own fate */
    switch (answer->number[0]) {
    case REFUSED:
        nc_cache_count(self, intent->tier, NC_COUNT_journal_refused, 1);
        tell_refused(sync, intent, NEARCACHE_EREFUSED);
        break;
    case OVER:
        nc_cache_count(self, intent->tier, NC_COUNT_journal_dropped, 1);
        tell_refused(sync, intent, NEARCACHE_MISS);
        break;
    default:
        nc_cache_count(self, intent->tier, NC_COUNT_journal_replayed, 1);
        break;
    }
}

static struct nc_flight *take_key(struct nc_sync *sync, const struct nc_key *key,
                                  uint64_t deadline_ns, bool wait)
{
    for (;;) {
        bool leads;
        struct nc_flight *flight = nc_flight_join(&sync->writes, key, NULL, &leads);
        if (!flight || leads)
            return flight;
        bool landed = wait && nc_flight_wait(flight, deadline_ns);
        nc_flight_release(flight);
        if (!landed)
            return NULL;
    }
}

enum nc_replay nc_replay_intent(struct nc_sync *sync, struct nc_cache_thread *self,
                                struct nc_intent *intent, uint64_t deadline_ns, bool wait)
{
    enum nc_replay result = NC_REPLAY_LATER;
    struct nc_answer answer;
    struct nc_key key = {intent->tier, nc_intent_name(intent), intent->name_bytes, intent->hash};
    if (!nc_offset_known(&sync->offset))
        return NC_REPLAY_LATER;
    struct nc_flight *flight = take_key(sync, &key, deadline_ns, wait);
    if (!flight)
        return NC_REPLAY_LATER;

    struct nc_intent *newest = nc_journal_find(&sync->journal, &key);
    if (newest == intent && intent->not_before_ns <= nc_clock_io_ns()) {
        uint64_t stamp = nc_offset_redis_us(&sync->offset, intent->taken_ns);
        struct replay replay = {
            .key = &key,
            .set = intent->op == NC_INTENT_SET,
            .value = intent->value,
            .value_bytes = intent->value_bytes,
            /* The lower bound, so that a replayed TTL never grows. */
            .deadline_us = intent->ends_ns == NEARCACHE_NONE
                               ? 0
                               : nc_offset_not_after_us(&sync->offset, intent->ends_ns),
            .stamp = stamp > intent->seen ? stamp : intent->seen,
        };
        int outcome = send_replay(sync, &replay, deadline_ns, &answer);
        if (outcome == 0) {
            settle(sync, self, intent, &key, &answer);
            result = NC_REPLAY_DONE;
        } else if (outcome == NEARCACHE_EREMOTE && answer.refusal != NC_REFUSAL_UNAVAILABLE) {
            nc_log_write(sync->log, NEARCACHE_LOG_WARNING, "replay waits: %s", answer.error);
        }
    } else if (newest != intent) {
        result = NC_REPLAY_DONE;
    }
    if (newest)
        nc_journal_release(&sync->journal, newest);
    nc_flight_land(flight, 0);
    nc_flight_release(flight);
    return result;
}

uint64_t nc_replay_round(struct nc_sync *sync, struct nc_cache_thread *self, uint64_t io_ns)
{
    uint64_t due_ns = UINT64_MAX;
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
    return io_ns;
}

int nc_replay_loaded(struct nc_sync *sync, const struct nc_key *key, const void *value,
                     size_t value_bytes, uint64_t ttl_ms, uint64_t read_s, uint64_t deadline_ns,
                     uint64_t *version, bool *sent)
{
    struct nc_answer answer;
    uint64_t ends_ns = ttl_ms == NEARCACHE_NONE ? 0 : nc_clock_deadline_ns(ttl_ms * 1000);
    struct replay replay = {
        .key = key,
        .set = true,
        .value = value,
        .value_bytes = value_bytes,
        .deadline_us = ends_ns ? nc_offset_not_after_us(&sync->offset, ends_ns) : 0,
        .stamp = read_s,
    };
    int outcome = send_replay(sync, &replay, deadline_ns, &answer);
    *sent = answer.sent;
    if (outcome == NEARCACHE_EREMOTE)
        return answer.refusal == NC_REFUSAL_UNAVAILABLE ? NEARCACHE_EOFFLINK : NEARCACHE_EREMOTE;
    if (outcome != 0)
        return outcome;
    *version = (uint64_t)answer.number[1];
    return answer.number[0] == REFUSED ? NEARCACHE_MISS : 0;
}
