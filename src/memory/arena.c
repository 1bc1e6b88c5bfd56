#include "memory/arena.h"

#include "base/poison.h"
#include "nearcache.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* From here on a huge page is a small part of the budget. */
#define HUGE_BUDGET ((uint64_t)48 << 20)
#define RUN_PAGES_MOST 16u
#define LARGE NC_BLOCK_CLASSES
/* Runs of a size that are looked at for one marking. */
#define MARKED_OF 4096u
/* The part of the budget by which it may be exceeded: a full store of mixed sizes does so by half
 * of that. */
#define TOLERATED_SHARE 24

/* ---- sizes ---- */

static size_t class_bytes(unsigned class)
{
    if (class < 8)
        return (class + 1) * NC_BLOCK_UNIT;
    return (size_t)(class % 8 + 9) << (class / 8 + 5);
}

static unsigned class_of(size_t block_bytes)
{
    if (block_bytes <= 512)
        return (unsigned)(block_bytes / NC_BLOCK_UNIT) - 1;
    unsigned doubling = 63 - (unsigned)__builtin_clzll((unsigned long long)(block_bytes - 1));
    return (doubling - 8) * 8 + (unsigned)((block_bytes - 1) >> (doubling - 3)) % 8;
}

/* Large enough for the size, small against the budget, and with little left over at its end. */
static uint16_t choose_run_pages(size_t bytes, uint32_t usual)
{
    uint32_t least = (uint32_t)((bytes + NC_PAGE_BYTES - 1) / NC_PAGE_BYTES), best = 0;
    double best_lost = 1;
    if (least < usual)
        least = usual;
    for (uint32_t pages = least; pages < least * 2 + 1; pages++) {
        size_t whole = pages * NC_PAGE_BYTES;
        double lost = (double)(whole % bytes) / (double)whole;
        if (lost < best_lost - 0.01) {
            best = pages;
            best_lost = lost;
        }
    }
    return (uint16_t)best;
}

/* ---- init ---- */

static uint32_t choose_heaps(uint64_t budget_bytes)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    uint32_t heaps = 1;
    /* Each heap has runs of its own for each size: not for a budget that would feel it. */
    while (heaps < NC_HEAPS_MOST && (long)heaps < processors && budget_bytes >> 25 > heaps)
        heaps *= 2;
    return heaps;
}

static int init_tables(struct nc_arena *arena)
{
    size_t pages = (size_t)arena->pages.chunks_most * NC_CHUNK_PAGES;
    size_t map_bytes = (pages * sizeof(uint32_t) + 63) / 64 * 64;
    size_t runs_bytes = ((pages + 1) * sizeof(struct nc_run) + 63) / 64 * 64;
    size_t heaps_bytes = arena->heap_count * sizeof(struct nc_heap);
    arena->tables_bytes = map_bytes + runs_bytes + heaps_bytes;
    /* Zero, and without memory until it is used. */
    char *at = mmap(NULL, arena->tables_bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED)
        return NEARCACHE_ENOMEM;
    arena->tables = at;
    arena->heaps = (struct nc_heap *)at;
    arena->run_of_page = (uint32_t *)(at + heaps_bytes);
    arena->runs = (struct nc_run *)(at + heaps_bytes + map_bytes);
    return 0;
}

int nc_arena_init(struct nc_arena *arena, uint64_t budget_bytes)
{
    memset(arena, 0, sizeof *arena);
    uint64_t most = budget_bytes > NC_ARENA_BYTES_MOST / 2 ? NC_ARENA_BYTES_MOST
                                                           : 2 * budget_bytes + ((uint64_t)1 << 30);
    if (most > NC_ARENA_BYTES_MOST)
        most = NC_ARENA_BYTES_MOST;
    uint64_t least = budget_bytes + budget_bytes / 4;
    if (least > most)
        least = most;
    uint64_t slack = budget_bytes / 64;
    arena->tolerated = budget_bytes + budget_bytes / TOLERATED_SHARE;
    int outcome = nc_pages_init(&arena->pages, most, least, budget_bytes >= HUGE_BUDGET, slack);
    if (outcome != 0)
        return outcome;
    arena->heap_count = choose_heaps(budget_bytes);
    if ((outcome = init_tables(arena)) != 0) {
        nc_pages_deinit(&arena->pages);
        return outcome;
    }
    uint32_t usual = 1;
    while (usual < RUN_PAGES_MOST && usual * NC_PAGE_BYTES * 4096 < budget_bytes)
        usual *= 2;
    for (unsigned class = 0; class < NC_BLOCK_CLASSES; class ++)
        arena->run_pages[class] = choose_run_pages(class_bytes(class), usual);
    return 0;
}

void nc_arena_deinit(struct nc_arena *arena)
{
    if (!arena->tables)
        return;
    nc_show(arena->pages.base, arena->pages.chunks * NC_CHUNK_BYTES);
    munmap(arena->tables, arena->tables_bytes);
    nc_pages_deinit(&arena->pages);
    arena->tables = NULL;
}

/* ---- runs ---- */

static char *block_at(const struct nc_arena *arena, const struct nc_run *run, uint32_t number)
{
    return (char *)nc_pages_at(&arena->pages, run->first) + number * class_bytes(run->class);
}

/* A run's pages and its description. 0: out of memory. */
static uint32_t create_run(struct nc_arena *arena, uint32_t pages)
{
    uint32_t id = 0;
    nc_lock_take(&arena->lock);
    uint32_t first = nc_pages_alloc(&arena->pages, pages);
    if (first != UINT32_MAX) {
        id = arena->free_run;
        if (id)
            arena->free_run = arena->runs[id].next;
        else
            id = ++arena->runs_used; /* there are as many as pages */
        arena->runs[id].first = first;
        arena->runs[id].pages = pages;
    }
    nc_lock_drop(&arena->lock);
    return id;
}

static void destroy_run(struct nc_arena *arena, uint32_t id)
{
    struct nc_run *run = &arena->runs[id];
    nc_show(nc_pages_at(&arena->pages, run->first), run->pages * NC_PAGE_BYTES);
    nc_lock_take(&arena->lock);
    nc_pages_free(&arena->pages, run->first, run->pages);
    run->next = arena->free_run;
    arena->free_run = id;
    nc_lock_drop(&arena->lock);
}

static void list(struct nc_arena *arena, struct nc_heap *heap, uint32_t id)
{
    struct nc_run *run = &arena->runs[id];
    uint32_t *head = &heap->room[run->class];
    run->prev = 0;
    run->next = *head;
    if (*head)
        arena->runs[*head].prev = id;
    *head = id;
    run->listed = true;
    heap->spare[run->class] += (uint32_t)run->blocks - run->used;
}

static void unlist(struct nc_arena *arena, struct nc_heap *heap, uint32_t id)
{
    struct nc_run *run = &arena->runs[id];
    if (run->prev)
        arena->runs[run->prev].next = run->next;
    else
        heap->room[run->class] = run->next;
    if (run->next)
        arena->runs[run->next].prev = run->prev;
    run->listed = false;
    heap->spare[run->class] -= (uint32_t)run->blocks - run->used;
}

static uint32_t open_run(struct nc_arena *arena, uint32_t heap, unsigned class)
{
    uint32_t id = create_run(arena, arena->run_pages[class]);
    if (id == 0)
        return 0;
    struct nc_run *run = &arena->runs[id];
    run->class = (uint8_t) class;
    run->heap = (uint8_t)heap;
    run->blocks = (uint16_t)(run->pages * NC_PAGE_BYTES / class_bytes(class));
    run->used = run->fresh = run->free_head = 0;
    atomic_store_explicit(&run->leaving, false, memory_order_relaxed);
    for (uint32_t i = 0; i < run->pages; i++)
        arena->run_of_page[run->first + i] = id;
    nc_hide(nc_pages_at(&arena->pages, run->first), run->pages * NC_PAGE_BYTES);
    list(arena, &arena->heaps[heap], id);
    return id;
}

static void count_used(struct nc_heap *heap, int64_t change)
{
    /* Relaxed: written under the lock; whoever reads it without wants an estimate. */
    uint64_t used = atomic_load_explicit(&heap->used_bytes, memory_order_relaxed);
    atomic_store_explicit(&heap->used_bytes, used + (uint64_t)change, memory_order_relaxed);
}

/* ---- blocks ---- */

static void *alloc_large(struct nc_arena *arena, uint32_t heap, size_t block_bytes)
{
    if (block_bytes / NC_PAGE_BYTES > UINT32_MAX / 2)
        return NULL;
    uint32_t id = create_run(arena, (uint32_t)(block_bytes / NC_PAGE_BYTES));
    if (id == 0)
        return NULL;
    struct nc_run *run = &arena->runs[id];
    run->class = LARGE;
    run->heap = (uint8_t)heap;
    atomic_store_explicit(&run->leaving, false, memory_order_relaxed);
    arena->run_of_page[run->first] = id;
    nc_lock_take(&arena->heaps[heap].lock);
    count_used(&arena->heaps[heap], (int64_t)block_bytes);
    nc_lock_drop(&arena->heaps[heap].lock);
    return nc_pages_at(&arena->pages, run->first);
}

/* The lines of the block that comes next are fetched while this one is filled: a store to a line
 * that is not here keeps the next locked instruction waiting. Lines beyond the fourth are written
 * in a row, which the processor sees by itself. */
static void fetch_next(const struct nc_arena *arena, const struct nc_run *run, size_t block_bytes)
{
    uint32_t number = run->free_head ? run->free_head - 1u : run->fresh;
    if (number >= run->blocks)
        return;
    const char *block = block_at(arena, run, number);
    size_t lines = block_bytes / NC_BLOCK_UNIT;
    for (size_t i = 0; i < lines && i < 4; i++)
        __builtin_prefetch(block + i * NC_BLOCK_UNIT, 1);
}

void *nc_arena_alloc(struct nc_arena *arena, uint32_t number, size_t bytes)
{
    size_t block_bytes = nc_arena_block_bytes(bytes ? bytes : 1);
    number &= arena->heap_count - 1;
    if (block_bytes > NC_SMALL_BYTES)
        return alloc_large(arena, number, block_bytes);
    unsigned class = class_of(block_bytes);
    struct nc_heap *heap = &arena->heaps[number];
    char *block = NULL;
    nc_lock_take(&heap->lock);
    uint32_t id = heap->room[class];
    if (id == 0)
        id = open_run(arena, number, class);
    if (id != 0) {
        struct nc_run *run = &arena->runs[id];
        if (run->free_head) {
            block = block_at(arena, run, run->free_head - 1u);
            nc_show(block, block_bytes);
            memcpy(&run->free_head, block, sizeof run->free_head);
        } else {
            block = block_at(arena, run, run->fresh++);
            nc_show(block, block_bytes);
        }
        heap->spare[class]--;
        if (++run->used == run->blocks)
            unlist(arena, heap, id);
        else
            fetch_next(arena, run, block_bytes);
        count_used(heap, (int64_t)block_bytes);
    }
    nc_lock_drop(&heap->lock);
    return block;
}

/* Whether what is in a listed run finds room in the others of its size, twice over. */
static bool has_room_beside(const struct nc_heap *heap, const struct nc_run *run)
{
    return heap->spare[run->class] >= (uint32_t)run->blocks - run->used + 2u * run->used;
}

static void mark(struct nc_arena *arena, struct nc_heap *heap, uint32_t id)
{
    unlist(arena, heap, id);
    atomic_store_explicit(&arena->runs[id].leaving, true, memory_order_relaxed);
    /* Relaxed: all are hints; the sweep asks a run again as long as it is there. */
    atomic_fetch_add_explicit(&arena->leaving, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&arena->marks, 1, memory_order_relaxed);
}

static void free_locked(struct nc_arena *arena, struct nc_heap *heap, uint32_t id, char *block)
{
    struct nc_run *run = &arena->runs[id];
    size_t bytes = class_bytes(run->class);
    size_t offset = (size_t)(block - (char *)nc_pages_at(&arena->pages, run->first));
    memcpy(block, &run->free_head, sizeof run->free_head);
    nc_hide(block, bytes);
    run->free_head = (uint16_t)(offset / bytes + 1);
    count_used(heap, -(int64_t)bytes);
    bool leaving = atomic_load_explicit(&run->leaving, memory_order_relaxed);
    run->used--;
    if (run->listed)
        heap->spare[run->class]++;
    else if (!leaving)
        list(arena, heap, id);
    if (run->used == 0) {
        if (run->listed)
            unlist(arena, heap, id);
        if (leaving)
            atomic_fetch_sub_explicit(&arena->leaving, 1, memory_order_relaxed);
        destroy_run(arena, id);
    } else if (!leaving && run->used <= run->blocks / 2 && nc_arena_is_over(arena) &&
               has_room_beside(heap, run)) {
        mark(arena, heap, id);
    }
}

static uint32_t run_of(const struct nc_arena *arena, const void *block)
{
    return arena->run_of_page[nc_pages_number(&arena->pages, block)];
}

static void free_large(struct nc_arena *arena, uint32_t id)
{
    struct nc_run *run = &arena->runs[id];
    struct nc_heap *heap = &arena->heaps[run->heap];
    nc_lock_take(&heap->lock);
    count_used(heap, -(int64_t)(run->pages * NC_PAGE_BYTES));
    nc_lock_drop(&heap->lock);
    destroy_run(arena, id);
}

void nc_arena_free(struct nc_arena *arena, void *block) { nc_arena_free_many(arena, &block, 1); }

void nc_arena_free_many(struct nc_arena *arena, void *const *blocks, size_t count)
{
    uint32_t ids[NC_FREE_MOST];
    uint8_t heaps[NC_FREE_MOST];
    uint32_t wanted = 0; /* one bit a heap */
    /* All are looked up first: what is freed may belong to another heap a moment later. */
    for (size_t i = 0; i < count; i++) {
        ids[i] = run_of(arena, blocks[i]);
        bool large = arena->runs[ids[i]].class == LARGE;
        heaps[i] = large ? NC_HEAPS_MOST : arena->runs[ids[i]].heap;
        if (large)
            free_large(arena, ids[i]);
        else
            wanted |= 1u << heaps[i];
    }
    for (uint32_t number = 0; wanted >> number; number++) {
        if (!(wanted >> number & 1))
            continue;
        nc_lock_take(&arena->heaps[number].lock);
        for (size_t i = 0; i < count; i++)
            if (heaps[i] == number)
                free_locked(arena, &arena->heaps[number], ids[i], blocks[i]);
        nc_lock_drop(&arena->heaps[number].lock);
    }
}

/* ---- giving back ---- */

uint64_t nc_arena_resident(const struct nc_arena *arena)
{
    return atomic_load_explicit(&((struct nc_arena *)arena)->pages.resident, memory_order_relaxed);
}

bool nc_arena_is_over(const struct nc_arena *arena)
{
    return nc_arena_resident(arena) > arena->tolerated;
}

uint64_t nc_arena_used(const struct nc_arena *arena)
{
    uint64_t used = 0;
    for (uint32_t i = 0; i < arena->heap_count; i++)
        used += atomic_load_explicit(&arena->heaps[i].used_bytes, memory_order_relaxed);
    return used;
}

bool nc_arena_trim(struct nc_arena *arena)
{
    nc_lock_take(&arena->lock);
    bool more = nc_pages_trim(&arena->pages);
    nc_lock_drop(&arena->lock);
    return more;
}

/* Marks runs of one size, the emptiest first; of many the first ones, because the heap is locked.
 */
static uint32_t mark_class(struct nc_arena *arena, struct nc_heap *heap, unsigned class)
{
    uint32_t marked = 0;
    for (unsigned share = 8; share >= 2; share /= 2) {
        uint32_t looked = 0;
        for (uint32_t id = heap->room[class], next; id && looked < MARKED_OF; id = next, looked++) {
            struct nc_run *run = &arena->runs[id];
            next = run->next;
            if (run->used > run->blocks / share || !has_room_beside(heap, run))
                continue;
            mark(arena, heap, id);
            marked++;
        }
    }
    return marked;
}

uint32_t nc_arena_mark_sparse(struct nc_arena *arena)
{
    uint32_t marked = 0;
    for (uint32_t i = 0; i < arena->heap_count; i++)
        for (unsigned class = 0; class < NC_BLOCK_CLASSES; class ++) {
            nc_lock_take(&arena->heaps[i].lock);
            marked += mark_class(arena, &arena->heaps[i], class);
            nc_lock_drop(&arena->heaps[i].lock);
        }
    return marked;
}

bool nc_arena_is_leaving(const struct nc_arena *arena, const void *block)
{
    struct nc_arena *own = (struct nc_arena *)arena;
    return atomic_load_explicit(&own->leaving, memory_order_relaxed) != 0 &&
           atomic_load_explicit(&own->runs[run_of(arena, block)].leaving, memory_order_relaxed);
}

uint32_t nc_arena_heap_of(const struct nc_arena *arena, const void *block)
{
    return arena->runs[run_of(arena, block)].heap;
}
