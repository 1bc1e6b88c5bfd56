#include "queue/args.h"

#include <criterion/criterion.h>
#include <string.h>

static struct nc_args args;

static void teardown(void) { nc_args_deinit(&args); }
TestSuite(args, .fini = teardown);

static bool is(size_t index, const char *text, size_t bytes)
{
    size_t got;
    const char *at = nc_args_at(&args, index, &got);
    return got == bytes && (bytes == 0 || memcmp(at, text, bytes) == 0);
}

Test(args, arguments_come_back_as_they_were_added)
{
    nc_args_add(&args, "a\0b", 3);
    nc_args_add_string(&args, "");
    nc_args_add_int(&args, -9007199254740993);
    nc_args_add_count(&args, 0);
    nc_args_add_count(&args, 17);
    cr_assert_eq(args.count, 5);
    cr_expect(is(0, "a\0b", 3));
    cr_expect(is(1, "", 0));
    cr_expect(is(2, "-9007199254740993", 17));
    cr_expect(is(3, "", 0), "no count is an empty argument");
    cr_expect(is(4, "17", 2));
    cr_expect_not(args.text.failed);
}

Test(args, thousands_of_arguments_keep_their_places)
{
    for (int i = 0; i < 5000; i++)
        nc_args_add_int(&args, i);
    cr_assert_eq(args.count, 5000);
    cr_expect(is(0, "0", 1));
    cr_expect(is(4999, "4999", 4));
}

Test(args, cleared_arguments_are_used_again)
{
    nc_args_add_string(&args, "first");
    nc_args_clear(&args);
    cr_assert_eq(args.count, 0);
    nc_args_add_string(&args, "second");
    cr_expect(is(0, "second", 6));
}
