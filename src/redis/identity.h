/*
 * redis/identity: who a server is, in its own words (INFO): its run id, a new one with each start,
 * and its replication id, a new one when its data has another history; and whether it is a replica.
 * What it does not tell is left out. A value; asked for by whoever has the connection to himself.
 */
#ifndef NC_REDIS_IDENTITY_H
#define NC_REDIS_IDENTITY_H

#include "redis/conn.h"

#include <string.h>

struct nc_identity {
    char text[96]; /* both ids, one behind the other; cut at its end */
    bool replica;
};

/* Asks the server that the connection leads to. 0, or why there is no answer, as
 * nc_conn_round_trip; `stop_fd` readable ends it early. */
int nc_identity_ask(struct nc_identity *identity, struct nc_conn *conn, int stop_fd,
                    uint64_t deadline_ns);

/* The same server and not started anew since, as far as both tell. */
static inline bool nc_identity_is(const struct nc_identity *one, const struct nc_identity *two)
{
    return strcmp(one->text, two->text) == 0;
}

#endif
