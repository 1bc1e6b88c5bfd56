/*
 * A private Redis Cluster for a test: three primaries with a replica each, on ports of 127.0.0.1
 * that stay reserved; each node is a redis_server (lib/redis_server.h) and ends with the test. A
 * primary that dies is replaced within about two seconds.
 *
 *     struct redis_cluster cluster;
 *     cr_assert(redis_cluster_start(&cluster, NULL));
 *     redis.cluster = 1;
 *     redis.cluster_nodes = cluster.list;
 *     ...
 *     redis_cluster_stop(&cluster);
 *
 * Functions that return bool print one line to standard error when they fail. One thread.
 */
#ifndef LIB_REDIS_CLUSTER_H
#define LIB_REDIS_CLUSTER_H

#include "lib/redis_server.h"

enum { REDIS_CLUSTER_PRIMARIES = 3, REDIS_CLUSTER_NODES = 6, REDIS_CLUSTER_SLOTS = 16384 };

struct redis_cluster {
    /* The first three begin as primaries of a third of the slots each, node n + 3 as the replica of
     * node n. */
    struct redis_server node[REDIS_CLUSTER_NODES];
    struct {
        int reserved;
        char port[16];
        char id[48];
    } bus[REDIS_CLUSTER_NODES];
    char list[REDIS_CLUSTER_NODES * 24]; /* host:port,host:port */
};

/* extra: more arguments for every node, as in redis_server_start (for TLS also --tls-cluster and
 * --tls-replication yes). Waits until all of it is well. */
bool redis_cluster_start(struct redis_cluster *cluster, const char *const *extra);
void redis_cluster_stop(struct redis_cluster *cluster);

/* Waits until all nodes that live see all slots served, and, with `replicas`, three replicas. */
bool redis_cluster_wait_well(struct redis_cluster *cluster, bool replicas);
/* The node that owns the slot in the eyes of one that lives and sees the majority; -1: none. */
int redis_cluster_owner(struct redis_cluster *cluster, int slot);

/* SIGKILL; waits until its replica has been promoted. Returns which, -1: nobody was. */
int redis_cluster_kill(struct redis_cluster *cluster, int primary);
/* An ordered failover of a replica's primary; waits until the replica is the primary. */
bool redis_cluster_promote(struct redis_cluster *cluster, int replica);

/* Makes a replica a primary without slots. */
bool redis_cluster_part(struct redis_cluster *cluster, int replica);

/* A slot moves live, step by step: begin; keys, again and again until none is left; end. */
bool redis_cluster_begin_move(struct redis_cluster *cluster, int slot, int from, int to);
/* Moves at most so many keys. How many moved; -1: it failed. */
int redis_cluster_move_keys(struct redis_cluster *cluster, int slot, int from, int to, int most);
bool redis_cluster_end_move(struct redis_cluster *cluster, int slot, int from, int to);
/* All of it. */
bool redis_cluster_move_slot(struct redis_cluster *cluster, int slot, int from, int to);

#endif
