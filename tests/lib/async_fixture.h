/*
 * A cache on a server of its own, and one loop that dispatches for it. For programs that test
 * nearcache/async.h. One thread.
 */
#ifndef LIB_ASYNC_FIXTURE_H
#define LIB_ASYNC_FIXTURE_H

#include "nearcache/async.h"

#include "lib/redis_server.h"

enum { PATIENT_US = 20000000, PATIENT_MS = 20000 };

extern struct redis_server server;
extern struct nearcache *cache;
extern struct nearcache_tier *tier; /* "t:", 60 s */

/* The three, and the loop's connection is there. For a suite. */
void async_set_up(void);
void async_tear_down(void);

struct nearcache *open_cache(uint64_t deadline_us);
/* On the server, whatever the URL in `given`. */
struct nearcache *open_cache_with(const struct nearcache_config *given, uint64_t deadline_us);
struct nearcache_tier *open_tier(struct nearcache *in);

/* Dispatches until `*count` has reached `wanted`. */
void loop_until(const unsigned *count, unsigned wanted);

struct got {
    unsigned calls;
    int status;
    enum nearcache_source source;
    char text[64];
};
/* Callbacks; their argument is a struct got. */
void on_get(void *arg, int status, struct nearcache_result *result);
void on_end(void *arg, int status);

/* nearcache_get_async of a text; what is here is released. */
int get(const char *name, struct got *got, nearcache_ticket *ticket);
/* Asks until the loop reads by itself: the cache has made a connection for it. */
void wait_for_loop(void);

/* From INFO: calls of a command so far. */
long requests(const char *command);
/* Whether the server's answer to a command is this text. */
bool redis_says(const char *text, const char *command);

/* Threads of this process. */
unsigned threads(void);

#endif
