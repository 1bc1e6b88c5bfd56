#include "lib/wait_until.h"

#include <criterion/criterion.h>

Test(wait_until, a_true_condition_is_evaluated_once)
{
    int evaluations = 0;

    cr_expect(WAIT_UNTIL(++evaluations > 0, 10000));
    cr_expect_eq(evaluations, 1);
}

Test(wait_until, it_goes_on_until_the_condition_is_true)
{
    int evaluations = 0;

    cr_expect(WAIT_UNTIL(++evaluations == 5, 10000));
    cr_expect_eq(evaluations, 5);
}

Test(wait_until, it_gives_up_at_the_deadline_and_not_before)
{
    uint64_t start_ns = wait_now_ns();

    cr_expect_not(WAIT_UNTIL(false, 5));
    cr_expect_geq(wait_now_ns() - start_ns, 5000000);
}
