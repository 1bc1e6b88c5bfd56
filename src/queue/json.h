/*
 * queue/json: just enough JSON (RFC 8259) for job options: a validator for what goes to Redis, a
 * reader that points into validated text, and a writer of strings. No tree is built, and no
 * function but nc_json_string allocates.
 */
#ifndef NC_QUEUE_JSON_H
#define NC_QUEUE_JSON_H

#include "queue/text.h"

/*
 * One JSON value in valid UTF-8, at most NEARCACHE_JSON_DEPTH deep, blanks around it allowed.
 * Returns 0 or NEARCACHE_EINVAL; *where (may be NULL) is then the offset of the first wrong byte.
 */
int nc_json_check(const void *text, size_t bytes, size_t *where);

enum nc_json_kind {
    NC_JSON_NONE = 0, /* no value */
    NC_JSON_NULL,
    NC_JSON_FALSE,
    NC_JSON_TRUE,
    NC_JSON_NUMBER,
    NC_JSON_STRING,
    NC_JSON_ARRAY,
    NC_JSON_OBJECT
};

/* A value inside of checked text, without the blanks around it. Borrowed. */
struct nc_json {
    const char *at;
    size_t bytes;
};

struct nc_json nc_json_root(const void *checked, size_t bytes);
enum nc_json_kind nc_json_kind(struct nc_json value);

/*
 * Walks the members of an object or the elements of an array: *cursor 0 at first; false at the
 * end. `name` is the string with its quotes, empty for an array.
 */
bool nc_json_next(struct nc_json parent, size_t *cursor, struct nc_json *name,
                  struct nc_json *value);

/* The member of that (plain ASCII) name, the last of several; NC_JSON_NONE when there is none. */
struct nc_json nc_json_member(struct nc_json object, const char *name);

/* The string, whose escapes are not decoded, equals plain ASCII. */
bool nc_json_is(struct nc_json string, const char *plain);

/* A number without a fraction in the range of int64; false for all else. */
bool nc_json_int(struct nc_json value, int64_t *number);
/* Any number, near enough for delays and shares; false for all else. */
bool nc_json_double(struct nc_json value, double *number);

/* Appends a string's decoded bytes. False when the value is no string. */
bool nc_json_string(struct nc_json value, struct nc_text *decoded);

/* Appends bytes as a JSON string in quotes; what is not UTF-8 becomes U+FFFD. */
void nc_json_add_string(struct nc_text *text, const void *data, size_t bytes);

/* How many bytes of valid UTF-8 stand at the beginning: 1 to 4, or 0. */
size_t nc_json_utf8(const unsigned char *at, size_t bytes);

#endif
