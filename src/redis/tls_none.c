/* redis/tls, where TLS is not built in: asked for, it is an error and never plain text. */
#include "redis/tls.h"

#include <errno.h>

int nc_tls_context_create(struct nc_tls_context **context, const struct nearcache_redis *given,
                          const char **why)
{
    (void)context;
    (void)given;
    *why = "TLS is not built into this library";
    return NEARCACHE_ENOTSUP;
}

void nc_tls_context_retain(struct nc_tls_context *context) { (void)context; }

void nc_tls_context_release(struct nc_tls_context *context) { (void)context; }

int nc_tls_open(struct nc_tls **tls, struct nc_tls_context *context, int fd, const char *host)
{
    (void)tls;
    (void)context;
    (void)fd;
    (void)host;
    return NEARCACHE_ENOTSUP;
}

void nc_tls_close(struct nc_tls *tls) { (void)tls; }

int nc_tls_handshake(struct nc_tls *tls, const char **why)
{
    (void)tls;
    *why = "TLS is not built into this library";
    return NEARCACHE_ENOTSUP;
}

ssize_t nc_tls_send(struct nc_tls *tls, const void *bytes, size_t count)
{
    (void)tls;
    (void)bytes;
    (void)count;
    errno = ECONNRESET;
    return -1;
}

ssize_t nc_tls_recv(struct nc_tls *tls, void *buffer, size_t room)
{
    (void)tls;
    (void)buffer;
    (void)room;
    errno = ECONNRESET;
    return -1;
}

const char *nc_tls_why(struct nc_tls *tls)
{
    (void)tls;
    return NULL;
}

bool nc_tls_pending(struct nc_tls *tls)
{
    (void)tls;
    return false;
}
