/*
 * sync/replay: sending again what the journal holds, never over a newer write (R12).
 */
#ifndef NC_SYNC_REPLAY_H
#define NC_SYNC_REPLAY_H

#include "sync/sync.h"

enum nc_replay {
    NC_REPLAY_DONE,    /* settled: applied, already so, refused or over */
    NC_REPLAY_REFUSED, /* by Redis, for now: others go first */
    NC_REPLAY_LATER    /* still pending: no link, or somebody else is at it */
};

/*
 * Replays one intent (referenced by the caller, who keeps the reference). Thread-safe. `wait`: if
 * another write of the key is in flight, wait for it up to the deadline.
 */
enum nc_replay nc_replay_intent(struct nc_sync *sync, struct nc_cache_thread *self,
                                struct nc_intent *intent, uint64_t deadline_ns, bool wait);

/*
 * A paced round of the link thread while the link is live. Returns when to come again (machine's
 * monotonic ns, UINT64_MAX: nothing pending).
 */
uint64_t nc_replay_round(struct nc_sync *sync, struct nc_cache_thread *self, uint64_t io_ns);

/* A value that a loader made, to be written only if nothing newer than the read that missed stands.
 */
struct nc_loaded {
    const struct nc_key *key;
    const void *value;
    size_t value_bytes;
    uint64_t ttl_ms;   /* NEARCACHE_NONE: no expiry */
    uint64_t read_s;   /* s of the read that missed */
    uint64_t taken_ns; /* when the loader was called */
    /* 0 and the version: written. NEARCACHE_MISS: refused, something newer is there. Else as a
     * write that did not reach Redis. */
    int outcome;
    uint64_t version;
    bool moved; /* see nc_answer */
    /* The writer's own. */
    struct nc_flight *flight;
    bool sent;
};

/* Writes them, at most NC_COMMIT_KEYS and all under way at a time; sets each outcome. They may name
 * a key twice: one of the two is written. */
void nc_replay_loaded(struct nc_sync *sync, struct nc_loaded *loaded, unsigned count,
                      uint64_t deadline_ns);

#endif
