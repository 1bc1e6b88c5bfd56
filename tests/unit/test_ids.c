#include "cli/ids.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[] = "/tmp/nc-ids-XXXXXX";
static char problem[CLI_IDS_PROBLEM_BYTES];
static struct cli_ids ids;

static void setup(void) { close(mkstemp(path)); }

static void teardown(void)
{
    cli_ids_deinit(&ids);
    unlink(path);
}

TestSuite(ids, .init = setup, .fini = teardown);

static bool read_text(const char *text, size_t bytes)
{
    FILE *out = fopen(path, "w");

    fwrite(text, 1, bytes, out);
    fclose(out);
    return cli_ids_init(&ids, path, problem);
}

static void expect_name(uint64_t row, const char *name)
{
    char numbers[CLI_IDS_NUMBER_BYTES];
    struct nearcache_name got;

    cli_ids_names(&ids, row, 1, numbers, &got);
    cr_assert_eq(got.bytes, strlen(name));
    cr_assert_eq(memcmp(got.data, name, got.bytes), 0);
}

Test(ids, each_line_is_a_name)
{
    cr_assert(read_text("sku-1\na b\nthird\n", 16));
    cr_assert_eq(ids.count, 3);
    expect_name(0, "sku-1");
    expect_name(1, "a b");
    expect_name(2, "third");
}

Test(ids, the_last_line_needs_no_end)
{
    cr_assert(read_text("one\ntwo", 7));
    cr_assert_eq(ids.count, 2);
    expect_name(1, "two");
}

Test(ids, without_a_file_names_are_row_numbers)
{
    cr_assert(cli_ids_init(&ids, NULL, problem));
    expect_name(0, "0");
    expect_name(UINT64_MAX, "18446744073709551615");
}

Test(ids, a_wrong_line_is_named)
{
    cr_assert_not(read_text("one\n\nthree\n", 11));
    cr_assert(strstr(problem, "line 2: the line is empty"), "%s", problem);
    cr_assert_not(read_text("one\nt\0o\n", 8));
    cr_assert(strstr(problem, "line 2: the line has a zero byte"), "%s", problem);
    cr_assert_not(read_text("", 0));
    cr_assert(strstr(problem, "no ids"), "%s", problem);
}

Test(ids, a_line_longer_than_a_key_is_refused)
{
    char *text = malloc(NEARCACHE_MAX_KEY_BYTES + 1);

    memset(text, 'k', NEARCACHE_MAX_KEY_BYTES + 1);
    cr_assert_not(read_text(text, NEARCACHE_MAX_KEY_BYTES + 1));
    cr_assert(strstr(problem, "too long"), "%s", problem);
    cr_assert(read_text(text, NEARCACHE_MAX_KEY_BYTES));
    free(text);
}

Test(ids, many_lines_are_read)
{
    size_t bytes = 0;
    char *text = malloc(4 << 20), name[24];

    for (int i = 0; i < 200000; i++)
        bytes += (size_t)sprintf(text + bytes, "id-%d\n", i);
    cr_assert(read_text(text, bytes));
    cr_assert_eq(ids.count, 200000);
    for (int i = 0; i < 200000; i += 997) {
        sprintf(name, "id-%d", i);
        expect_name((uint64_t)i, name);
    }
    free(text);
}

Test(ids, a_missing_file_is_an_error)
{
    cr_assert_not(cli_ids_init(&ids, "/nonexistent/ids", problem));
    cr_assert(strstr(problem, "No such file"), "%s", problem);
}
