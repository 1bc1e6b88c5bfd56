/*
 * redis/tls: TLS below a connection, on a socket that is ours: non-blocking, no SIGPIPE, deadlines
 * as everywhere. The server's certificate and name are verified unless that was switched off.
 *
 * A context (the authorities, our certificate and key) is constant once made and shared by all
 * connections of the settings. A session is one connection's; sending and receiving may run at the
 * same time on two threads. Where TLS is not built in, making a context is NEARCACHE_ENOTSUP and
 * nothing else can be called.
 */
#ifndef NC_REDIS_TLS_H
#define NC_REDIS_TLS_H

#include "base/log.h"
#include "nearcache.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct nc_tls_context;
struct nc_tls;

/* From the tls_... fields. 0; NEARCACHE_ECONFIG (*why tells which file or value, static text),
 * NEARCACHE_ENOTSUP, NEARCACHE_ENOMEM. */
int nc_tls_context_create(struct nc_tls_context **context, const struct nearcache_redis *given,
                          const char **why);
void nc_tls_context_retain(struct nc_tls_context *context);
/* NULL is allowed. */
void nc_tls_context_release(struct nc_tls_context *context);

/* A session over a connected socket; `host` is who the server must be. 0, NEARCACHE_ENOMEM. */
int nc_tls_open(struct nc_tls **tls, struct nc_tls_context *context, int fd, const char *host);
/* NULL is allowed. The socket stays open. */
void nc_tls_close(struct nc_tls *tls);

/* One step. 0: done; POLLIN or POLLOUT: to be called again when the socket is ready for it; a
 * negative number: it failed, *why tells (static text). */
int nc_tls_handshake(struct nc_tls *tls, const char **why);

/* As send and recv on a non-blocking socket: -1 with EAGAIN, or ECONNRESET for any failure. */
ssize_t nc_tls_send(struct nc_tls *tls, const void *bytes, size_t count);
ssize_t nc_tls_recv(struct nc_tls *tls, void *buffer, size_t room);
/* Why sending or receiving failed, static text; NULL: TLS does not tell. */
const char *nc_tls_why(struct nc_tls *tls);
/* Decrypted bytes wait that the socket does not know of. */
bool nc_tls_pending(struct nc_tls *tls);

#endif
