#include "cli/trace.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

static char path[] = "/tmp/nc-trace-XXXXXX", times_path[] = "/tmp/nc-times-XXXXXX";
static char problem[CLI_TRACE_PROBLEM_BYTES];
static struct cli_trace trace;

static void setup(void)
{
    close(mkstemp(path));
    close(mkstemp(times_path));
}

static void teardown(void)
{
    cli_trace_deinit(&trace);
    unlink(path);
    unlink(times_path);
}

TestSuite(trace, .init = setup, .fini = teardown);

static void write_plain(const char *where, const void *data, size_t bytes)
{
    FILE *out = fopen(where, "w");

    fwrite(data, 1, bytes, out);
    fclose(out);
}

static void write_gzip(const char *where, const void *data, size_t bytes)
{
    gzFile out = gzopen(where, "w");

    gzwrite(out, data, (unsigned)bytes);
    gzclose(out);
}

static const uint64_t ids[] = {5, 0, 5, 3, 0, 9};

Test(trace, plain_and_gzip_files_read_the_same)
{
    write_plain(path, ids, sizeof ids);
    cr_assert(cli_trace_init(&trace, path, NULL, problem), "%s", problem);
    cr_assert(trace.count == 6 && trace.unique == 4 && trace.ids[3] == 3);
    cli_trace_deinit(&trace);
    write_gzip(path, ids, sizeof ids);
    cr_assert(cli_trace_init(&trace, path, NULL, problem), "%s", problem);
    cr_assert(trace.count == 6 && trace.unique == 4);
    cr_assert_eq(memcmp(trace.ids, ids, sizeof ids), 0);
}

Test(trace, ids_need_not_be_dense)
{
    static const uint64_t far[] = {UINT64_MAX, 7, UINT64_MAX, UINT64_C(1) << 40};

    write_plain(path, far, sizeof far);
    cr_assert(cli_trace_init(&trace, path, NULL, problem), "%s", problem);
    cr_assert_eq(trace.unique, 3);
}

Test(trace, a_file_larger_than_the_buffers_is_read_whole)
{
    size_t count = 1000003;
    uint64_t *many = malloc(count * sizeof *many);

    for (size_t i = 0; i < count; i++)
        many[i] = i % 1000;
    write_gzip(path, many, count * sizeof *many);
    cr_assert(cli_trace_init(&trace, path, NULL, problem), "%s", problem);
    cr_assert(trace.count == count && trace.unique == 1000);
    cr_assert_eq(memcmp(trace.ids, many, count * sizeof *many), 0);
    free(many);
}

Test(trace, a_cut_gzip_file_is_an_error)
{
    uint64_t many[4096];
    FILE *out;

    for (size_t i = 0; i < 4096; i++)
        many[i] = i * i;
    write_gzip(path, many, sizeof many);
    out = fopen(path, "r+");
    cr_assert_eq(ftruncate(fileno(out), 2048), 0);
    fclose(out);
    cr_assert_not(cli_trace_init(&trace, path, NULL, problem));
    cr_assert(strstr(problem, "truncated"), "%s", problem);
}

Test(trace, files_of_another_kind_are_errors)
{
    write_plain(path, "abc", 3);
    cr_assert_not(cli_trace_init(&trace, path, NULL, problem));
    cr_assert(strstr(problem, "64-bit"), "%s", problem);
    write_plain(path, "", 0);
    cr_assert_not(cli_trace_init(&trace, path, NULL, problem));
    cr_assert_not(cli_trace_init(&trace, "/nonexistent/trace", NULL, problem));
    cr_assert(strstr(problem, "No such file"), "%s", problem);
}

Test(trace, each_request_has_its_time)
{
    static const uint32_t seconds[] = {0, 0, 1, 5, 5, 9};

    write_plain(path, ids, sizeof ids);
    write_gzip(times_path, seconds, sizeof seconds);
    cr_assert(cli_trace_init(&trace, path, times_path, problem), "%s", problem);
    cr_assert_eq(trace.seconds[3], 5);
}

Test(trace, times_that_do_not_fit_the_requests_are_errors)
{
    static const uint32_t few[] = {0, 1}, backwards[] = {0, 1, 2, 1, 3, 4};

    write_plain(path, ids, sizeof ids);
    write_plain(times_path, few, sizeof few);
    cr_assert_not(cli_trace_init(&trace, path, times_path, problem));
    cr_assert(strstr(problem, "one 32-bit time"), "%s", problem);
    write_plain(times_path, backwards, sizeof backwards);
    cr_assert_not(cli_trace_init(&trace, path, times_path, problem));
    cr_assert(strstr(problem, "backwards"), "%s", problem);
}
