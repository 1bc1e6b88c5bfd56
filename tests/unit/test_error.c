#include "base/error.h"

#include <criterion/criterion.h>
#include <nearcache/async.h>
#include <string.h>

Test(error, every_outcome_has_a_text_of_its_own)
{
    for (int a = NEARCACHE_EIO; a <= NEARCACHE_PENDING; a++) {
        cr_expect_str_neq(nearcache_strerror(a), "unknown outcome", "outcome %d", a);
        cr_expect_gt(strlen(nearcache_strerror(a)), 1);
        for (int b = NEARCACHE_EIO; b < a; b++)
            cr_expect_str_neq(nearcache_strerror(a), nearcache_strerror(b), "%d and %d", a, b);
    }
}

Test(error, any_other_number_is_an_unknown_outcome)
{
    static const int others[] = {NEARCACHE_EIO - 1, NEARCACHE_PENDING + 1, -1000000, 1000000};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        cr_expect_str_eq(nearcache_strerror(others[i]), "unknown outcome");
}

Test(error, the_exported_text_is_that_of_the_table)
{
    cr_expect_eq(nearcache_strerror(NEARCACHE_EFULL), nc_error_text(NEARCACHE_EFULL));
}
