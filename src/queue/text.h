/*
 * queue/text: a growing piece of text. A failed allocation is remembered and turns all further
 * appends into nothing, so that a long chain of appends needs one check at its end.
 */
#ifndef NC_QUEUE_TEXT_H
#define NC_QUEUE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One thread. All zero is empty. */
struct nc_text {
    char *data; /* zero-terminated once anything was appended */
    size_t bytes;
    size_t capacity;
    bool failed; /* out of memory */
};

void nc_text_deinit(struct nc_text *text);
/* Empty again, keeping its memory. */
void nc_text_clear(struct nc_text *text);

void nc_text_add(struct nc_text *text, const void *data, size_t bytes);
void nc_text_add_string(struct nc_text *text, const char *string);
void nc_text_add_int(struct nc_text *text, int64_t number);
void nc_text_add_format(struct nc_text *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Standard base64 with padding (RFC 4648). */
void nc_text_add_base64(struct nc_text *text, const void *data, size_t bytes);

/* A zero-terminated copy; NULL without memory. */
char *nc_text_copy(const void *data, size_t bytes);

#endif
