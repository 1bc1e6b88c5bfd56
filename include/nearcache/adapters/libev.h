/*
 * nearcache/adapters/libev.h: the asynchronous calls of a cache in a libev loop.
 *
 *     struct ev_io watcher;
 *     nearcache_libev_attach(cache, loop, &watcher);
 *     ... nearcache_get_async ...
 *     ev_io_stop(loop, &watcher);             (before nearcache_close)
 */
#ifndef NEARCACHE_ADAPTERS_LIBEV_H
#define NEARCACHE_ADAPTERS_LIBEV_H

#include <ev.h>
#include <nearcache/async.h>

/* The loop goes round between this many callbacks. */
#define NEARCACHE_LIBEV_TURN 64

static inline void nearcache_libev_ready(struct ev_loop *loop, struct ev_io *watcher, int events)
{
    (void)loop;
    (void)events;
    nearcache_dispatch((struct nearcache *)watcher->data, NEARCACHE_LIBEV_TURN);
}

/* Starts the watcher, which is the caller's. 0, or the error of nearcache_fd. */
static inline int nearcache_libev_attach(struct nearcache *cache, struct ev_loop *loop,
                                         struct ev_io *watcher)
{
    int fd = nearcache_fd(cache);
    if (fd < 0)
        return fd;
    ev_init(watcher, nearcache_libev_ready);
    ev_io_set(watcher, fd, EV_READ);
    watcher->data = cache;
    ev_io_start(loop, watcher);
    return 0;
}

#endif
