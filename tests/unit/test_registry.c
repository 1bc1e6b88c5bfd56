#include "metrics/registry.h"

#include "metrics/counter.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <string.h>

Test(registry, every_field_of_the_struct_is_named_exactly_once)
{
    size_t fields = (sizeof(struct nearcache_metrics) - sizeof(size_t)) / sizeof(uint64_t);
    cr_expect_eq(nc_metrics_count, fields);
    for (size_t i = 0; i < nc_metrics_count; i++)
        for (size_t j = 0; j < i; j++) {
            cr_expect_neq(nc_metrics[i].offset, nc_metrics[j].offset);
            cr_expect_str_neq(nc_metrics[i].field, nc_metrics[j].field);
        }
}

Test(registry, a_value_is_read_from_its_own_field)
{
    struct nearcache_metrics m = NEARCACHE_METRICS_INIT;
    m.race_discards = 17;
    m.link_state = 4;
    for (size_t i = 0; i < nc_metrics_count; i++) {
        uint64_t expected = strcmp(nc_metrics[i].field, "race_discards") == 0 ? 17
                            : strcmp(nc_metrics[i].field, "link_state") == 0  ? 4
                                                                              : 0;
        cr_expect_eq(nc_metric_get(&nc_metrics[i], &m), expected, "%s", nc_metrics[i].field);
    }
}

Test(registry, what_threads_count_per_tier_is_listed_per_tier)
{
    static const char *const fields[] = {
#define NAME(field) #field,
        NC_TIER_COUNTERS(NAME)
#undef NAME
    };
    unsigned tiers = 0;
    for (size_t i = 0; i < nc_metrics_count; i++)
        tiers += nc_metrics[i].scope == NC_METRIC_TIER;
    cr_expect_eq(tiers, NC_COUNTERS);
    for (size_t f = 0; f < NC_COUNTERS; f++) {
        bool found = false;
        for (size_t i = 0; i < nc_metrics_count; i++)
            found = found || (nc_metrics[i].scope == NC_METRIC_TIER &&
                              strcmp(nc_metrics[i].field, fields[f]) == 0);
        cr_expect(found, "%s", fields[f]);
    }
}

Test(registry, members_of_a_family_are_neighbours_of_one_kind_and_told_apart)
{
    for (size_t i = 0; i < nc_metrics_count; i++)
        for (size_t j = i + 1; j < nc_metrics_count; j++) {
            if (strcmp(nc_metrics[i].family, nc_metrics[j].family) != 0)
                continue;
            cr_expect_str_eq(nc_metrics[i].family, nc_metrics[j - 1].family);
            cr_expect_eq(nc_metrics[i].gauge, nc_metrics[j].gauge);
            cr_expect_eq(nc_metrics[i].scope, nc_metrics[j].scope);
            cr_expect_str_eq(nc_metrics[i].help, nc_metrics[j].help);
            /* Siblings differ in a label; the samples of a histogram also in their suffix. */
            cr_expect_eq(!nc_metrics[i].suffix, !nc_metrics[j].suffix);
            if (!nc_metrics[i].suffix || strcmp(nc_metrics[i].suffix, nc_metrics[j].suffix) == 0) {
                cr_assert_not_null(nc_metrics[i].label);
                cr_assert_not_null(nc_metrics[j].label);
                cr_expect_str_neq(nc_metrics[i].label, nc_metrics[j].label);
            }
        }
}

Test(registry, names_follow_the_customs_of_prometheus)
{
    for (size_t i = 0; i < nc_metrics_count; i++) {
        const struct nc_metric *m = &nc_metrics[i];
        size_t length = strlen(m->family);
        bool total = length > 6 && strcmp(m->family + length - 6, "_total") == 0;
        cr_expect_eq(total, !m->gauge && !m->suffix, "%s", m->family);
        for (const char *c = m->family; *c; c++)
            cr_expect(islower((unsigned char)*c) || isdigit((unsigned char)*c) || *c == '_');
        cr_expect_eq(strpbrk(m->help, "\\\n"), NULL);
    }
}
