/*
 * redis/settings: how to reach Redis: the public struct and its URL, checked, completed and copied.
 * Never logs a secret; the password's memory is wiped. Constant once created.
 */
#ifndef NC_REDIS_SETTINGS_H
#define NC_REDIS_SETTINGS_H

#include "base/log.h"
#include "nearcache.h"
#include "redis/tls.h"

#define NC_SENTINELS_MOST 16u
#define NC_CLUSTER_SEEDS_MOST 16u
#define NC_CLUSTER_PARTITIONS_MOST 64u

struct nc_host {
    char *host;
    uint32_t port;
};

struct nc_redis_settings {
    char *host; /* NULL: a unix socket, or Sentinels or a Cluster know */
    char *unix_path;
    char *username, *password; /* NULL: none */
    char *client_name;
    struct nc_tls_context *tls; /* NULL: plain */
    uint32_t port, database, connections, spin_us;
    uint32_t sentinel_count; /* 0: no Sentinels */
    struct nc_host sentinels[NC_SENTINELS_MOST];
    char *sentinel_primary, *sentinel_password;
    uint32_t seed_count; /* 0: no Cluster; else some nodes of it, and no host */
    struct nc_host seeds[NC_CLUSTER_SEEDS_MOST];
    uint32_t cluster_partitions;
};

/* 0; NEARCACHE_ECONFIG (the log says what is wrong), NEARCACHE_ENOTSUP, NEARCACHE_ENOMEM. */
int nc_redis_settings_create(struct nc_redis_settings **settings,
                             const struct nearcache_redis *given, const struct nc_log *log);
int nc_redis_settings_copy(struct nc_redis_settings **settings,
                           const struct nc_redis_settings *other);
void nc_redis_settings_destroy(struct nc_redis_settings *settings);

#endif
