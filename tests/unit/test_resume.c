#include "cli/resume.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char directory[] = "/tmp/nc-resume-XXXXXX";
static char path[64];
static uint64_t row;

static void setup(void)
{
    cr_assert(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/state", directory);
}

static void teardown(void)
{
    unlink(path);
    rmdir(directory);
}

TestSuite(resume, .init = setup, .fini = teardown);

Test(resume, what_was_written_is_found)
{
    cr_assert(cli_resume_write(path, "1234 embedding:", 77));
    cr_assert_eq(cli_resume_read(path, "1234 embedding:", &row), CLI_RESUME_FOUND);
    cr_assert_eq(row, 77);
    cr_assert(cli_resume_write(path, "1234 embedding:", 78));
    cr_assert_eq(cli_resume_read(path, "1234 embedding:", &row), CLI_RESUME_FOUND);
    cr_assert_eq(row, 78);
}

Test(resume, no_file_is_a_beginning)
{
    cr_assert_eq(cli_resume_read(path, "x", &row), CLI_RESUME_NONE);
}

Test(resume, another_job_is_told_apart)
{
    cr_assert(cli_resume_write(path, "1234 embedding:", 77));
    cr_assert_eq(cli_resume_read(path, "1235 embedding:", &row), CLI_RESUME_OTHER);
}

Test(resume, a_broken_file_is_not_believed)
{
    static const char *const texts[] = {"", "nearcache load 1\n", "nearcache load 1\nx\n",
                                        "nearcache load 1\nx\nseven\n", "nearcache load 1\nx\n7"};

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        FILE *out = fopen(path, "w");

        fputs(texts[i], out);
        fclose(out);
        cr_assert_eq(cli_resume_read(path, "x", &row), CLI_RESUME_OTHER, "%zu", i);
    }
}

Test(resume, a_place_that_cannot_be_written_is_an_error)
{
    cr_assert_not(cli_resume_write("/nonexistent/state", "x", 1));
    cr_assert_eq(cli_resume_read("/tmp/", "x", &row), CLI_RESUME_OTHER);
}
