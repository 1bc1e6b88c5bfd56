#include "catalog.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const colours[] = {"red",   "black", "white", "navy",  "olive",
                                      "beige", "pink",  "grey",  "green", "brown"};
static const char *const materials[] = {"linen", "cotton", "leather", "wool", "silk", "denim"};
static const char *const garments[] = {"dress", "shoes", "jacket", "trousers", "shirt", "coat",
                                       "skirt", "boots", "scarf",  "jumper",   "bag",   "belt"};

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* The next number of a splitmix64 sequence. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t mixed = *state += 0x9e3779b97f4a7c15u;

    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
    return mixed ^ (mixed >> 31);
}

struct catalog *catalog_create(void)
{
    struct catalog *catalog = calloc(1, sizeof *catalog);

    if (!catalog)
        return NULL;
    for (uint32_t i = 0; i < CATALOG_PRODUCTS; i++) {
        struct product *product = &catalog->products[i];
        uint64_t state = i + 1;

        product->id = i + 1;
        product->price_cents = (uint32_t)(990 + next_random(&state) % 300 * 100);
        snprintf(product->title, sizeof product->title, "%s %s %s",
                 colours[next_random(&state) % COUNT_OF(colours)],
                 materials[next_random(&state) % COUNT_OF(materials)],
                 garments[next_random(&state) % COUNT_OF(garments)]);
    }
    return catalog;
}

void catalog_destroy(struct catalog *catalog) { free(catalog); }

const struct product *catalog_find(const struct catalog *catalog, const char *id, size_t id_bytes)
{
    uint32_t number = 0;

    if (id_bytes == 0 || id_bytes > 6 || id[0] == '0')
        return NULL;
    for (size_t i = 0; i < id_bytes; i++) {
        if (id[i] < '0' || id[i] > '9')
            return NULL;
        number = number * 10 + (uint32_t)(id[i] - '0');
    }
    return number <= CATALOG_PRODUCTS ? &catalog->products[number - 1] : NULL;
}

/* Whether `title` has the word as a whole word. */
static int has_word(const char *title, const char *word, size_t word_bytes)
{
    for (const char *at = title; *at;) {
        size_t length = strcspn(at, " ");

        if (length == word_bytes && memcmp(at, word, length) == 0)
            return 1;
        at += length + (at[length] == ' ');
    }
    return 0;
}

static int matches(const struct product *product, const char *query)
{
    for (const char *at = query; *at;) {
        size_t length = strcspn(at, " ");

        if (!has_word(product->title, at, length))
            return 0;
        at += length + (at[length] == ' ');
    }
    return 1;
}

static void write_json_string(FILE *out, const char *text)
{
    putc('"', out);
    for (const unsigned char *at = (const unsigned char *)text; *at; at++) {
        if (*at == '"' || *at == '\\')
            fprintf(out, "\\%c", *at);
        else if (*at < 0x20)
            fprintf(out, "\\u%04x", *at);
        else
            putc(*at, out);
    }
    putc('"', out);
}

char *catalog_search_json(const struct catalog *catalog, const char *query, size_t *json_bytes)
{
    char *json = NULL;
    FILE *out = open_memstream(&json, json_bytes);
    unsigned total = 0;

    if (!out)
        return NULL;
    fputs("{\"query\":", out);
    write_json_string(out, query);
    fputs(",\"products\":[", out);
    for (size_t i = 0; i < CATALOG_PRODUCTS; i++) {
        const struct product *product = &catalog->products[i];

        if (!matches(product, query) || total++ >= CATALOG_RESULTS_MAX)
            continue;
        fprintf(out, "%s{\"id\":%u,\"title\":\"%s\",\"price\":%u.%02u}", total > 1 ? "," : "",
                product->id, product->title, product->price_cents / 100,
                product->price_cents % 100);
    }
    fprintf(out, "],\"total\":%u}", total);
    if (fclose(out) != 0) {
        free(json);
        return NULL;
    }
    return json;
}

void catalog_embed(const char *text, float vector[CATALOG_DIMENSION])
{
    double square_sum = 0;

    memset(vector, 0, CATALOG_DIMENSION * sizeof vector[0]);
    for (const char *at = text; *at;) {
        size_t length = strcspn(at, " ");
        uint64_t state = 0xcbf29ce484222325u;

        for (size_t i = 0; i < length; i++)
            state = (state ^ (unsigned char)at[i]) * 0x100000001b3u;
        for (size_t d = 0; d < CATALOG_DIMENSION; d++)
            vector[d] += (float)(next_random(&state) >> 40) / (float)(1 << 23) - 1.0f;
        at += length + (at[length] == ' ');
    }
    for (size_t d = 0; d < CATALOG_DIMENSION; d++)
        square_sum += (double)vector[d] * vector[d];
    if (square_sum == 0)
        return;
    for (size_t d = 0; d < CATALOG_DIMENSION; d++)
        vector[d] /= (float)sqrt(square_sum);
}
