/*
 * cli/json_check: whether a text is one JSON value (RFC 8259, UTF-8), as what other programs left
 * in Redis need not be.
 */
#ifndef NC_CLI_JSON_CHECK_H
#define NC_CLI_JSON_CHECK_H

#include <stdbool.h>
#include <stddef.h>

/* The length of the UTF-8 sequence at text, 0 if there is none (RFC 3629: no overlong forms, no
 * surrogates, nothing above U+10FFFF); at least one byte is there. */
size_t cli_json_sequence_bytes(const unsigned char *text, size_t bytes);

/* One value and blanks around it, at most NEARCACHE_JSON_DEPTH deep. */
bool cli_json_is_value(const char *text, size_t bytes);

#endif
