/*
 * cli/target: the parts of a URL, for commands that talk to Redis themselves.
 */
#ifndef NC_CLI_TARGET_H
#define NC_CLI_TARGET_H

#include <nearcache.h>

#include <stdbool.h>
#include <stdint.h>

/* A Redis taken apart. Owns its strings. */
struct cli_target {
    char *host; /* NULL with a unix socket */
    uint32_t port;
    uint32_t database;
    char *unix_path;
    char *username;
    char *password;
    bool tls;
    char label[300]; /* for messages: no secrets */
};

/* False: the URL does not parse (or no memory). */
bool cli_target_init(struct cli_target *target, const struct nearcache_redis *redis);
void cli_target_deinit(struct cli_target *target);

#endif
