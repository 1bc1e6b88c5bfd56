#include "sync/chain.h"

#include <criterion/criterion.h>

enum { INCARNATION = 7 };

static struct nc_chain stream;

/* Subscribed, the first heartbeat back with s, the answer of RESUME applied. */
static void live_at(uint64_t s)
{
    nc_chain_init(&stream);
    nc_chain_subscribe(&stream);
    nc_chain_heartbeat(&stream, s, false);
    nc_chain_resume(&stream, s, 0, INCARNATION, 0, true);
    cr_assert_eq(nc_chain_heartbeat(&stream, s, true), NC_CHAIN_PROVEN);
}

Test(chain, first_heartbeat_opens_it_and_proves_nothing)
{
    nc_chain_init(&stream);
    nc_chain_subscribe(&stream);
    cr_assert_eq(nc_chain_heartbeat(&stream, 10, false), NC_CHAIN_GAP);
    cr_assert_eq(nc_chain_heartbeat(&stream, 10, false), NC_CHAIN_GAP);
    cr_assert_eq(stream.last, 0);
}

Test(chain, first_answer_begins_an_epoch)
{
    nc_chain_init(&stream);
    nc_chain_subscribe(&stream);
    nc_chain_heartbeat(&stream, 10, false);
    cr_assert_eq(nc_chain_resume(&stream, 10, 0, INCARNATION, 0, true), NC_CHAIN_FORGET);
    cr_assert_eq(stream.last, 10);
    cr_assert_eq(nc_chain_heartbeat(&stream, 10, false), NC_CHAIN_FINE, "sent before the answer");
    cr_assert_eq(nc_chain_heartbeat(&stream, 10, true), NC_CHAIN_PROVEN);
}

Test(chain, messages_in_a_row_move_it)
{
    live_at(10);
    cr_assert_eq(nc_chain_message(&stream, 10, 12), NC_CHAIN_FINE);
    cr_assert_eq(nc_chain_message(&stream, 12, 15), NC_CHAIN_FINE);
    cr_assert_eq(stream.last, 15);
    cr_assert_eq(nc_chain_heartbeat(&stream, 15, true), NC_CHAIN_PROVEN);
}

Test(chain, message_after_a_lost_one_is_a_gap)
{
    live_at(10);
    cr_assert_eq(nc_chain_message(&stream, 12, 15), NC_CHAIN_GAP);
    cr_assert_eq(stream.last, 10, "nothing is complete beyond the hole");
    cr_assert_eq(nc_chain_heartbeat(&stream, 15, true), NC_CHAIN_GAP);
}

Test(chain, lost_last_message_is_seen_by_the_heartbeat)
{
    live_at(10);
    cr_assert_eq(nc_chain_heartbeat(&stream, 12, true), NC_CHAIN_GAP);
}

Test(chain, message_from_before_last_is_no_gap)
{
    live_at(10);
    cr_assert_eq(nc_chain_message(&stream, 4, 6), NC_CHAIN_FINE);
    cr_assert_eq(stream.last, 10);
}

Test(chain, answer_from_before_the_hole_is_asked_again)
{
    live_at(10);
    nc_chain_message(&stream, 14, 15);
    cr_assert_eq(nc_chain_resume(&stream, 12, 0, INCARNATION, 1, true), NC_CHAIN_AGAIN);
    cr_assert_eq(nc_chain_resume(&stream, 14, 0, INCARNATION, 1, true), NC_CHAIN_ACCEPTED);
    cr_assert_eq(stream.last, 15, "the chain goes beyond the answer");
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
        nc_chain_message(&stream, 12, 15);
        cr_assert_eq(nc_chain_resume(&stream, answers[i].s, answers[i].floor,
                                     answers[i].incarnation, answers[i].keys,
                                     answers[i].same_server),
                     NC_CHAIN_FORGET, "answer %zu", i);
        cr_assert_eq(stream.last, 20);
    }
}

Test(chain, server_that_went_back_begins_an_epoch)
{
    live_at(10);
    nc_chain_subscribe(&stream);
    nc_chain_heartbeat(&stream, 8, false);
    cr_assert_eq(nc_chain_resume(&stream, 8, 0, INCARNATION, 0, true), NC_CHAIN_FORGET);
    cr_assert_eq(stream.last, 8);
}

/* An evicting Redis takes the clock; it is made anew with a later s, which no message announces. */
Test(chain, new_clock_of_a_server_costs_one_epoch_and_not_one_a_heartbeat)
{
    live_at(10);
    cr_assert_eq(nc_chain_heartbeat(&stream, 30, true), NC_CHAIN_GAP);
    cr_assert_eq(nc_chain_resume(&stream, 30, 30, 30, 0, true), NC_CHAIN_FORGET);
    cr_assert_eq(nc_chain_heartbeat(&stream, 30, true), NC_CHAIN_PROVEN);
}

/* A chain that is complete up to 10 on incarnation 1. */
static struct nc_chain whole_at_10(void)
{
    struct nc_chain chain;
    nc_chain_init(&chain);
    nc_chain_subscribe(&chain);
    nc_chain_heartbeat(&chain, 10, false);
    cr_assert_eq(nc_chain_resume(&chain, 10, 0, 1, 0, true), NC_CHAIN_FORGET);
    cr_assert(chain.whole);
    cr_assert_eq(chain.last, 10);
    return chain;
}

Test(chain, nothing_is_proven_before_the_first_answer)
{
    struct nc_chain chain;
    nc_chain_init(&chain);
    nc_chain_subscribe(&chain);
    cr_expect_eq(nc_chain_heartbeat(&chain, 5, true), NC_CHAIN_GAP);
    cr_expect_eq(nc_chain_heartbeat(&chain, 5, true), NC_CHAIN_GAP);
    cr_expect_eq(nc_chain_message(&chain, 5, 6), NC_CHAIN_FINE);
    cr_expect_not(chain.whole);
}

Test(chain, the_first_answer_ever_forgets)
{
    struct nc_chain chain;
    nc_chain_init(&chain);
    nc_chain_subscribe(&chain);
    nc_chain_heartbeat(&chain, 10, false);
    cr_expect_eq(nc_chain_resume(&chain, 12, 0, 1, 0, true), NC_CHAIN_FORGET);
    cr_expect_eq(chain.last, 12);
}

Test(chain, consecutive_messages_move_it_on)
{
    struct nc_chain chain = whole_at_10();
    cr_expect_eq(nc_chain_message(&chain, 10, 11), NC_CHAIN_FINE);
    cr_expect_eq(nc_chain_message(&chain, 11, 15), NC_CHAIN_FINE);
    cr_expect_eq(chain.last, 15);
    cr_expect(chain.whole);
}

Test(chain, a_message_behind_a_hole_is_a_gap)
{
    struct nc_chain chain = whole_at_10();
    cr_expect_eq(nc_chain_message(&chain, 12, 13), NC_CHAIN_GAP);
    cr_expect_not(chain.whole);
    cr_expect_eq(chain.last, 10);
    cr_expect_eq(chain.c0, 12);
    cr_expect_eq(chain.c1, 13);
}

Test(chain, an_old_message_changes_nothing)
{
    struct nc_chain chain = whole_at_10();
    nc_chain_message(&chain, 10, 12);
    cr_expect_eq(nc_chain_message(&chain, 10, 12), NC_CHAIN_FINE);
    cr_expect_eq(nc_chain_message(&chain, 8, 9), NC_CHAIN_FINE);
    cr_expect_eq(chain.last, 12);
    cr_expect(chain.whole);
}

Test(chain, a_heartbeat_at_the_end_proves_only_when_sent_after_the_answer)
{
    struct nc_chain chain = whole_at_10();
    cr_expect_eq(nc_chain_heartbeat(&chain, 10, false), NC_CHAIN_FINE);
    cr_expect_eq(nc_chain_heartbeat(&chain, 10, true), NC_CHAIN_PROVEN);
}

Test(chain, a_heartbeat_beyond_the_end_is_a_gap_and_one_before_it_proves_nothing)
{
    struct nc_chain chain = whole_at_10();
    nc_chain_message(&chain, 10, 20);
    cr_expect_eq(nc_chain_heartbeat(&chain, 15, true), NC_CHAIN_FINE);
    cr_expect(chain.whole);
    cr_expect_eq(nc_chain_heartbeat(&chain, 21, true), NC_CHAIN_GAP);
    cr_expect_not(chain.whole);
}

Test(chain, an_answer_that_covers_the_hole_mends_it)
{
    struct nc_chain chain = whole_at_10();
    nc_chain_message(&chain, 12, 13);
    cr_expect_eq(nc_chain_resume(&chain, 14, 5, 1, 3, true), NC_CHAIN_ACCEPTED);
    cr_expect_eq(chain.last, 14);
    cr_expect(chain.whole);
    cr_expect_eq(nc_chain_message(&chain, 14, 16), NC_CHAIN_FINE);
    cr_expect_eq(chain.last, 16);
}

Test(chain, an_answer_older_than_the_subscription_is_asked_for_again)
{
    struct nc_chain chain = whole_at_10();
    nc_chain_message(&chain, 12, 13);
    cr_expect_eq(nc_chain_resume(&chain, 11, 5, 1, 1, true), NC_CHAIN_AGAIN);
    cr_expect_not(chain.whole);
}

Test(chain, messages_heard_meanwhile_count_when_the_answer_comes)
{
    struct nc_chain chain = whole_at_10();
    nc_chain_message(&chain, 12, 13);
    nc_chain_message(&chain, 13, 17);
    cr_expect_eq(nc_chain_resume(&chain, 12, 5, 1, 1, true), NC_CHAIN_ACCEPTED);
    cr_expect_eq(chain.last, 17);
}

Test(chain, what_cannot_be_mended_is_forgotten)
{
    const struct {
        uint64_t s, floor, incarnation, keys;
        bool same_server;
    } answers[] = {
        {14, 11, 1, 1, true},                 /* the index no longer knows what came after 10 */
        {14, 5, 2, 1, true},                  /* another index */
        {14, 5, 1, 1, false},                 /* another server */
        {14, 5, 1, NC_RESUME_MOST + 1, true}, /* too much to apply */
    };
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        struct nc_chain chain = whole_at_10();
        nc_chain_message(&chain, 12, 13);
        cr_expect_eq(nc_chain_resume(&chain, answers[i].s, answers[i].floor, answers[i].incarnation,
                                     answers[i].keys, answers[i].same_server),
                     NC_CHAIN_FORGET, "answer %zu", i);
        cr_expect_eq(chain.last, 14);
        cr_expect(chain.whole);
    }
}

Test(chain, the_largest_answer_that_is_worth_it_is_applied)
{
    struct nc_chain chain = whole_at_10();
    nc_chain_message(&chain, 12, 13);
    cr_expect_eq(nc_chain_resume(&chain, 14, 10, 1, NC_RESUME_MOST, true), NC_CHAIN_ACCEPTED);
}

Test(chain, a_server_whose_count_fell_back_is_forgotten)
{
    struct nc_chain chain = whole_at_10();
    nc_chain_subscribe(&chain);
    nc_chain_heartbeat(&chain, 3, false);
    cr_expect_eq(nc_chain_resume(&chain, 4, 0, 1, 0, true), NC_CHAIN_FORGET);
    cr_expect_eq(chain.last, 4);
}

Test(chain, a_new_subscription_keeps_what_is_known_and_proves_nothing)
{
    struct nc_chain chain = whole_at_10();
    nc_chain_subscribe(&chain);
    cr_expect_eq(chain.last, 10);
    cr_expect_eq(nc_chain_heartbeat(&chain, 10, true), NC_CHAIN_GAP);
    cr_expect_eq(nc_chain_resume(&chain, 10, 2, 1, 0, true), NC_CHAIN_ACCEPTED);
    cr_expect_eq(nc_chain_heartbeat(&chain, 10, true), NC_CHAIN_PROVEN);
}
