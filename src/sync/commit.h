/*
 * sync/commit: writes become script calls, and single writes that come at the same time share one
 * (group commit): the versions, the message and the round trip are paid once for all of them.
 *
 *     no call under way      a write leads at once: a lone writer waits for nobody
 *     one is under way       later writes gather; when it lands, those it wakes may join as well,
 *                            then one of the gathered leads
 *
 * Each write keeps its own result and its own deadline: who cannot wait any longer leaves, and its
 * write stays in doubt until then. Thread-safe.
 */
#ifndef NC_SYNC_COMMIT_H
#define NC_SYNC_COMMIT_H

#include "sync/sync.h"

/* The most keys of one script call, and the most bytes of their names and values together. */
#define NC_COMMIT_KEYS 64
#define NC_COMMIT_BYTES (256 * 1024)

enum nc_commit_op { NC_COMMIT_SET, NC_COMMIT_DELETE, NC_COMMIT_INVALIDATE };

struct nc_commit_item {
    const void *redis_key;
    size_t redis_key_bytes;
    enum nc_commit_op op;
    const void *value;
    size_t value_bytes;
    uint64_t ttl_ms;      /* 0: no expiry */
    uint64_t deadline_ns; /* after which Redis must not apply it */
};

void nc_commits_init(struct nc_commits *commits);
void nc_commits_deinit(struct nc_commits *commits);

/*
 * Writes items of different keys as one unit: NC_SCRIPT_WRITE with versions and a message,
 * NC_SCRIPT_PLAIN without. A single one may share its call with those of other threads. Outcomes
 * as nc_script_call; answer->number: s, TIME, and for each item 1: applied, 0: too late.
 * `meanwhile`, if not NULL, is called at most once for a call of one's own, after the request has
 * been sent: work for the time until the answer.
 */
int nc_commit(struct nc_sync *sync, enum nc_script script, const struct nc_commit_item *items,
              unsigned count, void (*meanwhile)(void *arg), void *arg, struct nc_answer *answer);

/*
 * The same in steps, for who does not wait, and without sharing: prepare makes run->call (see
 * nc_script_prepare), to be submitted and dropped by the caller; *deadline_ns is the latest of the
 * items'. `done` ends with nc_commit_end, whose outcome is as above.
 */
int nc_commit_prepare(struct nc_sync *sync, enum nc_script script,
                      const struct nc_commit_item *const *items, unsigned count,
                      struct nc_script_run *run, struct nc_answer *answer,
                      void (*done)(void *arg, int status), void *arg, uint64_t *deadline_ns);
int nc_commit_end(struct nc_script_run *run, int status, unsigned count);

#endif
