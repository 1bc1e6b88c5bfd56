#include "lib/fake_clock.h"

#include <criterion/criterion.h>

Test(fake_clock, it_stands_still_until_it_is_moved)
{
    struct fake_clock clock = FAKE_CLOCK_INIT;

    cr_expect_eq(fake_clock_now(&clock), FAKE_CLOCK_START_NS);
    fake_clock_advance(&clock, 5);
    cr_expect_eq(fake_clock_now(&clock), FAKE_CLOCK_START_NS + 5);
    fake_clock_advance_ms(&clock, 2);
    cr_expect_eq(fake_clock_now(&clock), FAKE_CLOCK_START_NS + 2000005);
}
