/*
 * nearcache/adapters/libuv.h: the asynchronous calls of a cache in a libuv loop.
 *
 *     uv_poll_t handle;
 *     nearcache_libuv_attach(cache, loop, &handle);
 *     ... nearcache_get_async ...
 *     uv_close((uv_handle_t *)&handle, NULL); (before nearcache_close)
 */
#ifndef NEARCACHE_ADAPTERS_LIBUV_H
#define NEARCACHE_ADAPTERS_LIBUV_H

#include <nearcache/async.h>
#include <uv.h>

/* The loop goes round between this many callbacks. */
#define NEARCACHE_LIBUV_TURN 64

static inline void nearcache_libuv_ready(uv_poll_t *handle, int status, int events)
{
    (void)status;
    (void)events;
    nearcache_dispatch((struct nearcache *)handle->data, NEARCACHE_LIBUV_TURN);
}

/* Starts the handle, which is the caller's. 0, the error of nearcache_fd, or NEARCACHE_EIO. */
static inline int nearcache_libuv_attach(struct nearcache *cache, uv_loop_t *loop,
                                         uv_poll_t *handle)
{
    int fd = nearcache_fd(cache);
    if (fd < 0)
        return fd;
    if (uv_poll_init(loop, handle, fd) != 0)
        return NEARCACHE_EIO;
    handle->data = cache;
    if (uv_poll_start(handle, UV_READABLE, nearcache_libuv_ready) != 0) {
        uv_close((uv_handle_t *)handle, NULL);
        return NEARCACHE_EIO;
    }
    return 0;
}

#endif
