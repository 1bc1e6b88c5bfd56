#include "redis/outbox.h"

#include <criterion/criterion.h>
#include <pthread.h>

#define PUSHERS 4u
#define CALLS 20000u

/* Only what links calls is used here, and `slot`, to tell them apart. */
static struct nc_call calls[PUSHERS][CALLS];

Test(outbox, is_closed_until_it_is_opened)
{
    struct nc_outbox box;
    nc_outbox_init(&box);
    cr_expect_not(nc_outbox_push(&box, &calls[0][0]));
    nc_outbox_collect(&box);
    cr_expect_not(nc_outbox_is_waiting(&box));
    cr_expect_not(nc_outbox_has_next(&box));
    cr_expect_not(nc_outbox_looks_free(&box));
    nc_outbox_open(&box);
    cr_expect(nc_outbox_looks_free(&box));
    cr_expect(nc_outbox_push(&box, &calls[0][0]));
}

Test(outbox, gives_the_oldest_first_over_several_collections)
{
    struct nc_outbox box;
    nc_outbox_init(&box);
    nc_outbox_open(&box);
    for (int i = 0; i < 9; i++) {
        cr_assert(nc_outbox_push(&box, &calls[0][i]));
        cr_expect(nc_outbox_is_waiting(&box));
        if (i % 3 == 2)
            nc_outbox_collect(&box);
        cr_expect(nc_outbox_is_waiting(&box), "in the stack or in the backlog");
    }
    for (int i = 0; i < 9; i++) {
        cr_assert(nc_outbox_has_next(&box));
        cr_expect_eq(nc_outbox_take(&box), &calls[0][i]);
    }
    cr_expect_not(nc_outbox_has_next(&box));
    cr_expect_not(nc_outbox_is_waiting(&box));
    cr_assert(nc_outbox_push(&box, &calls[1][0]));
    nc_outbox_collect(&box);
    cr_expect_eq(nc_outbox_take(&box), &calls[1][0], "after it was empty");
}

Test(outbox, closing_returns_what_was_not_collected_and_leaves_the_rest)
{
    struct nc_outbox box;
    nc_outbox_init(&box);
    nc_outbox_open(&box);
    for (int i = 0; i < 4; i++) {
        cr_assert(nc_outbox_push(&box, &calls[0][i]));
        if (i == 1)
            nc_outbox_collect(&box);
    }
    struct nc_call *pushed = nc_outbox_close(&box);
    cr_expect_eq(pushed, &calls[0][3]);
    cr_expect_eq(pushed->next, &calls[0][2]);
    cr_expect_null(pushed->next->next);
    cr_expect_null(nc_outbox_close(&box), "once");
    cr_expect_not(nc_outbox_push(&box, &calls[0][4]));
    struct nc_call *collected = nc_outbox_take_all(&box);
    cr_expect_eq(collected, &calls[0][0]);
    cr_expect_eq(collected->next, &calls[0][1]);
    cr_expect_null(collected->next->next);
    cr_expect_not(nc_outbox_is_waiting(&box));
}

struct pusher {
    struct nc_outbox *box;
    uint32_t number, pushed;
};

/* Until it is through, or finds the box closed. */
static void *push(void *arg)
{
    struct pusher *p = arg;
    for (; p->pushed < CALLS; p->pushed++) {
        calls[p->number][p->pushed].slot = p->number;
        if (!nc_outbox_push(p->box, &calls[p->number][p->pushed]))
            break;
    }
    return NULL;
}

Test(outbox, pushed_by_many_each_is_taken_once_and_in_its_pushers_order)
{
    struct nc_outbox box;
    struct pusher pusher[PUSHERS];
    pthread_t thread[PUSHERS];
    uint32_t taken[PUSHERS] = {0}, all = 0, accepted = 0;
    nc_outbox_init(&box);
    nc_outbox_open(&box);
    for (uint32_t i = 0; i < PUSHERS; i++) {
        pusher[i] = (struct pusher){&box, i, 0};
        cr_assert_eq(pthread_create(&thread[i], NULL, push, &pusher[i]), 0);
    }
    while (all < PUSHERS * CALLS / 2) {
        nc_outbox_collect(&box);
        for (; nc_outbox_has_next(&box); all++) {
            struct nc_call *call = nc_outbox_take(&box);
            cr_assert_eq(call, &calls[call->slot][taken[call->slot]++]);
        }
    }
    for (struct nc_call *left = nc_outbox_close(&box); left; left = left->next)
        all++;
    for (uint32_t i = 0; i < PUSHERS; i++) {
        pthread_join(thread[i], NULL);
        accepted += pusher[i].pushed;
    }
    cr_expect_eq(all, accepted);
    cr_expect_not(nc_outbox_is_waiting(&box));
}
