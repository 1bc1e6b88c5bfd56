/*
 * A link to a test's own server (lib/redis_server.h), and calls in one line. For programs that
 * drive src/redis directly. One thread.
 */
#ifndef LIB_LINK_FIXTURE_H
#define LIB_LINK_FIXTURE_H

#include "redis/link.h"

/* A link with defaults to a unix socket; `config` may be NULL. Aborts when it cannot. */
struct nc_link *link_to(const char *socket_path, uint32_t connections,
                        const struct nc_link_config *config);
/* The same for any way to reach Redis. */
struct nc_link *link_with(const struct nearcache_redis *redis, const struct nc_link_config *config);
/* Waits until a PING is answered over it. False: not within the time. */
bool link_wait_up(struct nc_link *link, unsigned within_ms);

/* ---- calls in one line ---- */

/* What a reply was, its first text copied. */
struct seen {
    struct nc_sink sink;
    enum nc_reply_type type;
    unsigned parts;
    int64_t integer;
    char text[256];
    size_t bytes;
};
void seen_init(struct seen *seen);

/* A call with one command of the words given, NULL at the end. */
struct nc_call *call_of(struct seen *seen, ...);
/* Sends words, waits. The outcome of nc_link_call. */
int ask(struct nc_link *link, struct seen *seen, uint64_t timeout_us, ...);

#endif
