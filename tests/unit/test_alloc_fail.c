#include "lib/alloc_fail.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

/* Out of the optimiser's sight, which knows that malloc works and that free undoes it. */
static void *volatile seen;

Test(alloc_fail, the_nth_allocation_fails_and_the_next_works)
{
    void *blocks[3];

    alloc_fail_at(1, ALLOC_FAIL_ONCE);
    blocks[0] = malloc(8);
    errno = 0;
    blocks[1] = calloc(1, 8);
    cr_expect_eq(errno, ENOMEM);
    blocks[2] = aligned_alloc(64, 64);
    cr_expect(alloc_fail_end());
    cr_expect_eq(alloc_fail_count(), 3);
    cr_expect(blocks[0] && !blocks[1] && blocks[2]);
    free(blocks[0]);
    free(blocks[2]);
}

Test(alloc_fail, every_later_one_fails_when_asked)
{
    void *block = NULL;

    alloc_fail_at(0, ALLOC_FAIL_ON);
    seen = malloc(8);
    cr_expect_null(seen);
    cr_expect_eq(posix_memalign(&block, 64, 64), ENOMEM);
    cr_expect_eq(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), MAP_FAILED);
    cr_expect(alloc_fail_end());
    block = malloc(8);
    cr_expect(block);
    free(block);
}

Test(alloc_fail, a_failed_realloc_keeps_the_block)
{
    static char *volatile block;

    block = malloc(1);
    *block = 'x';
    alloc_fail_at(0, ALLOC_FAIL_ONCE);
    seen = realloc(block, 1000);
    cr_expect(alloc_fail_end());
    cr_assert_null(seen);
    cr_expect_eq(*block, 'x');
    free(block);
}

Test(alloc_fail, a_call_that_allocates_less_is_told_apart)
{
    alloc_fail_at(1, ALLOC_FAIL_ONCE);
    seen = malloc(8);
    free(seen);
    cr_expect_not(alloc_fail_end());
}

static void *allocate(void *arg)
{
    (void)arg;
    return malloc(8);
}

static void *allocate_in_thread(void)
{
    pthread_t thread;
    void *block;

    cr_assert_eq(pthread_create(&thread, NULL, allocate, NULL), 0);
    pthread_join(thread, &block);
    return block;
}

Test(alloc_fail, other_threads_fail_only_when_asked)
{
    void *block;

    alloc_fail_at(0, ALLOC_FAIL_ON);
    block = allocate_in_thread();
    cr_expect_not(alloc_fail_end());
    cr_expect(block);
    free(block);
    alloc_fail_at(0, ALLOC_FAIL_ON_OF_ALL);
    cr_expect_null(allocate_in_thread());
    cr_expect(alloc_fail_end());
}
