#include "sync/chain.h"

#include "base/mutant.h"

#include <string.h>

void nc_chain_init(struct nc_chain *chain) { memset(chain, 0, sizeof *chain); }

void nc_chain_subscribe(struct nc_chain *chain)
{
    chain->heard = false;
    chain->whole = false;
}

enum nc_chain_step nc_chain_message(struct nc_chain *chain, uint64_t prev, uint64_t s)
{
    if (chain->heard && prev == chain->c1) {
        chain->c1 = s;
    } else {
        chain->c0 = prev;
        chain->c1 = s;
        chain->heard = true;
    }
    if (!chain->whole)
        return NC_CHAIN_FINE; /* the RESUME that is due covers it */
    if (prev == chain->last) {
        chain->last = s;
        return NC_CHAIN_FINE;
    }
    if (s <= chain->last)
        return NC_CHAIN_FINE;
    if (NC_MUTANT(no_gap_check)) {
        chain->last = s;
        return NC_CHAIN_FINE;
    }
    chain->whole = false;
    return NC_CHAIN_GAP;
}

enum nc_chain_step nc_chain_heartbeat(struct nc_chain *chain, uint64_t s, bool after_answer)
{
    if (!chain->heard) {
        chain->heard = true;
        chain->c0 = chain->c1 = s;
        return NC_CHAIN_GAP;
    }
    if (!chain->whole)
        return NC_CHAIN_GAP;
    if (NC_MUTANT(no_gap_check) && s > chain->last)
        chain->last = s;
    if (s == chain->last)
        return after_answer ? NC_CHAIN_PROVEN : NC_CHAIN_FINE;
    if (s > chain->last) {
        chain->whole = false;
        return NC_CHAIN_GAP;
    }
    return NC_CHAIN_FINE;
}

/* The index tells all that happened since `last`. */
static bool can_be_mended(const struct nc_chain *chain, uint64_t s, uint64_t floor,
                          uint64_t incarnation, bool same_server)
{
    return same_server && chain->incarnation == incarnation && chain->last >= floor &&
           s >= chain->last;
}

enum nc_chain_answer nc_chain_resume(struct nc_chain *chain, uint64_t s, uint64_t floor,
                                     uint64_t incarnation, uint64_t keys, bool same_server)
{
    if (s < chain->c0)
        return NC_CHAIN_AGAIN;
    bool mended =
        keys <= NC_RESUME_MOST && can_be_mended(chain, s, floor, incarnation, same_server);
    chain->whole = true;
    chain->incarnation = incarnation;
    if (mended) {
        chain->last = s > chain->c1 ? s : chain->c1;
        return NC_CHAIN_ACCEPTED;
    }
    /* The epoch that follows forgets all entries, so what came before no longer matters. Not c1
     * alone: where an evicting server took the clock, the chain has not heard its new s, and the
     * next heartbeat would be a gap again, for ever. */
    chain->last = s > chain->c1 ? s : chain->c1;
    return NC_CHAIN_FORGET;
}

enum nc_chain_answer nc_chain_part(struct nc_chain *chain, uint64_t s, uint64_t floor,
                                   uint64_t incarnation, uint64_t top, bool same_server)
{
    /* Keys of one call share a version, so some with `top` may stand in the next part. Fewer
     * than a part's worth share one: `last` always moves. */
    if (can_be_mended(chain, s, floor, incarnation, same_server) && top > chain->last + 1) {
        chain->last = top - 1;
        return NC_CHAIN_ACCEPTED;
    }
    chain->incarnation = incarnation;
    chain->last = s;
    return NC_CHAIN_FORGET;
}
