/*
 * sync/message: the text of an invalidation message, `1 <kind> <prev> <s> <origin> <n> (<len>
 * <bytes>)*n`. Messages are untrusted input: parsing never reads past the end and says what is
 * malformed. Pure functions.
 */
#ifndef NC_SYNC_MESSAGE_H
#define NC_SYNC_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct nc_message {
    char kind; /* W, D or C */
    uint64_t prev, s, origin;
    uint32_t keys;
    const char *at, *end; /* the keys that are left */
};

/* Parses up to the keys. False: malformed. */
bool nc_message_open(struct nc_message *message, const char *text, size_t bytes);
/* The next key. False: no more, or malformed (then message->keys is not 0). */
bool nc_message_key(struct nc_message *message, const char **key, size_t *key_bytes);

/* A decimal number that ends at `end` or a blank; advances *at past both. False: none. */
bool nc_message_number(const char **at, const char *end, uint64_t *number);

#endif
