#include "sync/chain.h"

#include <criterion/criterion.h>

enum { INCARNATION = 7 };

static struct nc_chain chain;

/* Subscribed, the first heartbeat back with s, the answer of RESUME applied. */
static void live_at(uint64_t s)
{
    nc_chain_init(&chain);
    nc_chain_subscribe(&chain);
    nc_chain_heartbeat(&chain, s, false);
    nc_chain_resume(&chain, s, 0, INCARNATION, 0, true);
    cr_assert_eq(nc_chain_heartbeat(&chain, s, true), NC_CHAIN_PROVEN);
}

Test(chain, first_heartbeat_opens_it_and_proves_nothing)
{
    nc_chain_init(&chain);
    nc_chain_subscribe(&chain);
    cr_assert_eq(nc_chain_heartbeat(&chain, 10, false), NC_CHAIN_GAP);
    cr_assert_eq(nc_chain_heartbeat(&chain, 10, false), NC_CHAIN_GAP);
    cr_assert_eq(chain.last, 0);
}

Test(chain, first_answer_begins_an_epoch)
{
    nc_chain_init(&chain);
    nc_chain_subscribe(&chain);
    nc_chain_heartbeat(&chain, 10, false);
    cr_assert_eq(nc_chain_resume(&chain, 10, 0, INCARNATION, 0, true), NC_CHAIN_FORGET);
    cr_assert_eq(chain.last, 10);
    cr_assert_eq(nc_chain_heartbeat(&chain, 10, false), NC_CHAIN_FINE, "sent before the answer");
    cr_assert_eq(nc_chain_heartbeat(&chain, 10, true), NC_CHAIN_PROVEN);
}

Test(chain, messages_in_a_row_move_it)
{
    live_at(10);
    cr_assert_eq(nc_chain_message(&chain, 10, 12), NC_CHAIN_FINE);
    cr_assert_eq(nc_chain_message(&chain, 12, 15), NC_CHAIN_FINE);
    cr_assert_eq(chain.last, 15);
    cr_assert_eq(nc_chain_heartbeat(&chain, 15, true), NC_CHAIN_PROVEN);
}

Test(chain, message_after_a_lost_one_is_a_gap)
{
    live_at(10);
    cr_assert_eq(nc_chain_message(&chain, 12, 15), NC_CHAIN_GAP);
    cr_assert_eq(chain.last, 10, "nothing is complete beyond the hole");
    cr_assert_eq(nc_chain_heartbeat(&chain, 15, true), NC_CHAIN_GAP);
}

Test(chain, lost_last_message_is_seen_by_the_heartbeat)
{
    live_at(10);
    cr_assert_eq(nc_chain_heartbeat(&chain, 12, true), NC_CHAIN_GAP);
}

Test(chain, message_from_before_last_is_no_gap)
{
    live_at(10);
    cr_assert_eq(nc_chain_message(&chain, 4, 6), NC_CHAIN_FINE);
    cr_assert_eq(chain.last, 10);
}

Test(chain, answer_from_before_the_hole_is_asked_again)
{
    live_at(10);
    nc_chain_message(&chain, 14, 15);
    cr_assert_eq(nc_chain_resume(&chain, 12, 0, INCARNATION, 1, true), NC_CHAIN_AGAIN);
    cr_assert_eq(nc_chain_resume(&chain, 14, 0, INCARNATION, 1, true), NC_CHAIN_ACCEPTED);
    cr_assert_eq(chain.last, 15, "the chain goes beyond the answer");
}

Test(chain, answer_that_cannot_be_trusted_begins_an_epoch)
{
    const struct {
        uint64_t s, floor, incarnation, keys;
        bool same_server;
    } answers[] = {
        {20, 11, INCARNATION, 0, true},                 /* the index forgot what came before 11 */
        {20, 0, INCARNATION + 1, 0, true},              /* another index */
        {20, 0, INCARNATION, 0, false},                 /* another server */
        {20, 0, INCARNATION, NC_RESUME_MOST + 1, true}, /* more than it is worth */
    };
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        live_at(10);
        nc_chain_message(&chain, 12, 15);
        cr_assert_eq(nc_chain_resume(&chain, answers[i].s, answers[i].floor, answers[i].incarnation,
                                     answers[i].keys, answers[i].same_server),
                     NC_CHAIN_FORGET, "answer %zu", i);
        cr_assert_eq(chain.last, 20);
    }
}

Test(chain, server_that_went_back_begins_an_epoch)
{
    live_at(10);
    nc_chain_subscribe(&chain);
    nc_chain_heartbeat(&chain, 8, false);
    cr_assert_eq(nc_chain_resume(&chain, 8, 0, INCARNATION, 0, true), NC_CHAIN_FORGET);
    cr_assert_eq(chain.last, 8);
}

/* An evicting Redis takes the clock; it is made anew with a later s, which no message announces. */
Test(chain, new_clock_of_a_server_costs_one_epoch_and_not_one_a_heartbeat)
{
    live_at(10);
    cr_assert_eq(nc_chain_heartbeat(&chain, 30, true), NC_CHAIN_GAP);
    cr_assert_eq(nc_chain_resume(&chain, 30, 30, 30, 0, true), NC_CHAIN_FORGET);
    cr_assert_eq(nc_chain_heartbeat(&chain, 30, true), NC_CHAIN_PROVEN);
}
