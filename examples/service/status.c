/* GET /health for the load balancer, GET /metrics for Prometheus. */
#include <event2/buffer.h>
#include <nearcache/metrics.h>
#include <stdlib.h>

#include "service.h"

/*
 * 200 whatever became of Redis: the service answers without it, and a balancer that took every
 * instance out because Redis is gone would turn a degraded service into none.
 */
void health_handle(struct worker *worker, struct evhttp_request *request, const char *rest)
{
    struct nearcache *cache = worker->service->cache;
    struct nearcache_metrics metrics = NEARCACHE_METRICS_INIT;
    enum nearcache_link link = nearcache_link_state(cache);
    int degraded = link != NEARCACHE_LINK_NONE && link != NEARCACHE_LINK_LIVE;

    (void)rest;
    nearcache_metrics(cache, &metrics);
    reply_json(request, HTTP_OK,
               "{\"status\":\"%s\",\"link\":\"%s\",\"entries\":%llu,\"bytes_used\":%llu,"
               "\"journal_queued\":%llu,\"pinned\":%llu}\n",
               degraded ? "degraded" : "ok", nearcache_link_name(link),
               (unsigned long long)metrics.entries, (unsigned long long)metrics.bytes_used,
               (unsigned long long)metrics.journal_queued, (unsigned long long)metrics.pinned);
}

static void free_text(const void *data, size_t bytes, void *text)
{
    (void)data;
    (void)bytes;
    free(text);
}

void metrics_handle(struct worker *worker, struct evhttp_request *request, const char *rest)
{
    struct evbuffer *body = evhttp_request_get_output_buffer(request);
    size_t capacity = 64 << 10, bytes = 0;
    char *text = malloc(capacity);
    int outcome = NEARCACHE_ENOMEM;

    (void)rest;
    while (text) {
        char *more;

        outcome = nearcache_metrics_prometheus(worker->service->cache, text, capacity, &bytes);
        if (outcome != NEARCACHE_ETOOBIG)
            break;
        capacity *= 2;
        more = realloc(text, capacity);
        if (!more)
            break;
        text = more;
    }
    if (outcome != 0 || evbuffer_add_reference(body, text, bytes, free_text, text) != 0) {
        free(text);
        reply_outcome(request, outcome != 0 ? outcome : NEARCACHE_ENOMEM);
        return;
    }
    evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type",
                      "text/plain; version=0.0.4");
    evhttp_send_reply(request, HTTP_OK, "OK", NULL);
}
