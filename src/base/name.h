/*
 * base/name: the bytes of a name as words: names are short, and a call or a loop for each would
 * cost more than what it reads.
 */
#ifndef NC_BASE_NAME_H
#define NC_BASE_NAME_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Up to so many bytes a name is read as words: no loop, no call. */
#define NC_NAME_SHORT 32

static inline uint64_t nc_name_word(const void *name, size_t at)
{
    uint64_t word;
    memcpy(&word, (const char *)name + at, sizeof word);
    return word;
}

/* All of a name of 1 to 7 bytes; pieces may overlap. */
static inline uint64_t nc_name_tiny(const void *name, size_t name_bytes)
{
    const unsigned char *bytes = name;
    uint32_t first, last;
    if (name_bytes < 4)
        return (uint64_t)bytes[0] | (uint64_t)bytes[name_bytes / 2] << 8 |
               (uint64_t)bytes[name_bytes - 1] << 16;
    memcpy(&first, bytes, sizeof first);
    memcpy(&last, bytes + name_bytes - 4, sizeof last);
    return (uint64_t)last << 32 | first;
}

#endif
