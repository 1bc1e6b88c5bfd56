/*
 * The product catalog: the slow source of truth that the service puts a cache in front of.
 *
 * Here it is generated, the same in every process: product N has always the same title, price and
 * embedding. In a real service this is a database, a search engine and an embedding model.
 */
#ifndef SERVICE_CATALOG_H
#define SERVICE_CATALOG_H

#include <stddef.h>
#include <stdint.h>

enum { CATALOG_PRODUCTS = 10000, CATALOG_DIMENSION = 512, CATALOG_RESULTS_MAX = 20 };

struct product {
    uint32_t id; /* 1 to CATALOG_PRODUCTS */
    uint32_t price_cents;
    char title[64]; /* lower-case words */
};

/* Read-only once it is open: every thread may use it. */
struct catalog {
    struct product products[CATALOG_PRODUCTS];
};

struct catalog *catalog_create(void);
void catalog_destroy(struct catalog *catalog);

/* The product with that id in decimal, or NULL. */
const struct product *catalog_find(const struct catalog *catalog, const char *id, size_t id_bytes);

/*
 * The products whose title has every word of the query, as a JSON object. The query is lower-case
 * with single spaces. Returns text for free(), or NULL when memory is short.
 */
char *catalog_search_json(const struct catalog *catalog, const char *query, size_t *json_bytes);

/* The embedding of a text: texts that share words point in similar directions. Length one. */
void catalog_embed(const char *text, float vector[CATALOG_DIMENSION]);

#endif
