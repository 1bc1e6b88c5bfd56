/*
 * /rank?q=...: products by how well their embeddings match the query's. The ids come as the
 * parameter `ids` or as the body of a POST, separated by commas or white space.
 *
 * All embeddings are one batch: what is here is copied, the rest comes from Redis in one pipeline,
 * straight into the matrix, and what Redis lacks is made by the loader and written through.
 */
#include <event2/buffer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "service.h"

enum { ROWS_MAX = RANK_IDS_MAX + 1, ROW_BYTES = CATALOG_DIMENSION * (int)sizeof(float) };

struct rank {
    const struct catalog *catalog;
    const char *query;
    struct nearcache_name names[ROWS_MAX]; /* 0: the query, then the ids */
    int statuses[ROWS_MAX];
    enum nearcache_source sources[ROWS_MAX];
    size_t rows;
    char query_name[2 + NEARCACHE_QUERY_NAME_BYTES + 1];
};

struct scored {
    size_t row;
    float score;
};

static int load_embeddings(void *arg, const struct nearcache_name *names, size_t count, void *rows,
                           size_t row_stride_bytes, int *statuses)
{
    const struct rank *rank = arg;

    for (size_t i = 0; i < count; i++) {
        void *row = (char *)rows + i * row_stride_bytes;
        const char *name = names[i].data;
        const struct product *product = catalog_find(rank->catalog, name, names[i].bytes);

        if (product)
            catalog_embed(product->title, row);
        else if (names[i].bytes > 2 && memcmp(name, "q:", 2) == 0)
            catalog_embed(rank->query, row);
        else
            continue; /* no such product: its status stays NEARCACHE_MISS */
        statuses[i] = 0;
    }
    return 0;
}

/* Sixteen partial sums: independent, so the compiler keeps them in vector registers. */
static float dot_product(const float *left, const float *right)
{
    float lanes[16] = {0};
    float sum = 0;

    for (size_t d = 0; d < CATALOG_DIMENSION; d += 16) {
        for (size_t lane = 0; lane < 16; lane++)
            lanes[lane] += left[d + lane] * right[d + lane];
    }
    for (size_t lane = 0; lane < 16; lane++)
        sum += lanes[lane];
    return sum;
}

static int by_score(const void *left, const void *right)
{
    const struct scored *a = left, *b = right;

    if (a->score != b->score)
        return a->score < b->score ? 1 : -1;
    return (a->row > b->row) - (a->row < b->row);
}

static int is_id_character(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           c == '-';
}

/* Points the names 1, 2, ... into `ids`. Returns 0, or -1: a strange id or too many. */
static int split_ids(struct rank *rank, const char *ids)
{
    for (const char *at = ids; *at;) {
        size_t length = 0;

        while (is_id_character(at[length]))
            length++;
        if (length == 0 && !strchr(", \t\r\n", *at))
            return -1;
        if (length > 0) {
            if (rank->rows == ROWS_MAX)
                return -1;
            rank->names[rank->rows].data = at;
            rank->names[rank->rows++].bytes = length;
        }
        at += length ? length : 1;
    }
    return rank->rows > 1 ? 0 : -1;
}

/* The ids of the request as text for free(), or NULL. */
static char *request_ids(struct evhttp_request *request)
{
    struct evbuffer *body = evhttp_request_get_input_buffer(request);
    size_t bytes = evbuffer_get_length(body);
    char *ids;

    if (evhttp_request_get_command(request) != EVHTTP_REQ_POST)
        return query_parameter(request, "ids");
    ids = malloc(bytes + 1);
    if (ids) {
        evbuffer_copyout(body, ids, bytes);
        ids[bytes] = 0;
    }
    return ids;
}

static void reply_ranking(struct evhttp_request *request, const struct rank *rank,
                          const float *matrix)
{
    struct evbuffer *body = evhttp_request_get_output_buffer(request);
    struct scored scored[RANK_IDS_MAX];
    size_t count = 0, missing = 0;

    for (size_t row = 1; row < rank->rows; row++) {
        if (rank->statuses[row] != 0)
            continue;
        scored[count].row = row;
        scored[count++].score = dot_product(matrix, matrix + row * CATALOG_DIMENSION);
    }
    qsort(scored, count, sizeof scored[0], by_score);
    evbuffer_add_printf(body, "{\"ranked\":[");
    for (size_t i = 0; i < count; i++) {
        const struct nearcache_name *name = &rank->names[scored[i].row];

        evbuffer_add_printf(body, "%s{\"id\":\"%.*s\",\"score\":%.4f,\"source\":\"%s\"}",
                            i ? "," : "", (int)name->bytes, (const char *)name->data,
                            (double)scored[i].score,
                            reply_source_name(rank->sources[scored[i].row]));
    }
    evbuffer_add_printf(body, "],\"missing\":[");
    for (size_t row = 1; row < rank->rows; row++) {
        if (rank->statuses[row] != 0)
            evbuffer_add_printf(body, "%s\"%.*s\"", missing++ ? "," : "",
                                (int)rank->names[row].bytes, (const char *)rank->names[row].data);
    }
    reply_json(request, HTTP_OK, "]}\n");
}

/* An id that could not be read is left out of the ranking; without the query there is none. */
static void rank_ids(struct worker *worker, struct evhttp_request *request, struct rank *rank)
{
    int outcome = nearcache_get_vectors(worker->service->embeddings, rank->names, rank->rows, NULL,
                                        worker->matrix, ROW_BYTES, load_embeddings, rank,
                                        rank->statuses, rank->sources);

    if (rank->statuses[0] != 0)
        reply_outcome(request, outcome != 0 ? outcome : rank->statuses[0]);
    else
        reply_ranking(request, rank, worker->matrix);
}

void rank_handle(struct worker *worker, struct evhttp_request *request, const char *rest)
{
    char query[QUERY_BYTES_MAX];
    struct rank rank = {.catalog = worker->service->catalog, .query = query, .rows = 1};
    char *ids = request_ids(request);
    int length = query_normalised(request, "q", query);

    (void)rest;
    if (length <= 0 || !ids || split_ids(&rank, ids) != 0) {
        reply_json(request, HTTP_BADREQUEST, "{\"error\":\"q and 1 to %d ids, please\"}\n",
                   (int)RANK_IDS_MAX);
        free(ids);
        return;
    }
    memcpy(rank.query_name, "q:", 2);
    nearcache_query_name(query, (size_t)length, rank.query_name + 2);
    rank.names[0].data = rank.query_name;
    rank.names[0].bytes = 2 + NEARCACHE_QUERY_NAME_BYTES;
    rank_ids(worker, request, &rank);
    free(ids);
}
