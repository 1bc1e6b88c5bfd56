/* memory/arena and memory/pages: blocks of all sizes, exact figures, memory given back. */
#include "memory/arena.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define MIB ((uint64_t)1 << 20)

static struct nc_arena arena;

static void begin(uint64_t budget_bytes) { cr_assert_eq(nc_arena_init(&arena, budget_bytes), 0); }

static void end(void)
{
    cr_expect_eq(nc_arena_used(&arena), 0);
    nc_arena_deinit(&arena);
}

/* How much of the range really holds memory, as the kernel sees it. */
static uint64_t kernel_resident(void)
{
    size_t bytes = (size_t)arena.pages.chunks * NC_CHUNK_BYTES;
    unsigned char *there = malloc(bytes / NC_PAGE_BYTES + 1);
    uint64_t pages = 0;
    cr_assert_eq(mincore(arena.pages.base, bytes, there), 0);
    for (size_t i = 0; i < bytes / NC_PAGE_BYTES; i++)
        pages += there[i] & 1;
    free(there);
    return pages * NC_PAGE_BYTES;
}

Test(arena, every_size_gets_a_block_that_holds_it_and_wastes_an_eighth_at_most)
{
    for (size_t bytes = 1; bytes <= 70000; bytes++) {
        size_t block = nc_arena_block_bytes(bytes);
        cr_assert_geq(block, bytes);
        cr_assert_eq(block % 64, 0);
        cr_assert_eq(nc_arena_block_bytes(block), block, "%zu", bytes);
        if (bytes > 512)
            cr_assert_leq(block - bytes, bytes > NC_SMALL_BYTES ? 4095 : bytes / 8 + 1, "%zu",
                          bytes);
    }
}

Test(arena, blocks_are_aligned_do_not_overlap_and_are_counted_exactly)
{
    static const size_t sizes[] = {1,    64,   65,    128,   512,   513,   1024,    1025,
                                   4096, 4097, 16384, 16385, 40000, 65536, 1 << 20, (5 << 20) + 1};
    enum { SIZES = sizeof sizes / sizeof sizes[0], EACH = 40 };
    unsigned char *blocks[SIZES][EACH];
    uint64_t used = 0;
    begin(256 * MIB);
    for (int s = 0; s < SIZES; s++)
        for (int i = 0; i < (sizes[s] > 100000 ? 3 : EACH); i++) {
            blocks[s][i] = nc_arena_alloc(&arena, (uint32_t)i, sizes[s]);
            cr_assert_not_null(blocks[s][i]);
            cr_assert_eq((uintptr_t)blocks[s][i] % 64, 0);
            memset(blocks[s][i], s * EACH + i, sizes[s]);
            used += nc_arena_block_bytes(sizes[s]);
            cr_assert_eq(nc_arena_used(&arena), used);
        }
    for (int s = 0; s < SIZES; s++)
        for (int i = 0; i < (sizes[s] > 100000 ? 3 : EACH); i++) {
            unsigned char expected = (unsigned char)(s * EACH + i);
            cr_assert_eq(blocks[s][i][0], expected);
            cr_assert_eq(blocks[s][i][sizes[s] - 1], expected);
            nc_arena_free(&arena, blocks[s][i]);
            used -= nc_arena_block_bytes(sizes[s]);
            cr_assert_eq(nc_arena_used(&arena), used);
        }
    end();
}

Test(arena, a_freed_block_is_the_next_of_its_size)
{
    begin(64 * MIB);
    void *first = nc_arena_alloc(&arena, 0, 100), *second = nc_arena_alloc(&arena, 0, 100);
    nc_arena_free(&arena, first);
    cr_assert_eq(nc_arena_alloc(&arena, 0, 128), first);
    nc_arena_free(&arena, first);
    nc_arena_free(&arena, second);
    end();
}

Test(arena, memory_of_one_size_serves_another_once_it_is_free)
{
    enum { COUNT = 100000 };
    static void *blocks[COUNT];
    begin(64 * MIB);
    for (int round = 0; round < 6; round++) {
        size_t bytes = (size_t)100 + (size_t)round * 70;
        for (int i = 0; i < COUNT; i++)
            cr_assert_not_null(blocks[i] = nc_arena_alloc(&arena, 0, bytes));
        for (int i = 0; i < COUNT; i++)
            nc_arena_free(&arena, blocks[i]);
    }
    /* Not the sum of what the rounds took, but that of the largest. */
    cr_assert_leq(nc_arena_resident(&arena), COUNT * nc_arena_block_bytes(450) + 4 * MIB);
    end();
}

static void fill_and_trim(uint64_t budget)
{
    enum { COUNT = 20000 };
    static void *blocks[COUNT];
    begin(budget);
    for (int i = 0; i < COUNT; i++) {
        size_t bytes = i % 50 == 0 ? 100000 : 300;
        cr_assert_not_null(blocks[i] = nc_arena_alloc(&arena, (uint32_t)i, bytes));
        memset(blocks[i], 1, bytes);
    }
    cr_assert_geq(nc_arena_resident(&arena), kernel_resident());
    for (int i = 0; i < COUNT; i++)
        if (i % 50 == 0)
            nc_arena_free(&arena, blocks[i]);
    while (nc_arena_trim(&arena))
        ;
    cr_assert_leq(nc_arena_resident(&arena) - nc_arena_used(&arena),
                  budget / 64 + nc_arena_used(&arena) / 16 + MIB);
    cr_assert_geq(nc_arena_resident(&arena), kernel_resident());
    for (int i = 0; i < COUNT; i++)
        if (i % 50 != 0) {
            cr_assert_eq(*(char *)blocks[i], 1);
            nc_arena_free(&arena, blocks[i]);
        }
    while (nc_arena_trim(&arena))
        ;
    cr_assert_leq(kernel_resident(), budget / 64 + NC_CHUNK_BYTES);
    end();
}

Test(arena, freed_memory_goes_back_to_the_system_from_ordinary_pages) { fill_and_trim(16 * MIB); }

Test(arena, freed_memory_goes_back_to_the_system_from_huge_pages) { fill_and_trim(256 * MIB); }

Test(arena, what_does_not_fit_into_the_addresses_is_refused_and_changes_nothing)
{
    begin(MIB);
    cr_assert_null(nc_arena_alloc(&arena, 0, (size_t)3 << 30));
    cr_assert_eq(nc_arena_used(&arena), 0);
    void *block = nc_arena_alloc(&arena, 0, (size_t)512 << 20);
    cr_assert_not_null(block, "a value far larger than the budget can be handed out");
    nc_arena_free(&arena, block);
    end();
}

Test(arena, sparse_runs_are_marked_and_go_when_their_last_block_went)
{
    enum { COUNT = 40000 };
    static void *blocks[COUNT];
    uint32_t leaving = 0;
    begin(64 * MIB);
    for (int i = 0; i < COUNT; i++)
        blocks[i] = nc_arena_alloc(&arena, 0, 128);
    cr_assert_eq(nc_arena_mark_sparse(&arena), 0, "full runs stay");
    for (int i = 0; i < COUNT; i++)
        if (i % 40 != 0) {
            nc_arena_free(&arena, blocks[i]);
            blocks[i] = NULL;
        }
    cr_assert_gt(nc_arena_mark_sparse(&arena), 0);
    for (int i = 0; i < COUNT; i++)
        if (blocks[i] && nc_arena_is_leaving(&arena, blocks[i])) {
            void *moved = nc_arena_alloc(&arena, nc_arena_heap_of(&arena, blocks[i]), 128);
            cr_assert_not(nc_arena_is_leaving(&arena, moved));
            nc_arena_free(&arena, blocks[i]);
            blocks[i] = moved;
            leaving++;
        }
    cr_assert_gt(leaving, COUNT / 40 / 2);
    cr_assert_leq(arena.pages.used, 4 * nc_arena_used(&arena) + MIB);
    for (int i = 0; i < COUNT; i++)
        if (blocks[i])
            nc_arena_free(&arena, blocks[i]);
    end();
}

/* Two threads hand blocks to each other through a ring and free what the other allocated. */
enum { RING = 512, PASSES = 400000 };
static void *_Atomic ring[2][RING];

static void *exchange(void *arg)
{
    uint32_t self = (uint32_t)(uintptr_t)arg;
    for (uint32_t i = 0; i < PASSES; i++) {
        uint32_t *block = nc_arena_alloc(&arena, self, 40 + i % 7 * 60);
        block[0] = block[9] = i;
        uint32_t *old = atomic_exchange(&ring[(self + i) & 1][i % RING], block);
        if (old) {
            if (old[0] != old[9])
                return (void *)(uintptr_t) "a block was handed out twice";
            nc_arena_free(&arena, old);
        }
    }
    return NULL;
}

Test(arena, blocks_freed_by_other_threads_are_not_hoarded)
{
    pthread_t threads[2];
    void *wrong;
    begin(256 * MIB);
    for (uintptr_t i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, exchange, (void *)i);
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], &wrong);
        cr_expect_null(wrong, "%s", (char *)wrong);
    }
    for (int r = 0; r < 2; r++)
        for (int i = 0; i < RING; i++)
            nc_arena_free(&arena, ring[r][i]);
    cr_assert_eq(arena.pages.used, 0);
    cr_assert_leq(nc_arena_resident(&arena), 4 * MIB);
    end();
}
