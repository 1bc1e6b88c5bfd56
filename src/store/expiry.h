/*
 * store/expiry: which keys of a shard are over, without looking at the others.
 *
 * Keys are filed by how long they have to live, eight classes for each doubling; in a class they
 * stand in the order in which they were filed, in chunks, so the first chunk is the first to be
 * over:
 *
 *     class of 60 s   [ due 17:03 | hashes ... ] -> [ due 17:06 | hashes ... ] -> ...
 *     class of 64 s   [ due 17:04 | hashes ... ]
 *
 * A chunk is due when the last of its keys is over, and takes no key that would make it wait for
 * more than a 16th of its time: memory comes back that much late at most, and as much again where
 * times in a class differ. A key is filed by its hash: what became of it in between is found out
 * when it is due. So nothing is done when an entry is removed or written again, and nobody
 * unlinks anything; stale hashes are weeded out when there are more than twice as many as entries.
 *
 * Guarded by the lock of the shard. Without memory a key is not filed: the sweep finds it.
 */
#ifndef NC_STORE_EXPIRY_H
#define NC_STORE_EXPIRY_H

#include "base/clock.h"

#include <stddef.h>

/* Below 8 ticks a class for each, above eight for each doubling up to 2^31 ticks. */
#define NC_EXPIRY_CLASSES (8 * 29)

struct nc_expiry_class;

struct nc_expiry {
    struct nc_expiry_class *classes;              /* NULL: nothing was filed yet */
    uint64_t used[(NC_EXPIRY_CLASSES + 63) / 64]; /* classes with a chunk, as bits */
    nc_tick earliest; /* no chunk is due before; means something while `filed` */
    uint32_t filed;   /* hashes in all chunks */
    unsigned weed_class;
    uint32_t weed_left; /* in that class, until the next one's turn */
    size_t bytes;
};

struct nc_expired {
    uint32_t hash;
    nc_tick due;   /* the entry that was filed is over by then; a later one has its own place */
    uint16_t ends; /* the lower half of when it is over: tells it from one written since */
};

void nc_expiry_init(struct nc_expiry *expiry);
void nc_expiry_deinit(struct nc_expiry *expiry);

void nc_expiry_file(struct nc_expiry *expiry, uint32_t hash, nc_tick ends, nc_tick now);
/* Takes out one hash of a due chunk. False: nothing is due. */
bool nc_expiry_take(struct nc_expiry *expiry, nc_tick now, struct nc_expired *expired);
/* Takes out one hash, due or not, to be filed again if it still means something; all of them in
 * turn. False: there is none. */
bool nc_expiry_weed(struct nc_expiry *expiry, struct nc_expired *weeded);

#endif
