/* GET /search?q=...: the products for a query, cached under the query's hash. */
#include <stdlib.h>

#include "service.h"

struct search {
    const struct catalog *catalog;
    const char *query;
};

/* Neither this process nor Redis knows the answer: ask the catalog. */
static int load_products(void *arg, const void *name, size_t name_bytes,
                         struct nearcache_loaded *loaded)
{
    const struct search *search = arg;
    size_t json_bytes = 0;
    char *json = catalog_search_json(search->catalog, search->query, &json_bytes);

    (void)name;
    (void)name_bytes;
    if (!json)
        return NEARCACHE_ENOMEM;
    loaded->data = json;
    loaded->bytes = json_bytes;
    loaded->free_data = free;
    return 0;
}

void search_handle(struct worker *worker, struct evhttp_request *request, const char *rest)
{
    struct service *service = worker->service;
    char query[QUERY_BYTES_MAX];
    char name[NEARCACHE_QUERY_NAME_BYTES + 1];
    struct search search = {service->catalog, query};
    struct nearcache_result hit;
    int length = query_normalised(request, "q", query);
    int outcome;

    (void)rest;
    if (length <= 0) {
        reply_json(request, HTTP_BADREQUEST, "{\"error\":\"q is missing or too long\"}\n");
        return;
    }
    nearcache_query_name(query, (size_t)length, name);
    outcome = nearcache_get_or_load(service->products, name, NEARCACHE_QUERY_NAME_BYTES, NULL,
                                    load_products, &search, &hit);
    if (outcome == 0)
        reply_result(request, &hit);
    else
        reply_outcome(request, outcome);
}
