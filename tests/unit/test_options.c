#include "cli/options.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

Test(options, passwords_are_overwritten_in_place)
{
    char url[] = "redis://user:secret@host/1", bare[] = "redis://:p@ss@host",
         none[] = "redis://host:1";

    cli_hide_password(url);
    cr_assert_str_eq(url, "redis://user:xxxxxx@host/1");
    cli_hide_password(bare);
    cr_assert_str_eq(bare, "redis://:xxxx@host");
    cli_hide_password(none);
    cr_assert_str_eq(none, "redis://host:1");
}

Test(options, sizes_take_a_unit)
{
    uint64_t bytes;

    cr_assert(cli_parse_bytes("64", &bytes) && bytes == 64);
    cr_assert(cli_parse_bytes("64k", &bytes) && bytes == 65536);
    cr_assert(cli_parse_bytes("2M", &bytes) && bytes == 2 << 20);
    cr_assert(cli_parse_bytes("1g", &bytes) && bytes == 1 << 30);
    cr_assert_not(cli_parse_bytes("", &bytes));
    cr_assert_not(cli_parse_bytes("-1", &bytes));
    cr_assert_not(cli_parse_bytes("1kb", &bytes));
    cr_assert_not(cli_parse_bytes("99999999999g", &bytes));
    cr_assert_not(cli_parse_bytes("99999999999999999999", &bytes));
}

/* ---- a whole command line ------------------------------------------------------------------- */

static bool flag;
static const char *text, *url;
static uint64_t number = 7, bytes_number;
static int choice;
static char **rest;

/* The words live on: what is parsed points into them. */
static char *given[16];

static int parse(const char *const *words)
{
    static const char *const choices[] = {"one", "two", NULL};
    static const struct cli_command command = {.name = "test", .arguments = "FILE", .summary = "x"};
    const struct cli_option options[] = {
        {"flag", CLI_FLAG, NULL, "a flag", &flag, 0, 0, NULL},
        {"text", CLI_TEXT, "T", "a text", &text, 0, 0, NULL},
        {"number", CLI_NUMBER, "N", "a number", &number, 2, 9, NULL},
        {"bytes", CLI_BYTES, "N", "bytes", &bytes_number, 0, 0, NULL},
        {"choice", CLI_CHOICE, "C", "a choice", &choice, 0, 0, choices},
        {"redis", CLI_URL, "URL", "a url", &url, 0, 0, NULL},
    };

    int count = 0;

    for (; words[count]; count++)
        given[count] = (char *)words[count]; /* only read */
    given[count] = NULL;
    return cli_options_parse(&command, options, 6, count, given, 1, 2, &rest);
}
#define PARSE(...) parse((const char *[]){"test", __VA_ARGS__, NULL})

Test(options, each_kind_of_value_is_taken)
{
    char redis[] = "--redis=redis://:secret@h";

    cr_assert_eq(PARSE("--flag", "file", "--text", "t", "--number=3", "--bytes", "2k", "--choice",
                       "two", redis),
                 CLI_GO_ON);
    cr_assert(flag && number == 3 && bytes_number == 2048 && choice == 1);
    cr_assert_str_eq(text, "t");
    cr_assert_str_eq(url, "redis://:secret@h");
    cr_assert_str_eq(redis, "--redis=redis://:xxxxxx@h");
    cr_assert_str_eq(rest[0], "file");
}

Test(options, what_is_not_given_keeps_its_default)
{
    cr_assert_eq(PARSE("file"), CLI_GO_ON);
    cr_assert(!flag && !text && number == 7);
}

Test(options, values_out_of_their_range_are_usage_errors)
{
    cr_assert_eq(PARSE("--number", "1", "file"), CLI_USAGE);
    cr_assert_eq(PARSE("--number", "10", "file"), CLI_USAGE);
    cr_assert_eq(PARSE("--number", "", "file"), CLI_USAGE);
    cr_assert_eq(PARSE("--choice", "three", "file"), CLI_USAGE);
    cr_assert_eq(PARSE("--choice", "", "file"), CLI_USAGE);
    cr_assert_eq(number, 7);
}

Test(options, the_number_of_arguments_is_checked)
{
    cr_assert_eq(PARSE("--flag"), CLI_USAGE);
    cr_assert_eq(PARSE("a", "b"), CLI_GO_ON);
    cr_assert_eq(PARSE("a", "b", "c"), CLI_USAGE);
    cr_assert_eq(PARSE("--", "--flag"), CLI_GO_ON);
    cr_assert_str_eq(rest[0], "--flag");
}

Test(options, help_is_fine_and_an_unknown_option_is_not)
{
    cr_assert_eq(PARSE("--help"), CLI_FINE);
    cr_assert_eq(PARSE("--flog", "file"), CLI_USAGE);
    cr_assert_eq(PARSE("--flag=yes", "file"), CLI_USAGE);
    cr_assert_eq(PARSE("--text"), CLI_USAGE);
}
