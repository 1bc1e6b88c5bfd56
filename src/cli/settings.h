/*
 * cli/settings: where Redis is and how the cache is tuned, from --redis, --config and the
 * environment, in this order of precedence.
 */
#ifndef NC_CLI_SETTINGS_H
#define NC_CLI_SETTINGS_H

#include "cli/options.h"

/* What the two options of CLI_REDIS_OPTIONS fill. */
struct cli_redis_options {
    const char *url;
    const char *config_file;
};

#define CLI_REDIS_OPTIONS(at)                                                                      \
    {"redis",                                                                                      \
     CLI_URL,                                                                                      \
     "URL",                                                                                        \
     "redis://[[user]:password@]host[:port][/db], rediss://... or unix:///path[?db=N]; "           \
     "default: --config, else REDIS_URL, REDIS_HOST, REDIS_PORT, REDIS_PASSWORD, REDIS_DB",        \
     &(at)->url,                                                                                   \
     0,                                                                                            \
     0,                                                                                            \
     NULL},                                                                                        \
    {                                                                                              \
        "config", CLI_TEXT, "FILE", "settings as lines of 'key = value'", &(at)->config_file, 0,   \
            0, NULL                                                                                \
    }

/* One thread. Strings point into `file_text`, argv's copies and the environment. */
struct cli_settings {
    struct nearcache_redis redis;
    bool has_redis;                 /* somebody named one */
    bool has_file_address;          /* --config did */
    struct nearcache_config config; /* its `redis` is set iff has_redis */
    char *file_text;
};

/*
 * Reads the settings; complains itself. Returns CLI_GO_ON or an exit status. `settings` stays
 * where it is (it points into itself); deinit it in every case.
 */
int cli_settings_init(struct cli_settings *settings, const struct cli_command *command,
                      const struct cli_redis_options *options);
void cli_settings_deinit(struct cli_settings *settings);

/* Makes 127.0.0.1:6379 the Redis of settings that name none. */
void cli_settings_default_redis(struct cli_settings *settings);

/* Opens a cache with these settings; complains itself. Returns CLI_GO_ON or an exit status. */
int cli_settings_open(struct cli_settings *settings, const struct cli_command *command,
                      struct nearcache **cache);

/* Waits until the link is live; complains itself. Returns CLI_GO_ON or an exit status. */
int cli_settings_wait(const struct cli_command *command, struct nearcache *cache,
                      uint64_t timeout_us);

#endif
