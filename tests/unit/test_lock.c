/* base/lock: one at a time, and nobody sleeps for ever. */
#include "base/barrier.h"
#include "base/lock.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>

enum { THREADS = 8, ROUNDS = 20000 };

static struct nc_lock lock;
static uint64_t count; /* guarded by it */

static void *add(void *arg)
{
    (void)arg;
    for (int i = 0; i < ROUNDS; i++) {
        nc_lock_take(&lock);
        uint64_t before = count;
        if (i % 64 == 0) /* long enough for the others to sleep */
            sched_yield();
        count = before + 1;
        nc_lock_drop(&lock);
    }
    return NULL;
}

static void run_all(void)
{
    pthread_t threads[THREADS];
    count = 0;
    for (int i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, add, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    cr_expect_eq(count, (uint64_t)THREADS * ROUNDS);
    cr_expect_eq(lock.word, 0);
    cr_expect_eq(lock.sleepers, 0);
}

/* Criterion runs each test in a process of its own: here nobody has registered. */
Test(lock, one_at_a_time_without_the_barrier_of_the_kernel, .timeout = 60)
{
    cr_assert_not(nc_barrier_all());
    run_all();
}

Test(lock, one_at_a_time_and_all_are_woken, .timeout = 60)
{
    if (!nc_barrier_register())
        cr_skip_test("no membarrier");
    run_all();
}
