/*
 * GET, PUT and DELETE of /prompt/ID and /session/ID: documents that clients store.
 *
 * There is nothing to load these from: what the cache and Redis do not have does not exist, and
 * what neither can say now (Redis out of reach, no copy here) is 503, not 404.
 */
#include <event2/buffer.h>
#include <stdlib.h>

#include "service.h"

struct document {
    struct nearcache_tier *tier;
    const char *name;
    size_t name_bytes;
};

/* A session that is in use lives on: half of its time gone, it gets all of it again. */
static void slide_expiry(struct worker *worker, const struct document *document, uint64_t ttl_ms)
{
    struct nearcache_tier_config preset = NEARCACHE_TIER_INIT;

    if (document->tier != worker->service->sessions ||
        nearcache_link_state(worker->service->cache) != NEARCACHE_LINK_LIVE)
        return;
    nearcache_tier_preset(NEARCACHE_SESSIONS, &preset);
    if (ttl_ms != 0 && ttl_ms < preset.redis_ttl_ms / 2)
        nearcache_touch(document->tier, document->name, document->name_bytes, NULL);
}

static void get_document(struct worker *worker, struct evhttp_request *request,
                         const struct document *document)
{
    struct nearcache_result hit;
    int outcome = nearcache_get(document->tier, document->name, document->name_bytes, NULL, &hit);

    if (outcome != 0) {
        reply_outcome(request, outcome);
        return;
    }
    slide_expiry(worker, document, hit.ttl_ms);
    reply_result(request, &hit);
}

/* 0 and NEARCACHE_LOCAL are both kept promises; the client may want to know which. */
static void reply_written(struct worker *worker, struct evhttp_request *request, int outcome)
{
    int has_redis = nearcache_link_state(worker->service->cache) != NEARCACHE_LINK_NONE;

    if (outcome == 0)
        reply_json(request, HTTP_OK, "{\"stored\":\"%s\"}\n", has_redis ? "redis" : "here");
    else if (outcome == NEARCACHE_LOCAL)
        reply_json(request, 202, "{\"stored\":\"local\"}\n");
    else
        reply_outcome(request, outcome);
}

/*
 * NEARCACHE_ETIMEOUT leaves a write in doubt: it may have happened or not. To store the same
 * document again does no harm, so one more try turns the doubt into an answer.
 */
static void put_document(struct worker *worker, struct evhttp_request *request,
                         const struct document *document)
{
    struct evbuffer *body = evhttp_request_get_input_buffer(request);
    size_t value_bytes = evbuffer_get_length(body);
    const void *value = evbuffer_pullup(body, -1); /* NULL for an empty body */
    int outcome = NEARCACHE_ETIMEOUT;

    if (!value)
        value = "";
    for (int tries = 0; tries < 2; tries++) {
        outcome = nearcache_set(document->tier, document->name, document->name_bytes, value,
                                value_bytes, NULL);
        if (outcome != NEARCACHE_ETIMEOUT)
            break;
    }
    reply_written(worker, request, outcome);
}

static void delete_document(struct worker *worker, struct evhttp_request *request,
                            const struct document *document)
{
    int outcome = nearcache_delete(document->tier, document->name, document->name_bytes, NULL);

    if (outcome == NEARCACHE_ETIMEOUT)
        outcome = nearcache_delete(document->tier, document->name, document->name_bytes, NULL);
    reply_written(worker, request, outcome);
}

static void handle_document(struct worker *worker, struct evhttp_request *request,
                            struct nearcache_tier *tier, const char *encoded_name)
{
    struct document document = {tier, NULL, 0};
    char *name = evhttp_uridecode(encoded_name, 0, &document.name_bytes);

    document.name = name;
    if (!name || document.name_bytes == 0)
        reply_outcome(request, NEARCACHE_EINVAL);
    else if (evhttp_request_get_command(request) == EVHTTP_REQ_PUT)
        put_document(worker, request, &document);
    else if (evhttp_request_get_command(request) == EVHTTP_REQ_DELETE)
        delete_document(worker, request, &document);
    else
        get_document(worker, request, &document);
    free(name);
}

void prompts_handle(struct worker *worker, struct evhttp_request *request, const char *name)
{
    handle_document(worker, request, worker->service->prompts, name);
}

void sessions_handle(struct worker *worker, struct evhttp_request *request, const char *name)
{
    handle_document(worker, request, worker->service->sessions, name);
}
