#include "metrics/histogram.h"

#include <criterion/criterion.h>

Test(histogram, an_empty_one_has_no_quantiles)
{
    struct nc_histogram histogram = {0};
    cr_expect_eq(nc_histogram_quantile(&histogram, 0.5), 0);
    cr_expect_eq(nc_histogram_quantile(&histogram, 1.0), 0);
}

Test(histogram, small_values_are_exact)
{
    for (uint64_t value = 0; value < 16; value++) {
        struct nc_histogram histogram = {0};
        nc_histogram_add(&histogram, value);
        cr_expect_eq(nc_histogram_quantile(&histogram, 0.5), value);
    }
}

Test(histogram, any_value_is_kept_to_an_eighth)
{
    for (uint64_t value = 16; value < UINT64_C(1) << 39; value += value / 7 + 1) {
        struct nc_histogram histogram = {0};
        nc_histogram_add(&histogram, value);
        uint64_t found = nc_histogram_quantile(&histogram, 0.99);
        cr_assert_geq(found, value);
        cr_assert_leq(found, value + value / 8);
    }
}

Test(histogram, buckets_meet_without_holes_at_powers_of_two)
{
    for (unsigned bit = 4; bit < 39; bit++)
        for (int step = -1; step <= 1; step++) {
            struct nc_histogram histogram = {0};
            uint64_t value = (UINT64_C(1) << bit) + (uint64_t)step;
            nc_histogram_add(&histogram, value);
            uint64_t found = nc_histogram_quantile(&histogram, 1);
            cr_assert_geq(found, value);
            cr_assert_leq(found, value + value / 8);
        }
}

Test(histogram, what_is_beyond_the_end_counts_in_the_last_bucket)
{
    struct nc_histogram histogram = {0};
    nc_histogram_add(&histogram, UINT64_MAX);
    nc_histogram_add(&histogram, UINT64_C(1) << 60);
    cr_expect_eq(atomic_load(&histogram.count[NC_HISTOGRAM_BUCKETS - 1]), 2);
    cr_expect_geq(nc_histogram_quantile(&histogram, 0.5), (UINT64_C(1) << 39));
}

Test(histogram, quantiles_split_where_they_should)
{
    struct nc_histogram histogram = {0};
    for (int i = 0; i < 99; i++)
        nc_histogram_add(&histogram, 3);
    nc_histogram_add(&histogram, 12);
    cr_expect_eq(nc_histogram_quantile(&histogram, 0.5), 3);
    cr_expect_eq(nc_histogram_quantile(&histogram, 0.99), 3);
    cr_expect_eq(nc_histogram_quantile(&histogram, 0.995), 12);
    cr_expect_eq(nc_histogram_quantile(&histogram, 1), 12);
    cr_expect_eq(nc_histogram_quantile(&histogram, 0), 3);
}

Test(histogram, fading_halves_the_past_until_it_is_gone)
{
    struct nc_histogram histogram = {0};
    for (int i = 0; i < 100; i++)
        nc_histogram_add(&histogram, 5);
    nc_histogram_fade(&histogram);
    cr_expect_eq(atomic_load(&histogram.count[5]), 50);
    for (int i = 0; i < 7; i++)
        nc_histogram_fade(&histogram);
    cr_expect_eq(nc_histogram_quantile(&histogram, 0.5), 0);
}
