/*
 * sync/sync: what the files of this folder share: the one struct that joins a cache and a link.
 *
 *     fetch, load       reading through                    (callers' threads)
 *     write, commit,    writing through                    (callers' threads)
 *     clear
 *     journal, replay   writes of an outage                (callers' threads; link thread)
 *     invalidate, proof what other processes did, and      (link thread)
 *                       whether we would have heard of it
 *     lane              all of it made ready and let go    (who opens and closes)
 *
 * Lock order: a flight's stripe, the journal's lock and shard locks are never held together.
 */
#ifndef NC_SYNC_SYNC_H
#define NC_SYNC_SYNC_H

#include "cache/cache.h"
#include "metrics/histogram.h"
#include "redis/link.h"
#include "sync/chain.h"
#include "sync/flight.h"
#include "sync/journal.h"
#include "sync/offset.h"
#include "sync/script.h"

#include <pthread.h>

struct nc_sync_config {
    uint32_t database;
    uint64_t heartbeat_ns, lease_ns;
    uint64_t journal_bytes, journal_entries;
    uint64_t audit_per_million;
    nearcache_link_fn on_link;
    void *on_link_arg;
    nearcache_refusal_fn on_refusal;
    void *on_refusal_arg;
};

#define NC_HEARTBEATS 16

/* Between functions of this folder only: what was expected has changed meanwhile, look again. */
#define NC_OUTCOME_AGAIN 1000

/* The link thread's own: handshake, chain and heartbeats. */
struct nc_proof {
    struct nc_chain chain;
    bool up;          /* the link is up; between on_up and on_down */
    bool same_server; /* as the one that chain.last was seen on */
    bool resume_due;
    char server[96];   /* run id and replication id of that server */
    char refusal[120]; /* of the last heartbeat, cut; empty: it was accepted */
    uint64_t next_beat_ns, up_since_ns;
    uint64_t beat_sequence;
    struct {
        uint64_t sequence, sent_ns;
        bool after_answer;
    } beats[NC_HEARTBEATS];
};

/* A hit that is being checked: see sync/audit. */
struct nc_audit {
    uint64_t per_million; /* of hits; 0: off */
    _Atomic uint32_t state;
    /* Whoever has the state's turn. */
    struct nc_key key;
    char *name;
    uint64_t value_hash;
    uint64_t asked_ns;
    _Atomic uint64_t checked, differences;
};

struct nc_group;

/* The writes of one script: see sync/commit. */
struct nc_commits {
    pthread_mutex_t lock;
    struct nc_group *gathering; /* guarded by lock */
    unsigned flying;            /* guarded by lock: calls under way */
};

struct nc_sync;

/* All lanes of a cache; a place is filled in before a key is of that lane, and stays. Thread-safe.
 */
struct nc_lanes {
    struct nc_sync *_Atomic all[NC_LANES_MOST];
    _Atomic uint32_t told; /* the state of all lanes together that was told last */
    /* Whether the lane has keys now; NULL: all have. */
    bool (*serves)(void *arg, uint32_t lane);
    /* Whether the servers that know where the lanes lead refuse the credentials; NULL: the lanes'
     * own links tell. */
    bool (*refused_auth)(void *arg);
    /* Where lanes are primaries: names in the lane's slots for what is its own. */
    void (*name)(void *arg, struct nc_sync *sync);
    void *arg;
};

/* Between the prefix of a tier and a name: a partition of a cluster. */
#define NC_TAG_MOST 96

/* One for each lane. Thread-safe, but for what says otherwise. */
struct nc_sync {
    struct nc_cache *cache;
    struct nc_lanes *lanes;
    uint32_t number; /* of the lane */
    struct nc_lane *lane;
    bool sharded;            /* messages stay in their part of a cluster */
    bool one_slot;           /* lanes are primaries: a request may name keys of one slot only */
    char own[NC_TAG_MOST];   /* what names of its own may begin with, whatever `space` is now */
    char space[NC_TAG_MOST]; /* what names of its own begin with: <ns>, or the tag */
    char tag[NC_TAG_MOST];   /* `{<ns>:<p>}`; empty without partitions */
    size_t tag_bytes;
    struct nc_link *link;
    const struct nc_log *log;
    struct nc_sync_config config;
    struct nc_scripts scripts;
    struct nc_flights reads, loads, writes;
    struct nc_commits commits[2]; /* without and with versions */
    struct nc_journal journal;
    struct nc_offset offset;
    struct nc_proof proof;   /* link thread only */
    uint64_t next_replay_ns; /* link thread only: when the journal may go on */
    struct nc_audit audit;

    uint64_t origin; /* random, of this open cache */
    char origin_hex[17];
    /* Of the namespace, or of the partition's tag: <ns>:s, <ns>:w, <ns>:<db>:inv,
     * <ns>:<db>:hb:<origin>. */
    char key_s[NC_TAG_MOST + 8], key_w[NC_TAG_MOST + 8];
    char channel_inv[NC_TAG_MOST + 24], channel_hb[NC_TAG_MOST + 48];

    _Atomic bool track_due;         /* the subscription does not track all tiers that want it */
    _Atomic uint32_t state;         /* enum nearcache_link; futex of those who wait for a change */
    _Atomic uint64_t last;          /* chain.last, for nearcache_sync */
    _Atomic uint32_t heard;         /* futex: moves with `last` and with the state */
    _Atomic uint64_t seen;          /* largest version in any reply or message */
    _Atomic uint32_t lease_waiters; /* threads that wait for another process' loader */
    _Atomic uint32_t lease_heard;   /* futex: moves with messages while somebody waits */
    _Atomic uint64_t gaps, repairs, epochs;
    /* From the publication of other processes' messages to the drops here, by Redis' clock. */
    struct nc_histogram staleness_us;
    _Atomic uint64_t staleness_max_us, staleness_sum_us;
    /* Of the lines about the link's state. */
    _Atomic uint64_t lost_at_ns; /* when it was last live; 0: it is, or never was */
    _Atomic uint64_t quiet_until_ns;
    _Atomic bool was_live;
    _Atomic uint32_t untold;         /* changes that were too many to be told */
    _Atomic uint64_t replay_told_ns; /* when a refused replay may be told again */
};

/* Writes the names of its own after `space` has changed. */
void nc_sync_rename(struct nc_sync *sync);

/* Whether the caller is the thread of a link. What others have asked for and given up is read by
 * that thread, so it waits for no answer but those that it asked for. */
bool nc_sync_serves(struct nc_sync *sync);

/* Waits for a flight of this lane. What an event loop asked for it reads when it comes to that; who
 * waits here has less time, so others read along. False: the deadline passed first. */
bool nc_sync_wait_flight(struct nc_sync *sync, struct nc_flight *flight, uint64_t deadline_ns);

/* Ends a hold (cache/removals) of what runs where a reply is read. Who reads may lead a connection,
 * and tells when he has his own answer; the link's thread does in its next tick. */
void nc_sync_tell_read(struct nc_sync *sync, struct nc_cache_thread *self);

/* Raises sync->seen. */
static inline void nc_sync_saw(struct nc_sync *sync, uint64_t version)
{
    /* Sequentially consistent: see nc_journal_put. */
    uint64_t seen = atomic_load(&sync->seen);
    while (seen < version && !atomic_compare_exchange_weak(&sync->seen, &seen, version))
        ;
}

static inline enum nearcache_link nc_sync_state(const struct nc_sync *sync)
{
    return (enum nearcache_link)atomic_load_explicit(&sync->state, memory_order_acquire);
}

/* The sync that serves a key, from any of the cache's. */
static inline struct nc_sync *nc_sync_for(struct nc_sync *any, const struct nc_key *key)
{
    /* Acquire pairs with the release of who filled in the place. */
    return atomic_load_explicit(&any->lanes->all[key->lane], memory_order_acquire);
}

/* Each sync of a cache, from any of them. */
#define NC_EACH_LANE(any, sync)                                                                    \
    struct nc_sync *sync;                                                                          \
    for (uint32_t sync##_i = 0;                                                                    \
         sync##_i < NC_LANES_MOST &&                                                               \
         (sync = atomic_load_explicit(&(any)->lanes->all[sync##_i], memory_order_acquire));        \
         sync##_i++)

/* The Redis key of a key: prefix, tag and name in one piece. `small` serves short ones; the result
 * is freed by the caller when it is not `small`. NULL: out of memory. */
#define NC_SMALL_KEY 512
void *nc_sync_redis_key(const struct nc_sync *sync, const struct nc_key *key,
                        char small[NC_SMALL_KEY], size_t *bytes);
static inline size_t nc_sync_redis_key_bytes(const struct nc_sync *sync, const struct nc_key *key)
{
    return key->tier->prefix_bytes + sync->tag_bytes + key->name_bytes;
}
/* The same into as many bytes; returns where they end. */
void *nc_sync_write_redis_key(const struct nc_sync *sync, const struct nc_key *key, void *at);
/* In a cluster a call for this key may be sent on to where its slot is. */
void nc_sync_mark_slot(const struct nc_sync *sync, const struct nc_key *key, struct nc_call *call);
/* As an argument of a command. */
void nc_sync_put_redis_key(const struct nc_sync *sync, const struct nc_key *key,
                           struct nc_command *command);

#endif
