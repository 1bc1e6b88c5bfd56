/*
 * sync/lease: one loader at a time for a key across processes: a short-lived key in Redis says who
 * makes the value; the others wait for the message of its write, and look every 50 ms besides.
 *
 * It saves work and promises nothing: a lease that ends while its holder is still at it lets a
 * second one make the value too, and the rules of REPLAY decide between them. Thread-safe.
 */
#ifndef NC_SYNC_LEASE_H
#define NC_SYNC_LEASE_H

#include "sync/sync.h"

enum nc_lease_state {
    NC_LEASE_TAKEN,  /* make the value, then give the lease back */
    NC_LEASE_OTHERS, /* somebody else is making it */
    NC_LEASE_THERE,  /* there is a value by now */
    NC_LEASE_UNKNOWN /* Redis cannot be asked: nobody is waited for */
};

struct nc_lease {
    bool held;
    char token[17];
};

enum nc_lease_state nc_lease_take(struct nc_sync *sync, struct nc_lease *lease,
                                  const struct nc_key *key, uint64_t deadline_ns);
/* Waits until something may have changed: a message about the key's bucket since the ticket, or a
 * while. False: the deadline passed. */
bool nc_lease_wait(struct nc_sync *sync, const struct nc_key *key, const struct nc_ticket *since,
                   uint64_t deadline_ns);
/* Does nothing unless it is held. */
void nc_lease_give(struct nc_sync *sync, struct nc_lease *lease, const struct nc_key *key,
                   uint64_t deadline_ns);

/* Messages have come: those who wait look whether they are about them. */
void nc_lease_heard(struct nc_sync *sync);

#endif
