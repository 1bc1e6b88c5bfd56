/*
 * sync/chain: what is known of the stream of versioned messages of one partition (docs/coherence.md
 * R1, R6, R8), as pure arithmetic: no I/O, no clock, no lock. One thread: the link's.
 *
 *     last         this cache is complete up to here
 *     [c0, c1]     what the current subscription has heard without a hole
 *
 *           last          c0 ---- messages ---- c1
 *     -------|.............|----------------------|---->  s
 *              to be asked for by RESUME
 */
#ifndef NC_SYNC_CHAIN_H
#define NC_SYNC_CHAIN_H

#include <stdbool.h>
#include <stdint.h>

/* The most keys of a RESUME answer; one more means that there are others behind them. */
#define NC_RESUME_MOST 4096

struct nc_chain {
    uint64_t last;
    uint64_t incarnation; /* of the index that `last` belongs to; 0: nothing known yet */
    uint64_t c0, c1;
    bool heard; /* c0 and c1 mean something */
    bool whole; /* a RESUME answer was applied on this subscription and no gap came since */
};

enum nc_chain_step {
    NC_CHAIN_FINE,   /* nothing to do */
    NC_CHAIN_PROVEN, /* this heartbeat proves everything up to its sending */
    NC_CHAIN_GAP     /* something was missed: RESUME */
};

enum nc_chain_answer {
    NC_CHAIN_ACCEPTED, /* observe the keys, then all is known up to the new `last` */
    NC_CHAIN_AGAIN,    /* older than what the subscription begins with: ask again */
    NC_CHAIN_FORGET    /* cannot be mended: a new epoch begins at the new `last` */
};

void nc_chain_init(struct nc_chain *chain);

/* A new subscription begins: nothing heard, nothing whole. `last` stays. */
void nc_chain_subscribe(struct nc_chain *chain);

/* A message prev -> s. Its keys have been observed before. */
enum nc_chain_step nc_chain_message(struct nc_chain *chain, uint64_t prev, uint64_t s);

/*
 * An own heartbeat that came back with s. `after_answer`: it was sent after the last RESUME answer
 * was applied.
 */
enum nc_chain_step nc_chain_heartbeat(struct nc_chain *chain, uint64_t s, bool after_answer);

/* A RESUME answer, complete where it names at most NC_RESUME_MOST keys. `same_server`: run id and
 * replication id are those that `last` was seen on. */
enum nc_chain_answer nc_chain_resume(struct nc_chain *chain, uint64_t s, uint64_t floor,
                                     uint64_t incarnation, uint64_t keys, bool same_server);

/*
 * A RESUME answer that is only the first part, up to the version `top`, of which more keys may be
 * missing. ACCEPTED: observe the keys, `last` has moved below top, and the next part is to be asked
 * for; FORGET: as above, but the next answer decides where the new epoch begins.
 */
enum nc_chain_answer nc_chain_part(struct nc_chain *chain, uint64_t s, uint64_t floor,
                                   uint64_t incarnation, uint64_t top, bool same_server);

#endif
