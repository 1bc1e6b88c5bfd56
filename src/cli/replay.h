/*
 * cli/replay: the inside of `nearcache replay`: threads that walk through a trace, check every
 * value that they read, and measure.
 *
 * Each request is a look-up; a key that nobody has is stored. A value is made from the id of its
 * key, so that each value read can be proven to be its own. What the measuring itself costs (the
 * clock, the making and checking of values) is outside of the measured times.
 */
#ifndef NC_CLI_REPLAY_H
#define NC_CLI_REPLAY_H

#include "cli/cli.h"
#include "cli/latency.h"
#include "cli/trace.h"

#include <pthread.h>
#include <stdatomic.h>

#define CLI_REPLAY_SLOW_NS UINT64_C(5000000)
#define CLI_REPLAY_MOST_SLOW 4096u /* that are listed, for each thread */
#define CLI_REPLAY_MOST_VALUE 65536u
#define CLI_REPLAY_LEAST_VALUE 16u
#define CLI_REPLAY_FOREVER UINT64_MAX

/* What all threads share. Constant while they run, but for the atomics. */
struct cli_replay {
    const struct cli_trace *trace;
    struct nearcache_tier *tier;
    size_t value_bytes;
    unsigned threads;
    unsigned writes_percent; /* of the requests that write instead */
    bool time_all;           /* measure each call, not a sample */
    bool soak;
    uint64_t deadline_ns;
    uint64_t timer_ns; /* what the measuring costs */
    uint64_t end_ns;   /* CLI_REPLAY_FOREVER: one pass */
    uint64_t begin_ns;
    _Atomic uint64_t cursor;   /* requests handed out, over all passes */
    _Atomic uint64_t clock_ns; /* the trace's time, for TTLs */
};

/* A call of more than CLI_REPLAY_SLOW_NS. */
struct cli_replay_slow {
    uint64_t at_ns; /* since the begin */
    uint64_t took_ns;
    uint64_t queued_ns; /* waited for a processor; NEARCACHE_NONE: the system does not say */
    uint64_t unsure_ns; /* some of that may have been up to this long before the call */
    uint64_t id;
    int outcome;
    bool write;
};

/* One thread. */
struct cli_replay_worker {
    struct cli_replay *replay;
    pthread_t thread;
    uint64_t random;
    uint64_t requests, hits, remote, stale, stored, stored_local, written;
    uint64_t read_errors, write_errors, off_link, timeouts, past_deadline;
    uint64_t wrong; /* values that are not their key's */
    uint64_t first_wrong_id;
    struct cli_latency get;       /* look-ups, all or a sample */
    struct cli_latency miss;      /* those that went to Redis */
    struct cli_latency overshoot; /* of the deadline, calls that were no local hit; 0 if in time */
    struct cli_replay_slow *slow;
    uint64_t slow_count; /* also those that did not fit */
    int queue_fd;        /* this thread's schedstat; -1: none */
    uint64_t queued_ns, queued_at_ns;
    unsigned char value[CLI_REPLAY_MOST_VALUE];
};

/* The clock of a cache that lives in the trace's time; `arg` is the struct cli_replay. */
uint64_t cli_replay_clock(void *arg);

/* A thread's whole work; `arg` is its struct cli_replay_worker. */
void *cli_replay_run(void *arg);

/* The value of a key in the version, and whether that is what was read. */
void cli_replay_make_value(uint64_t id, uint64_t version, unsigned char *value, size_t bytes);
bool cli_replay_check_value(uint64_t id, const unsigned char *value, size_t bytes,
                            size_t wanted_bytes);

/* Adds what `from` counted to `into`; both keep their lists of slow calls. */
void cli_replay_merge(struct cli_replay_worker *into, const struct cli_replay_worker *from);

#endif
