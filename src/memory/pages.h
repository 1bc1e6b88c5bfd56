/*
 * memory/pages: runs of 4 KiB pages out of one reserved range of addresses.
 *
 * The range is reserved once and given memory in chunks of 2 MiB, which stand on huge pages where
 * the kernel has them and the budget is large enough not to feel one. Freed runs keep their memory
 * for the next one; nc_pages_trim gives back what is more than a slack.
 *
 * Promises: `resident` counts every page that may hold memory, never fewer than there are. Pages
 * that were given back hold none until they are handed out again. Does not know what stands in a
 * run. Not thread-safe, but for the two figures: guarded by the arena's lock.
 */
#ifndef NC_MEMORY_PAGES_H
#define NC_MEMORY_PAGES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NC_PAGE_BYTES ((size_t)4096)
#define NC_CHUNK_PAGES 512u
#define NC_CHUNK_BYTES (NC_PAGE_BYTES * NC_CHUNK_PAGES)

struct nc_chunk {
    uint64_t used[NC_CHUNK_PAGES / 64];
    uint64_t resident[NC_CHUNK_PAGES / 64];
    uint16_t used_pages, resident_pages;
    bool small; /* a part was given back: the kernel must not fill it up to a huge page again */
};

struct nc_pages {
    char *base;     /* on a chunk's border */
    void *reserved; /* what mmap returned */
    size_t reserved_bytes;
    uint32_t chunks_most; /* that fit in */
    uint32_t chunks;      /* that were ever used */
    bool huge;
    struct nc_chunk *all;
    uint16_t *longest;               /* of each chunk: no free run is longer; it may be shorter */
    uint64_t slack_bytes;            /* free memory that a trim leaves */
    _Atomic uint64_t resident, used; /* bytes; read by anybody */
};

/* Reserves addresses for `most_bytes`, or for less where less is to be had, but not below
 * `least_bytes`. 0 or NEARCACHE_ENOMEM. */
int nc_pages_init(struct nc_pages *pages, uint64_t most_bytes, uint64_t least_bytes, bool huge,
                  uint64_t slack_bytes);
void nc_pages_deinit(struct nc_pages *pages);

/* The number of the first page of a run, UINT32_MAX: out of memory or of addresses. */
uint32_t nc_pages_alloc(struct nc_pages *pages, uint32_t count);
void nc_pages_free(struct nc_pages *pages, uint32_t first, uint32_t count);
/* Gives back free memory beyond the slack, from a bounded part. True: there is more. */
bool nc_pages_trim(struct nc_pages *pages);

static inline void *nc_pages_at(const struct nc_pages *pages, uint32_t page)
{
    return pages->base + (size_t)page * NC_PAGE_BYTES;
}

static inline uint32_t nc_pages_number(const struct nc_pages *pages, const void *at)
{
    return (uint32_t)((size_t)((const char *)at - pages->base) / NC_PAGE_BYTES);
}

#endif
