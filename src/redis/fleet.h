/*
 * redis/fleet: the links of a cluster's lanes, and what they need to be one client: the map says
 * where each leads (redis/cluster), and calls that a node refused are repeated (redis/redirect).
 * It joins these and decides nothing itself.
 *
 *     fleet ----> redirect ----> cluster ----> guests ----> link ----> mux ----> call
 *                 repeats what   who has       nodes        one        one
 *                 was refused    which slot    without      server     connection
 *                                              a lane
 *
 * An arrow means "uses". What goes back up (where to connect, a refused call) goes through the
 * functions that the fleet gives to each link (struct nc_link_guide). Thread-safe, once open.
 */
#ifndef NC_REDIS_FLEET_H
#define NC_REDIS_FLEET_H

#include "redis/cluster.h"

struct nc_fleet;

/* 0, NEARCACHE_ENOMEM, NEARCACHE_EIO. Nothing runs before it is started. */
int nc_fleet_open(struct nc_fleet **fleet, const struct nc_cluster_config *config);
int nc_fleet_start(struct nc_fleet *fleet);
/* Stops its threads; refused calls end with NEARCACHE_EOFFLINK. Before the links are closed. */
void nc_fleet_stop(struct nc_fleet *fleet);
/* After the links are closed. */
void nc_fleet_close(struct nc_fleet *fleet);

/* The map, as long as the fleet. */
struct nc_cluster *nc_fleet_cluster(struct nc_fleet *fleet);

/* As nc_link_open and nc_link_close, with the lane's primary; the config's guide is overwritten. */
int nc_fleet_open_link(struct nc_fleet *fleet, unsigned lane, struct nc_link **link,
                       const struct nc_link_config *config);
void nc_fleet_close_link(struct nc_fleet *fleet, unsigned lane, struct nc_link *link,
                         uint64_t deadline_ns);

#endif
