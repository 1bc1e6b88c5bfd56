/*
 * api/handle: what a cache is made of. Made and taken apart by api/runtime, used by all the rest.
 */
#ifndef NC_API_HANDLE_H
#define NC_API_HANDLE_H

#include "cache/cache.h"
#include "sync/sync.h"

#include <pthread.h>

struct nc_async;
struct nc_cluster;
struct nc_fleet;
struct nc_publish;
struct nc_redis_settings;

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

#endif
