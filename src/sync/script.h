/*
 * sync/script: one call of a Lua script of the protocol: builds it, sends it by its hash, loads it
 * again where Redis has forgotten it, and hands back numbers.
 *
 * What comes back is untrusted: everything that is not of the expected shape is an error of that
 * call. Thread-safe.
 */
#ifndef NC_SYNC_SCRIPT_H
#define NC_SYNC_SCRIPT_H

#include "redis/link.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum nc_script {
    NC_SCRIPT_WRITE,
    NC_SCRIPT_PLAIN,
    NC_SCRIPT_REPLAY,
    NC_SCRIPT_TOUCH,
    NC_SCRIPT_CLEAR,
    NC_SCRIPT_SWEEP,
    NC_SCRIPT_RESUME,
    NC_SCRIPT_HEARTBEAT,
    NC_SCRIPT_LEASE,
    NC_SCRIPT_REPLAY_TRACKED,
    NC_SCRIPT_TOUCH_TRACKED,
    NC_SCRIPTS
};

/* Bytes that belong to somebody else. */
struct nc_slice {
    const void *data;
    size_t bytes;
};

/* The most numbers of an answer: s, TIME, and a status for each of 64 keys. */
#define NC_ANSWER_MOST 66

/*
 * What an error reply means to the protocol. REFUSED is certain: nothing was done, and this server
 * does not take writes now (READONLY, LOADING, ...), so policies for an absent Redis apply.
 */
enum nc_refusal {
    NC_REFUSAL_NONE,
    NC_REFUSAL_NOSCRIPT,
    NC_REFUSAL_UNAVAILABLE,
    NC_REFUSAL_TYPE,
    NC_REFUSAL_OTHER
};

struct nc_answer {
    enum nc_refusal refusal;
    bool moved; /* another server than the lane's answered, or may have: nothing is kept of it */
    bool sent;  /* false after a failure: no byte left, the request cannot have any effect */
    char error[120];               /* the error reply, cut; empty: none */
    uint64_t sent_ns, received_ns; /* machine's monotonic clock */
    unsigned count;
    int64_t number[NC_ANSWER_MOST]; /* last: all before it is cleared and copied as one piece */
};

/* Which kind an error reply is, by its first word. */
enum nc_refusal nc_refusal_of(const char *error, size_t bytes);

struct nc_scripts {
    struct nc_link *link;
    bool sharded, clustered;
    struct {
        char text_sha[41];
    } script[NC_SCRIPTS];
};

/* A call that is under way; belongs to the caller until `done` has run. */
struct nc_script_run {
    struct nc_sink sink;
    struct nc_answer *answer;
    void (*list)(void *arg, const char *text, size_t bytes);
    void *list_arg;
    bool malformed;
    struct nc_call *call;
};

/* Computes the hashes; the texts are part of the library. `sharded`: messages stay in the part of a
 * cluster that their channel belongs to (SPUBLISH). `clustered`: calls with keys, but for those
 * that ask for this very server, may be sent on to where a slot is. */
void nc_scripts_init(struct nc_scripts *scripts, struct nc_link *link, bool sharded,
                     bool clustered);

/* Lets Redis know the texts of the scripts that calls share, so that none of those finds it
 * missing. Best effort: where it is not allowed, the first call of each brings it. */
void nc_scripts_load(struct nc_scripts *scripts, uint64_t deadline_ns);

/*
 * Runs a script. 0: *answer holds numbers. NEARCACHE_EREMOTE: an error reply, see answer->refusal.
 * NEARCACHE_ETIMEOUT, EOFFLINK (answer->sent tells whether it may have been executed), EPROTOCOL,
 * ENOMEM. `list` (may be NULL) receives the members of a nested array, in order.
 */
typedef void (*nc_script_list_fn)(void *arg, const char *text, size_t bytes);
int nc_script_call(struct nc_scripts *scripts, enum nc_script which, const struct nc_slice *keys,
                   unsigned key_count, const struct nc_slice *args, unsigned arg_count,
                   uint64_t deadline_ns, struct nc_answer *answer, nc_script_list_fn list,
                   void *list_arg);

/*
 * The same in steps, by hash only (NOSCRIPT is the caller's to answer): prepare makes run->call, to
 * be submitted and released by the caller; `done` ends with nc_script_end, whose outcome is as
 * above. 0 or NEARCACHE_ENOMEM.
 */
int nc_script_prepare(struct nc_scripts *scripts, enum nc_script which, const struct nc_slice *keys,
                      unsigned key_count, const struct nc_slice *args, unsigned arg_count,
                      struct nc_script_run *run, struct nc_answer *answer,
                      void (*done)(void *arg, int status), void *arg);
int nc_script_end(struct nc_script_run *run, int status);

#endif
