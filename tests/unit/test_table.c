#include "lib/alloc_fail.h"

#include "base/table.h"

#include <criterion/criterion.h>
#include <stdlib.h>

struct thing {
    UT_hash_handle hh;
    int key;
};

static void add(struct thing **table, struct thing *thing, unsigned hash)
{
    HASH_ADD_KEYPTR_BYHASHVALUE(hh, *table, &thing->key, sizeof thing->key, hash, thing);
}

static struct thing *find(struct thing *table, int key, unsigned hash)
{
    struct thing *found;
    HASH_FIND_BYHASHVALUE(hh, table, &key, sizeof key, hash, found);
    return found;
}

Test(table, a_failed_add_is_reported_and_changes_nothing)
{
    struct thing things[200] = {0}, *table = NULL;
    unsigned failed = 0;
    for (int i = 0; i < 200; i++) {
        things[i].key = i;
        for (unsigned long n = 0;; n++) {
            alloc_fail_at(n, ALLOC_FAIL_ONCE);
            add(&table, &things[i], (unsigned)i % 50);
            if (!alloc_fail_end())
                break;
            if (things[i].hh.tbl)
                break; /* a failed enlargement of the table is no failure of the add */
            failed++;
            cr_assert_eq(HASH_COUNT(table), (unsigned)i);
        }
        cr_assert_eq(find(table, i, (unsigned)i % 50), &things[i]);
    }
    cr_expect_gt(failed, 0);
    for (int i = 0; i < 200; i++)
        HASH_DEL(table, &things[i]);
    cr_expect_null(table);
}

Test(table, equal_hashes_are_told_apart_by_their_keys)
{
    struct thing a = {.key = 1}, b = {.key = 2}, *table = NULL;
    add(&table, &a, 9);
    add(&table, &b, 9);
    cr_expect_eq(find(table, 1, 9), &a);
    cr_expect_eq(find(table, 2, 9), &b);
    cr_expect_null(find(table, 3, 9));
    cr_expect_null(find(table, 1, 8));
    HASH_CLEAR(hh, table);
}
