/* Replies: cached values are sent in place, outcomes become status codes. */
#include <event2/buffer.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "service.h"

const char *reply_source_name(enum nearcache_source source)
{
    static const char *const names[] = {"MISS", "LOCAL", "REMOTE", "LOADED", "STALE", "NEGATIVE"};

    return (size_t)source < sizeof names / sizeof names[0] ? names[source] : "UNKNOWN";
}

static void add_header(struct evhttp_request *request, const char *name, const char *value)
{
    evhttp_add_header(evhttp_request_get_output_headers(request), name, value);
}

/* The socket has taken the last byte of the value: it may be unpinned now. */
static void release_pin(const void *data, size_t bytes, void *arg)
{
    struct nearcache_result *pin = arg;

    (void)data;
    (void)bytes;
    nearcache_release(pin);
    free(pin);
}

void reply_result(struct evhttp_request *request, struct nearcache_result *hit)
{
    struct evbuffer *body = evhttp_request_get_output_buffer(request);
    struct nearcache_result *pin = malloc(sizeof *pin);
    char age[24];

    if (!pin) {
        nearcache_release(hit);
        reply_outcome(request, NEARCACHE_ENOMEM);
        return;
    }
    *pin = *hit;
    snprintf(age, sizeof age, "%llu", (unsigned long long)(hit->age_ms / 1000));
    add_header(request, "Content-Type", "application/json");
    add_header(request, "X-Cache", reply_source_name(hit->source));
    add_header(request, "Age", age);
    if (pin->bytes == 0 ||
        evbuffer_add_reference(body, pin->data, pin->bytes, release_pin, pin) != 0)
        release_pin(pin->data, pin->bytes, pin);
    evhttp_send_reply(request, HTTP_OK, "OK", NULL);
}

static int code_of(int outcome)
{
    switch (outcome) {
    case NEARCACHE_MISS:
        return HTTP_NOTFOUND;
    case NEARCACHE_EINVAL:
        return HTTP_BADREQUEST;
    case NEARCACHE_ETOOBIG:
        return HTTP_ENTITYTOOLARGE;
    case NEARCACHE_ETYPE:
    case NEARCACHE_EPROTOCOL:
        return HTTP_INTERNAL;
    default: /* out of reach, out of time, out of memory: it may work again soon */
        return HTTP_SERVUNAVAIL;
    }
}

void reply_outcome(struct evhttp_request *request, int outcome)
{
    int code = code_of(outcome);

    if (code == HTTP_SERVUNAVAIL)
        add_header(request, "Retry-After", "1");
    reply_json(request, code, "{\"error\":\"%s\"}\n", nearcache_strerror(outcome));
}

void reply_json(struct evhttp_request *request, int code, const char *format, ...)
{
    struct evbuffer *body = evhttp_request_get_output_buffer(request);
    va_list arguments;

    va_start(arguments, format);
    evbuffer_add_vprintf(body, format, arguments);
    va_end(arguments);
    add_header(request, "Content-Type", "application/json");
    evhttp_send_reply(request, code, NULL, NULL);
}
