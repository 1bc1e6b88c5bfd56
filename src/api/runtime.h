/*
 * api/runtime: the cache handle: what it is made of, and the order of start and stop.
 *
 *     start   life page, cache, sync, link (its thread), metrics socket, maintenance thread;
 *             threads for an event loop with the first call that needs one
 *     stop    the mirror of that
 */
#ifndef NC_API_RUNTIME_H
#define NC_API_RUNTIME_H

#include "api/async.h"
#include "api/publish.h"
#include "cache/cache.h"
#include "redis/fleet.h"
#include "sync/sync.h"

/* Thread-safe. */
struct nearcache {
    struct nc_cache cache;
    struct nc_log log;
    struct nearcache_config config;  /* complete; its pointers are not to be followed */
    struct nc_redis_settings *redis; /* NULL: local-only */
    struct nc_fleet *fleet;          /* NULL: one server */
    struct nc_cluster *cluster;      /* the map of the fleet */
    char name_space[72];
    struct nc_lanes lanes;
    struct nc_sync *sync;           /* of lane 0; NULL: local-only */
    struct nc_flights local_loads;  /* without one */
    struct nc_publish *publish;     /* NULL: none */
    struct nc_async *_Atomic async; /* NULL until the first call that needs it */
    pthread_mutex_t async_lock;     /* while it is made */
    pthread_t maintenance;
    bool maintenance_runs;
    int stop_fd;  /* eventfd: ends the maintenance thread */
    bool stopped; /* closed once; only pins keep the rest */
};

int nc_runtime_open(struct nearcache **cache, const struct nearcache_config *config);
int nc_runtime_close(struct nearcache *cache, uint64_t timeout_us);

#endif
