/*
 * An adapter in its loop, which must end by itself when all that was asked for has come: built once
 * for each library, with USE_LIBEV, USE_LIBEVENT or USE_LIBUV. Chains of gets that ask for the next
 * one in their callbacks, with writes among them, on a real server.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdio.h>

#if (defined(USE_LIBEV) && HAVE_LIBEV) || (defined(USE_LIBEVENT) && HAVE_LIBEVENT) ||              \
    (defined(USE_LIBUV) && HAVE_LIBUV)
#include "lib/redis_server.h"

#if defined(USE_LIBEV)
#include <nearcache/adapters/libev.h>
#elif defined(USE_LIBEVENT)
#include <nearcache/adapters/libevent.h>
#else
#include <nearcache/adapters/libuv.h>
#endif
#include <stdbool.h>
#include <string.h>

#define CHAINS 20u
#define LENGTH 100u
#define PATIENT_US 20000000u

static struct nearcache *cache;
static struct nearcache_tier *tier;
static unsigned asked, came, wrong;

static void stop_loop(void);

static void ended(int status)
{
    wrong += status != 0 && status != NEARCACHE_MISS;
    if (++came == CHAINS * LENGTH)
        stop_loop();
}

static void ask(void);

static void on_get(void *arg, int status, struct nearcache_result *result)
{
    (void)arg;
    if (status == 0)
        nearcache_release(result);
    ask();
    ended(status);
}

static void on_set(void *arg, int status)
{
    (void)arg;
    ask();
    ended(status);
}

static void ask(void)
{
    struct nearcache_result result;
    char name[16];
    if (asked == CHAINS * LENGTH)
        return;
    snprintf(name, sizeof name, "%u", asked++);
    int outcome = asked % 10 == 0 ? nearcache_set_async(tier, name, strlen(name), name,
                                                        strlen(name), NULL, on_set, NULL, NULL)
                                  : nearcache_get_async(tier, name, strlen(name), NULL, on_get,
                                                        NULL, &result, NULL);
    if (outcome != NEARCACHE_PENDING) {
        fprintf(stderr, "a call did not become pending: %s\n", nearcache_strerror(outcome));
        wrong++;
        came++;
    }
}

#if defined(USE_LIBEV)
static struct ev_loop *loop;

static void stop_loop(void) { ev_break(loop, EVBREAK_ALL); }

static bool run(void)
{
    struct ev_io watcher;
    loop = ev_loop_new(EVFLAG_AUTO);
    if (!loop || nearcache_libev_attach(cache, loop, &watcher) != 0)
        return false;
    ev_run(loop, 0);
    ev_io_stop(loop, &watcher);
    ev_loop_destroy(loop);
    return true;
}
#elif defined(USE_LIBEVENT)
static struct event_base *base;

static void stop_loop(void) { event_base_loopbreak(base); }

static bool run(void)
{
    base = event_base_new();
    struct event *event = base ? nearcache_libevent_attach(cache, base) : NULL;
    if (!event)
        return false;
    event_base_dispatch(base);
    event_free(event);
    event_base_free(base);
    return true;
}
#else
static uv_loop_t loop;

static void stop_loop(void) { uv_stop(&loop); }

static bool run(void)
{
    uv_poll_t handle;
    if (uv_loop_init(&loop) != 0 || nearcache_libuv_attach(cache, &loop, &handle) != 0)
        return false;
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_close((uv_handle_t *)&handle, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop) == 0;
}
#endif

int main(void)
{
    struct redis_server server;
    struct nearcache_redis redis = NEARCACHE_REDIS_INIT;
    struct nearcache_config config = NEARCACHE_CONFIG_INIT;
    struct nearcache_tier_config t = NEARCACHE_TIER_INIT;
    if (!redis_server_available())
        return 77;
    if (!redis_server_start(&server, NULL))
        return 1;
    redis.url = server.unix_url;
    config.redis = &redis;
    config.deadline_us = PATIENT_US;
    t.name = "t";
    t.prefix = "t:";
    bool fine = nearcache_open(&cache, &config) == 0 &&
                nearcache_tier_open(cache, &t, &tier) == 0 &&
                nearcache_wait(cache, PATIENT_US) == 0;
    for (unsigned i = 0; fine && i < CHAINS; i++)
        ask();
    fine = fine && run() && came == CHAINS * LENGTH && wrong == 0;
    fine = nearcache_close(cache, PATIENT_US) == 0 && fine;
    redis_server_stop(&server);
    printf("%u of %u ended, %u wrong\n", came, CHAINS * LENGTH, wrong);
    return !fine;
}

#else

int main(void)
{
    puts("skipped: the library of the loop is not installed");
    return 77;
}

#endif
