#include "lib/link_fixture.h"

#include "base/clock.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- link ---- */

static void die(const char *what)
{
    fprintf(stderr, "%s\n", what);
    abort();
}

struct nc_link *link_with(const struct nearcache_redis *redis, const struct nc_link_config *config)
{
    static const struct nc_log silent;
    struct nc_redis_settings *settings;
    struct nc_link_config own = {.breaker_expiries = UINT64_MAX};
    struct nc_link *link;
    if (config)
        own = *config;
    if (!own.log)
        own.log = &silent;
    if (nc_redis_settings_create(&settings, redis, own.log) != 0)
        die("settings");
    own.settings = settings;
    if (nc_link_open(&link, &own) != 0 || nc_link_start(link) != 0)
        die("link");
    nc_redis_settings_destroy(settings);
    return link;
}

struct nc_link *link_to(const char *socket_path, uint32_t connections,
                        const struct nc_link_config *config)
{
    struct nearcache_redis redis = NEARCACHE_REDIS_INIT;
    redis.unix_path = socket_path;
    redis.connections = connections;
    return link_with(&redis, config);
}

bool link_wait_up(struct nc_link *link, unsigned within_ms)
{
    struct seen seen;
    uint64_t until = nc_clock_io_ns() + within_ms * NC_NS_PER_MS;
    do {
        if (ask(link, &seen, 100000, "PING", NULL) == 0 && seen.type == NC_REPLY_STATUS)
            return true;
        poll(NULL, 0, 1);
    } while (nc_clock_io_ns() < until);
    return false;
}

/* ---- calls ---- */

static int on_seen(struct nc_sink *sink, const struct nc_reply_part *part)
{
    struct seen *seen = (struct seen *)sink;
    if (seen->parts++ == 0) {
        seen->type = part->type;
        seen->integer = part->integer;
    }
    if (part->str && seen->bytes == 0) {
        seen->bytes = part->bytes;
        size_t n = part->bytes < sizeof seen->text - 1 ? part->bytes : sizeof seen->text - 1;
        memcpy(seen->text, part->str, n);
        seen->text[n] = 0;
    }
    return 0;
}

void seen_init(struct seen *seen)
{
    memset(seen, 0, sizeof *seen);
    seen->sink.part = on_seen;
}

static struct nc_call *build(struct seen *seen, va_list words)
{
    struct nc_call *call = nc_call_create();
    va_list again;
    size_t count = 0;
    if (!call)
        die("no memory");
    va_copy(again, words);
    while (va_arg(again, const char *))
        count++;
    va_end(again);
    nc_command_begin(nc_call_command(call), count);
    for (size_t i = 0; i < count; i++) {
        const char *word = va_arg(words, const char *);
        nc_command_arg(nc_call_command(call), word, strlen(word));
    }
    if (seen) {
        seen_init(seen);
        nc_call_expect(call, &seen->sink, NULL, NULL);
    }
    return call;
}

struct nc_call *call_of(struct seen *seen, ...)
{
    va_list words;
    va_start(words, seen);
    struct nc_call *call = build(seen, words);
    va_end(words);
    return call;
}

int ask(struct nc_link *link, struct seen *seen, uint64_t timeout_us, ...)
{
    va_list words;
    va_start(words, timeout_us);
    struct nc_call *call = build(seen, words);
    va_end(words);
    int outcome = nc_link_call(link, call, NC_CALL_SINGLE, nc_clock_deadline_ns(timeout_us));
    nc_call_release(call);
    return outcome;
}
