#include "cli/npy.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct cli_npy npy;
static char problem[CLI_NPY_PROBLEM_BYTES];
static unsigned char file[70000];

/* A file of version 1 with this dictionary; its length without rows. */
static size_t make_file(const char *dictionary)
{
    size_t bytes = strlen(dictionary);

    memcpy(file, "\x93NUMPY\1\0", 8);
    file[8] = (unsigned char)(bytes & 0xff);
    file[9] = (unsigned char)(bytes >> 8);
    memcpy(file + 10, dictionary, bytes);
    return bytes + 10;
}

static bool parse(const char *dictionary, uint64_t data_bytes)
{
    size_t bytes = make_file(dictionary);

    problem[0] = '\0';
    return cli_npy_parse(&npy, file, bytes, bytes + data_bytes, problem);
}

static void expect_problem(const char *dictionary, uint64_t data_bytes, const char *part)
{
    cr_assert_not(parse(dictionary, data_bytes), "%s", dictionary);
    cr_assert(strstr(problem, part), "%s: %s", dictionary, problem);
}

#define HEAD(type, shape) "{'descr': '" type "', 'fortran_order': False, 'shape': " shape ", }\n"

Test(npy, a_matrix_of_each_type_is_read)
{
    cr_assert(parse(HEAD("<f4", "(10, 512)"), 10 * 512 * 4), "%s", problem);
    cr_assert(npy.rows == 10 && npy.columns == 512 && npy.row_bytes == 2048);
    cr_assert_eq(npy.type, CLI_NPY_F32);
    cr_assert(parse(HEAD("<f2", "(3, 7)"), 3 * 7 * 2));
    cr_assert(npy.type == CLI_NPY_F16 && npy.row_bytes == 14);
    cr_assert(parse(HEAD("|i1", "(3, 7)"), 3 * 7));
    cr_assert(npy.type == CLI_NPY_I8 && npy.row_bytes == 7);
    cr_assert(parse(HEAD("<i1", "(3, 7)"), 3 * 7));
}

Test(npy, spacing_order_and_quotes_of_the_dictionary_do_not_matter)
{
    cr_assert(parse("{\"shape\":(2,3),\"descr\":\"<f4\",\"fortran_order\":False}", 24), "%s",
              problem);
    cr_assert(
        parse("  { 'fortran_order' : False , 'shape' : ( 2 , 3 , ) , 'descr' : '<f4' , }  \n", 24),
        "%s", problem);
    cr_assert(parse(HEAD("<f4", "(2L, 3L)"), 24), "%s", problem);
}

Test(npy, versions_two_and_three_have_a_longer_length)
{
    const char *dictionary = HEAD("<f4", "(2, 3)");
    size_t bytes = strlen(dictionary);

    for (int version = 2; version <= 3; version++) {
        memcpy(file, "\x93NUMPY", 6);
        file[6] = (unsigned char)version;
        file[7] = 0;
        file[8] = (unsigned char)bytes;
        file[9] = file[10] = file[11] = 0;
        memcpy(file + 12, dictionary, bytes);
        cr_assert(cli_npy_parse(&npy, file, bytes + 12, bytes + 12 + 24, problem), "%s", problem);
        cr_assert_eq(npy.data_offset, bytes + 12);
    }
    file[6] = 4;
    cr_assert_not(cli_npy_parse(&npy, file, bytes + 12, bytes + 12 + 24, problem));
    cr_assert(strstr(problem, "version 4.0"), "%s", problem);
}

Test(npy, other_types_are_named)
{
    expect_problem(HEAD(">f4", "(2, 3)"), 24, "big-endian");
    expect_problem(HEAD("<f8", "(2, 3)"), 48, "<f8");
    expect_problem(HEAD("|O", "(2, 3)"), 48, "|O");
    expect_problem("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,)}", 8, "record");
}

Test(npy, fortran_order_is_refused)
{
    expect_problem("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3)}", 24, "Fortran");
    expect_problem("{'descr': '<f4', 'fortran_order': Maybe, 'shape': (2, 3)}", 24,
                   "fortran_order");
}

Test(npy, only_a_matrix_is_taken)
{
    expect_problem(HEAD("<f4", "()"), 4, "0 dimensions");
    expect_problem(HEAD("<f4", "(5,)"), 20, "1 dimension:");
    expect_problem(HEAD("<f4", "(2, 3, 4)"), 96, "more than two");
    expect_problem(HEAD("<f4", "(2, 0)"), 0, "empty");
    expect_problem(HEAD("<f4", "2"), 8, "not a tuple");
    expect_problem(HEAD("<f4", "(2 3)"), 24, "not a tuple");
    expect_problem(HEAD("<f4", "(-2, 3)"), 24, "not a tuple");
    expect_problem(HEAD("<f4", "(,)"), 24, "not a tuple");
}

Test(npy, a_matrix_without_rows_is_empty_but_sound)
{
    cr_assert(parse(HEAD("<f4", "(0, 3)"), 0), "%s", problem);
    cr_assert_eq(npy.rows, 0);
}

Test(npy, a_truncated_file_says_how_many_rows_are_there)
{
    expect_problem(HEAD("<f4", "(10, 512)"), 3 * 2048 + 5, "3 of the 10 rows");
    expect_problem(HEAD("<f4", "(10, 512)"), 10 * 2048 + 1, "longer than its header says");
}

Test(npy, shapes_that_overflow_are_refused)
{
    expect_problem(HEAD("<f4", "(99999999999999999999, 3)"), 24, "too large");
    expect_problem(HEAD("<f4", "(4611686018427387904, 4)"), 24, "too large");
    expect_problem(HEAD("<f4", "(2, 9223372036854775807)"), 24, "too large");
    expect_problem(HEAD("<f4", "(18446744073709551615, 18446744073709551615)"), 24, "too large");
}

Test(npy, broken_dictionaries_are_refused)
{
    expect_problem("", 0, "not a dictionary");
    expect_problem("{", 0, "dictionary");
    expect_problem("{}", 0, "lacks");
    expect_problem("{'descr': '<f4'", 0, "dictionary");
    expect_problem("{'descr': '<f4", 0, "does not end");
    expect_problem("{'descr' '<f4'}", 0, "dictionary");
    expect_problem("{'descr': '<f4', 'descr': '<f4'}", 0, "twice");
    expect_problem("{'else': 1}", 0, "does not write");
    expect_problem(HEAD("<f4", "(2, 3)") "x", 24, "after its dictionary");
    expect_problem("{'descr': '<f4', 'fortran_order': False}", 0, "lacks");
}

Test(npy, every_cut_of_a_sound_header_is_refused)
{
    size_t bytes = make_file(HEAD("<f4", "(2, 3)"));

    for (size_t cut = 0; cut < bytes; cut++)
        cr_assert_not(cli_npy_parse(&npy, file, cut, cut, problem), "%zu", cut);
}

Test(npy, every_single_changed_byte_gives_an_answer)
{
    size_t bytes = make_file(HEAD("<f4", "(2, 3)"));

    for (size_t at = 0; at < bytes; at++)
        for (int value = 0; value < 256; value++) {
            unsigned char was = file[at];
            bool fine;

            file[at] = (unsigned char)value;
            fine = cli_npy_parse(&npy, file, bytes, bytes + 24, problem);
            if (fine)
                cr_assert(npy.data_offset + npy.rows * npy.row_bytes == bytes + 24);
            file[at] = was;
        }
}

Test(npy, a_header_beyond_the_limit_is_refused)
{
    memcpy(file, "\x93NUMPY\2\0\xff\xff\xff\x7f", 12);
    cr_assert_not(cli_npy_parse(&npy, file, 12, UINT64_C(1) << 40, problem));
    cr_assert(strstr(problem, "unreasonably"), "%s", problem);
}

Test(npy, what_is_written_is_read_back)
{
    static const enum cli_npy_type types[] = {CLI_NPY_F32, CLI_NPY_F16, CLI_NPY_I8};

    for (int i = 0; i < 3; i++) {
        struct cli_npy written = {.type = types[i], .rows = 12345, .columns = 512};
        char header[CLI_NPY_HEADER_BYTES];

        cli_npy_format(&written, header);
        cr_assert(cli_npy_parse(&npy, header, sizeof header,
                                sizeof header + 12345 * written.row_bytes, problem),
                  "%s", problem);
        cr_assert(npy.type == types[i] && npy.rows == 12345 && npy.columns == 512);
        cr_assert_eq(npy.data_offset % 64, 0);
    }
}

Test(npy, the_largest_shape_fits_the_written_header)
{
    struct cli_npy written = {.type = CLI_NPY_F32, .rows = UINT64_MAX, .columns = UINT32_MAX};
    char header[CLI_NPY_HEADER_BYTES];

    cli_npy_format(&written, header);
    cr_assert_eq(header[CLI_NPY_HEADER_BYTES - 1], '\n');
    cr_assert(memchr(header, '}', sizeof header));
}

Test(npy, open_says_why_not)
{
    cr_assert_eq(cli_npy_open("/nonexistent/file.npy", &npy, problem), -1);
    cr_assert(strstr(problem, "No such file"), "%s", problem);
    cr_assert_eq(cli_npy_open("/tmp", &npy, problem), -1);
    cr_assert_eq(cli_npy_open("/dev/zero", &npy, problem), -1);
    cr_assert(strstr(problem, "regular"), "%s", problem);
    cr_assert_eq(cli_npy_open("/etc/passwd", &npy, problem), -1);
    cr_assert(strstr(problem, "not a .npy"), "%s", problem);
}
