/*
 * What the parts of the product service share: the service, its worker threads, its replies.
 *
 * One cache serves every worker: all calls of nearcache.h are thread-safe. Each worker has an event
 * loop of its own and handles a request to its end, so nothing here needs a lock.
 */
#ifndef SERVICE_SERVICE_H
#define SERVICE_SERVICE_H

#include <event2/http.h>
#include <nearcache.h>
#include <pthread.h>

#include "catalog.h"

struct event;
struct event_base;

enum { RANK_IDS_MAX = 1000, BODY_BYTES_MAX = 1 << 20, QUERY_BYTES_MAX = 1024 };

/* Read-only once the workers run. */
struct service {
    struct nearcache *cache;
    struct nearcache_tier *products;   /* search results by the hash of the query */
    struct nearcache_tier *prompts;    /* documents that clients store */
    struct nearcache_tier *sessions;   /* the same, with an expiry that slides */
    struct nearcache_tier *embeddings; /* f32 x 512 of products and queries */
    const struct catalog *catalog;
    int stop_fd; /* readable when the service is to end */
};

/* One thread. */
struct worker {
    struct service *service;
    pthread_t thread;
    struct event_base *base;
    struct evhttp *http;
    struct evhttp_bound_socket *listener;
    struct event *stop_event;
    int stopping;
    float *matrix; /* row 0 the query, then one row an id; aligned to 64 bytes */
};

/* ---- worker.c ---- */

/*
 * Prepares a worker that listens on address:*port, shared with the other workers; port 0 takes a
 * free one and says which. Returns 0, or -1 with errno set.
 */
int worker_init(struct worker *worker, struct service *service, const char *address,
                uint16_t *port);
int worker_start(struct worker *worker); /* 0 or an errno */
void worker_join(struct worker *worker);
void worker_deinit(struct worker *worker); /* after the join */

/* ---- the handlers: each answers the request, whatever happens; `rest` of the path ---- */

void search_handle(struct worker *worker, struct evhttp_request *request, const char *rest);
void rank_handle(struct worker *worker, struct evhttp_request *request, const char *rest);
void prompts_handle(struct worker *worker, struct evhttp_request *request, const char *name);
void sessions_handle(struct worker *worker, struct evhttp_request *request, const char *name);
void health_handle(struct worker *worker, struct evhttp_request *request, const char *rest);
void metrics_handle(struct worker *worker, struct evhttp_request *request, const char *rest);

/* ---- reply.c ---- */

/* "LOCAL", "REMOTE", ... Static. */
const char *reply_source_name(enum nearcache_source source);

/* Sends a value without copying it. Takes the pin over: it is released once the bytes are sent. */
void reply_result(struct evhttp_request *request, struct nearcache_result *hit);

/* Answers for an outcome of the cache that is not a value. */
void reply_outcome(struct evhttp_request *request, int outcome);

/* Sends a short JSON text. */
void reply_json(struct evhttp_request *request, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- query.c ---- */

/*
 * The parameter `key` of the request's query, decoded, lower-case, blanks collapsed, in
 * text[QUERY_BYTES_MAX]: queries that mean the same share a cache entry. Returns its length, 0 when
 * there is none, -1 when it is too long.
 */
int query_normalised(struct evhttp_request *request, const char *key, char *text);

/* The parameter as it was sent, decoded, for free(); NULL when there is none. */
char *query_parameter(struct evhttp_request *request, const char *key);

#endif
