/* One flight per key: who leads, who waits, what is left behind. */
#include "lib/alloc_fail.h"
#include "lib/local_cache.h"
#include "lib/wait_until.h"

#include "base/clock.h"
#include "cache/fill.h"
#include "cache/key.h"
#include "sync/flight.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static struct local_cache local;
static struct nc_flights flights;

static void set_up(void)
{
    local_cache_open(&local, &(struct local_cache_config){.tiers = 2});
    nc_flights_init(&flights);
}

static void tear_down(void)
{
    for (int i = 0; i < NC_FLIGHT_STRIPES; i++)
        for (int j = 0; j < NC_FLIGHT_BUCKETS; j++)
            cr_assert_null(flights.stripes[i].buckets[j]);
    local_cache_close(&local);
}

TestSuite(flight, .init = set_up, .fini = tear_down, .timeout = 60);

static struct nc_key key_of(uint32_t tier, const char *name)
{
    struct nc_key key;
    cr_assert_eq(nc_cache_key(local.tiers[tier], name, strlen(name), &key), 0);
    return key;
}

static struct nc_flight *join(uint32_t tier, const char *name, const struct nc_ticket *ticket,
                              bool *leads)
{
    struct nc_key key = key_of(tier, name);
    return nc_flight_join(&flights, &key, ticket, leads);
}

static void end(struct nc_flight *flight, int outcome)
{
    nc_flight_land(flight, outcome);
    nc_flight_release(flight);
}

Test(flight, the_first_of_a_key_leads_and_the_others_join)
{
    bool leads;
    struct nc_flight *first = join(0, "a", NULL, &leads);
    cr_assert(first && leads);
    struct nc_flight *second = join(0, "a", NULL, &leads);
    cr_expect_eq(second, first);
    cr_expect_not(leads);
    struct nc_flight *elsewhere = join(1, "a", NULL, &leads);
    cr_expect(leads, "the same name in another tier is another key");
    struct nc_flight *other = join(0, "b", NULL, &leads);
    cr_expect(leads);
    nc_flight_release(second);
    end(first, 0);
    end(elsewhere, 0);
    end(other, 0);
}

Test(flight, who_begins_apart_is_joined_by_later_ones)
{
    const struct nc_ticket now = {.generation = 1, .epoch = 1, .changes = 1};
    struct nc_key key = key_of(0, "a");
    bool leads;
    struct nc_flight *given_up = join(0, "a", &now, &leads);
    struct nc_flight *apart = nc_flight_begin_apart(&flights, &key, &now);
    cr_assert(apart && apart != given_up);
    struct nc_flight *later = join(0, "a", &now, &leads);
    cr_expect_eq(later, apart);
    cr_expect_not(leads);
    end(given_up, NEARCACHE_MISS);
    cr_expect_not(nc_flight_has_landed(later));
    end(apart, 0);
    cr_expect_eq(later->outcome, 0);
    nc_flight_release(later);
}

Test(flight, who_comes_after_the_landing_leads_anew)
{
    bool leads;
    struct nc_flight *first = join(0, "a", NULL, &leads);
    struct nc_flight *waiter = join(0, "a", NULL, &leads);
    end(first, NEARCACHE_EOFFLINK);
    struct nc_flight *second = join(0, "a", NULL, &leads);
    cr_expect(leads);
    cr_expect_neq(second, waiter);
    cr_expect(nc_flight_wait(waiter, 0), "it has landed: no deadline matters");
    cr_expect_eq(waiter->outcome, NEARCACHE_EOFFLINK);
    nc_flight_release(waiter);
    end(second, 0);
}

Test(flight, a_read_that_begins_after_a_write_does_not_join_an_older_one)
{
    struct nc_ticket before = {.generation = 1, .epoch = 1, .changes = 1}, after = before;
    bool leads;
    after.changes++;
    struct nc_flight *old = join(0, "a", &before, &leads);
    struct nc_flight *with_old = join(0, "a", &before, &leads);
    cr_expect_eq(with_old, old);
    struct nc_flight *young = join(0, "a", &after, &leads);
    cr_expect(leads);
    struct nc_flight *with_young = join(0, "a", &after, &leads);
    cr_expect_eq(with_young, young);
    cr_expect_not(leads);
    /* The old one was taken out of the table; landing it must not take out the young one. */
    end(old, 0);
    struct nc_flight *again = join(0, "a", &after, &leads);
    cr_expect_eq(again, young);
    cr_expect(nc_flight_wait(with_old, 0));
    nc_flight_release(with_old);
    nc_flight_release(with_young);
    nc_flight_release(again);
    end(young, 0);
}

Test(flight, a_waiter_leaves_at_its_deadline_and_the_flight_goes_on)
{
    bool leads;
    struct nc_flight *flight = join(0, "a", NULL, &leads);
    struct nc_flight *waiter = join(0, "a", NULL, &leads);
    cr_expect_not(nc_flight_wait(waiter, nc_clock_io_ns() + 1000000));
    nc_flight_release(waiter);
    cr_expect_not(nc_flight_has_landed(flight));
    waiter = join(0, "a", NULL, &leads);
    cr_expect_not(leads, "it is still the flight of that key");
    nc_flight_release(waiter);
    end(flight, 0);
}

Test(flight, a_flight_that_everybody_left_lives_until_it_lands)
{
    bool leads;
    struct nc_flight *flight = join(0, "a", NULL, &leads);
    nc_flight_release(flight); /* its caller gave up; the leader's reference stays */
    struct nc_flight *late = join(0, "a", NULL, &leads);
    cr_expect_eq(late, flight);
    cr_expect_not(leads);
    nc_flight_land(flight, NEARCACHE_MISS);
    cr_expect_eq(late->outcome, NEARCACHE_MISS);
    nc_flight_release(late);
}

static _Atomic unsigned waiting, woken;

static void *wait_for(void *arg)
{
    struct nc_flight *flight = arg;
    atomic_fetch_add(&waiting, 1);
    if (nc_flight_wait(flight, UINT64_MAX) && flight->outcome == 7)
        atomic_fetch_add(&woken, 1);
    nc_flight_release(flight);
    return NULL;
}

Test(flight, the_landing_wakes_all_who_wait)
{
    pthread_t threads[4];
    bool leads;
    struct nc_flight *flight = join(0, "a", NULL, &leads);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, wait_for, join(0, "a", NULL, &leads)), 0);
    cr_assert(WAIT_UNTIL(atomic_load(&waiting) == 4, 10000));
    end(flight, 7);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    cr_expect_eq(atomic_load(&woken), 4);
}

Test(flight, many_keys_share_buckets_and_stay_apart)
{
    enum { MANY = 5000 };
    static struct nc_flight *all[MANY];
    char name[16];
    bool leads;
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "%d", i);
        all[i] = join(0, name, NULL, &leads);
        cr_assert(all[i] && leads);
    }
    for (int i = 0; i < MANY; i += 2)
        end(all[i], 0);
    for (int i = 1; i < MANY; i += 2) {
        snprintf(name, sizeof name, "%d", i);
        struct nc_flight *found = join(0, name, NULL, &leads);
        cr_assert_eq(found, all[i]);
        nc_flight_release(found);
        end(all[i], 0);
    }
}

/* ---- blocks and rows ---- */

Test(flight, those_of_a_block_outlive_who_filled_it_and_each_other)
{
    struct nc_flight_block *block = nc_flight_block_create(2, 3);
    struct nc_key keys[] = {key_of(0, "aa"), key_of(0, "b"), key_of(0, "ccc")};
    struct nc_flight *in[3];
    bool leads;
    cr_assert_not_null(block);
    for (int i = 0; i < 3; i++) {
        in[i] = nc_flight_join_in(&flights, block, &keys[i], NULL, &leads);
        cr_assert(in[i] && leads);
        cr_expect_eq(in[i]->block, i < 2 ? block : NULL, "one that finds no room has its own");
        cr_expect_eq(memcmp(in[i]->key.name, keys[i].name, keys[i].name_bytes), 0);
    }
    struct nc_flight *again = nc_flight_join_in(&flights, block, &keys[0], NULL, &leads);
    cr_expect_eq(again, in[0]);
    cr_expect_not(leads);
    nc_flight_block_end(block);
    nc_flight_release(again);
    for (int i = 0; i < 3; i++)
        end(in[i], 0);
}

/* Lands with the value in its row and pinned, as the reply of a request does. */
static void land_with_value(struct nc_flight *flight, char *place)
{
    struct nc_cache_thread *self = nc_cache_self(&local.cache);
    nc_row_open(&flight->row, place);
    cr_assert_eq(nc_cache_copy(self, &flight->key, "v", 1, &flight->held), 0);
    cr_assert(nc_row_begin(&flight->row));
    *place = 'v';
    nc_row_end(&flight->row);
    nc_flight_land(flight, 0);
}

Test(flight, a_value_in_the_row_of_its_only_taker_is_not_pinned)
{
    bool leads;
    char place = 0;
    struct nc_flight *flight = join(0, "a", NULL, &leads);
    land_with_value(flight, &place);
    cr_expect_eq(place, 'v');
    cr_expect_eq(nc_store_pinned(&local.cache.store), 0);
    nc_flight_release(flight);
}

Test(flight, a_value_that_others_wait_for_stays_pinned_until_they_have_left)
{
    bool leads;
    char place = 0;
    struct nc_flight *flight = join(0, "a", NULL, &leads), *other = join(0, "a", NULL, &leads);
    land_with_value(flight, &place);
    nc_flight_release(flight);
    cr_expect_eq(nc_store_pinned(&local.cache.store), 1);
    cr_expect_eq(*(const char *)other->held.data, 'v');
    nc_flight_release(other);
    cr_expect_eq(nc_store_pinned(&local.cache.store), 0);
}

Test(flight, without_memory_nobody_leads_and_nothing_is_left)
{
    bool leads = true;
    struct nc_key key = key_of(0, "a");
    alloc_fail_at(0, ALLOC_FAIL_ONCE);
    struct nc_flight *flight = nc_flight_join(&flights, &key, NULL, &leads);
    cr_expect(alloc_fail_end());
    cr_expect_null(flight);
    cr_expect_not(leads);
    flight = nc_flight_join(&flights, &key, NULL, &leads);
    cr_expect(flight && leads);
    end(flight, 0);
}
