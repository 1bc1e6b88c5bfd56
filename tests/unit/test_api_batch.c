/* Many keys as one operation, and vectors, in a local-only cache. */
#include "unit/api_fixture.h"

#include <stdlib.h>

TestSuite(api_batch, .init = api_open, .fini = api_close);

enum { MANY = 1000 };

static struct nearcache_name name_of(const uint32_t *id)
{
    return (struct nearcache_name){id, sizeof *id};
}

Test(api_batch, many_written_are_many_read_in_their_order)
{
    static uint32_t ids[MANY];
    static struct nearcache_item items[MANY];
    static struct nearcache_name names[MANY];
    static struct nearcache_result results[MANY];
    static int statuses[MANY];
    for (uint32_t i = 0; i < MANY; i++) {
        ids[i] = i * 7;
        names[i] = name_of(&ids[i]);
        items[i] = (struct nearcache_item){names[i], &ids[i], 4, 0};
    }
    cr_assert_eq(nearcache_set_many(api_tier, items, MANY, NULL, statuses), 0);
    for (int i = 0; i < MANY; i++)
        cr_assert_eq(statuses[i], 0);
    nearcache_delete(api_tier, &ids[500], 4, NULL);
    cr_assert_eq(nearcache_get_many(api_tier, names, MANY, NULL, results, statuses), 0);
    for (int i = 0; i < MANY; i++) {
        cr_assert_eq(statuses[i], i == 500 ? NEARCACHE_MISS : 0);
        if (i != 500)
            cr_assert_eq(memcmp(results[i].data, &ids[i], 4), 0);
    }
    cr_expect_eq(nearcache_pinned(api_cache), MANY - 1);
    nearcache_release_many(results, MANY);
    cr_expect_eq(nearcache_pinned(api_cache), 0);
    cr_expect_eq(api_metrics().hits_local, MANY - 1);
    cr_expect_eq(api_metrics().writes, MANY);
}

Test(api_batch, nothing_to_do_is_fine_and_missing_arrays_are_not)
{
    struct nearcache_name name = {"k", 1};
    struct nearcache_item item = {name, "v", 1, 0};
    struct nearcache_result r;
    int status = 99;
    cr_expect_eq(nearcache_get_many(api_tier, NULL, 0, NULL, NULL, NULL), 0);
    cr_expect_eq(nearcache_set_many(api_tier, NULL, 0, NULL, NULL), 0);
    cr_expect_eq(nearcache_get_many(api_tier, NULL, 1, NULL, &r, &status), NEARCACHE_EINVAL);
    cr_expect_eq(nearcache_get_many(api_tier, &name, 1, NULL, NULL, &status), NEARCACHE_EINVAL);
    cr_expect_eq(nearcache_get_many(api_tier, &name, 1, NULL, &r, NULL), NEARCACHE_EINVAL);
    cr_expect_eq(nearcache_set_many(api_tier, NULL, 1, NULL, &status), NEARCACHE_EINVAL);
    cr_expect_eq(nearcache_set_many(api_tier, &item, 1, NULL, NULL), NEARCACHE_EINVAL);
    cr_expect_eq(nearcache_get_many(NULL, &name, 1, NULL, &r, &status), NEARCACHE_EINVAL);
    cr_expect_eq(status, NEARCACHE_EINVAL, "every status is that of the call");
    status = 99;
    cr_expect_eq(nearcache_set_many(NULL, &item, 1, NULL, &status), NEARCACHE_EINVAL);
    cr_expect_eq(status, NEARCACHE_EINVAL);
}

static void expect_all(int *statuses, int outcome, const char *what)
{
    for (int i = 0; i < 2; i++) {
        cr_expect_eq(statuses[i], outcome, "%s: status %d is %d", what, i, statuses[i]);
        statuses[i] = 99;
    }
}

Test(api_batch, every_status_is_that_of_a_call_that_cannot_be_meant)
{
    struct nearcache_name names[2] = {{"k", 1}, {"l", 1}};
    struct nearcache_result results[2];
    float rows[2][4] = {{0}};
    int s[2] = {99, 99};
    memset(results, 0xEE, sizeof results);
    nearcache_get_many(api_tier, NULL, 2, NULL, results, s);
    expect_all(s, NEARCACHE_EINVAL, "no names");
    cr_expect_null(results[1].data);
    nearcache_get_many(api_tier, names, 2, NULL, NULL, s);
    expect_all(s, NEARCACHE_EINVAL, "no results");
    nearcache_set_many(api_tier, NULL, 2, NULL, s);
    expect_all(s, NEARCACHE_EINVAL, "no items");
    nearcache_get_vectors(api_tier, names, 2, NULL, rows, 0, NULL, NULL, s, NULL);
    expect_all(s, NEARCACHE_EINVAL, "a tier of bytes");
    nearcache_get_vectors(api_vectors, names, 2, NULL, rows, 3, NULL, NULL, s, NULL);
    expect_all(s, NEARCACHE_EINVAL, "a small stride");
    nearcache_get_vectors(api_vectors, names, 2, NULL, NULL, 0, NULL, NULL, s, NULL);
    expect_all(s, NEARCACHE_EINVAL, "no matrix");
    nearcache_set_vectors(api_tier, names, 2, rows, 0, NULL, s);
    expect_all(s, NEARCACHE_EINVAL, "a tier of bytes, written");
    nearcache_set_vectors(api_vectors, names, 2, NULL, 0, NULL, s);
    expect_all(s, NEARCACHE_EINVAL, "no matrix, written");
}

Test(api_batch, one_bad_item_spoils_only_itself)
{
    struct nearcache_item items[] = {
        {{"a", 1}, "1", 1, 0},
        {{"", 0}, "2", 1, 0},
        {{"b", 1}, NULL, 5, 0},
        {{"c", 1}, "3", 1, (UINT64_C(1) << 53) + 1},
        {{"d", 1}, "4", 1, NEARCACHE_NONE},
        {{"e", 1}, "5", (size_t)1 << 40, 0},
    };
    static const int expected[] = {0, NEARCACHE_EINVAL, NEARCACHE_EINVAL, NEARCACHE_EINVAL,
                                   0, NEARCACHE_ETOOBIG};
    struct nearcache_name names[] = {{"a", 1}, {NULL, 3}, {"d", 1}, {"zz", 2}};
    struct nearcache_result r[4];
    int statuses[6];
    cr_expect_eq(nearcache_set_many(api_tier, items, 6, NULL, statuses), NEARCACHE_EINVAL);
    for (int i = 0; i < 6; i++)
        cr_expect_eq(statuses[i], expected[i], "item %d", i);
    cr_expect_eq(nearcache_get_many(api_tier, names, 4, NULL, r, statuses), NEARCACHE_EINVAL);
    cr_expect_eq(statuses[0], 0);
    cr_expect_eq(statuses[1], NEARCACHE_EINVAL);
    cr_expect_eq(statuses[2], 0);
    cr_expect_eq(statuses[3], NEARCACHE_MISS);
    nearcache_release_many(r, 4);
}

Test(api_batch, later_items_of_the_same_name_win)
{
    struct nearcache_item items[] = {
        {{"k", 1}, "1", 1, 0}, {{"", 0}, "x", 1, 0}, {{"k", 1}, "2", 1, 0}, {{"k", 1}, "3", 1, 0}};
    int statuses[4];
    nearcache_set_many(api_tier, items, 4, NULL, statuses);
    cr_expect_eq(api_get_is("k", "3"), 0);
}

Test(api_batch, an_item_may_bring_its_own_ttl)
{
    struct nearcache_item items[] = {{{"short", 5}, "1", 1, 100}, {{"long", 4}, "2", 1, 0}};
    struct nearcache_write how = NEARCACHE_WRITE_INIT;
    int statuses[2];
    how.ttl_ms = 5000;
    cr_assert_eq(nearcache_set_many(api_tier, items, 2, &how, statuses), 0);
    fake_clock_advance_ms(&api_clock, 1000);
    cr_expect_eq(api_get_is("short", ""), NEARCACHE_MISS);
    cr_expect_eq(api_get_is("long", "2"), 0);
    fake_clock_advance_ms(&api_clock, 4000);
    cr_expect_eq(api_get_is("long", ""), NEARCACHE_MISS);
}

Test(api_batch, the_same_name_twice_is_pinned_twice)
{
    struct nearcache_name names[] = {{"k", 1}, {"k", 1}};
    struct nearcache_result r[2];
    int statuses[2];
    api_set("k", "v");
    cr_assert_eq(nearcache_get_many(api_tier, names, 2, NULL, r, statuses), 0);
    cr_expect_eq(nearcache_pinned(api_cache), 2);
    nearcache_release(&r[0]);
    cr_expect_eq(memcmp(r[1].data, "v", 1), 0);
    nearcache_release(&r[1]);
}

/* ---- vectors ---- */

Test(api_batch, rows_of_every_kind_come_back_as_they_went)
{
    static const enum nearcache_kind kinds[] = {NEARCACHE_VECTOR_F32, NEARCACHE_VECTOR_F16,
                                                NEARCACHE_VECTOR_I8};
    static const char *const names_of_kinds[] = {"f32", "f16", "i8"};
    static const size_t element[] = {4, 2, 1};
    enum { ROWS = 100, DIMENSION = 48 };
    for (int k = 0; k < 3; k++) {
        struct nearcache_tier_config config = NEARCACHE_TIER_INIT;
        struct nearcache_tier *tier;
        struct nearcache_name names[ROWS];
        uint32_t ids[ROWS];
        int statuses[ROWS];
        enum nearcache_source sources[ROWS];
        size_t row = element[k] * DIMENSION, stride = row + 13;
        unsigned char *given = calloc(ROWS, row), *got = calloc(ROWS, stride);
        config.name = names_of_kinds[k];
        config.kind = kinds[k];
        config.dimension = DIMENSION;
        cr_assert_eq(nearcache_tier_open(api_cache, &config, &tier), 0);
        cr_assert_eq(nearcache_tier_row_bytes(tier), row);
        for (size_t i = 0; i < ROWS * row; i++)
            given[i] = (unsigned char)(i * 31 + i / 256);
        for (uint32_t i = 0; i < ROWS; i++) {
            ids[i] = i;
            names[i] = name_of(&ids[i]);
        }
        cr_assert_eq(nearcache_set_vectors(tier, names, ROWS, given, 0, NULL, statuses), 0);
        nearcache_delete(tier, &ids[3], 4, NULL);
        memset(got, 0xee, ROWS * stride);
        cr_assert_eq(nearcache_get_vectors(tier, names, ROWS, NULL, got, stride, NULL, NULL,
                                           statuses, sources),
                     0);
        for (size_t i = 0; i < ROWS; i++) {
            cr_assert_eq(statuses[i], i == 3 ? NEARCACHE_MISS : 0);
            cr_assert_eq(sources[i], i == 3 ? NEARCACHE_SOURCE_MISS : NEARCACHE_SOURCE_LOCAL);
            if (i != 3)
                cr_assert_eq(memcmp(got + i * stride, given + i * row, row), 0);
            for (size_t j = row; j < stride; j++)
                cr_assert_eq(got[i * stride + j], 0xee, "nothing is written between rows");
        }
        cr_expect_eq(nearcache_pinned(api_cache), 0);
        free(given);
        free(got);
    }
}

Test(api_batch, vectors_need_a_vector_tier_and_a_stride_of_a_row)
{
    struct nearcache_name name = {"k", 1};
    float row[4] = {1, 2, 3, 4};
    int status = 0;
    cr_expect_eq(nearcache_get_vectors(api_tier, &name, 1, NULL, row, 0, NULL, NULL, &status, NULL),
                 NEARCACHE_EINVAL);
    cr_expect_eq(nearcache_get_vectors(NULL, &name, 1, NULL, row, 0, NULL, NULL, &status, NULL),
                 NEARCACHE_EINVAL);
    cr_expect_eq(
        nearcache_get_vectors(api_vectors, &name, 1, NULL, row, 15, NULL, NULL, &status, NULL),
        NEARCACHE_EINVAL);
    cr_expect_eq(
        nearcache_get_vectors(api_vectors, &name, 1, NULL, NULL, 0, NULL, NULL, &status, NULL),
        NEARCACHE_EINVAL);
    cr_expect_eq(nearcache_get_vectors(api_vectors, &name, 1, NULL, row, 0, NULL, NULL, NULL, NULL),
                 NEARCACHE_EINVAL);
    cr_expect_eq(nearcache_get_vectors(api_vectors, NULL, 0, NULL, NULL, 0, NULL, NULL, NULL, NULL),
                 0);
    cr_expect_eq(nearcache_set_vectors(api_tier, &name, 1, row, 0, NULL, &status),
                 NEARCACHE_EINVAL);
    cr_expect_eq(nearcache_set_vectors(api_vectors, &name, 1, row, 15, NULL, &status),
                 NEARCACHE_EINVAL);
    cr_expect_eq(nearcache_set_vectors(api_vectors, &name, 1, NULL, 0, NULL, &status),
                 NEARCACHE_EINVAL);
    cr_expect_eq(nearcache_set_vectors(api_vectors, NULL, 0, NULL, 0, NULL, NULL), 0);
}

struct loads {
    unsigned calls, rows, most;
    int outcome;
};

/* Row i of id is {id, id, id, id}; id 13 does not exist, id 14 fails. */
static int load_rows(void *arg, const struct nearcache_name *names, size_t count, void *rows,
                     size_t stride, int *statuses)
{
    struct loads *loads = arg;
    loads->calls++;
    loads->rows += (unsigned)count;
    loads->most = count > loads->most ? (unsigned)count : loads->most;
    for (size_t i = 0; i < count; i++) {
        uint32_t id;
        cr_assert_eq(statuses[i], NEARCACHE_MISS);
        memcpy(&id, names[i].data, 4);
        float *row = (float *)((char *)rows + i * stride);
        for (int j = 0; j < 4; j++)
            row[j] = (float)id;
        statuses[i] = id == 13 ? NEARCACHE_MISS : id == 14 ? -77 : 0;
    }
    return loads->outcome;
}

Test(api_batch, a_loader_makes_missing_rows_32_at_a_time_and_they_are_kept)
{
    enum { ROWS = 100 };
    struct nearcache_name names[ROWS];
    uint32_t ids[ROWS];
    int statuses[ROWS];
    enum nearcache_source sources[ROWS];
    float matrix[ROWS][4];
    struct loads loads = {0};
    for (uint32_t i = 0; i < ROWS; i++) {
        ids[i] = i;
        names[i] = name_of(&ids[i]);
    }
    cr_expect_eq(nearcache_get_vectors(api_vectors, names, ROWS, NULL, matrix, 0, load_rows, &loads,
                                       statuses, sources),
                 NEARCACHE_ELOADER);
    cr_expect_eq(loads.rows, ROWS);
    cr_expect_eq(loads.calls, 4);
    cr_expect_eq(loads.most, 32);
    for (int i = 0; i < ROWS; i++) {
        cr_assert_eq(statuses[i], i == 13 ? NEARCACHE_MISS : i == 14 ? NEARCACHE_ELOADER : 0);
        if (i != 13 && i != 14) {
            cr_assert_eq(matrix[i][0], (float)i);
            cr_assert_eq(matrix[i][3], (float)i);
            cr_assert_eq(sources[i], NEARCACHE_SOURCE_LOADED);
        }
    }
    memset(&loads, 0, sizeof loads);
    nearcache_get_vectors(api_vectors, names, ROWS, NULL, matrix, 0, load_rows, &loads, statuses,
                          sources);
    cr_expect_eq(loads.rows, 1, "only the row that failed is asked for again");
    cr_expect_eq(sources[13], NEARCACHE_SOURCE_NEGATIVE);
    cr_expect_eq(sources[50], NEARCACHE_SOURCE_LOCAL);
}

Test(api_batch, a_loader_that_fails_fails_all_its_rows_and_keeps_none)
{
    uint32_t ids[2] = {1, 2};
    struct nearcache_name names[2] = {name_of(&ids[0]), name_of(&ids[1])};
    struct loads loads = {.outcome = -5};
    float matrix[2][4];
    int statuses[2];
    cr_expect_eq(nearcache_get_vectors(api_vectors, names, 2, NULL, matrix, 0, load_rows, &loads,
                                       statuses, NULL),
                 NEARCACHE_ELOADER);
    cr_expect_eq(statuses[0], NEARCACHE_ELOADER);
    cr_expect_eq(statuses[1], NEARCACHE_ELOADER);
    cr_expect_eq(nearcache_exists(api_vectors, &ids[0], 4, NULL), NEARCACHE_MISS);
    cr_expect_eq(api_metrics().load_errors, 1);
}

static int load_oddly(void *arg, const struct nearcache_name *names, size_t count, void *rows,
                      size_t stride, int *statuses)
{
    (void)names;
    (void)count;
    (void)rows;
    (void)stride;
    statuses[0] = 7;
    return *(int *)arg;
}

Test(api_batch, a_loader_that_says_anything_else_has_failed)
{
    uint32_t id = 1;
    struct nearcache_name name = name_of(&id);
    float row[4];
    int status, outcomes[] = {0, 7};
    for (int i = 0; i < 2; i++) {
        cr_expect_eq(nearcache_get_vectors(api_vectors, &name, 1, NULL, row, 0, load_oddly,
                                           &outcomes[i], &status, NULL),
                     NEARCACHE_ELOADER);
        cr_expect_eq(status, NEARCACHE_ELOADER);
    }
}
