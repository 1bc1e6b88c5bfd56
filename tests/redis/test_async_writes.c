/* Writes of an event loop on a real server. */
#include "lib/async_fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

REDIS_SERVER_REQUIRED;

TestSuite(async_writes, .init = async_set_up, .fini = async_tear_down, .timeout = 90);

Test(async_writes, writes_of_a_key_keep_their_order)
{
    struct got got = {0};
    char value[16];
    for (unsigned i = 0; i < 200; i++) {
        snprintf(value, sizeof value, "%u", i);
        cr_assert_eq(
            nearcache_set_async(tier, "k", 1, value, strlen(value), NULL, on_end, &got, NULL),
            NEARCACHE_PENDING);
    }
    loop_until(&got.calls, 200);
    cr_assert_eq(got.status, 0);
    char *now = redis_server_ask(&server, "GET t:k");
    cr_assert_str_eq(now, "199");
    free(now);
    cr_assert_eq(nearcache_delete_async(tier, "k", 1, NULL, on_end, &got, NULL), NEARCACHE_PENDING);
    loop_until(&got.calls, 201);
    now = redis_server_ask(&server, "EXISTS t:k");
    cr_assert_str_eq(now, "0");
    free(now);
}

Test(async_writes, a_read_sees_the_writes_before_it_and_none_after_it)
{
    struct got got[3] = {{0}};
    char before[16], after[16];
    for (unsigned i = 0; i < 300; i++) {
        struct nearcache_read how = NEARCACHE_READ_INIT;
        struct nearcache_result result;
        memset(got, 0, sizeof got);
        snprintf(before, sizeof before, "%u", 2 * i);
        snprintf(after, sizeof after, "%u", 2 * i + 1);
        how.refresh = true;
        cr_assert_eq(
            nearcache_set_async(tier, "o", 1, before, strlen(before), NULL, on_end, &got[0], NULL),
            NEARCACHE_PENDING);
        /* Every other time the read is the loop's own: no write is there when it is asked for. */
        if (i % 2)
            loop_until(&got[0].calls, 1);
        cr_assert_eq(nearcache_get_async(tier, "o", 1, &how, on_get, &got[1], &result, NULL),
                     NEARCACHE_PENDING);
        cr_assert_eq(
            nearcache_set_async(tier, "o", 1, after, strlen(after), NULL, on_end, &got[2], NULL),
            NEARCACHE_PENDING);
        loop_until(&got[1].calls, 1);
        loop_until(&got[2].calls, 1);
        cr_assert_eq(got[1].status, 0);
        cr_assert_str_eq(got[1].text, before);
    }
}

Test(async_writes, redis_killed_and_back_writes_are_local_and_then_there)
{
    struct nearcache_write how = NEARCACHE_WRITE_INIT;
    struct got got = {0};
    how.timeout_us = 100000;
    redis_server_kill(&server);
    cr_assert_eq(nearcache_set_async(tier, "l", 1, "local", 5, &how, on_end, &got, NULL),
                 NEARCACHE_PENDING);
    loop_until(&got.calls, 1);
    cr_assert_eq(got.status, NEARCACHE_LOCAL);
    cr_assert(redis_server_restart(&server));
    cr_assert_eq(nearcache_wait(cache, PATIENT_US), 0);
    char *now = redis_server_ask(&server, "GET t:l");
    cr_assert_str_eq(now, "local");
    free(now);
}
