/* A place of the caller's: who may write there, and until when. */
#include "lib/wait_until.h"

#include "sync/row.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

TestSuite(row, .timeout = 60);

Test(row, nobody_writes_where_no_row_was_opened)
{
    struct nc_row row;
    memset(&row, 0, sizeof row);
    cr_expect_not(nc_row_begin(&row));
    cr_expect_not(nc_row_close(&row));
    cr_expect_not(nc_row_is_full(&row));
}

Test(row, what_was_written_once_is_full_and_stays_so)
{
    struct nc_row row;
    int place;
    nc_row_open(&row, &place);
    cr_assert(nc_row_begin(&row));
    cr_expect_not(nc_row_is_full(&row));
    nc_row_end(&row);
    cr_expect(nc_row_is_full(&row));
    cr_expect_not(nc_row_begin(&row), "it is used once");
    cr_expect(nc_row_close(&row));
    cr_expect(nc_row_close(&row));
}

Test(row, after_closing_nobody_writes)
{
    struct nc_row row;
    int place;
    nc_row_open(&row, &place);
    cr_expect_not(nc_row_close(&row));
    cr_expect_not(nc_row_begin(&row));
    cr_expect_not(nc_row_is_full(&row));
}

static _Atomic bool closed;

static void *close_row(void *arg)
{
    bool full = nc_row_close(arg);
    atomic_store(&closed, true);
    return full ? arg : NULL;
}

Test(row, who_closes_waits_for_who_writes)
{
    struct nc_row row;
    pthread_t thread;
    void *full;
    int place;
    nc_row_open(&row, &place);
    cr_assert(nc_row_begin(&row));
    cr_assert_eq(pthread_create(&thread, NULL, close_row, &row), 0);
    cr_assert(WAIT_UNTIL(atomic_load(&row.state) == NC_ROW_AWAITED, 10000));
    cr_expect_not(atomic_load(&closed));
    nc_row_end(&row);
    pthread_join(thread, &full);
    cr_expect_not_null(full);
}

enum { TURNS = 20000 };

static struct nc_row turns[TURNS];
static unsigned char places[TURNS];

static void *write_all(void *arg)
{
    (void)arg;
    for (int i = 0; i < TURNS; i++)
        if (nc_row_begin(&turns[i])) {
            places[i] = 1;
            nc_row_end(&turns[i]);
        }
    return NULL;
}

Test(row, closing_and_writing_at_the_same_time_agree)
{
    pthread_t thread;
    for (int i = 0; i < TURNS; i++)
        nc_row_open(&turns[i], &places[i]);
    cr_assert_eq(pthread_create(&thread, NULL, write_all, NULL), 0);
    for (int i = TURNS - 1; i >= 0; i--) {
        bool full = nc_row_close(&turns[i]);
        /* It is the closer's from here on: a write after it would be lost or seen. */
        cr_assert_eq(places[i], full);
        places[i] = 2;
    }
    pthread_join(thread, NULL);
    for (int i = 0; i < TURNS; i++)
        cr_assert_eq(places[i], 2);
}
