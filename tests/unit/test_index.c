/* store/index: every entry is found while others come, go, move and the table grows. */
#include "store/index.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum { KEYS = 40000 };

static struct nc_arena arena;
static struct nc_index index_;
static struct nc_index_head head;
static struct nc_entry *entries[KEYS];

static uint64_t hash_of(uint32_t key) { return nc_hash_key(42, 1, &key, sizeof key); }

static void begin(uint32_t buckets)
{
    cr_assert_eq(nc_arena_init(&arena, (uint64_t)64 << 20), 0);
    cr_assert_eq(nc_index_init(&index_, &head, &arena, buckets), 0);
}

static void add(uint32_t key)
{
    entries[key] = nc_entry_create(&arena, 0, hash_of(key), 1, &key, sizeof key, 8, 0);
    while (nc_index_is_full(&index_) || !nc_index_insert(&index_, entries[key])) {
        struct nc_index_table *old = nc_index_grow(&index_, &arena);
        cr_assert_not_null(old);
        nc_arena_free(&arena, old);
    }
}

static struct nc_entry *find(uint32_t key)
{
    return nc_index_find(&head, hash_of(key), nc_entry_tier_epoch(1, 0), NC_ENTRY_TIER_MASK, &key,
                         sizeof key);
}

Test(index, from_either_bucket_the_tag_leads_to_the_other)
{
    for (uint32_t buckets = 1; buckets < 2000; buckets += 7)
        for (uint32_t at = 0; at < buckets; at += 3)
            for (uint32_t tag = 1; tag < 65536; tag += 3001) {
                uint32_t other = nc_index_other(buckets, at, (uint16_t)tag);
                cr_assert_lt(other, buckets);
                cr_assert_eq(nc_index_other(buckets, other, (uint16_t)tag), at);
            }
}

Test(index, all_are_found_while_it_grows_from_one_bucket)
{
    begin(2);
    for (uint32_t key = 0; key < KEYS; key++) {
        add(key);
        cr_assert_eq(find(key), entries[key]);
        cr_assert_eq(find(key / 2), entries[key / 2]);
    }
    for (uint32_t key = 0; key < KEYS; key++)
        cr_assert_eq(find(key), entries[key]);
    cr_assert_null(find(KEYS));
    cr_assert_eq(index_.used, KEYS);
    cr_assert_leq(nc_index_bytes(&index_) * 57 / 100, (size_t)KEYS * 8 + 8192);
    nc_arena_deinit(&arena);
}

Test(index, a_name_of_another_tier_is_another)
{
    begin(15);
    uint32_t key = 5;
    add(key);
    cr_assert_null(nc_index_find(&head, hash_of(key), nc_entry_tier_epoch(2, 0), NC_ENTRY_TIER_MASK,
                                 &key, sizeof key));
    nc_arena_deinit(&arena);
}

Test(index, what_was_removed_or_replaced_is_not_found_and_the_rest_is)
{
    begin(15);
    for (uint32_t key = 0; key < KEYS; key++)
        add(key);
    for (uint32_t key = 0; key < KEYS; key += 3)
        nc_index_remove(&index_, entries[key]);
    for (uint32_t key = 1; key < KEYS; key += 3) {
        struct nc_entry *old = entries[key];
        entries[key] = nc_entry_create(&arena, 0, hash_of(key), 1, &key, sizeof key, 9, 0);
        nc_index_replace(&index_, old, entries[key]);
    }
    for (uint32_t key = 0; key < KEYS; key++)
        cr_assert_eq(find(key), key % 3 == 0 ? NULL : entries[key]);
    nc_arena_deinit(&arena);
}

Test(index, all_entries_stand_in_its_buckets_once)
{
    struct nc_entry *found[NC_BUCKET_WORDS];
    uint32_t count = 0;
    begin(15);
    for (uint32_t key = 0; key < KEYS; key++)
        add(key);
    for (uint32_t at = 0; at < nc_index_buckets(&index_); at++)
        count += nc_index_bucket(&index_, at, found);
    cr_assert_eq(count, KEYS);
    nc_arena_deinit(&arena);
}

Test(index, hardly_any_entry_finds_both_buckets_full_below_the_load_at_which_it_grows)
{
    uint32_t refused = 0;
    begin(KEYS / 8 * 20 / 17 + 1);
    for (uint32_t key = 0; key < KEYS; key++) {
        entries[key] = nc_entry_create(&arena, 0, hash_of(key), 1, &key, sizeof key, 8, 0);
        refused += !nc_index_insert(&index_, entries[key]);
    }
    cr_assert_leq(refused, KEYS / 5000, "%u", refused);
    nc_arena_deinit(&arena);
}

/* Every bucket knows how many of its own stand in their other one: none that a look-up needs is
 * passed over, and none is looked for in vain for ever. */
static void check_strays(void)
{
    const struct nc_index_table *table = atomic_load(&head.table);
    uint32_t *strays = calloc(table->buckets, sizeof *strays), all = 0;
    struct nc_entry *found[NC_BUCKET_WORDS];
    for (uint32_t at = 0; at < table->buckets; at++)
        for (unsigned n = nc_index_bucket(&index_, at, found); n-- > 0;)
            strays[nc_index_first(table->buckets, found[n]->hash)] +=
                nc_index_first(table->buckets, found[n]->hash) != at;
    for (uint32_t at = 0; at < table->buckets; at++) {
        cr_assert_eq(atomic_load((_Atomic uint64_t *)&table->words[at][0]) & NC_STRAYS_MASK,
                     strays[at]);
        cr_assert_eq(nc_index_has_strays(table->words[at]), strays[at] != 0);
        all += strays[at];
    }
    cr_assert_gt(all, 0);
    free(strays);
}

Test(index, buckets_know_how_many_of_their_own_stand_elsewhere)
{
    uint64_t random = 7;
    begin(KEYS / 2 / 8 * 20 / 17 + 1);
    for (uint32_t key = 0; key < KEYS / 2; key++)
        add(key);
    check_strays();
    for (uint32_t key = KEYS / 2; key < KEYS; key++) {
        uint32_t gone = (uint32_t)(nc_hash_step(&random) % key);
        while (!entries[gone])
            gone = gone ? gone - 1 : key - 1;
        nc_index_remove(&index_, entries[gone]);
        entries[gone] = NULL;
        add(key);
    }
    check_strays();
    for (uint32_t key = 0; key < KEYS; key++)
        cr_assert_eq(find(key), entries[key]);
    for (uint32_t key = 0; key < KEYS; key += 2)
        if (!entries[key])
            add(key);
    check_strays();
    nc_arena_deinit(&arena);
}
