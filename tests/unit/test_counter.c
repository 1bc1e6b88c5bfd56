#include "metrics/counter.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

Test(counter, a_block_counts_each_thing_apart)
{
    struct nc_counters counters;
    uint64_t sum[NC_COUNTERS] = {0};
    memset(&counters, 0, sizeof counters);
    nc_counter_add(&counters, NC_COUNT_misses, 3);
    nc_counter_add(&counters, NC_COUNT_misses, 4);
    nc_counter_add(&counters, NC_COUNT_loads, 1);
    nc_counters_sum(sum, &counters);
    for (int i = 0; i < NC_COUNTERS; i++)
        cr_expect_eq(sum[i], i == NC_COUNT_misses ? 7 : i == NC_COUNT_loads ? 1 : 0);
}

Test(counter, sums_add_up_over_blocks)
{
    struct nc_counters a, b;
    uint64_t sum[NC_COUNTERS] = {0};
    memset(&a, 0, sizeof a);
    memset(&b, 0, sizeof b);
    nc_counter_add(&a, NC_COUNT_writes, 5);
    nc_counter_add_shared(&b, NC_COUNT_writes, 6);
    nc_counters_sum(sum, &a);
    nc_counters_sum(sum, &b);
    cr_expect_eq(sum[NC_COUNT_writes], 11);
}

static void *count_shared(void *counters)
{
    for (int i = 0; i < 20000; i++)
        nc_counter_add_shared(counters, NC_COUNT_flights, 1);
    return NULL;
}

Test(counter, a_shared_block_loses_nothing)
{
    struct nc_counters counters;
    pthread_t threads[4];
    memset(&counters, 0, sizeof counters);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, count_shared, &counters), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    cr_expect_eq(atomic_load(&counters.value[NC_COUNT_flights]), 80000);
}
