/* Rows of a matrix that are written while their reply is read: until when, and by whom. A relay
 * before the server lets through as much of a reply as a test wants. */
#include "lib/async_fixture.h"
#include "lib/relay.h"
#include "lib/wait_until.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

REDIS_SERVER_REQUIRED;

/* ---- the relay ---- */

enum { LARGE = 600 };

static _Atomic long room; /* bytes of large replies that may pass; negative: all */

/* A pair is special whose replies were large once. */
static bool is_closed(const struct relay_pair *pair)
{
    return pair->is_special && atomic_load(&room) == 0;
}

static bool pass_reply(struct relay_pair *pair)
{
    char bytes[LARGE];
    long left = atomic_load(&room);
    if (left < 0 || (!pair->is_special && recv(pair->server, bytes, LARGE, MSG_PEEK) < LARGE))
        return relay_pass(pair->server, pair->client, SIZE_MAX);
    pair->is_special = true;
    if (left == 0)
        return true;
    size_t most = left < LARGE ? (size_t)left : LARGE;
    atomic_fetch_sub(&room, (long)most);
    return relay_pass(pair->server, pair->client, most);
}

static struct relay relay = {.on_reply = pass_reply, .is_mute = is_closed};

/* ---- rows ---- */

enum { ROWS = 8, DIMENSION = 512, ROW_BYTES = DIMENSION * 4, LEFT = 0xEE };

/* Row i is in Redis, and filled with i + 1. */
static struct nearcache_tier *vectors;
static char texts[ROWS][8];
static struct nearcache_name names[ROWS];
static float matrix[ROWS][DIMENSION], other[ROWS][DIMENSION];
static int statuses[ROWS], other_statuses[ROWS];

static void set_up(void)
{
    struct nearcache_redis redis = NEARCACHE_REDIS_INIT;
    struct nearcache_config config = NEARCACHE_CONFIG_INIT;
    struct nearcache_tier_config rows = NEARCACHE_TIER_INIT;
    cr_assert(redis_server_start(&server, NULL));
    atomic_store(&room, -1);
    relay_start(&relay, &server);
    redis.url = relay.url;
    config.redis = &redis;
    config.deadline_us = PATIENT_US;
    cr_assert_eq(nearcache_open(&cache, &config), 0);
    cr_assert_eq(nearcache_wait(cache, PATIENT_US), 0);
    tier = open_tier(cache);
    rows.name = "v";
    rows.prefix = "v:";
    rows.kind = NEARCACHE_VECTOR_F32;
    rows.dimension = DIMENSION;
    cr_assert_eq(nearcache_tier_open(cache, &rows, &vectors), 0);
    wait_for_loop();
    for (unsigned i = 0; i < ROWS; i++) {
        names[i].data = texts[i];
        names[i].bytes = (size_t)snprintf(texts[i], sizeof texts[i], "%u", i);
        for (unsigned k = 0; k < DIMENSION; k++)
            matrix[0][k] = (float)(i + 1);
        free(redis_server_ask(&server, "SET v:%s %b", texts[i], matrix[0], sizeof matrix[0]));
    }
    memset(matrix, 0, sizeof matrix);
}

static void tear_down(void)
{
    atomic_store(&room, -1);
    cr_assert_eq(nearcache_close(cache, 0), 0);
    relay_stop(&relay);
    redis_server_stop(&server);
}

TestSuite(async_rows, .init = set_up, .fini = tear_down, .timeout = 90);

static bool is_whole(float rows[][DIMENSION], unsigned i)
{
    for (unsigned k = 0; k < DIMENSION; k++)
        if (rows[i][k] != (float)(i + 1))
            return false;
    return true;
}

static void check_all(float rows[][DIMENSION], const int *of)
{
    for (unsigned i = 0; i < ROWS; i++) {
        cr_assert_eq(of[i], 0);
        cr_assert(is_whole(rows, i), "row %u", i);
    }
}

static int ask(float rows[][DIMENSION], int *of, uint64_t timeout_us, struct got *got,
               nearcache_ticket *ticket)
{
    struct nearcache_read how = NEARCACHE_READ_INIT;
    how.timeout_us = timeout_us;
    return nearcache_get_vectors_async(vectors, names, ROWS, &how, rows, 0, of, NULL, on_end, got,
                                       ticket);
}

static bool first_is_there(void)
{
    cr_assert_geq(nearcache_dispatch(cache, 0), 0);
    return is_whole(matrix, 0);
}

/* Some rows of the reply, and a part of one. */
static void let_half_through(void) { atomic_store(&room, 3 * ROW_BYTES + ROW_BYTES / 2); }

static void leave_matrix(void) { memset(matrix, LEFT, sizeof matrix); }

/* The rest of the reply is read, and found nobody who wants it. */
static void read_the_rest(void)
{
    const unsigned char *bytes = (const unsigned char *)matrix;
    struct got after = {0};
    atomic_store(&room, -1);
    cr_assert_eq(get("none", &after, NULL), NEARCACHE_PENDING);
    loop_until(&after.calls, 1);
    cr_assert_eq(after.status, NEARCACHE_MISS, "it comes behind the rows");
    for (size_t i = 0; i < sizeof matrix; i++)
        cr_assert_eq(bytes[i], LEFT, "written after it was given back, at %zu", i);
    cr_assert_eq(nearcache_pinned(cache), 0);
}

Test(async_rows, a_row_stands_in_the_matrix_when_it_was_read)
{
    struct got got = {0};
    let_half_through();
    cr_assert_eq(ask(matrix, statuses, PATIENT_US, &got, NULL), NEARCACHE_PENDING);
    cr_assert(WAIT_UNTIL(first_is_there(), PATIENT_MS));
    cr_assert_eq(got.calls, 0);
    cr_assert_eq(statuses[0], NEARCACHE_PENDING);
    cr_assert_not(is_whole(matrix, ROWS - 1));
    atomic_store(&room, -1);
    loop_until(&got.calls, 1);
    cr_assert_eq(got.status, 0);
    check_all(matrix, statuses);
    cr_assert_eq(nearcache_pinned(cache), 0);
}

/* In the middle of its rows. */
static void cancel_half_way(void)
{
    struct got got = {0};
    nearcache_ticket ticket;
    let_half_through();
    cr_assert_eq(ask(matrix, statuses, PATIENT_US, &got, &ticket), NEARCACHE_PENDING);
    cr_assert(WAIT_UNTIL(first_is_there(), PATIENT_MS));
    cr_assert_eq(nearcache_cancel(cache, ticket), 0);
    leave_matrix();
    read_the_rest();
    cr_assert_eq(got.calls, 0);
}

Test(async_rows, nobody_writes_to_the_matrix_of_a_call_that_was_cancelled) { cancel_half_way(); }

Test(async_rows, nobody_writes_to_the_matrix_of_a_call_whose_time_was_over)
{
    struct got got = {0};
    let_half_through();
    cr_assert_eq(ask(matrix, statuses, 30000, &got, NULL), NEARCACHE_PENDING);
    loop_until(&got.calls, 1);
    cr_assert_eq(got.status, NEARCACHE_ETIMEOUT);
    leave_matrix();
    read_the_rest();
}

Test(async_rows, what_was_read_for_one_who_left_is_kept)
{
    struct got got = {0};
    cancel_half_way();
    cr_assert_eq(ask(other, other_statuses, PATIENT_US, &got, NULL), 0, "all of it is here now");
    check_all(other, other_statuses);
}

Test(async_rows, who_wants_the_rows_of_another_gets_copies)
{
    struct got got = {0};
    long before = requests("mget");
    atomic_store(&room, 0);
    cr_assert_eq(ask(matrix, statuses, PATIENT_US, &got, NULL), NEARCACHE_PENDING);
    cr_assert_eq(ask(other, other_statuses, PATIENT_US, &got, NULL), NEARCACHE_PENDING);
    cr_assert_geq(nearcache_dispatch(cache, 0), 0); /* both have departed */
    atomic_store(&room, -1);
    loop_until(&got.calls, 2);
    check_all(matrix, statuses);
    check_all(other, other_statuses);
    cr_assert_eq(requests("mget"), before + 1);
    cr_assert_eq(nearcache_pinned(cache), 0);
}

Test(async_rows, who_wants_the_rows_of_one_who_left_gets_them)
{
    struct got got = {0}, left = {0};
    nearcache_ticket ticket;
    let_half_through();
    cr_assert_eq(ask(matrix, statuses, PATIENT_US, &left, &ticket), NEARCACHE_PENDING);
    cr_assert(WAIT_UNTIL(first_is_there(), PATIENT_MS));
    cr_assert_eq(ask(other, other_statuses, PATIENT_US, &got, NULL), NEARCACHE_PENDING);
    cr_assert_eq(nearcache_cancel(cache, ticket), 0);
    leave_matrix();
    read_the_rest();
    loop_until(&got.calls, 1);
    cr_assert_eq(left.calls, 0);
    check_all(other, other_statuses);
}

/* Asks without a loop. */
static void *ask_here(void *arg)
{
    int *outcome = arg;
    struct nearcache_read how = NEARCACHE_READ_INIT;
    how.timeout_us = PATIENT_US;
    *outcome = nearcache_get_vectors(vectors, names, ROWS, &how, other, 0, NULL, NULL,
                                     other_statuses, NULL);
    return NULL;
}

Test(async_rows, a_loop_and_a_synchronous_caller_share_rows)
{
    struct got got = {0};
    pthread_t thread;
    int outcome = -1;
    long before = requests("mget");
    atomic_store(&room, 0);
    cr_assert_eq(pthread_create(&thread, NULL, ask_here, &outcome), 0);
    cr_assert(WAIT_UNTIL(requests("mget") == before + 1, PATIENT_MS));
    cr_assert_eq(ask(matrix, statuses, PATIENT_US, &got, NULL), NEARCACHE_PENDING);
    atomic_store(&room, -1);
    loop_until(&got.calls, 1);
    pthread_join(thread, NULL);
    cr_assert_eq(outcome, 0);
    check_all(matrix, statuses);
    check_all(other, other_statuses);
    cr_assert_eq(requests("mget"), before + 1);
    cr_assert_eq(nearcache_pinned(cache), 0);
}
