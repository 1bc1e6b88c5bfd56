/* base/sha1: SHA-1 (RFC 3174), as Redis names scripts and compares values by it. Not for secrets.
 */
#ifndef NC_BASE_SHA1_H
#define NC_BASE_SHA1_H

#include <stddef.h>

struct nc_sha1_part {
    const void *data;
    size_t bytes;
};

/* 40 lower-case hex digits and a final zero, of the parts one after the other. */
void nc_sha1_hex(const struct nc_sha1_part *parts, size_t count, char hex[41]);

#endif
