#include "cli/target.h"

#include "cli/options.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
