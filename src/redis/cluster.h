/*
 * redis/cluster: who owns which slots of a Redis Cluster, and where the links of its lanes lead.
 *
 * A lane is what one primary orders. Without partitions every primary is a lane, and a key's slot
 * says which; with P partitions lane p is whichever primary owns the slot of partition p. The map
 * of slots is learned from the nodes on a thread of the cluster's own (every second, and soon
 * whenever a node or a lost connection gives a hint) and read by anybody with one atomic load.
 *
 * It tells the link of a lane which primary to connect to and restarts it when that is another one;
 * redis/fleet opens those links. Who has a call for a slot or a node gets a link that is there. A
 * node that cannot see the majority of the cluster is not believed.
 *
 * It does not read from replicas, and knows no calls: redis/redirect repeats those that a node sent
 * elsewhere.
 */
#ifndef NC_REDIS_CLUSTER_H
#define NC_REDIS_CLUSTER_H

#include "redis/link.h"
#include "redis/primary.h"
#include "redis/slot.h"

/* Primaries with a lane each. */
#define NC_CLUSTER_LANES_MOST 64u
/* No lane (yet): the slot has no owner that is known. */
#define NC_CLUSTER_NO_LANE UINT32_MAX

struct nc_cluster;

/* All run on the cluster's thread, under no lock; they may call nc_fleet_open_link and
 * nc_link_start. */
struct nc_cluster_config {
    const struct nc_redis_settings *settings; /* copied */
    const struct nc_log *log;
    /* Of each partition, copied; 0: a lane for each primary. */
    const uint32_t *partition_slots;
    unsigned partitions;
    /* Without partitions: the lane is used from now on, its link is to be started. Lanes are
     * numbered from 0 as primaries are found, and never given back. */
    void (*on_lane)(void *arg, unsigned lane);
    /* A lane got slots from another, or lost some to it, and what is known about keys of either may
     * be false from now on. Called before the new map is seen; a lane that follows a failover keeps
     * its slots, and its link goes down and up. */
    void (*on_moved)(void *arg, unsigned lane);
    void *arg;
    uint64_t guest_idle_ns; /* how long redis/guests keeps an unused link; 0: half a minute */
};

/* 0, NEARCACHE_ENOMEM, NEARCACHE_EIO. Nothing runs before it is started. */
int nc_cluster_open(struct nc_cluster **cluster, const struct nc_cluster_config *config);
int nc_cluster_start(struct nc_cluster *cluster);
/* Stops its thread and closes the guests. Before the links of lanes are closed. */
void nc_cluster_stop(struct nc_cluster *cluster);
/* After the links are closed. */
void nc_cluster_close(struct nc_cluster *cluster);

/* ---- anybody ---- */

/* The lane of a slot, or NC_CLUSTER_NO_LANE. With partitions: not to be asked. */
uint32_t nc_cluster_lane(const struct nc_cluster *cluster, uint32_t slot);
bool nc_cluster_has_partitions(const struct nc_cluster *cluster);
/* One of the slots that a lane has now (with partitions: its own), whose keys its primary takes, or
 * NC_SLOTS: it has none. For nc_slot_tag. */
uint32_t nc_cluster_slot(const struct nc_cluster *cluster, unsigned lane);
/* Lanes in use: P, or the primaries found so far. */
unsigned nc_cluster_lanes(const struct nc_cluster *cluster);
/* Whether a lane has slots now: its primary may have given all of them away. */
bool nc_cluster_lane_serves(struct nc_cluster *cluster, unsigned lane);
/* Grows with every change of the map; 0: none has been learned yet. */
uint64_t nc_cluster_generation(const struct nc_cluster *cluster);
/* When the nodes were asked last, all of them refused the credentials. */
bool nc_cluster_refused_auth(struct nc_cluster *cluster);
/* Something was seen that the map does not say: it is learned anew soon. */
void nc_cluster_doubt(struct nc_cluster *cluster);

/* ---- the links of the lanes ---- */

void nc_cluster_attach(struct nc_cluster *cluster, unsigned lane, struct nc_link *link);
/* Waits until nobody hands calls over to it any more. */
void nc_cluster_detach(struct nc_cluster *cluster, unsigned lane);
/* Where to connect. 0; NEARCACHE_EOFFLINK (*why tells, static text), NEARCACHE_EAUTH: all nodes
 * refused the credentials. */
int nc_cluster_locate(struct nc_cluster *cluster, unsigned lane, struct nc_primary *primary,
                      const char **why);
/* Where it has connected to; *primary is left alone where that is not known. */
void nc_cluster_where(struct nc_cluster *cluster, unsigned lane, struct nc_primary *primary);
/* It takes calls, or does not any more. */
void nc_cluster_set_up(struct nc_cluster *cluster, unsigned lane, bool up);

/* ---- redirected calls ---- */

/* Makes a link to a server that has none, of which redis/guests has a few. Not from a link's thread
 * or a caller's: it opens sockets. */
void nc_cluster_invite(struct nc_cluster *cluster, const struct nc_primary *server);
/* A link that takes calls, to be let go with nc_cluster_end_use, which lets it be closed: that of
 * the slot by the map (with partitions: of the lane); that of the lane or another one that is with
 * a server. NULL: there is none now. */
struct nc_link *nc_cluster_use(struct nc_cluster *cluster, unsigned lane, uint32_t slot,
                               unsigned *place);
struct nc_link *nc_cluster_use_at(struct nc_cluster *cluster, const struct nc_primary *server,
                                  unsigned lane, unsigned *place);
void nc_cluster_end_use(struct nc_cluster *cluster, unsigned place);

#endif
