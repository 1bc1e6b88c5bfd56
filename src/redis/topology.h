/*
 * redis/topology: what one node of a cluster answers to CLUSTER INFO and CLUSTER SLOTS: the state,
 * the newest epoch it has heard of, and the primary of each slot. The answer is untrusted: what
 * does not make sense, ranges that overlap included, makes the whole of it worthless. A value that
 * is filled by a sink; one thread.
 */
#ifndef NC_REDIS_TOPOLOGY_H
#define NC_REDIS_TOPOLOGY_H

#include "redis/command.h"
#include "redis/primary.h"
#include "redis/reply.h"
#include "redis/slot.h"

#define NC_TOPOLOGY_NODES_MOST 256u
#define NC_TOPOLOGY_NOBODY UINT16_MAX

struct nc_topology {
    struct nc_sink sink;
    bool well;       /* cluster_state:ok: it sees the majority */
    const char *why; /* it is worthless, static text; NULL: it is not */
    uint64_t epoch;  /* cluster_current_epoch */
    unsigned count;
    struct nc_primary node[NC_TOPOLOGY_NODES_MOST];
    uint16_t owner[NC_SLOTS]; /* an index of node[], or NOBODY */
    /* What is being read. */
    struct nc_primary asked, primary;
    unsigned element; /* of the range: first, last, primary, replicas */
    uint32_t first, last;
    bool begun, ended; /* a range; the last one */
};

/* `asked`: whom an empty host in the answer means. */
void nc_topology_init(struct nc_topology *topology, const struct nc_primary *asked);
/* The commands whose replies go to the sink. */
void nc_topology_ask(struct nc_command *command);
/* After the replies: NULL, or why nothing of it is to be believed. */
const char *nc_topology_check(const struct nc_topology *topology);

#endif
