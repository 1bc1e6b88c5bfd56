#include "cli/latency.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct cli_latency latency;

Test(latency, an_empty_histogram_says_zero)
{
    cr_assert_eq(cli_latency_quantile_ns(&latency, 0.99), 0);
}

Test(latency, small_times_are_exact)
{
    for (uint64_t ns = 1; ns <= 100; ns++)
        cli_latency_add(&latency, ns);
    cr_assert_eq(cli_latency_quantile_ns(&latency, 0.5), 50);
    cr_assert_eq(cli_latency_quantile_ns(&latency, 0.01), 1);
    cr_assert_eq(cli_latency_quantile_ns(&latency, 1), 100);
}

Test(latency, a_quantile_is_never_below_and_at_most_a_64th_above)
{
    for (int shift = 0; shift < 63; shift++)
        for (uint64_t low = 0; low < 3; low++) {
            struct cli_latency one = {.count = 0};
            uint64_t ns = (UINT64_C(1) << shift) + low * (UINT64_C(1) << shift) / 3;
            uint64_t got;

            cli_latency_add(&one, ns);
            cli_latency_add(&one, UINT64_MAX); /* so that the largest does not cap the answer */
            got = cli_latency_quantile_ns(&one, 0.5);
            cr_assert(got >= ns && got - ns <= ns / 64, "%llu %llu", (unsigned long long)ns,
                      (unsigned long long)got);
        }
}

Test(latency, the_largest_time_is_kept_exactly)
{
    cli_latency_add(&latency, 123456789);
    cr_assert_eq(cli_latency_quantile_ns(&latency, 0.999), 123456789);
    cr_assert_eq(latency.max_ns, 123456789);
}

Test(latency, merging_adds_up)
{
    struct cli_latency *other = calloc(1, sizeof *other);

    for (int i = 0; i < 90; i++)
        cli_latency_add(&latency, 10);
    for (int i = 0; i < 10; i++)
        cli_latency_add(other, 5000);
    cli_latency_merge(&latency, other);
    cr_assert_eq(latency.count, 100);
    cr_assert_eq(latency.max_ns, 5000);
    cr_assert_eq(cli_latency_quantile_ns(&latency, 0.9), 10);
    cr_assert_eq(cli_latency_quantile_ns(&latency, 0.91), 5000);
    free(other);
}
