#include "cli/settings.h"

#include "cli/config_file.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- settings -------------------------------------------------------------------------------- */

/* An address of a stronger source replaces the whole address of a weaker one. */
static void clear_address(struct nearcache_redis *redis)
{
    redis->url = NULL;
    redis->host = NULL;
    redis->port = 0;
    redis->database = 0;
    redis->unix_path = NULL;
}

static bool url_has_user(const char *url)
{
    const char *begin = strstr(url, "://");

    return strrchr(begin ? begin + 3 : url, '@') != NULL;
}

static void take_url(struct nearcache_redis *redis, const char *url)
{
    clear_address(redis);
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
    if (file.names_redis) {
        settings->has_redis = true;
    } else {
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
    *settings = (struct cli_settings){.redis = NEARCACHE_REDIS_INIT,
                                      .config = NEARCACHE_CONFIG_INIT};
    settings->config.log = cli_log;
    settings->config.log_arg = (void *)(uintptr_t)command;
    int outcome = take_environment(settings, command);

    if (outcome == CLI_GO_ON && options->config_file)
        outcome = take_file(settings, command, options->config_file);
    if (outcome == CLI_GO_ON && options->url) {
        take_url(&settings->redis, options->url);
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

/* ---- target ---------------------------------------------------------------------------------- */

/* A percent-decoded copy of text[bytes]; NULL: no memory, or a broken escape. */
static char *decoded(const char *text, size_t bytes)
{
    char *copy = malloc(bytes + 1);
    size_t length = 0;

    for (size_t i = 0; copy && i < bytes; i++) {
        char digits[3] = {0};

        if (text[i] != '%') {
            copy[length++] = text[i];
            continue;
        }
        if (i + 2 >= bytes || !isxdigit((unsigned char)text[i + 1]) ||
            !isxdigit((unsigned char)text[i + 2])) {
            free(copy);
            return NULL;
        }
        digits[0] = text[i + 1];
        digits[1] = text[i + 2];
        copy[length++] = (char)strtol(digits, NULL, 16);
        i += 2;
    }
    if (copy)
        copy[length] = '\0';
    return copy;
}

static bool parse_user(struct cli_target *target, const char *text, size_t bytes)
{
    const char *colon = memchr(text, ':', bytes);
    size_t user_bytes = colon ? (size_t)(colon - text) : bytes;

    if (user_bytes && !(target->username = decoded(text, user_bytes)))
        return false;
    if (colon && !(target->password = decoded(colon + 1, bytes - user_bytes - 1)))
        return false;
    return true;
}

static bool parse_small_number(const char *text, uint32_t most, uint32_t *number)
{
    uint64_t wide;

    if (!cli_parse_number(text, &wide) || wide > most)
        return false;
    *number = (uint32_t)wide;
    return true;
}

/* host, host:port, [v6], [v6]:port */
static bool parse_host(struct cli_target *target, const char *text, size_t bytes)
{
    const char *end = text + bytes, *host_end, *colon;
    char port[8];

    if (bytes && text[0] == '[') {
        host_end = memchr(text, ']', bytes);
        if (!host_end)
            return false;
        target->host = strndup(text + 1, (size_t)(host_end - text - 1));
        colon = host_end + 1 < end ? host_end + 1 : NULL;
        if (colon && *colon != ':')
            return false;
    } else {
        colon = memchr(text, ':', bytes);
        host_end = colon ? colon : end;
        if (host_end > text)
            target->host = strndup(text, (size_t)(host_end - text));
    }
    if (!colon)
        return true;
    if (end - colon - 1 >= (ptrdiff_t)sizeof port)
        return false;
    memcpy(port, colon + 1, (size_t)(end - colon - 1));
    port[end - colon - 1] = '\0';
    return parse_small_number(port, 65535, &target->port);
}

static bool parse_unix(struct cli_target *target, const char *text)
{
    size_t path_bytes = strcspn(text, "?");
    const char *query = text + path_bytes;

    target->unix_path = decoded(text, path_bytes);
    if (!target->unix_path || !target->unix_path[0])
        return false;
    return *query == '\0' || (strncmp(query, "?db=", 4) == 0 &&
                              parse_small_number(query + 4, UINT32_MAX, &target->database));
}

static bool parse_url(struct cli_target *target, const char *url)
{
    size_t authority_bytes, user_bytes = 0;
    const char *at = NULL;

    if (strncmp(url, "unix://", 7) == 0)
        return parse_unix(target, url + 7);
    if (strncmp(url, "rediss://", 9) == 0) {
        target->tls = true;
        url += 9;
    } else if (strncmp(url, "redis://", 8) == 0) {
        url += 8;
    } else {
        return false;
    }
    authority_bytes = strcspn(url, "/?#");
    for (size_t i = 0; i < authority_bytes; i++)
        if (url[i] == '@')
            at = url + i;
    if (at) {
        user_bytes = (size_t)(at - url) + 1;
        if (!parse_user(target, url, user_bytes - 1))
            return false;
    }
    if (!parse_host(target, url + user_bytes, authority_bytes - user_bytes))
        return false;
    url += authority_bytes;
    return *url == '\0' || strcmp(url, "/") == 0 ||
           (*url == '/' && parse_small_number(url + 1, UINT32_MAX, &target->database));
}

static void replace(char **text, const char *with)
{
    if (with) {
        free(*text);
        *text = strdup(with);
    }
}

bool cli_target_init(struct cli_target *target, const struct nearcache_redis *redis)
{
    *target = (struct cli_target){.port = 0};
    if (redis->url && !parse_url(target, redis->url))
        return false;
    replace(&target->host, redis->host);
    replace(&target->unix_path, redis->unix_path);
    replace(&target->username, redis->username);
    replace(&target->password, redis->password);
    if (redis->port)
        target->port = redis->port;
    if (redis->database)
        target->database = redis->database;
    target->tls |= redis->tls != 0;
    if (!target->port)
        target->port = 6379;
    if (target->unix_path)
        snprintf(target->label, sizeof target->label, "unix:%s db %u", target->unix_path,
                 target->database);
    else {
        replace(&target->host, target->host ? NULL : "127.0.0.1");
        snprintf(target->label, sizeof target->label, "%s:%u db %u%s", target->host, target->port,
                 target->database, target->tls ? " (TLS)" : "");
    }
    return target->host || target->unix_path;
}

void cli_target_deinit(struct cli_target *target)
{
    free(target->host);
    free(target->unix_path);
    free(target->username);
    free(target->password);
}
