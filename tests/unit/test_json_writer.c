#include "cli/json.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static char *text;
static size_t bytes;
static FILE *out;
static struct cli_json json;

static void setup(void)
{
    out = open_memstream(&text, &bytes);
    cli_json_init(&json, out);
}

static void teardown(void) { free(text); }

TestSuite(json_writer, .init = setup, .fini = teardown);

static void expect(const char *wanted)
{
    fclose(out);
    cr_assert_str_eq(text, wanted);
}

Test(json_writer, values_are_parted_by_commas)
{
    cli_json_begin_object(&json, NULL);
    cli_json_number(&json, "a", 18446744073709551615u);
    cli_json_signed(&json, "b", -3);
    cli_json_real(&json, "c", 0.48765, 4);
    cli_json_bool(&json, "d", true);
    cli_json_null(&json, "e");
    cli_json_end_object(&json);
    expect("{\n  \"a\": 18446744073709551615,\n  \"b\": -3,\n  \"c\": 0.4876,\n  \"d\": true,\n"
           "  \"e\": null\n}\n");
}

Test(json_writer, groups_nest)
{
    cli_json_begin_object(&json, NULL);
    cli_json_begin_array(&json, "list");
    cli_json_number(&json, NULL, 1);
    cli_json_begin_object(&json, NULL);
    cli_json_end_object(&json);
    cli_json_end_array(&json);
    cli_json_begin_array(&json, "none");
    cli_json_end_array(&json);
    cli_json_end_object(&json);
    expect("{\n  \"list\": [\n    1,\n    {}\n  ],\n  \"none\": []\n}\n");
}

Test(json_writer, texts_are_escaped)
{
    cli_json_text(&json, NULL, "a\"b\\c\n\t\x01\x7f d");
    expect("\"a\\\"b\\\\c\\u000a\\u0009\\u0001\\u007f d\"");
}

Test(json_writer, utf8_stays_and_other_bytes_are_replaced)
{
    cli_json_text(&json, NULL,
                  "caf\xc3\xa9 \xf0\x9f\x91\x97 \xff \xc3 \xe0\x80\x80 \xed\xa0\x80 \xf5");
    expect("\"caf\xc3\xa9 \xf0\x9f\x91\x97 \\ufffd \\ufffd \\ufffd\\ufffd\\ufffd "
           "\\ufffd\\ufffd\\ufffd \\ufffd\"");
}

Test(json_writer, a_zero_byte_is_escaped)
{
    cli_json_bytes(&json, NULL, "a\0b", 3);
    expect("\"a\\u0000b\"");
}

Test(json_writer, numbers_that_are_none_become_null)
{
    cli_json_begin_array(&json, NULL);
    cli_json_real(&json, NULL, NAN, 1);
    cli_json_real(&json, NULL, INFINITY, 1);
    cli_json_end_array(&json);
    expect("[\n  null,\n  null\n]\n");
}

Test(json_writer, without_a_file_nothing_is_written)
{
    cli_json_init(&json, NULL);
    cli_json_begin_object(&json, NULL);
    cli_json_text(&json, "a", "b");
    cli_json_end_object(&json);
    expect("");
}
