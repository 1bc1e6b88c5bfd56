/*
 * memory/arena: the blocks that entries stand in: 64-byte aligned, of some fifty sizes up to
 * 16 KiB, above that of whole pages.
 *
 *     pages   [ run of class 128 | run of class 320 | run of one block of 40 KiB |  free  | ...
 *     run     [ block | block | free -> | block | free -> | never used ............. ]
 *
 * Blocks of a size come out of runs of pages; a run whose last block was freed goes back to the
 * pages at once and may serve any other size. Runs belong to heaps; a thread allocates from its
 * own heap and frees into the heap that the block is of, so nobody hoards what another freed.
 *
 * Promises: block_bytes is what a block takes, exactly; resident is what all of it takes. Thread-
 * safe: each heap has a lock, the pages have one; lock order: heap, pages. Allocation failure is
 * NULL and changes nothing.
 */
#ifndef NC_MEMORY_ARENA_H
#define NC_MEMORY_ARENA_H

#include "base/lock.h"
#include "memory/pages.h"

#define NC_BLOCK_UNIT ((size_t)64)
#define NC_SMALL_BYTES ((size_t)16384)
#define NC_BLOCK_CLASSES 48
#define NC_HEAPS_MOST 8
#define NC_FREE_MOST 32
/* A link between two blocks is 32 bits of 64-byte units, signed. */
#define NC_ARENA_BYTES_MOST ((uint64_t)127 << 30)

struct nc_run {
    uint32_t first, pages;
    uint32_t next, prev;          /* in the heap's list of runs with room; 0: none */
    uint16_t blocks, used, fresh; /* fresh: how many have ever been handed out */
    uint16_t free_head;           /* 1 + number of the first freed block */
    uint8_t class;                /* NC_BLOCK_CLASSES: one large block */
    uint8_t heap;
    bool listed;
    _Atomic bool leaving; /* no new blocks: it is to become empty */
};

/* Guarded by its lock. */
struct nc_heap {
    _Alignas(64) struct nc_lock lock;
    uint32_t room[NC_BLOCK_CLASSES];  /* runs with room, the one in use first */
    uint32_t spare[NC_BLOCK_CLASSES]; /* blocks that are free in those */
    _Atomic uint64_t used_bytes;      /* written under the lock, read by anybody */
};

struct nc_arena {
    struct nc_heap *heaps;
    uint32_t heap_count;
    uint16_t run_pages[NC_BLOCK_CLASSES];
    uint32_t *run_of_page; /* an entry is constant while a block in its page lives */
    struct nc_run *runs;   /* from 1 */
    void *tables;          /* where both stand */
    size_t tables_bytes;
    uint64_t tolerated;               /* what it may hold without being over */
    _Atomic uint32_t leaving;         /* runs that are marked so; seldom written */
    _Atomic uint32_t marks;           /* how many ever were */
    _Alignas(64) struct nc_lock lock; /* of what follows */
    struct nc_pages pages;
    uint32_t free_run; /* through next */
    uint32_t runs_used;
};

int nc_arena_init(struct nc_arena *arena, uint64_t budget_bytes);
/* Takes all blocks with it. */
void nc_arena_deinit(struct nc_arena *arena);

/* `heap` is any number. NULL: out of memory. The bytes are not cleared. */
void *nc_arena_alloc(struct nc_arena *arena, uint32_t heap, size_t bytes);
void nc_arena_free(struct nc_arena *arena, void *block);
/* The same for at most NC_FREE_MOST blocks: each heap is locked once. */
void nc_arena_free_many(struct nc_arena *arena, void *const *blocks, size_t count);

/* What a block for so many bytes takes. */
static inline size_t nc_arena_block_bytes(size_t bytes)
{
    if (bytes <= 512)
        return (bytes + 63) & ~(size_t)63;
    if (bytes > NC_SMALL_BYTES)
        return (bytes + NC_PAGE_BYTES - 1) & ~(NC_PAGE_BYTES - 1);
    /* Eight steps for each doubling. */
    size_t step = (size_t)1 << (60 - __builtin_clzll((unsigned long long)(bytes - 1)));
    return (bytes + step - 1) & ~(step - 1);
}

/* Memory that the arena holds, and how much of it stands in blocks. */
uint64_t nc_arena_resident(const struct nc_arena *arena);
uint64_t nc_arena_used(const struct nc_arena *arena);

/* Whether it holds more than the budget and a 24th. Then runs that become sparse are marked as
 * their blocks are freed, too. */
bool nc_arena_is_over(const struct nc_arena *arena);

/* Gives free memory back to the system; a bounded amount. True: there is more. */
bool nc_arena_trim(struct nc_arena *arena);

/* Marks the emptiest runs where a size has much more room than it needs: their blocks should move
 * elsewhere. Returns how many are marked now. */
uint32_t nc_arena_mark_sparse(struct nc_arena *arena);
/* Whether any is marked: a hint. */
static inline bool nc_arena_has_leaving(const struct nc_arena *arena)
{
    return atomic_load_explicit(&((struct nc_arena *)arena)->leaving, memory_order_relaxed) != 0;
}
/* Moves when a run is marked: till then who has looked at all blocks has seen all that stand in
 * marked ones. */
static inline uint32_t nc_arena_marks(const struct nc_arena *arena)
{
    return atomic_load_explicit(&((struct nc_arena *)arena)->marks, memory_order_relaxed);
}
/* Whether the block stands in a marked run. */
bool nc_arena_is_leaving(const struct nc_arena *arena, const void *block);
/* The heap that a living block is of. */
uint32_t nc_arena_heap_of(const struct nc_arena *arena, const void *block);

#endif
