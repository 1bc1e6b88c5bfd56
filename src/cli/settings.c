#include "cli/settings.h"

#include "cli/config_file.h"

#include <stdlib.h>
#include <string.h>

/* An address of a stronger source replaces the whole address of a weaker one. */
static void clear_address(struct nearcache_redis *redis)
{
    redis->url = NULL;
    redis->host = NULL;
    redis->port = 0;
    redis->database = 0;
    redis->unix_path = NULL;
    redis->sentinels = NULL;
    redis->sentinel_primary = NULL;
    redis->sentinel_password = NULL;
    redis->cluster_nodes = NULL;
}

static bool url_has_user(const char *url)
{
    const char *begin = strstr(url, "://");

    return strrchr(begin ? begin + 3 : url, '@') != NULL;
}

static void take_url(struct cli_settings *settings, const char *url)
{
    struct nearcache_redis *redis = &settings->redis;

    clear_address(redis);
    /* That what is there is a cluster is said of a file's address or, without one, of any. */
    if (settings->has_file_address)
        redis->cluster = redis->cluster_partitions = 0;
    redis->url = url;
    /* Credentials of a weaker source serve a URL that has none, so that they can stay out of it. */
    if (url_has_user(url)) {
        redis->username = NULL;
        redis->password = NULL;
    }
}

static int take_environment(struct cli_settings *settings, const struct cli_command *command)
{
    int outcome = nearcache_redis_from_env(&settings->redis);

    if (outcome == NEARCACHE_EINVAL) {
        cli_error(command, "REDIS_PORT or REDIS_DB in the environment is not a number");
        return CLI_USAGE;
    }
    settings->has_redis = outcome == 0;
    return CLI_GO_ON;
}

static int take_file(struct cli_settings *settings, const struct cli_command *command,
                     const char *path)
{
    struct cli_config_file file;
    const struct nearcache_redis weaker = settings->redis;
    char problem[CLI_CONFIG_PROBLEM_BYTES];

    clear_address(&settings->redis);
    file.redis = &settings->redis;
    file.config = &settings->config;
    if (!cli_config_file_read(&file, path, problem)) {
        cli_error(command, "%s", problem);
        return CLI_USAGE;
    }
    settings->file_text = file.text;
    settings->has_file_address = file.names_redis;
    settings->has_redis |= file.names_redis || settings->redis.cluster;
    if (!file.names_redis) {
        settings->redis.url = weaker.url;
        settings->redis.host = weaker.host;
        settings->redis.port = weaker.port;
        settings->redis.database = weaker.database;
        settings->redis.unix_path = weaker.unix_path;
    }
    return CLI_GO_ON;
}

int cli_settings_init(struct cli_settings *settings, const struct cli_command *command,
                      const struct cli_redis_options *options)
{
    *settings =
        (struct cli_settings){.redis = NEARCACHE_REDIS_INIT, .config = NEARCACHE_CONFIG_INIT};
    settings->config.log = cli_log;
    settings->config.log_arg = (void *)(uintptr_t)command;
    int outcome = take_environment(settings, command);

    if (outcome == CLI_GO_ON && options->config_file)
        outcome = take_file(settings, command, options->config_file);
    if (outcome == CLI_GO_ON && options->url) {
        take_url(settings, options->url);
        settings->has_redis = true;
    }
    if (settings->has_redis)
        settings->config.redis = &settings->redis;
    return outcome;
}

void cli_settings_deinit(struct cli_settings *settings)
{
    free(settings->file_text);
    settings->file_text = NULL;
}

void cli_settings_default_redis(struct cli_settings *settings)
{
    settings->has_redis = true;
    settings->config.redis = &settings->redis;
}

int cli_settings_open(struct cli_settings *settings, const struct cli_command *command,
                      struct nearcache **cache)
{
    int outcome = nearcache_open(cache, &settings->config);

    switch (outcome) {
    case NEARCACHE_OK:
        return CLI_GO_ON;
    case NEARCACHE_ECONFIG:
    case NEARCACHE_EINVAL:
    case NEARCACHE_ENOTSUP:
        cli_error(command, "cannot open the cache: %s", nearcache_strerror(outcome));
        return CLI_USAGE;
    default:
        cli_error(command, "cannot open the cache: %s", nearcache_strerror(outcome));
        return CLI_WRONG;
    }
}

int cli_settings_wait(const struct cli_command *command, struct nearcache *cache,
                      uint64_t timeout_us)
{
    uint64_t end_ns = cli_now_ns() + timeout_us * 1000;
    int outcome = NEARCACHE_ETIMEOUT;

    /* In short steps, so that an interruption is noticed. */
    while (!cli_interrupted() && cli_now_ns() < end_ns) {
        outcome = nearcache_wait(cache, 50000);
        if (outcome != NEARCACHE_ETIMEOUT)
            break;
    }
    if (outcome == 0)
        return CLI_GO_ON;
    if (cli_interrupted())
        return CLI_INTERRUPTED;
    cli_error(command, "Redis is not reachable: %s (link %s); 'nearcache check' tells more",
              nearcache_strerror(outcome), nearcache_link_name(nearcache_link_state(cache)));
    return CLI_UNREACHABLE;
}
