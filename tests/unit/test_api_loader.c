/* nearcache_get_or_load in a local-only cache. */
#include "unit/api_fixture.h"

#include <pthread.h>
#include <stdlib.h>

TestSuite(api_loader, .init = api_open, .fini = api_close);

struct loader {
    _Atomic unsigned calls, freed;
    int outcome;
    uint64_t ttl_ms;
    const char *value;
    _Atomic bool *hold; /* the loader does not return before it is false */
};

static _Atomic unsigned freed;

static void count_free(void *data)
{
    free(data);
    freed++;
}

static int load(void *arg, const void *name, size_t bytes, struct nearcache_loaded *loaded)
{
    struct loader *l = arg;
    cr_assert_eq(bytes, 1);
    cr_assert_eq(*(const char *)name, 'k');
    l->calls++;
    if (l->hold)
        cr_assert(WAIT_UNTIL(!atomic_load(l->hold), 20000));
    if (l->outcome != 0)
        return l->outcome;
    loaded->data = strdup(l->value);
    loaded->bytes = strlen(l->value);
    loaded->ttl_ms = l->ttl_ms;
    loaded->free_data = count_free;
    return 0;
}

static int get(struct loader *l, struct nearcache_result *r)
{
    return nearcache_get_or_load(api_tier, "k", 1, NULL, load, l, r);
}

Test(api_loader, a_missing_key_is_made_once_and_then_local)
{
    struct loader l = {.value = "made"};
    struct nearcache_result r;
    cr_assert_eq(get(&l, &r), 0);
    cr_expect_eq(r.source, NEARCACHE_SOURCE_LOADED);
    cr_expect_eq(r.bytes, 4);
    cr_expect_eq(memcmp(r.data, "made", 4), 0);
    nearcache_release(&r);
    cr_expect_eq(freed, 1, "what the loader gave was copied and given back");
    cr_assert_eq(get(&l, &r), 0);
    cr_expect_eq(r.source, NEARCACHE_SOURCE_LOCAL);
    nearcache_release(&r);
    cr_expect_eq(l.calls, 1);
    cr_expect_eq(api_metrics().loads, 1);
    cr_expect_eq(api_metrics().hits_loaded, 1);
}

/* 0: there is no copy that could expire. */
Test(api_loader, a_loaded_value_that_is_not_kept_has_no_ttl)
{
    struct nearcache_tier_config config = NEARCACHE_TIER_INIT;
    struct loader l = {.value = "larger than three"};
    struct nearcache_tier *tier;
    struct nearcache_result r;
    config.name = "small";
    config.largest_local_bytes = 3;
    cr_assert_eq(nearcache_tier_open(api_cache, &config, &tier), 0);
    for (unsigned i = 1; i <= 2; i++) {
        cr_assert_eq(nearcache_get_or_load(tier, "k", 1, NULL, load, &l, &r), 0);
        cr_expect_eq(r.source, NEARCACHE_SOURCE_LOADED);
        cr_expect_eq(r.ttl_ms, 0);
        cr_expect_eq(l.calls, i);
        nearcache_release(&r);
    }
    l.value = "one";
    cr_assert_eq(nearcache_get_or_load(tier, "k", 1, NULL, load, &l, &r), 0);
    cr_expect_gt(r.ttl_ms, 0);
    nearcache_release(&r);
}

Test(api_loader, a_ttl_beyond_what_redis_can_keep_is_refused)
{
    struct loader l = {.value = "made", .ttl_ms = NEARCACHE_NONE - 1};
    struct nearcache_result r;
    cr_expect_eq(get(&l, &r), NEARCACHE_EINVAL);
    cr_expect_eq(api_metrics().load_errors, 1);
}

Test(api_loader, arguments_are_checked)
{
    struct loader l = {.value = "made"};
    struct nearcache_result r;
    cr_expect_eq(nearcache_get_or_load(api_tier, "k", 1, NULL, NULL, NULL, &r), NEARCACHE_EINVAL);
    cr_expect_eq(nearcache_get_or_load(NULL, "k", 1, NULL, load, &l, &r), NEARCACHE_EINVAL);
    cr_expect_eq(nearcache_get_or_load(api_tier, "k", 0, NULL, load, &l, &r), NEARCACHE_EINVAL);
    cr_expect_eq(nearcache_get_or_load(api_tier, "k", 1, NULL, load, &l, NULL), NEARCACHE_EINVAL);
    cr_expect_eq(l.calls, 0);
}

Test(api_loader, an_absence_that_the_loader_vouched_for_is_remembered)
{
    struct loader l = {.outcome = NEARCACHE_MISS};
    struct nearcache_result r;
    cr_expect_eq(get(&l, &r), NEARCACHE_MISS);
    cr_expect_eq(r.source, NEARCACHE_SOURCE_MISS);
    cr_expect_eq(get(&l, &r), NEARCACHE_MISS);
    cr_expect_eq(r.source, NEARCACHE_SOURCE_NEGATIVE);
    cr_expect_eq(l.calls, 1);
    cr_expect_eq(nearcache_get(api_tier, "k", 1, NULL, &r), NEARCACHE_MISS);
    cr_expect_eq(r.source, NEARCACHE_SOURCE_NEGATIVE);
    fake_clock_advance_ms(&api_clock, NEARCACHE_DEFAULT_NEGATIVE_TTL_MS + API_TICK_MS);
    cr_expect_eq(get(&l, &r), NEARCACHE_MISS);
    cr_expect_eq(l.calls, 2, "for the negative TTL");
    cr_assert_eq(api_set("k", "v"), 0);
    cr_expect_eq(api_get_is("k", "v"), 0, "a write ends an absence");
}

Test(api_loader, a_tier_may_remember_no_absences)
{
    struct nearcache_tier_config config = NEARCACHE_TIER_INIT;
    struct loader l = {.outcome = NEARCACHE_MISS};
    struct nearcache_tier *tier;
    struct nearcache_result r;
    config.name = "forgetful";
    config.negative_ttl_ms = NEARCACHE_NONE;
    cr_assert_eq(nearcache_tier_open(api_cache, &config, &tier), 0);
    for (unsigned i = 1; i <= 3; i++) {
        cr_expect_eq(nearcache_get_or_load(tier, "k", 1, NULL, load, &l, &r), NEARCACHE_MISS);
        cr_expect_eq(l.calls, i);
    }
}

Test(api_loader, a_failure_is_told_and_not_remembered)
{
    struct loader l = {.outcome = -42, .value = "made"};
    struct nearcache_result r;
    cr_expect_eq(get(&l, &r), NEARCACHE_ELOADER);
    cr_expect_null(r.data);
    cr_expect_eq(api_metrics().load_errors, 1);
    l.outcome = 0;
    cr_assert_eq(get(&l, &r), 0);
    nearcache_release(&r);
    cr_expect_eq(l.calls, 2);
}

Test(api_loader, a_stale_copy_stands_in_for_a_failing_loader)
{
    struct loader l = {.outcome = -1};
    struct nearcache_read none = NEARCACHE_READ_INIT;
    struct nearcache_result r;
    api_set("k", "old");
    cr_assert_eq(nearcache_expire(api_tier, "k", 1), 0);
    cr_assert_eq(get(&l, &r), 0);
    cr_expect_eq(r.source, NEARCACHE_SOURCE_STALE);
    cr_expect_eq(memcmp(r.data, "old", 3), 0);
    nearcache_release(&r);
    cr_expect_eq(l.calls, 1);
    cr_expect_eq(api_metrics().hits_stale, 1);
    none.max_stale_ms = NEARCACHE_NONE;
    cr_expect_eq(nearcache_get_or_load(api_tier, "k", 1, &none, load, &l, &r), NEARCACHE_ELOADER);
}

Test(api_loader, a_loaded_value_may_bring_a_shorter_ttl)
{
    struct loader l = {.value = "made", .ttl_ms = 1000};
    struct nearcache_result r;
    cr_assert_eq(get(&l, &r), 0);
    nearcache_release(&r);
    fake_clock_advance_ms(&api_clock, 1000);
    cr_expect_eq(api_get_is("k", ""), NEARCACHE_MISS);
}

Test(api_loader, a_read_that_wants_news_asks_the_loader_though_a_copy_is_here)
{
    struct loader l = {.value = "new"};
    struct nearcache_read how = NEARCACHE_READ_INIT;
    struct nearcache_result r;
    api_set("k", "old");
    how.refresh = 1;
    cr_assert_eq(nearcache_get_or_load(api_tier, "k", 1, &how, load, &l, &r), 0);
    cr_expect_eq(r.source, NEARCACHE_SOURCE_LOADED);
    nearcache_release(&r);
    cr_expect_eq(l.calls, 1);
    cr_expect_eq(api_get_is("k", "new"), 0);
}

struct crowd {
    struct loader loader;
    pthread_barrier_t barrier;
    _Atomic bool hold;
};

static void *ask(void *arg)
{
    struct crowd *crowd = arg;
    struct nearcache_result r;
    pthread_barrier_wait(&crowd->barrier);
    int outcome = nearcache_get_or_load(api_tier, "k", 1, NULL, load, &crowd->loader, &r);
    if (outcome == 0 && memcmp(r.data, "made", 4) != 0)
        outcome = 99;
    nearcache_release(&r);
    return (void *)(intptr_t)outcome;
}

Test(api_loader, eight_threads_at_once_make_one_call_however_they_meet)
{
    for (int round = 0; round < 200; round++) {
        struct crowd crowd = {.loader = {.value = "made"}};
        pthread_t threads[8];
        pthread_barrier_init(&crowd.barrier, NULL, 8);
        for (int i = 0; i < 8; i++)
            cr_assert_eq(pthread_create(&threads[i], NULL, ask, &crowd), 0);
        for (int i = 0; i < 8; i++) {
            void *outcome;
            pthread_join(threads[i], &outcome);
            cr_assert_eq((intptr_t)outcome, 0);
        }
        cr_assert_eq(crowd.loader.calls, 1, "round %d", round);
        pthread_barrier_destroy(&crowd.barrier);
        nearcache_delete(api_tier, "k", 1, NULL);
    }
}

static void *ask_held(void *arg)
{
    struct nearcache_result r;
    int outcome = get(arg, &r);
    nearcache_release(&r);
    return (void *)(intptr_t)outcome;
}

Test(api_loader, who_waits_for_a_slow_loader_gives_up_at_its_deadline)
{
    _Atomic bool hold = true;
    struct loader l = {.value = "made", .hold = &hold};
    struct nearcache_read how = NEARCACHE_READ_INIT;
    struct nearcache_result r;
    pthread_t leader;
    void *outcome;
    cr_assert_eq(pthread_create(&leader, NULL, ask_held, &l), 0);
    cr_assert(WAIT_UNTIL(l.calls == 1, 10000));
    how.timeout_us = 20000;
    uint64_t begin = wait_now_ns();
    cr_expect_eq(nearcache_get_or_load(api_tier, "k", 1, &how, load, &l, &r), NEARCACHE_ETIMEOUT);
    cr_expect_geq(wait_now_ns() - begin, 20000000);
    cr_expect_lt(wait_now_ns() - begin, UINT64_C(5000000000));
    hold = false;
    pthread_join(leader, &outcome);
    cr_expect_eq((intptr_t)outcome, NEARCACHE_OK, "the leader's caller gets what it made");
    cr_expect_eq(l.calls, 1);
    cr_expect_eq(api_get_is("k", "made"), 0);
}

/* Runs a loader that is still at work while `change` happens. */
static void load_around(void (*change)(void))
{
    _Atomic bool hold = true;
    struct loader l = {.value = "made", .hold = &hold};
    pthread_t leader;
    void *outcome;
    cr_assert_eq(pthread_create(&leader, NULL, ask_held, &l), 0);
    cr_assert(WAIT_UNTIL(l.calls == 1, 10000));
    change();
    hold = false;
    pthread_join(leader, &outcome);
    cr_expect_eq((intptr_t)outcome, NEARCACHE_OK, "who asked gets what was made");
    cr_expect_eq(api_metrics().race_discards, 1);
}

static void set_newer(void) { cr_assert_eq(api_set("k", "newer"), 0); }

static void set_and_delete(void)
{
    cr_assert_eq(api_set("k", "newer"), 0);
    cr_assert_eq(nearcache_delete(api_tier, "k", 1, NULL), 0);
}

Test(api_loader, a_value_set_while_the_loader_ran_stays)
{
    load_around(set_newer);
    cr_expect_eq(api_get_is("k", "newer"), 0);
}

Test(api_loader, a_key_deleted_while_the_loader_ran_stays_away)
{
    load_around(set_and_delete);
    cr_expect_eq(api_get_is("k", ""), NEARCACHE_MISS);
}

static int make_row_while_it_is_set(void *arg, const struct nearcache_name *names, size_t count,
                                    void *rows, size_t stride, int *statuses)
{
    const float newer[4] = {5, 6, 7, 8}, made[4] = {1, 2, 3, 4};
    int status;
    (void)arg;
    (void)stride;
    cr_assert_eq(count, 1);
    cr_assert_eq(nearcache_set_vectors(api_vectors, names, 1, newer, 0, NULL, &status), 0);
    memcpy(rows, made, sizeof made);
    statuses[0] = 0;
    return 0;
}

Test(api_loader, a_row_set_while_the_loader_ran_stays)
{
    struct nearcache_name name = {"k", 1};
    float row[4];
    int status;
    cr_assert_eq(nearcache_get_vectors(api_vectors, &name, 1, NULL, row, 0,
                                       make_row_while_it_is_set, NULL, &status, NULL),
                 0);
    cr_expect_eq(row[0], 1, "who asked gets what was made");
    cr_assert_eq(
        nearcache_get_vectors(api_vectors, &name, 1, NULL, row, 0, NULL, NULL, &status, NULL), 0);
    cr_expect_eq(row[0], 5);
}

Test(api_loader, a_vector_of_another_length_is_a_loader_that_failed)
{
    struct loader l = {.value = "short"};
    struct nearcache_result r;
    cr_expect_eq(nearcache_get_or_load(api_vectors, "k", 1, NULL, load, &l, &r), NEARCACHE_ELOADER);
    cr_expect_eq(freed, 1);
    cr_expect_eq(nearcache_exists(api_vectors, "k", 1, NULL), NEARCACHE_MISS);
}
