/*
 * sync/fetch: reading through. What is not here becomes at most one request per key, however many
 * threads wait for it (R3); what Redis cannot tell follows the tier's off-link policy (R10).
 *
 * Thread-safe; runs on the caller. `any`: any sync of the cache, the key's own is found here.
 */
#ifndef NC_SYNC_FETCH_H
#define NC_SYNC_FETCH_H

#include "sync/sync.h"

/* One key of a read that found no fresh copy. */
struct nc_want {
    struct nc_key key;
    int outcome; /* as nearcache_get returns; 0: pinned in *result */
    struct nearcache_result *result;
    void *row;       /* where a value from Redis may be written as it comes; NULL: nowhere */
    uint64_t read_s; /* s of the read that found nothing; 0: unknown */
    struct nc_flight *flight; /* while waiting */
    bool leads;               /* it is ours */
    bool soft;                /* an old copy is at hand: no longer than the soft deadline */
    bool in_row;              /* the value stands in the row, and is not pinned */
};

struct nc_fetch_options {
    uint64_t deadline_ns;      /* machine's monotonic clock */
    uint64_t soft_deadline_ns; /* UINT64_MAX: none */
    uint64_t max_stale_ns;
    bool refresh; /* a fresh copy that is here is no answer */
};

/* Reads `count` keys of one tier; sets each outcome and result. */
void nc_fetch(struct nc_sync *any, struct nc_cache_thread *self, struct nc_want *wants,
              size_t count, const struct nc_fetch_options *options);

/*
 * The same in rounds, so that one can be under way while another one's values are taken: each
 * departs, and later arrives with the same arguments. It has at most nc_fetch_round_keys keys.
 */
#define NC_FETCH_ROUND 128      /* requests */
#define NC_FETCH_ROUND_MOST 512 /* keys */

struct nc_fetch_round {
    struct {
        struct nc_sync *sync;
        struct nc_call *call;
    } sent[NC_FETCH_ROUND];
    size_t sent_count;
    bool amid; /* set before it departs: another round is waited for next */
};

size_t nc_fetch_round_keys(const struct nc_sync *any);
void nc_fetch_depart(struct nc_sync *any, struct nc_cache_thread *self, struct nc_want *wants,
                     size_t count, const struct nc_fetch_options *options,
                     struct nc_fetch_round *round);
void nc_fetch_arrive(struct nc_sync *any, struct nc_cache_thread *self, struct nc_want *wants,
                     size_t count, const struct nc_fetch_options *options,
                     struct nc_fetch_round *round);

/* The end of waiting for want->flight: its outcome is taken if it has landed, else it is
 * NEARCACHE_ETIMEOUT; the flight is let go. For the files of this folder. */
void nc_fetch_leave(struct nc_cache_thread *self, struct nc_want *want, bool landed);

/* Starts a read whose value only refreshes the cache; nobody waits. */
void nc_fetch_refresh(struct nc_sync *any, const struct nc_key *key);

/*
 * What stands in when Redis cannot be asked: a pending write, else an old copy. `policy`: only if
 * the tier's off-link policy says STALE. Sets source and result; NEARCACHE_MISS for an old absence;
 * `otherwise` when there is nothing.
 */
int nc_fetch_stale(struct nc_sync *any, struct nc_cache_thread *self, const struct nc_key *key,
                   uint64_t max_stale_ns, bool policy, int otherwise,
                   struct nearcache_result *result);

/* Whether a write of the key waits for Redis. */
bool nc_fetch_is_pending(struct nc_sync *any, const struct nc_key *key);

/* Whether the key exists in Redis: 0, NEARCACHE_MISS or an error. */
int nc_fetch_exists(struct nc_sync *any, const struct nc_key *key, uint64_t deadline_ns);

#endif
