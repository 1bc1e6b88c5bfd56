/*
 * queue/value: an answer of Redis as a tree, built from the flat parts that redis/reply delivers.
 * One piece of memory grows with the answer and is freed as a whole.
 */
#ifndef NC_QUEUE_VALUE_H
#define NC_QUEUE_VALUE_H

#include "redis/reply.h"

/* Immutable once built. */
struct nc_value {
    enum nc_reply_type type;
    int64_t integer;
    size_t len;
    char *str; /* of a status, an error, a bulk: zero-terminated besides its length */
    size_t elements;
    struct nc_value **element;
};

#define NC_VALUE_DEPTH 8

/* One thread. Give `sink` to the call or the connection. */
struct nc_value_builder {
    struct nc_sink sink;
    struct block *blocks;
    struct nc_value *root;
    struct nc_value *open[NC_VALUE_DEPTH]; /* the arrays that are being filled, by depth */
    bool failed;                           /* no memory, or nested too deep */
};

void nc_value_builder_init(struct nc_value_builder *builder);
/* The finished tree, to be freed with nc_value_free; NULL after a failure. Resets the builder. */
struct nc_value *nc_value_builder_take(struct nc_value_builder *builder);
/* Frees what was built and not taken. */
void nc_value_builder_deinit(struct nc_value_builder *builder);

/* NULL is allowed. */
void nc_value_free(struct nc_value *value);

/* A number, be it an integer or digits; 0 for all else. */
int64_t nc_value_int(const struct nc_value *value);
/* An array of at least that many elements. */
bool nc_value_is_array(const struct nc_value *value, size_t least);
/* Text, even if empty. */
bool nc_value_is_text(const struct nc_value *value);

#endif
