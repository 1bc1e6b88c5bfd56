#include "lib/proc.h"

#include <criterion/criterion.h>
#include <signal.h>

static const char *const cat[] = {"cat", NULL};
static struct proc proc;

TestSuite(proc, .timeout = 60);

Test(proc, lines_are_sent_and_come_back)
{
    cr_assert(proc_start(&proc, cat));
    cr_assert(proc_send(&proc, "one"));
    cr_assert(proc_expect(&proc, "one", 10000));
    cr_assert(proc_send(&proc, "two\nthree"));
    cr_assert(proc_expect(&proc, "two", 10000));
    cr_assert(proc_expect(&proc, "three", 10000));
    cr_assert_eq(proc_finish(&proc, 10000), 0);
}

Test(proc, another_line_than_expected_is_reported)
{
    cr_assert(proc_start(&proc, cat));
    cr_assert(proc_send(&proc, "one"));
    cr_assert_not(proc_expect(&proc, "two", 10000));
    cr_assert_eq(proc_finish(&proc, 10000), 0);
}

Test(proc, reading_ends_at_the_deadline)
{
    cr_assert(proc_start(&proc, cat));
    cr_assert_null(proc_read(&proc, 5));
    cr_assert_eq(proc_finish(&proc, 10000), 0);
}

Test(proc, reading_ends_with_the_program)
{
    const char *const quick[] = {"sh", "-c", "echo last; exit 3", NULL};

    cr_assert(proc_start(&proc, quick));
    cr_assert(proc_expect(&proc, "last", 10000));
    cr_assert_null(proc_read(&proc, 10000));
    cr_assert_eq(proc_finish(&proc, 10000), 3);
}

Test(proc, a_program_that_does_not_end_is_killed)
{
    const char *const stubborn[] = {"sh", "-c", "trap '' TERM; echo ready; read x; read x <&1",
                                    NULL};

    cr_assert(proc_start(&proc, stubborn));
    cr_assert(proc_expect(&proc, "ready", 10000));
    cr_assert_eq(proc_signal(&proc, SIGTERM, 20), 128 + SIGKILL);
}

Test(proc, a_program_that_is_not_there_has_status_127)
{
    const char *const missing[] = {"/nowhere/to/be/found", NULL};

    cr_assert(proc_start(&proc, missing));
    cr_assert_null(proc_read(&proc, 10000));
    cr_assert_eq(proc_finish(&proc, 10000), 127);
}
