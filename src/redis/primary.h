/* redis/primary: where a server is. A value. */
#ifndef NC_REDIS_PRIMARY_H
#define NC_REDIS_PRIMARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct nc_primary {
    char host[256];
    uint32_t port;
};

static inline bool nc_primary_is(const struct nc_primary *one, const struct nc_primary *two)
{
    return one->port == two->port && strcmp(one->host, two->host) == 0;
}

/* False, and nothing changed: what another server says is no host or port. */
static inline bool nc_primary_put_host(struct nc_primary *primary, const char *text, size_t bytes)
{
    if (bytes == 0 || bytes >= sizeof primary->host || memchr(text, 0, bytes))
        return false;
    memcpy(primary->host, text, bytes);
    primary->host[bytes] = 0;
    return true;
}

static inline bool nc_primary_put_port(struct nc_primary *primary, const char *text, size_t bytes)
{
    uint32_t port = 0;
    for (size_t i = 0; i < bytes; i++) {
        if (bytes > 5 || text[i] < '0' || text[i] > '9')
            return false;
        port = port * 10 + (uint32_t)(text[i] - '0');
    }
    if (port == 0 || port > 65535)
        return false;
    primary->port = port;
    return true;
}

#endif
