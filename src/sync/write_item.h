/*
 * sync/write_item: one write on its way, from what the caller asked for to its outcome.
 */
#ifndef NC_SYNC_WRITE_ITEM_H
#define NC_SYNC_WRITE_ITEM_H

#include "sync/commit.h"

enum nc_write_op {
    NC_WRITE_SET = NC_COMMIT_SET,
    NC_WRITE_DELETE = NC_COMMIT_DELETE,
    NC_WRITE_INVALIDATE = NC_COMMIT_INVALIDATE
};

struct nc_write_item {
    size_t index; /* the caller's number of it */
    struct nc_key key;
    enum nc_write_op op;
    const void *value;
    size_t value_bytes;
    uint64_t ttl_ms; /* NEARCACHE_NONE: no expiry */
    /* Machine's monotonic time when it was asked for; what a loader made: when the loader was. It
     * orders the writes of a key in this process, and is the stamp of a replay. 0: when the call
     * begins that writes it. */
    uint64_t taken_ns;
    uint64_t read_s;  /* made from a read that saw no value at this version; 0: no such thing */
    int outcome;      /* as nearcache_set returns */
    uint64_t version; /* where it was applied */
    struct nc_flight *flight;
    struct nc_ticket ticket;
    /* In a tier that other programs write: the copy that this write dropped, pinned. */
    bool before_known;
    struct nearcache_result before; /* no data: an absence */
};

#endif
