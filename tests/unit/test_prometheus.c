#include "metrics/prometheus.h"

#include "metrics/registry.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct nearcache_metrics numbered(uint64_t first)
{
    struct nearcache_metrics m = NEARCACHE_METRICS_INIT;
    for (size_t i = 0; i < nc_metrics_count; i++)
        memcpy((char *)&m + nc_metrics[i].offset, &(uint64_t){first + i}, sizeof(uint64_t));
    return m;
}

Test(prometheus, a_gauge_of_the_cache_and_a_counter_of_each_tier_are_written)
{
    static char text[65536];
    struct nearcache_metrics cache = NEARCACHE_METRICS_INIT;
    struct nc_metrics_tier tiers[2] = {{"products", NEARCACHE_METRICS_INIT},
                                       {"prompts", NEARCACHE_METRICS_INIT}};
    cache.entries = 12;
    cache.heartbeat_age_ms = 250;
    tiers[0].metrics.hits_local = 34;
    tiers[1].metrics.hits_local = UINT64_MAX - 1;
    size_t bytes = nc_metrics_prometheus(text, sizeof text, &cache, tiers, 2);
    cr_assert_lt(bytes, sizeof text);
    cr_expect_eq(bytes, strlen(text));
    cr_expect_not_null(strstr(text, "\n# TYPE nearcache_entries gauge\nnearcache_entries 12\n"));
    cr_expect_not_null(
        strstr(text, "nearcache_reads_total{tier=\"products\",source=\"local\"} 34\n"));
    cr_expect_not_null(strstr(text, "{tier=\"prompts\",source=\"local\"} 18446744073709551614\n"));
    cr_expect_not_null(strstr(text, "nearcache_heartbeat_age_seconds 0.25\n"));
}

Test(prometheus, a_family_is_introduced_once)
{
    static char text[65536];
    struct nearcache_metrics cache = numbered(1);
    struct nc_metrics_tier tier = {"t", numbered(100)};
    nc_metrics_prometheus(text, sizeof text, &cache, &tier, 1);
    for (size_t i = 0; i < nc_metrics_count; i++) {
        char type[128];
        snprintf(type, sizeof type, "# TYPE nearcache_%s ", nc_metrics[i].family);
        char *first = strstr(text, type);
        cr_assert_not_null(first, "%s", type);
        cr_expect_null(strstr(first + 1, type), "%s", type);
    }
}

Test(prometheus, what_is_not_known_is_left_out)
{
    static char text[65536];
    struct nearcache_metrics cache = NEARCACHE_METRICS_INIT;
    cache.heartbeat_age_ms = NEARCACHE_NONE;
    nc_metrics_prometheus(text, sizeof text, &cache, NULL, 0);
    cr_expect_null(strstr(text, "\nnearcache_heartbeat_age_seconds"));
    nc_metrics_json(text, sizeof text, &cache, NULL, 0);
    cr_expect_not_null(strstr(text, "\"heartbeat_age_ms\":null"));
}

Test(prometheus, json_has_every_field_and_an_object_for_each_tier)
{
    static char text[65536];
    struct nearcache_metrics cache = numbered(1000);
    struct nc_metrics_tier tiers[2] = {{"a", numbered(2000)}, {"b", numbered(3000)}};
    size_t bytes = nc_metrics_json(text, sizeof text, &cache, tiers, 2);
    cr_assert_eq(bytes, strlen(text));
    for (size_t i = 0; i < nc_metrics_count; i++) {
        char pair[128];
        snprintf(pair, sizeof pair, "\"%s\":%zu", nc_metrics[i].field, 1000 + i);
        cr_expect_not_null(strstr(text, pair), "%s", pair);
        snprintf(pair, sizeof pair, "\"%s\":%zu", nc_metrics[i].field, 3000 + i);
        cr_expect_eq(strstr(text, pair) != NULL, nc_metrics[i].scope == NC_METRIC_TIER, "%s", pair);
    }
    cr_expect_not_null(strstr(text, ",\"tiers\":{\"a\":{\""));
    cr_expect_not_null(strstr(text, "},\"b\":{\""));
    cr_expect_str_eq(text + bytes - 4, "}}}\n");
}

/* Every capacity: the true length comes back, nothing is written past the end. */
Test(prometheus, too_little_room_is_told_and_respected)
{
    struct nearcache_metrics cache = numbered(1);
    struct nc_metrics_tier tier = {"t", numbered(100)};
    size_t prometheus = nc_metrics_prometheus(NULL, 0, &cache, &tier, 1);
    size_t json = nc_metrics_json(NULL, 0, &cache, &tier, 1);
    for (size_t capacity = 1; capacity <= prometheus + 1; capacity += 1 + capacity / 9) {
        char *text = malloc(capacity);
        cr_assert_eq(nc_metrics_prometheus(text, capacity, &cache, &tier, 1), prometheus);
        cr_assert_eq(nc_metrics_json(text, capacity, &cache, &tier, 1), json);
        free(text);
    }
}
