/*
 * A worker: one thread, one event loop, one listening socket on the shared port.
 *
 * A handler that misses waits for Redis in the loop, never longer than the deadline of the cache;
 * the other workers go on meanwhile. Hits, the rule, wait for nothing.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "service.h"

enum { IDLE_SECONDS = 60, STOP_GRACE_MS = 500, HEADER_BYTES_MAX = 32 << 10, BACKLOG = 1024 };

static const struct route {
    const char *path; /* one that ends in a slash stands for all paths that begin with it */
    unsigned methods;
    void (*handle)(struct worker *worker, struct evhttp_request *request, const char *rest);
} routes[] = {
    {"/search", EVHTTP_REQ_GET, search_handle},
    {"/rank", EVHTTP_REQ_GET | EVHTTP_REQ_POST, rank_handle},
    {"/prompt/", EVHTTP_REQ_GET | EVHTTP_REQ_PUT | EVHTTP_REQ_DELETE, prompts_handle},
    {"/session/", EVHTTP_REQ_GET | EVHTTP_REQ_PUT | EVHTTP_REQ_DELETE, sessions_handle},
    {"/health", EVHTTP_REQ_GET, health_handle},
    {"/metrics", EVHTTP_REQ_GET, metrics_handle},
};

static const struct route *find_route(const char *path)
{
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        size_t length = strlen(routes[i].path);
        int is_prefix = routes[i].path[length - 1] == '/';

        if (strncmp(path, routes[i].path, length) == 0 && (is_prefix || !path[length]))
            return &routes[i];
    }
    return NULL;
}

static void on_request(struct evhttp_request *request, void *arg)
{
    struct worker *worker = arg;
    const char *path = evhttp_uri_get_path(evhttp_request_get_evhttp_uri(request));
    const struct route *route = path ? find_route(path) : NULL;

    if (worker->stopping)
        evhttp_add_header(evhttp_request_get_output_headers(request), "Connection", "close");
    if (!route)
        reply_json(request, HTTP_NOTFOUND, "{\"error\":\"no such path\"}\n");
    else if (!(route->methods & evhttp_request_get_command(request)))
        reply_json(request, HTTP_BADMETHOD, "{\"error\":\"not with this method\"}\n");
    else
        route->handle(worker, request, path + strlen(route->path));
}

/* New connections go elsewhere; open ones are answered for a moment more and asked to close. */
static void on_stop(evutil_socket_t fd, short events, void *arg)
{
    struct worker *worker = arg;
    struct timeval grace = {0, STOP_GRACE_MS * 1000};

    (void)fd;
    (void)events;
    worker->stopping = 1;
    evhttp_del_accept_socket(worker->http, worker->listener);
    event_base_loopexit(worker->base, &grace);
}

static int worker_listen(struct worker *worker, const char *address, uint16_t *port)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(*port)};
    socklen_t name_bytes = sizeof name;
    struct evconnlistener *listener;

    if (inet_pton(AF_INET, address, &name.sin_addr) != 1) {
        errno = EADDRNOTAVAIL;
        return -1;
    }
    listener = evconnlistener_new_bind(worker->base, NULL, NULL,
                                       LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC |
                                           LEV_OPT_REUSEABLE | LEV_OPT_REUSEABLE_PORT,
                                       BACKLOG, (struct sockaddr *)&name, sizeof name);
    if (!listener)
        return -1;
    worker->listener = evhttp_bind_listener(worker->http, listener);
    if (!worker->listener) {
        evconnlistener_free(listener);
        errno = ENOMEM;
        return -1;
    }
    if (getsockname(evconnlistener_get_fd(listener), (struct sockaddr *)&name, &name_bytes) != 0)
        return -1;
    *port = ntohs(name.sin_port);
    return 0;
}

int worker_init(struct worker *worker, struct service *service, const char *address, uint16_t *port)
{
    size_t matrix_bytes = sizeof(float) * CATALOG_DIMENSION * (RANK_IDS_MAX + 1);

    memset(worker, 0, sizeof *worker);
    worker->service = service;
    worker->matrix = aligned_alloc(64, matrix_bytes);
    worker->base = event_base_new();
    worker->http = worker->base ? evhttp_new(worker->base) : NULL;
    if (worker->http)
        worker->stop_event = event_new(worker->base, service->stop_fd, EV_READ, on_stop, worker);
    if (!worker->matrix || !worker->stop_event) {
        errno = ENOMEM;
        goto fail;
    }
    event_add(worker->stop_event, NULL);
    evhttp_set_timeout(worker->http, IDLE_SECONDS);
    evhttp_set_max_body_size(worker->http, BODY_BYTES_MAX);
    evhttp_set_max_headers_size(worker->http, HEADER_BYTES_MAX);
    evhttp_set_allowed_methods(worker->http, EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_PUT |
                                                 EVHTTP_REQ_DELETE);
    evhttp_set_gencb(worker->http, on_request, worker);
    if (worker_listen(worker, address, port) == 0)
        return 0;
fail:
    worker_deinit(worker);
    return -1;
}

static void *worker_main(void *arg)
{
    struct worker *worker = arg;

    event_base_dispatch(worker->base);
    return NULL;
}

int worker_start(struct worker *worker)
{
    return pthread_create(&worker->thread, NULL, worker_main, worker);
}

void worker_join(struct worker *worker) { pthread_join(worker->thread, NULL); }

void worker_deinit(struct worker *worker)
{
    int saved_errno = errno;

    if (worker->stop_event)
        event_free(worker->stop_event);
    if (worker->http)
        evhttp_free(worker->http); /* also the replies under way, and with them their pins */
    if (worker->base)
        event_base_free(worker->base);
    free(worker->matrix);
    memset(worker, 0, sizeof *worker);
    errno = saved_errno;
}
