/* Reading and writing one key in a local-only cache: arguments, sizes, pins. */
#include "unit/api_fixture.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

TestSuite(api_keys, .init = api_open, .fini = api_close);

Test(api_keys, what_was_set_is_read_and_what_was_deleted_is_not)
{
    cr_expect_eq(api_get_is("k", ""), NEARCACHE_MISS);
    cr_expect_eq(api_set("k", "one"), 0);
    cr_expect_eq(api_get_is("k", "one"), 0);
    cr_expect_eq(api_set("k", "two, longer"), 0);
    cr_expect_eq(api_get_is("k", "two, longer"), 0);
    cr_expect_eq(nearcache_delete(api_tier, "k", 1, NULL), 0);
    cr_expect_eq(api_get_is("k", ""), NEARCACHE_MISS);
    cr_expect_eq(nearcache_delete(api_tier, "k", 1, NULL), 0, "deleting nothing is fine");
}

/* Every function with a key, called with this one. */
static void every_call_answers(const void *name, size_t bytes, int outcome)
{
    struct nearcache_result r;
    memset(&r, 0xff, sizeof r);
    cr_expect_eq(nearcache_get(api_tier, name, bytes, NULL, &r), outcome);
    cr_expect_null(r.data);
    cr_expect_eq(nearcache_peek(api_tier, name, bytes, &r), outcome);
    cr_expect_eq(nearcache_exists(api_tier, name, bytes, NULL), outcome);
    cr_expect_eq(nearcache_set(api_tier, name, bytes, "v", 1, NULL), outcome);
    cr_expect_eq(nearcache_delete(api_tier, name, bytes, NULL), outcome);
    cr_expect_eq(nearcache_touch(api_tier, name, bytes, NULL), outcome);
    cr_expect_eq(nearcache_expire(api_tier, name, bytes), outcome);
    cr_expect_eq(nearcache_invalidate(api_tier, name, bytes, NULL), outcome);
}

Test(api_keys, a_key_of_no_bytes_is_refused)
{
    every_call_answers("k", 0, NEARCACHE_EINVAL);
    every_call_answers(NULL, 1, NEARCACHE_EINVAL);
}

Test(api_keys, a_key_may_have_65535_bytes_with_its_prefix)
{
    char *name = malloc(NEARCACHE_MAX_KEY_BYTES);
    struct nearcache_result r;
    memset(name, 'n', NEARCACHE_MAX_KEY_BYTES);
    every_call_answers(name, NEARCACHE_MAX_KEY_BYTES - 1, NEARCACHE_ETOOBIG);
    every_call_answers(name, SIZE_MAX, NEARCACHE_ETOOBIG);
    size_t most = NEARCACHE_MAX_KEY_BYTES - 2;
    cr_expect_eq(nearcache_set(api_tier, name, most, "v", 1, NULL), 0);
    cr_assert_eq(nearcache_get(api_tier, name, most, NULL, &r), 0);
    cr_expect_eq(r.bytes, 1);
    nearcache_release(&r);
    cr_expect_eq(nearcache_get(api_tier, name, most - 1, NULL, &r), NEARCACHE_MISS);
    free(name);
}

/* A cache by the machine's clock, where a hit goes the shortest way. */
Test(api_keys, nothing_is_read_behind_a_name)
{
    struct nearcache_config config = NEARCACHE_CONFIG_INIT;
    struct nearcache_tier_config tier_config = NEARCACHE_TIER_INIT;
    struct nearcache *cache;
    struct nearcache_tier *tier;
    struct nearcache_result r[3];
    int statuses[3];
    size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    tier_config.name = "plain";
    tier_config.redis_ttl_ms = NEARCACHE_NONE;
    cr_assert_eq(nearcache_open(&cache, &config), 0);
    cr_assert_eq(nearcache_tier_open(cache, &tier_config, &tier), 0);
    char *page = mmap(NULL, 2 * page_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(page, MAP_FAILED);
    cr_assert_eq(mprotect(page, page_bytes, PROT_READ | PROT_WRITE), 0);
    memset(page, 'n', page_bytes);
    for (size_t bytes = 1; bytes <= 100; bytes++) {
        const char *name = page + page_bytes - bytes;
        struct nearcache_name names[3] = {{name, bytes}, {name, bytes}, {"none", 4}};
        cr_assert_eq(nearcache_get(tier, name, bytes, NULL, &r[0]), NEARCACHE_MISS);
        cr_assert_eq(nearcache_set(tier, name, bytes, &bytes, sizeof bytes, NULL), 0);
        cr_assert_eq(nearcache_get(tier, name, bytes, NULL, &r[0]), 0);
        cr_expect_eq(memcmp(r[0].data, &bytes, sizeof bytes), 0);
        nearcache_release(&r[0]);
        cr_assert_eq(nearcache_peek(tier, name, bytes, &r[0]), 0);
        cr_expect_eq(memcmp(r[0].data, &bytes, sizeof bytes), 0);
        nearcache_release(&r[0]);
        cr_assert_eq(nearcache_get_many(tier, names, 3, NULL, r, statuses), 0);
        cr_expect_eq(statuses[0], 0);
        cr_expect_eq(statuses[1], 0);
        cr_expect_eq(statuses[2], NEARCACHE_MISS);
        cr_expect_eq(memcmp(r[1].data, &bytes, sizeof bytes), 0);
        nearcache_release_many(r, 3);
    }
    munmap(page, 2 * page_bytes);
    cr_assert_eq(nearcache_close(cache, 0), 0);
}

Test(api_keys, without_a_tier_or_a_result_nothing_is_done)
{
    struct nearcache_result r;
    cr_expect_eq(nearcache_get(NULL, "k", 1, NULL, &r), NEARCACHE_EINVAL);
    cr_expect_eq(nearcache_peek(NULL, "k", 1, &r), NEARCACHE_EINVAL);
    cr_expect_eq(nearcache_exists(NULL, "k", 1, NULL), NEARCACHE_EINVAL);
    cr_expect_eq(nearcache_set(NULL, "k", 1, "v", 1, NULL), NEARCACHE_EINVAL);
    cr_expect_eq(nearcache_delete(NULL, "k", 1, NULL), NEARCACHE_EINVAL);
    cr_expect_eq(nearcache_touch(NULL, "k", 1, NULL), NEARCACHE_EINVAL);
    cr_expect_eq(nearcache_expire(NULL, "k", 1), NEARCACHE_EINVAL);
    cr_expect_eq(nearcache_invalidate(NULL, "k", 1, NULL), NEARCACHE_EINVAL);
    cr_expect_eq(nearcache_clear(NULL, 0, NULL), NEARCACHE_EINVAL);
    cr_expect_eq(nearcache_delete_prefix(NULL, "k", 1, 0, NULL), NEARCACHE_EINVAL);
    cr_assert_eq(api_set("k", "v"), 0);
    cr_expect_eq(nearcache_get(api_tier, "k", 1, NULL, NULL), NEARCACHE_EINVAL);
    cr_expect_eq(nearcache_peek(api_tier, "k", 1, NULL), NEARCACHE_EINVAL);
    cr_expect_eq(nearcache_pinned(api_cache), 0);
}

Test(api_keys, options_out_of_their_range_are_refused)
{
    struct nearcache_read read = NEARCACHE_READ_INIT;
    struct nearcache_write write = NEARCACHE_WRITE_INIT;
    struct nearcache_result r;
    read.refresh = 2;
    cr_expect_eq(nearcache_get(api_tier, "k", 1, &read, &r), NEARCACHE_EINVAL);
    cr_expect_eq(nearcache_exists(api_tier, "k", 1, &read), NEARCACHE_EINVAL);
    read.refresh = 0;
    read.timeout_us = NEARCACHE_NONE;
    cr_expect_eq(nearcache_get(api_tier, "k", 1, &read, &r), NEARCACHE_EINVAL);
    read.timeout_us = 0;
    read.size = 1;
    cr_expect_eq(nearcache_get(api_tier, "k", 1, &read, &r), NEARCACHE_EINVAL);
    write.timeout_us = NEARCACHE_NONE;
    cr_expect_eq(nearcache_set(api_tier, "k", 1, "v", 1, &write), NEARCACHE_EINVAL);
    cr_expect_eq(nearcache_touch(api_tier, "k", 1, &write), NEARCACHE_EINVAL);
    write.timeout_us = 0;
    write.ttl_ms = (UINT64_C(1) << 53) + 1;
    cr_expect_eq(nearcache_set(api_tier, "k", 1, "v", 1, &write), NEARCACHE_EINVAL);
    cr_expect_eq(nearcache_clear(api_tier, NEARCACHE_NONE, NULL), NEARCACHE_EINVAL);
    cr_expect_eq(nearcache_delete_prefix(api_tier, NULL, 1, 0, NULL), NEARCACHE_EINVAL);
    cr_expect_eq(nearcache_close(api_cache, NEARCACHE_NONE), NEARCACHE_EINVAL);
    cr_expect_eq(api_get_is("k", ""), NEARCACHE_MISS);
}

Test(api_keys, keys_and_values_are_any_bytes)
{
    static const char name[] = "a\0b\r\n\xff", value[] = "\0\r\n$5\r\n";
    struct nearcache_result r;
    cr_assert_eq(nearcache_set(api_tier, name, sizeof name - 1, value, sizeof value - 1, NULL), 0);
    cr_assert_eq(nearcache_get(api_tier, name, sizeof name - 1, NULL, &r), 0);
    cr_expect_eq(r.bytes, sizeof value - 1);
    cr_expect_eq(memcmp(r.data, value, sizeof value - 1), 0);
    nearcache_release(&r);
    cr_expect_eq(nearcache_get(api_tier, "a", 1, NULL, &r), NEARCACHE_MISS);
    cr_expect_eq(nearcache_get(api_tier, "a\0c\r\n\xff", 6, NULL, &r), NEARCACHE_MISS);
}

Test(api_keys, an_empty_value_is_a_value)
{
    struct nearcache_result r;
    cr_assert_eq(nearcache_set(api_tier, "k", 1, NULL, 0, NULL), 0);
    cr_assert_eq(nearcache_get(api_tier, "k", 1, NULL, &r), 0);
    cr_expect_eq(r.bytes, 0);
    cr_expect_not_null(r.data);
    nearcache_release(&r);
    cr_expect_eq(nearcache_exists(api_tier, "k", 1, NULL), 0);
    cr_expect_eq(nearcache_set(api_tier, "k", 1, NULL, 1, NULL), NEARCACHE_EINVAL);
}

Test(api_keys, equal_names_of_two_tiers_are_two_keys)
{
    float row[4] = {1, 2, 3, 4};
    cr_assert_eq(api_set("k", "bytes"), 0);
    cr_assert_eq(nearcache_set(api_vectors, "k", 1, row, sizeof row, NULL), 0);
    cr_expect_eq(api_get_is("k", "bytes"), 0);
    cr_expect_eq(nearcache_delete(api_vectors, "k", 1, NULL), 0);
    cr_expect_eq(api_get_is("k", "bytes"), 0);
}

Test(api_keys, a_value_above_the_largest_local_one_is_too_big_and_changes_nothing)
{
    size_t most = NEARCACHE_DEFAULT_LARGEST_LOCAL_BYTES;
    char *value = malloc(most + 1);
    struct nearcache_result r;
    memset(value, 'v', most + 1);
    cr_assert_eq(api_set("k", "small"), 0);
    cr_expect_eq(nearcache_set(api_tier, "k", 1, value, most + 1, NULL), NEARCACHE_ETOOBIG);
    cr_expect_eq(api_get_is("k", "small"), 0);
    cr_expect_eq(nearcache_set(api_tier, "k", 1, value, (size_t)1 << 40, NULL), NEARCACHE_ETOOBIG);
    cr_expect_eq(nearcache_set(api_tier, "k", 1, value, most, NULL), 0);
    cr_assert_eq(nearcache_get(api_tier, "k", 1, NULL, &r), 0);
    cr_expect_eq(r.bytes, most);
    cr_expect_eq(memcmp(r.data, value, most), 0);
    nearcache_release(&r);
    free(value);
}

Test(api_keys, large_values_are_aligned_to_64_bytes)
{
    char value[300] = {0};
    for (size_t bytes = 1; bytes < sizeof value; bytes += 3) {
        struct nearcache_result r;
        cr_assert_eq(nearcache_set(api_tier, value, bytes % 7 + 1, value, bytes, NULL), 0);
        cr_assert_eq(nearcache_get(api_tier, value, bytes % 7 + 1, NULL, &r), 0);
        if (bytes >= 64)
            cr_expect_eq((uintptr_t)r.data % 64, 0, "%zu bytes", bytes);
        nearcache_release(&r);
    }
    struct nearcache_result r;
    float row[4] = {0};
    cr_assert_eq(nearcache_set(api_vectors, "k", 1, row, sizeof row, NULL), 0);
    cr_assert_eq(nearcache_get(api_vectors, "k", 1, NULL, &r), 0);
    cr_expect_eq((uintptr_t)r.data % 64, 0, "every vector is aligned");
    nearcache_release(&r);
}

Test(api_keys, a_pinned_value_never_changes_whatever_happens_to_its_key)
{
    struct nearcache_result r[6];
    char big[2000];
    memset(big, 'x', sizeof big);
    cr_assert_eq(api_set("k", "first"), 0);
    cr_assert_eq(nearcache_get(api_tier, "k", 1, NULL, &r[0]), 0);
    cr_assert_eq(api_set("k", "again"), 0);
    cr_assert_eq(nearcache_delete(api_tier, "k", 1, NULL), 0);
    cr_assert_eq(api_set("k", "later"), 0);
    cr_assert_eq(nearcache_clear(api_tier, 0, NULL), 0);
    for (int i = 0; i < 2000; i++)
        nearcache_set(api_tier, &i, sizeof i, big, sizeof big, NULL);
    cr_expect_eq(memcmp(r[0].data, "first", 5), 0);
    cr_expect_eq(nearcache_pinned(api_cache), 1);
    nearcache_release(&r[0]);
    cr_expect_eq(nearcache_pinned(api_cache), 0);
}

Test(api_keys, a_second_release_of_the_same_result_does_nothing)
{
    struct nearcache_result a, b;
    cr_assert_eq(api_set("k", "v"), 0);
    cr_assert_eq(nearcache_get(api_tier, "k", 1, NULL, &a), 0);
    cr_assert_eq(nearcache_get(api_tier, "k", 1, NULL, &b), 0);
    cr_expect_eq(a.data, b.data, "a hit copies nothing");
    nearcache_release(&a);
    nearcache_release(&a);
    cr_expect_eq(nearcache_pinned(api_cache), 1);
    cr_expect_eq(memcmp(b.data, "v", 1), 0);
    nearcache_release(&b);
    cr_assert_eq(nearcache_get(api_tier, "no", 2, NULL, &a), NEARCACHE_MISS);
    nearcache_release(&a);
    cr_expect_eq(nearcache_pinned(api_cache), 0);
}

static void *get_and_leave(void *result)
{
    return (void *)(intptr_t)nearcache_get(api_tier, "k", 1, NULL, result);
}

Test(api_keys, a_pin_outlives_the_thread_that_took_it)
{
    struct nearcache_result r[3];
    pthread_t thread;
    void *outcome;
    cr_assert_eq(api_set("k", "shared"), 0);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(pthread_create(&thread, NULL, get_and_leave, &r[i]), 0);
        pthread_join(thread, &outcome);
        cr_assert_eq((intptr_t)outcome, 0);
    }
    nearcache_delete(api_tier, "k", 1, NULL);
    cr_expect_eq(nearcache_pinned(api_cache), 3);
    for (int i = 0; i < 3; i++) {
        cr_expect_eq(memcmp(r[i].data, "shared", 6), 0);
        nearcache_release(&r[i]);
    }
    cr_expect_eq(nearcache_pinned(api_cache), 0);
}

Test(api_keys, thousands_of_pins_of_one_thread_are_kept_apart)
{
    enum { PINS = 3000 };
    struct nearcache_result *r = calloc(PINS, sizeof *r);
    for (int i = 0; i < PINS; i++) {
        cr_assert_eq(nearcache_set(api_tier, &i, sizeof i, &i, sizeof i, NULL), 0);
        cr_assert_eq(nearcache_get(api_tier, &i, sizeof i, NULL, &r[i]), 0);
    }
    cr_expect_eq(nearcache_pinned(api_cache), PINS);
    nearcache_clear(api_tier, 0, NULL);
    for (int i = PINS - 1; i >= 0; i--) {
        cr_assert_eq(memcmp(r[i].data, &i, sizeof i), 0);
        nearcache_release(&r[i]);
    }
    cr_expect_eq(nearcache_pinned(api_cache), 0);
    free(r);
}

Test(api_keys, peek_and_exists_see_what_is_here)
{
    struct nearcache_result r;
    cr_expect_eq(nearcache_peek(api_tier, "k", 1, &r), NEARCACHE_MISS);
    cr_expect_eq(nearcache_exists(api_tier, "k", 1, NULL), NEARCACHE_MISS);
    cr_assert_eq(api_set("k", "v"), 0);
    cr_assert_eq(nearcache_peek(api_tier, "k", 1, &r), 0);
    cr_expect_eq(r.source, NEARCACHE_SOURCE_LOCAL);
    nearcache_release(&r);
    cr_expect_eq(nearcache_exists(api_tier, "k", 1, NULL), 0);
    cr_expect_eq(nearcache_pinned(api_cache), 0, "exists pins nothing");
}

Test(api_keys, a_vector_of_another_length_is_refused)
{
    float row[5] = {0};
    cr_expect_eq(nearcache_set(api_vectors, "k", 1, row, 12, NULL), NEARCACHE_ETYPE);
    cr_expect_eq(nearcache_set(api_vectors, "k", 1, row, 20, NULL), NEARCACHE_ETYPE);
    cr_expect_eq(nearcache_set(api_vectors, "k", 1, NULL, 0, NULL), NEARCACHE_ETYPE);
    cr_expect_eq(nearcache_set(api_vectors, "k", 1, row, 16, NULL), 0);
}
