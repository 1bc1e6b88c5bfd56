/*
 * api/publish: a read-only unix socket on which a process shows what its cache does.
 *
 * A client connects, sends one line ("stats" or "metrics"), gets the text and the end of the
 * stream. The maintenance thread drives it: watch nc_publish_fd for reading and call
 * nc_publish_serve when it is readable, and now and then anyway so that idle clients leave.
 *
 * Promises: no call waits for a client; a client that is slow, silent or talks too much is
 * dropped; at most NC_PUBLISH_CLIENTS at a time, the oldest gives way; the socket's file can be
 * used by the owner of the process only. Takes no request that changes anything.
 */
#ifndef NC_API_PUBLISH_H
#define NC_API_PUBLISH_H

#include "base/log.h"

#include <stddef.h>
#include <stdint.h>

#define NC_PUBLISH_CLIENTS 8u
#define NC_PUBLISH_REQUEST_BYTES 64u
#define NC_PUBLISH_CLIENT_NS UINT64_C(2000000000) /* how long a client may take in all */
#define NC_PUBLISH_MOST_BYTES ((size_t)4 << 20)   /* of one answer */

enum nc_publish_form { NC_PUBLISH_JSON, NC_PUBLISH_PROMETHEUS };

/*
 * Writes the text into text[capacity]; *bytes is its length, or, with NEARCACHE_ETOOBIG, the
 * length that was needed (0: unknown).
 */
typedef int (*nc_publish_render_fn)(void *arg, enum nc_publish_form form, char *text,
                                    size_t capacity, size_t *bytes);

struct nc_publish; /* one thread */

/*
 * Listens on `path`. A socket left behind by a process that has ended is replaced; one that
 * somebody listens on, and a file of any other kind, are left alone.
 * Returns 0; NEARCACHE_EINVAL (the path is empty or too long), NEARCACHE_EBUSY (somebody listens
 * there), NEARCACHE_EIO, NEARCACHE_ENOMEM. The log says what went wrong.
 */
int nc_publish_open(struct nc_publish **publish, const char *path, const struct nc_log *log);

/* One descriptor that is readable whenever nc_publish_serve has something to do. */
int nc_publish_fd(const struct nc_publish *publish);

/* Goes as far as possible without waiting. `now_ns` is nc_clock_io_ns. */
void nc_publish_serve(struct nc_publish *publish, uint64_t now_ns, nc_publish_render_fn render,
                      void *arg);

/* Drops all clients and removes the socket's file, if it is still the one made here. NULL is
 * allowed. */
void nc_publish_close(struct nc_publish *publish);

#endif
