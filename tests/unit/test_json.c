#include "queue/json.h"

#include "nearcache/queue.h"

#include <criterion/criterion.h>
#include <string.h>

static int check(const char *text) { return nearcache_json_check(text, strlen(text), NULL); }

static struct nc_json root(const char *text)
{
    cr_assert_eq(check(text), 0);
    return nc_json_root(text, strlen(text));
}

Test(json, every_kind_of_value_is_accepted)
{
    static const char *const good[] = {"null",
                                       "true",
                                       " false ",
                                       "0",
                                       "-0",
                                       "-1.5e+10",
                                       "1E2",
                                       "\"\"",
                                       "\"\\u00e9\\n\\\"\"",
                                       "[]",
                                       "[ ]",
                                       "{}",
                                       "{ }",
                                       "[1,2 , [3,{\"a\":[]}]]",
                                       "{\"a\":1,\"b\":{\"c\":null}}",
                                       "\t{\"a\" : 1}\r\n",
                                       "\"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x91\x9f\""};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        cr_expect_eq(check(good[i]), 0, "%s", good[i]);
}

Test(json, everything_else_is_refused)
{
    static const char *const bad[] = {"",
                                      " ",
                                      "nul",
                                      "nulll",
                                      "undefined",
                                      "NaN",
                                      "Infinity",
                                      "01",
                                      "1.",
                                      ".5",
                                      "+1",
                                      "-",
                                      "1e",
                                      "1e+",
                                      "'a'",
                                      "\"",
                                      "\"a",
                                      "\"\\x\"",
                                      "\"\\u12g4\"",
                                      "\"\n\"",
                                      "[",
                                      "]",
                                      "[1",
                                      "[1,]",
                                      "[,1]",
                                      "[1 2]",
                                      "{",
                                      "}",
                                      "{]",
                                      "[}",
                                      "{\"a\"}",
                                      "{\"a\":}",
                                      "{\"a\":1,}",
                                      "{a:1}",
                                      "{\"a\" 1}",
                                      "{1:2}",
                                      "1 2",
                                      "{} {}",
                                      "[1]]",
                                      "\"\xff\"",
                                      "\"\xc0\x80\"",
                                      "\"\xed\xa0\x80\"",
                                      "\"\xf4\x90\x80\x80\"",
                                      "\"\xe2\x82\""};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_expect_eq(check(bad[i]), NEARCACHE_EINVAL, "%s", bad[i]);
}

Test(json, a_zero_byte_is_not_the_end_of_the_text)
{
    cr_expect_eq(nc_json_check("1\0", 2, NULL), NEARCACHE_EINVAL);
    cr_expect_eq(nc_json_check("\"\0\"", 3, NULL), NEARCACHE_EINVAL);
    cr_expect_eq(nc_json_check("\"\\\0\"", 4, NULL), NEARCACHE_EINVAL);
}

Test(json, the_offset_of_the_mistake_is_told)
{
    size_t where = 0;
    cr_expect_eq(nc_json_check("{\"a\":tru}", 9, &where), NEARCACHE_EINVAL);
    cr_expect_eq(where, 5);
}

Test(json, depth_is_allowed_up_to_the_limit)
{
    char text[2 * (NEARCACHE_JSON_DEPTH + 1)];
    memset(text, '[', NEARCACHE_JSON_DEPTH);
    memset(text + NEARCACHE_JSON_DEPTH, ']', NEARCACHE_JSON_DEPTH);
    cr_expect_eq(nc_json_check(text, 2 * NEARCACHE_JSON_DEPTH, NULL), 0);
    memset(text, '[', NEARCACHE_JSON_DEPTH + 1);
    memset(text + NEARCACHE_JSON_DEPTH + 1, ']', NEARCACHE_JSON_DEPTH + 1);
    cr_expect_eq(nc_json_check(text, sizeof text, NULL), NEARCACHE_EINVAL);
}

Test(json, members_are_found_behind_nested_values_and_the_last_one_counts)
{
    struct nc_json object =
        root(" {\"x\":{\"attempts\":9,\"s\":\"}]\\\"\"}, \"attempts\" : 3 ,\"list\":[1,[2]],"
             "\"attempts\":4,\"t\":true} ");
    int64_t number = 0;
    cr_assert(nc_json_int(nc_json_member(object, "attempts"), &number));
    cr_expect_eq(number, 4);
    cr_expect_eq(nc_json_kind(nc_json_member(object, "t")), NC_JSON_TRUE);
    cr_expect_eq(nc_json_kind(nc_json_member(object, "none")), NC_JSON_NONE);
    cr_expect_eq(nc_json_member(object, "list").bytes, 7);
    cr_expect_eq(nc_json_kind(nc_json_member(root("[1]"), "a")), NC_JSON_NONE);
}

Test(json, arrays_are_walked_in_order)
{
    struct nc_json array = root("[ 1, \"two\" ,[3], {} ,null]"), name, value;
    static const enum nc_json_kind kinds[] = {NC_JSON_NUMBER, NC_JSON_STRING, NC_JSON_ARRAY,
                                              NC_JSON_OBJECT, NC_JSON_NULL};
    size_t cursor = 0, count = 0;
    while (nc_json_next(array, &cursor, &name, &value)) {
        cr_assert_lt(count, 5);
        cr_expect_eq(nc_json_kind(value), kinds[count]);
        count++;
    }
    cr_expect_eq(count, 5);
    cursor = 0;
    cr_expect_not(nc_json_next(root("{ }"), &cursor, &name, &value));
}

Test(json, numbers_are_read)
{
    static const struct {
        const char *text;
        bool is_int;
        int64_t number;
        double value;
    } cases[] = {{"0", true, 0, 0},
                 {"-12", true, -12, -12},
                 {"9007199254740993", true, 9007199254740993, 9007199254740992.0},
                 {"1e3", true, 1000, 1000},
                 {"2.50e1", true, 25, 25},
                 {"0.5", false, 0, 0.5},
                 {"-0.25", false, 0, -0.25},
                 {"1e30", false, 0, 1e30},
                 {"25e-2", false, 0, 0.25}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t number = 0;
        double value = 0;
        cr_expect_eq(nc_json_int(root(cases[i].text), &number), cases[i].is_int, "%s",
                     cases[i].text);
        cr_expect_eq(number, cases[i].number, "%s", cases[i].text);
        cr_expect(nc_json_double(root(cases[i].text), &value));
        cr_expect_float_eq(value, cases[i].value,
                           1e-12 * (cases[i].value < 0 ? -cases[i].value : cases[i].value) +
                               1e-300);
    }
    int64_t number;
    double value;
    cr_expect_not(nc_json_int(root("\"1\""), &number));
    cr_expect(nc_json_double(root("1e-99999"), &value));
    cr_expect(nc_json_double(root("1e99999"), &value));
}

Test(json, strings_are_decoded)
{
    struct nc_text text = {0};
    cr_assert(nc_json_string(root("\"a\\u00e9\\n\\\"\\/\\ud83d\\udc5f\\ud800x\""), &text));
    cr_expect_str_eq(text.data, "a\xc3\xa9\n\"/\xf0\x9f\x91\x9f\xef\xbf\xbdx");
    cr_expect_not(nc_json_string(root("1"), &text));
    nc_text_deinit(&text);
}

Test(json, any_bytes_become_a_valid_string)
{
    struct nc_text text = {0};
    nc_json_add_string(&text, "a\"b\\c\n\x01\xff\xc3\xa9", 10);
    cr_expect_str_eq(text.data, "\"a\\\"b\\\\c\\n\\u0001\xef\xbf\xbd\xc3\xa9\"");
    cr_expect_eq(nc_json_check(text.data, text.bytes, NULL), 0);
    unsigned char all[256];
    for (int i = 0; i < 256; i++)
        all[i] = (unsigned char)i;
    nc_text_clear(&text);
    nc_json_add_string(&text, all, sizeof all);
    cr_expect_eq(nc_json_check(text.data, text.bytes, NULL), 0);
    nc_text_deinit(&text);
}
