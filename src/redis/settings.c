#include "redis/settings.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_CONNECTIONS 8
#define MOST_CONNECTIONS 64
#define DEFAULT_SPIN_US 100
#define MOST_SPIN_US 1000
#define REDIS_PORT 6379
#define SENTINEL_PORT 26379

struct parse {
    struct nc_redis_settings *settings;
    const char *why; /* static text */
    bool oom, tls;
};

static void wipe(char *secret)
{
    if (secret)
        explicit_bzero(secret, strlen(secret));
    free(secret);
}

void nc_redis_settings_destroy(struct nc_redis_settings *settings)
{
    if (!settings)
        return;
    free(settings->host);
    free(settings->unix_path);
    free(settings->username);
    wipe(settings->password);
    free(settings->client_name);
    for (unsigned i = 0; i < settings->sentinel_count; i++)
        free(settings->sentinels[i].host);
    free(settings->sentinel_primary);
    wipe(settings->sentinel_password);
    for (unsigned i = 0; i < settings->seed_count; i++)
        free(settings->seeds[i].host);
    nc_tls_context_release(settings->tls);
    free(settings);
}

static void put(struct parse *p, char **field, const char *value)
{
    char *copy = value ? strdup(value) : NULL;
    if (value && !copy)
        p->oom = true;
    wipe(*field);
    *field = copy;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'                 ? c - '0'
           : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                : -1;
}

/* A percent-decoded part of the URL. */
static void put_decoded(struct parse *p, char **field, const char *from, size_t bytes)
{
    char *text = malloc(bytes + 1), *to = text;
    if (!text) {
        p->oom = true;
        return;
    }
    for (size_t i = 0; i < bytes; i++) {
        if (from[i] != '%') {
            *to++ = from[i];
            continue;
        }
        int high = i + 2 < bytes ? hex_digit(from[i + 1]) : -1;
        int low = high >= 0 ? hex_digit(from[i + 2]) : -1;
        if (high < 0 || low < 0 || (high == 0 && low == 0)) {
            p->why = "a percent escape in the URL is not valid";
            break;
        }
        *to++ = (char)(high << 4 | low);
        i += 2;
    }
    *to = 0;
    wipe(*field);
    *field = text;
}

static bool number(const char *text, size_t bytes, uint32_t most, uint32_t *value)
{
    uint64_t n = 0;
    if (bytes == 0 || bytes > 10)
        return false;
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        n = n * 10 + (uint64_t)(text[i] - '0');
    }
    *value = (uint32_t)n;
    return n <= most;
}

static void parse_unix(struct parse *p, const char *rest)
{
    const char *query = strchr(rest, '?');
    put_decoded(p, &p->settings->unix_path, rest, query ? (size_t)(query - rest) : strlen(rest));
    if (p->settings->unix_path && p->settings->unix_path[0] != '/')
        p->why = "a unix URL needs an absolute path";
    if (query && (strncmp(query, "?db=", 4) != 0 ||
                  !number(query + 4, strlen(query + 4), INT32_MAX, &p->settings->database)))
        p->why = "after the path of a unix URL only ?db=NUMBER may follow";
}

/* `host`, `host:port`, `[address]:port`. */
static void parse_host(struct parse *p, const char *at, const char *end, char **host,
                       uint32_t *port_number)
{
    const char *host_end, *port = NULL;
    if (at < end && *at == '[') {
        host_end = memchr(at, ']', (size_t)(end - at));
        if (!host_end) {
            p->why = "an IPv6 address has no closing bracket";
            return;
        }
        if (host_end + 1 < end && host_end[1] == ':')
            port = host_end + 2;
        else if (host_end + 1 != end)
            p->why = "something stands between address and port";
        at++;
    } else {
        host_end = memchr(at, ':', (size_t)(end - at));
        port = host_end ? host_end + 1 : NULL;
        host_end = host_end ? host_end : end;
    }
    if (host_end > at)
        put_decoded(p, host, at, (size_t)(host_end - at));
    if (port && (!number(port, (size_t)(end - port), 65535, port_number) || *port_number == 0))
        p->why = "a port is not a number from 1 to 65535";
}

static void parse_authority(struct parse *p, const char *at, const char *end)
{
    const char *user_end = memrchr(at, '@', (size_t)(end - at));
    if (user_end) {
        const char *colon = memchr(at, ':', (size_t)(user_end - at));
        const char *name_end = colon ? colon : user_end;
        if (name_end > at)
            put_decoded(p, &p->settings->username, at, (size_t)(name_end - at));
        if (colon)
            put_decoded(p, &p->settings->password, colon + 1, (size_t)(user_end - colon - 1));
        at = user_end + 1;
    }
    parse_host(p, at, end, &p->settings->host, &p->settings->port);
}

static void parse_url(struct parse *p, const char *url)
{
    if (strncmp(url, "unix://", 7) == 0) {
        parse_unix(p, url + 7);
        return;
    }
    p->tls = strncmp(url, "rediss://", 9) == 0;
    if (!p->tls && strncmp(url, "redis://", 8) != 0) {
        p->why = "the URL must begin with redis://, rediss:// or unix://";
        return;
    }
    const char *at = url + (p->tls ? 9 : 8), *slash = at + strcspn(at, "/?#");
    parse_authority(p, at, slash);
    if (*slash == '/' && slash[1] &&
        !number(slash + 1, strlen(slash + 1), INT32_MAX, &p->settings->database))
        p->why = "the URL's path must be a database number";
    else if (*slash && *slash != '/')
        p->why = "a redis URL has no query";
}

/* Adds `host:port,host:port` to a list. */
static void parse_hosts(struct parse *p, const char *at, struct nc_host *list, uint32_t *count,
                        uint32_t most, uint32_t default_port)
{
    for (bool more = true; more && !p->why; (*count)++) {
        const char *end = at + strcspn(at, ",");
        if (*count == most) {
            p->why = "a list has more than 16 hosts";
            return;
        }
        list[*count].port = default_port;
        parse_host(p, at, end, &list[*count].host, &list[*count].port);
        if (!list[*count].host && !p->oom)
            p->why = "one of a list of hosts has no name";
        more = *end == ',';
        at = end + 1;
    }
}

static void parse_sentinels(struct parse *p, const struct nearcache_redis *given)
{
    struct nc_redis_settings *s = p->settings;
    if (given->url || given->host || given->unix_path)
        p->why = "sentinels stand in place of url, host and unix_path";
    if (!given->sentinel_primary || !given->sentinel_primary[0])
        p->why = "sentinels need the name of the primary";
    parse_hosts(p, given->sentinels, s->sentinels, &s->sentinel_count, NC_SENTINELS_MOST,
                SENTINEL_PORT);
    put(p, &s->sentinel_primary, given->sentinel_primary);
    put(p, &s->sentinel_password, given->sentinel_password);
}

/* The host, where one is given, is the first node to ask. */
static void put_seeds(struct parse *p, const struct nearcache_redis *given)
{
    struct nc_redis_settings *s = p->settings;
    if (!given->cluster_nodes || given->host || (given->url && s->host)) {
        s->seeds[0] = (struct nc_host){s->host, s->port};
        s->seed_count = 1;
    } else {
        free(s->host);
    }
    s->host = NULL;
    s->cluster_partitions = given->cluster_partitions;
    if (given->cluster_nodes)
        parse_hosts(p, given->cluster_nodes, s->seeds, &s->seed_count, NC_CLUSTER_SEEDS_MOST,
                    REDIS_PORT);
    if (s->unix_path)
        p->why = "the nodes of a cluster are not reached over a unix socket";
    if (given->sentinels)
        p->why = "a cluster has no Sentinels";
    if (s->database != 0)
        p->why = "a cluster has no database but 0";
    if (s->cluster_partitions > NC_CLUSTER_PARTITIONS_MOST)
        p->why = "more than 64 partitions";
}

/* Any word of TLS asks for TLS: what was meant to be encrypted is never sent in the clear. */
static bool asks_for_tls(const struct parse *p, const struct nearcache_redis *given)
{
    return p->tls || given->tls || given->tls_ca_file || given->tls_ca_dir ||
           given->tls_cert_file || given->tls_key_file || given->tls_server_name ||
           given->tls_insecure || given->tls_min_version;
}

static void put_fields(struct parse *p, const struct nearcache_redis *given)
{
    struct nc_redis_settings *s = p->settings;
    if (given->host)
        put(p, &s->host, given->host);
    if (given->unix_path) {
        put(p, &s->unix_path, given->unix_path);
    } else if (given->host) {
        free(s->unix_path);
        s->unix_path = NULL;
    }
    if (given->username)
        put(p, &s->username, given->username);
    if (given->password)
        put(p, &s->password, given->password);
    put(p, &s->client_name, given->client_name ? given->client_name : "nearcache");
    if (given->port)
        s->port = given->port;
    if (given->database)
        s->database = given->database;
    s->connections = given->connections ? given->connections : DEFAULT_CONNECTIONS;
    s->spin_us = given->spin_us ? given->spin_us : DEFAULT_SPIN_US;
    if (!s->port)
        s->port = REDIS_PORT;
    if (!s->host && !s->unix_path && s->sentinel_count == 0)
        put(p, &s->host, "127.0.0.1");
    if (s->port > 65535)
        p->why = "the port is above 65535";
    if (s->connections > MOST_CONNECTIONS)
        p->why = "more than 64 connections";
    if (s->spin_us > MOST_SPIN_US)
        p->why = "spin_us is above 1000";
    if (s->unix_path && strlen(s->unix_path) > 107)
        p->why = "the path of the unix socket is longer than 107 bytes";
    if (s->client_name && strpbrk(s->client_name, " \n\r\t"))
        p->why = "a client name has no blanks";
    if (s->username && !s->password)
        p->why = "a user needs a password";
}

static int fill(struct parse *p, const struct nearcache_redis *given)
{
    if (given->url)
        parse_url(p, given->url);
    if (given->sentinels)
        parse_sentinels(p, given);
    else if (given->sentinel_primary || given->sentinel_password)
        p->why = "the primary's name is for sentinels, and there are none";
    put_fields(p, given);
    if (given->cluster)
        put_seeds(p, given);
    else if (given->cluster_nodes || given->cluster_partitions)
        p->why = "nodes and partitions are for a cluster, and none is asked for";
    bool tls = asks_for_tls(p, given);
    if (tls && p->settings->unix_path)
        p->why = "TLS is for hosts, not for unix sockets";
    if (p->oom)
        return NEARCACHE_ENOMEM;
    if (p->why)
        return NEARCACHE_ECONFIG;
    return tls ? nc_tls_context_create(&p->settings->tls, given, &p->why) : 0;
}

int nc_redis_settings_create(struct nc_redis_settings **out, const struct nearcache_redis *given,
                             const struct nc_log *log)
{
    struct parse p = {calloc(1, sizeof(struct nc_redis_settings)), NULL, false, false};
    if (!p.settings)
        return NEARCACHE_ENOMEM;
    int outcome = fill(&p, given);
    if (outcome != 0) {
        nc_log_write(log, NEARCACHE_LOG_ERROR, "Redis settings: %s",
                     p.why ? p.why : "out of memory");
        nc_redis_settings_destroy(p.settings);
        return outcome;
    }
    *out = p.settings;
    return 0;
}

int nc_redis_settings_copy(struct nc_redis_settings **out, const struct nc_redis_settings *other)
{
    struct parse p = {calloc(1, sizeof(struct nc_redis_settings)), NULL, false, false};
    if (!p.settings)
        return NEARCACHE_ENOMEM;
    if (other->tls)
        nc_tls_context_retain(other->tls);
    p.settings->tls = other->tls;
    put(&p, &p.settings->host, other->host);
    put(&p, &p.settings->unix_path, other->unix_path);
    put(&p, &p.settings->username, other->username);
    put(&p, &p.settings->password, other->password);
    put(&p, &p.settings->client_name, other->client_name);
    p.settings->port = other->port;
    p.settings->database = other->database;
    p.settings->connections = other->connections;
    p.settings->spin_us = other->spin_us;
    p.settings->sentinel_count = other->sentinel_count;
    for (unsigned i = 0; i < other->sentinel_count; i++) {
        put(&p, &p.settings->sentinels[i].host, other->sentinels[i].host);
        p.settings->sentinels[i].port = other->sentinels[i].port;
    }
    p.settings->seed_count = other->seed_count;
    for (unsigned i = 0; i < other->seed_count; i++) {
        put(&p, &p.settings->seeds[i].host, other->seeds[i].host);
        p.settings->seeds[i].port = other->seeds[i].port;
    }
    p.settings->cluster_partitions = other->cluster_partitions;
    put(&p, &p.settings->sentinel_primary, other->sentinel_primary);
    put(&p, &p.settings->sentinel_password, other->sentinel_password);
    if (p.oom) {
        nc_redis_settings_destroy(p.settings);
        return NEARCACHE_ENOMEM;
    }
    *out = p.settings;
    return 0;
}
