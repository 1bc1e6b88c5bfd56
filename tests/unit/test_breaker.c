#include "base/clock.h"
#include "lib/wait_until.h"
#include "redis/breaker.h"

#include <criterion/criterion.h>
#include <pthread.h>

Test(breaker, opens_at_the_limit_and_says_so_once)
{
    struct nc_breaker breaker;
    nc_breaker_init(&breaker, 3);
    cr_expect_not(nc_breaker_expired(&breaker));
    cr_expect_not(nc_breaker_expired(&breaker));
    cr_expect_not(nc_breaker_is_open(&breaker));
    cr_expect(nc_breaker_expired(&breaker));
    cr_expect(nc_breaker_is_open(&breaker));
    cr_expect_not(nc_breaker_expired(&breaker));
}

Test(breaker, an_answer_between_expiries_begins_the_count_again)
{
    struct nc_breaker breaker;
    nc_breaker_init(&breaker, 2);
    for (int i = 0; i < 100; i++) {
        cr_expect_not(nc_breaker_expired(&breaker));
        nc_breaker_answered(&breaker);
    }
    cr_expect_not(nc_breaker_is_open(&breaker));
}

Test(breaker, open_it_lets_one_probe_through_at_a_time)
{
    struct nc_breaker breaker;
    nc_breaker_init(&breaker, 1);
    cr_assert(nc_breaker_expired(&breaker));
    cr_expect_not(nc_breaker_lets_through(&breaker), "not before the first interval is over");
    cr_assert(WAIT_UNTIL(nc_breaker_lets_through(&breaker), 10000));
    cr_expect_not(nc_breaker_lets_through(&breaker), "one probe an interval");
}

Test(breaker, an_answer_closes_it)
{
    struct nc_breaker breaker;
    nc_breaker_init(&breaker, 1);
    cr_assert(nc_breaker_expired(&breaker));
    nc_breaker_answered(&breaker);
    cr_expect_not(nc_breaker_is_open(&breaker));
    cr_expect(nc_breaker_lets_through(&breaker));
    cr_expect(nc_breaker_expired(&breaker), "and it opens once more");
}

Test(breaker, switched_off_it_never_opens)
{
    struct nc_breaker breaker;
    nc_breaker_init(&breaker, UINT64_MAX);
    for (int i = 0; i < 100000; i++)
        cr_assert_not(nc_breaker_expired(&breaker));
    cr_expect(nc_breaker_lets_through(&breaker));
}

static struct nc_breaker shared;
static _Atomic unsigned openings;

static void *expire(void *arg)
{
    for (int i = 0; i < 1000; i++)
        if (nc_breaker_expired(&shared))
            atomic_fetch_add(&openings, 1);
    return arg;
}

Test(breaker, of_many_threads_one_is_told_that_it_opened)
{
    pthread_t threads[8];
    nc_breaker_init(&shared, 100);
    for (int i = 0; i < 8; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, expire, NULL), 0);
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    cr_expect_eq(atomic_load(&openings), 1);
}
