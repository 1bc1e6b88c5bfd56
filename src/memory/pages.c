#include "memory/pages.h"

#include "nearcache.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* One trim gives back at most this many stretches: each is a system call under the lock. */
#define STRETCHES_MOST 16

int nc_pages_init(struct nc_pages *pages, uint64_t most_bytes, uint64_t least_bytes, bool huge,
                  uint64_t slack_bytes)
{
    memset(pages, 0, sizeof *pages);
    uint64_t bytes = (most_bytes + NC_CHUNK_BYTES - 1) / NC_CHUNK_BYTES * NC_CHUNK_BYTES;
    for (;; bytes = bytes / 2 / NC_CHUNK_BYTES * NC_CHUNK_BYTES) {
        if (bytes < least_bytes || bytes == 0)
            return NEARCACHE_ENOMEM;
        /* No access: such a mapping counts against no limit but that of addresses. */
        pages->reserved = mmap(NULL, bytes + NC_CHUNK_BYTES, PROT_NONE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (pages->reserved != MAP_FAILED)
            break;
    }
    pages->reserved_bytes = bytes + NC_CHUNK_BYTES;
    pages->chunks_most = (uint32_t)(bytes / NC_CHUNK_BYTES);
    pages->all = calloc(pages->chunks_most, sizeof *pages->all);
    pages->longest = calloc(pages->chunks_most, sizeof *pages->longest);
    if (!pages->all || !pages->longest) {
        free(pages->all);
        free(pages->longest);
        munmap(pages->reserved, pages->reserved_bytes);
        return NEARCACHE_ENOMEM;
    }
    uintptr_t border = ((uintptr_t)pages->reserved + NC_CHUNK_BYTES - 1) / NC_CHUNK_BYTES;
    pages->base = (char *)(border * NC_CHUNK_BYTES);
    pages->huge = huge;
    pages->slack_bytes = slack_bytes;
    return 0;
}

void nc_pages_deinit(struct nc_pages *pages)
{
    if (!pages->reserved)
        return;
    munmap(pages->reserved, pages->reserved_bytes);
    free(pages->all);
    free(pages->longest);
    pages->reserved = NULL;
}

static bool bit(const uint64_t *words, uint32_t at) { return words[at / 64] >> (at % 64) & 1; }

static uint32_t bits_of_word(uint32_t from, uint32_t count)
{
    return count < 64 - from % 64 ? count : 64 - from % 64;
}

static uint64_t mask_of(uint32_t from, uint32_t n)
{
    return (n == 64 ? UINT64_MAX : (UINT64_C(1) << n) - 1) << (from % 64);
}

/* Sets or clears bits; returns how many were the other way before. */
static uint32_t put(uint64_t *words, uint32_t from, uint32_t count, bool set)
{
    uint32_t changed = 0;
    while (count > 0) {
        uint32_t n = bits_of_word(from, count);
        uint64_t mask = mask_of(from, n), word = words[from / 64];
        changed += (uint32_t)__builtin_popcountll((set ? ~word : word) & mask);
        words[from / 64] = set ? word | mask : word & ~mask;
        from += n;
        count -= n;
    }
    return changed;
}

/* The first bit at or after `from` that is `set`; NC_CHUNK_PAGES: none. */
static uint32_t next(const uint64_t *words, uint32_t from, bool set)
{
    while (from < NC_CHUNK_PAGES) {
        uint64_t word = (set ? words[from / 64] : ~words[from / 64]) >> (from % 64);
        if (word)
            return from + (uint32_t)__builtin_ctzll(word);
        from = (from / 64 + 1) * 64;
    }
    return NC_CHUNK_PAGES;
}

static void add(_Atomic uint64_t *figure, int64_t pages)
{
    /* Relaxed: written under the lock; whoever reads it without wants an estimate. */
    uint64_t value = atomic_load_explicit(figure, memory_order_relaxed);
    atomic_store_explicit(figure, value + (uint64_t)(pages * (int64_t)NC_PAGE_BYTES),
                          memory_order_relaxed);
}

static void count_resident(struct nc_pages *pages, struct nc_chunk *chunk, int32_t change)
{
    chunk->resident_pages = (uint16_t)(chunk->resident_pages + change);
    add(&pages->resident, change);
}

static void take(struct nc_pages *pages, uint32_t number, uint32_t from, uint32_t count)
{
    struct nc_chunk *chunk = &pages->all[number];
    put(chunk->used, from, count, true);
    chunk->used_pages = (uint16_t)(chunk->used_pages + count);
    add(&pages->used, count);
    /* The first touch of a huge page brings all of it. */
    if (pages->huge && chunk->resident_pages == 0)
        count_resident(pages, chunk, (int32_t)put(chunk->resident, 0, NC_CHUNK_PAGES, true));
    else
        count_resident(pages, chunk, (int32_t)put(chunk->resident, from, count, true));
}

static char *chunk_at(const struct nc_pages *pages, uint32_t number)
{
    return pages->base + (size_t)number * NC_CHUNK_BYTES;
}

static bool open_chunk(struct nc_pages *pages)
{
    if (pages->chunks == pages->chunks_most)
        return false;
    char *at = chunk_at(pages, pages->chunks);
    if (mprotect(at, NC_CHUNK_BYTES, PROT_READ | PROT_WRITE) != 0)
        return false;
    /* Refused: ordinary pages do, only slower. */
    madvise(at, NC_CHUNK_BYTES, pages->huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    pages->longest[pages->chunks++] = NC_CHUNK_PAGES;
    return true;
}

static uint32_t find_in(struct nc_pages *pages, uint32_t number, uint32_t count)
{
    const struct nc_chunk *chunk = &pages->all[number];
    uint32_t longest = 0, from = 0;
    while ((from = next(chunk->used, from, false)) < NC_CHUNK_PAGES) {
        uint32_t end = next(chunk->used, from, true);
        if (end - from >= count)
            return from;
        if (end - from > longest)
            longest = end - from;
        from = end;
    }
    pages->longest[number] = (uint16_t)longest;
    return UINT32_MAX;
}

/* More than a chunk: whole free chunks one after the other. */
static uint32_t alloc_large(struct nc_pages *pages, uint32_t count)
{
    uint32_t need = (count + NC_CHUNK_PAGES - 1) / NC_CHUNK_PAGES, row = 0, number = 0;
    while (row < need) {
        if (number == pages->chunks && !open_chunk(pages))
            return UINT32_MAX;
        row = pages->all[number++].used_pages == 0 ? row + 1 : 0;
    }
    uint32_t first = (number - need) * NC_CHUNK_PAGES;
    for (uint32_t at = first, left = count; left > 0;) {
        uint32_t n = left < NC_CHUNK_PAGES ? left : NC_CHUNK_PAGES;
        take(pages, at / NC_CHUNK_PAGES, 0, n);
        at += n;
        left -= n;
    }
    return first;
}

uint32_t nc_pages_alloc(struct nc_pages *pages, uint32_t count)
{
    if (count > NC_CHUNK_PAGES)
        return alloc_large(pages, count);
    for (uint32_t number = 0;; number++) {
        if (number == pages->chunks && !open_chunk(pages))
            return UINT32_MAX;
        if (pages->longest[number] < count)
            continue;
        uint32_t from = find_in(pages, number, count);
        if (from != UINT32_MAX) {
            take(pages, number, from, count);
            return number * NC_CHUNK_PAGES + from;
        }
    }
}

void nc_pages_free(struct nc_pages *pages, uint32_t first, uint32_t count)
{
    add(&pages->used, -(int64_t)count);
    while (count > 0) {
        struct nc_chunk *chunk = &pages->all[first / NC_CHUNK_PAGES];
        uint32_t from = first % NC_CHUNK_PAGES;
        uint32_t n = count < NC_CHUNK_PAGES - from ? count : NC_CHUNK_PAGES - from;
        put(chunk->used, from, n, false);
        chunk->used_pages = (uint16_t)(chunk->used_pages - n);
        pages->longest[first / NC_CHUNK_PAGES] = NC_CHUNK_PAGES;
        first += n;
        count -= n;
    }
}

static void give_back(struct nc_pages *pages, uint32_t number, uint32_t from, uint32_t count)
{
    struct nc_chunk *chunk = &pages->all[number];
    bool whole = count == NC_CHUNK_PAGES;
    if (pages->huge && chunk->small == whole) {
        madvise(chunk_at(pages, number), NC_CHUNK_BYTES, whole ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
        chunk->small = !whole;
    }
    if (madvise(chunk_at(pages, number) + from * NC_PAGE_BYTES, count * NC_PAGE_BYTES,
                MADV_DONTNEED) == 0)
        count_resident(pages, chunk, -(int32_t)put(chunk->resident, from, count, false));
}

static uint64_t excess(const struct nc_pages *pages)
{
    uint64_t free = pages->resident - pages->used;
    return free > pages->slack_bytes ? free - pages->slack_bytes : 0;
}

/* The stretches of one chunk that are free and hold memory. Returns how many it may still do. */
static int trim_chunk(struct nc_pages *pages, uint32_t number, int left)
{
    struct nc_chunk *chunk = &pages->all[number];
    for (uint32_t from = 0; left > 0 && excess(pages) > 0;) {
        from = next(chunk->resident, from, true);
        if (from == NC_CHUNK_PAGES)
            break;
        if (bit(chunk->used, from)) {
            from = next(chunk->used, from, false);
            continue;
        }
        uint32_t end = next(chunk->resident, from, false), used = next(chunk->used, from, true);
        end = end < used ? end : used;
        give_back(pages, number, from, end - from);
        left--;
        from = end;
    }
    return left;
}

/* Whole chunks first: giving back a part of a huge page takes the page from the rest too. */
bool nc_pages_trim(struct nc_pages *pages)
{
    int left = STRETCHES_MOST;
    for (uint32_t number = pages->chunks; number-- > 0 && left > 0 && excess(pages) > 0;)
        if (pages->all[number].used_pages == 0 && pages->all[number].resident_pages > 0) {
            give_back(pages, number, 0, NC_CHUNK_PAGES);
            left--;
        }
    for (uint32_t number = pages->chunks; number-- > 0 && left > 0 && excess(pages) > 0;)
        if (pages->all[number].resident_pages > pages->all[number].used_pages)
            left = trim_chunk(pages, number, left);
    return excess(pages) > 0 && left == 0;
}
