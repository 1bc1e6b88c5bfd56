/*
 * nearcache/adapters/libevent.h: the asynchronous calls of a cache in a libevent loop.
 *
 *     struct event *event = nearcache_libevent_attach(cache, base);
 *     ... nearcache_get_async ...
 *     event_free(event);                      (before nearcache_close)
 */
#ifndef NEARCACHE_ADAPTERS_LIBEVENT_H
#define NEARCACHE_ADAPTERS_LIBEVENT_H

#include <event2/event.h>
#include <nearcache/async.h>

/* The loop goes round between this many callbacks. */
#define NEARCACHE_LIBEVENT_TURN 64

static inline void nearcache_libevent_ready(evutil_socket_t fd, short what, void *cache)
{
    (void)fd;
    (void)what;
    nearcache_dispatch((struct nearcache *)cache, NEARCACHE_LIBEVENT_TURN);
}

/* An event that is active in `base`; the caller's to free, on the thread of the loop and before the
 * cache is closed. NULL: no memory, or nearcache_fd refused. */
static inline struct event *nearcache_libevent_attach(struct nearcache *cache,
                                                      struct event_base *base)
{
    int fd = nearcache_fd(cache);
    struct event *event =
        fd < 0 ? NULL : event_new(base, fd, EV_READ | EV_PERSIST, nearcache_libevent_ready, cache);
    if (event && event_add(event, NULL) != 0) {
        event_free(event);
        event = NULL;
    }
    return event;
}

#endif
