#include "lib/alloc_fail.h"

#include "base/thread.h"

#include <criterion/criterion.h>
#include <pthread.h>

struct record {
    struct nc_thread thread;
    uint64_t mine;
};

static void *join_once(void *arg) { return nc_threads_self(arg); }

static struct record *in_thread(struct nc_threads *threads)
{
    pthread_t thread;
    void *record;
    cr_assert_eq(pthread_create(&thread, NULL, join_once, threads), 0);
    pthread_join(thread, &record);
    return record;
}

static unsigned count(struct nc_threads *threads)
{
    unsigned n = 0;
    for (struct nc_thread *t = nc_threads_first(threads); t; t = t->next)
        n++;
    return n;
}

Test(thread, a_thread_finds_its_own_record_again)
{
    struct nc_threads threads;
    cr_assert_eq(nc_threads_init(&threads, sizeof(struct record)), 0);
    struct record *mine = nc_threads_self(&threads);
    cr_assert_not_null(mine);
    cr_expect_eq((uintptr_t)mine % 64, 0);
    cr_expect_eq(mine->mine, 0);
    cr_expect_eq(nc_threads_self(&threads), mine);
    cr_expect_neq(in_thread(&threads), mine);
    nc_threads_deinit(&threads);
}

Test(thread, a_record_goes_to_the_next_thread_with_what_hangs_on_it)
{
    struct nc_threads threads;
    cr_assert_eq(nc_threads_init(&threads, sizeof(struct record)), 0);
    struct record *first = in_thread(&threads);
    first->mine = 42;
    for (int i = 0; i < 20; i++)
        cr_assert_eq(in_thread(&threads), first);
    cr_expect_eq(first->mine, 42);
    cr_expect_eq(count(&threads), 1);
    nc_threads_deinit(&threads);
}

Test(thread, two_registries_do_not_share_records)
{
    struct nc_threads a, b;
    cr_assert_eq(nc_threads_init(&a, sizeof(struct record)), 0);
    cr_assert_eq(nc_threads_init(&b, sizeof(struct record)), 0);
    cr_expect_neq(nc_threads_self(&a), nc_threads_self(&b));
    nc_threads_deinit(&a);
    nc_threads_deinit(&b);
}

Test(thread, out_of_memory_is_no_record_and_the_next_try_may_succeed)
{
    struct nc_threads threads;
    cr_assert_eq(nc_threads_init(&threads, sizeof(struct record)), 0);
    alloc_fail_at(0, ALLOC_FAIL_ONCE);
    cr_expect_null(nc_threads_self(&threads));
    cr_expect(alloc_fail_end());
    cr_expect_eq(count(&threads), 0);
    cr_expect_not_null(nc_threads_self(&threads));
    nc_threads_deinit(&threads);
}

struct gate {
    struct nc_threads threads;
    pthread_barrier_t barrier;
};

static void *join_together(void *arg)
{
    struct gate *gate = arg;
    pthread_barrier_wait(&gate->barrier);
    struct record *mine = nc_threads_self(&gate->threads);
    mine->mine++; /* a record shared by two threads shows as a lost increment or a race */
    pthread_barrier_wait(&gate->barrier);
    return mine;
}

Test(thread, threads_that_live_at_the_same_time_have_different_records)
{
    enum { THREADS = 8 };
    struct gate gate;
    pthread_t thread[THREADS];
    struct record *record[THREADS];
    cr_assert_eq(nc_threads_init(&gate.threads, sizeof(struct record)), 0);
    pthread_barrier_init(&gate.barrier, NULL, THREADS);
    for (int i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&thread[i], NULL, join_together, &gate), 0);
    for (int i = 0; i < THREADS; i++) {
        void *result;
        pthread_join(thread[i], &result);
        record[i] = result;
        cr_expect_eq(record[i]->mine, 1);
        for (int j = 0; j < i; j++)
            cr_expect_neq(record[i], record[j]);
    }
    pthread_barrier_destroy(&gate.barrier);
    nc_threads_deinit(&gate.threads);
}

Test(thread, a_registry_in_the_place_of_a_closed_one_finds_none_of_its_records)
{
    struct nc_threads threads;
    for (int i = 0; i < 8; i++) {
        cr_assert_eq(nc_threads_init(&threads, sizeof(struct record)), 0);
        cr_assert_eq(count(&threads), 0);
        struct record *mine = nc_threads_self(&threads);
        cr_assert_not_null(mine);
        cr_expect_eq(mine->mine, 0);
        cr_expect_eq(count(&threads), 1);
        mine->mine = 42;
        nc_threads_deinit(&threads);
    }
}

Test(thread, more_registries_than_notes_keep_their_records_apart)
{
    enum { REGISTRIES = 3 * NC_THREAD_NOTES };
    struct nc_threads threads[REGISTRIES];
    for (int i = 0; i < REGISTRIES; i++) {
        cr_assert_eq(nc_threads_init(&threads[i], sizeof(struct record)), 0);
        ((struct record *)nc_threads_self(&threads[i]))->mine = (uint64_t)i;
    }
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < REGISTRIES; i++) {
            cr_expect_eq(((struct record *)nc_threads_self(&threads[i]))->mine, (uint64_t)i);
            cr_expect_eq(count(&threads[i]), 1);
        }
    for (int i = 0; i < REGISTRIES; i++)
        nc_threads_deinit(&threads[i]);
}
