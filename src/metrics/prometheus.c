#include "metrics/prometheus.h"

#include "metrics/registry.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Text that counts on past its capacity, as snprintf does. */
struct writer {
    char *text;
    size_t capacity, length;
};

__attribute__((format(printf, 2, 3))) static void put(struct writer *w, const char *format, ...)
{
    size_t room = w->length < w->capacity ? w->capacity - w->length : 0;
    va_list args;
    va_start(args, format);
    int n = vsnprintf(room ? w->text + w->length : NULL, room, format, args);
    va_end(args);
    if (n > 0)
        w->length += (size_t)n;
}

static void put_number(struct writer *w, const struct nc_metric *m, uint64_t value)
{
    if (m->scale == 1)
        put(w, "%" PRIu64 "\n", value);
    else
        put(w, "%.9g\n", (double)value * m->scale);
}

static void put_sample(struct writer *w, const struct nc_metric *m, const char *tier,
                       const struct nearcache_metrics *values)
{
    uint64_t value = nc_metric_get(m, values);
    if (value == NEARCACHE_NONE)
        return;
    /* The bucket that holds everything is the count once more. */
    if (m->suffix && strcmp(m->suffix, "_count") == 0)
        put(w, "nearcache_%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", m->family, value);
    put(w, "nearcache_%s%s", m->family, m->suffix ? m->suffix : "");
    if (tier && m->label)
        put(w, "{tier=\"%s\",%s} ", tier, m->label);
    else if (tier)
        put(w, "{tier=\"%s\"} ", tier);
    else if (m->label)
        put(w, "{%s} ", m->label);
    else
        put(w, " ");
    put_number(w, m, value);
}

size_t nc_metrics_prometheus(char *text, size_t capacity, const struct nearcache_metrics *cache,
                             const struct nc_metrics_tier *tiers, size_t tier_count)
{
    struct writer w = {text, capacity, 0};
    for (size_t i = 0; i < nc_metrics_count;) {
        const struct nc_metric *first = &nc_metrics[i];
        size_t end = i;
        while (end < nc_metrics_count && strcmp(nc_metrics[end].family, first->family) == 0)
            end++;
        put(&w, "# HELP nearcache_%s %s\n# TYPE nearcache_%s %s\n", first->family, first->help,
            first->family,
            first->suffix  ? "histogram"
            : first->gauge ? "gauge"
                           : "counter");
        for (; i < end; i++) {
            if (nc_metrics[i].scope == NC_METRIC_CACHE)
                put_sample(&w, &nc_metrics[i], NULL, cache);
            else
                for (size_t t = 0; t < tier_count; t++)
                    put_sample(&w, &nc_metrics[i], tiers[t].name, &tiers[t].metrics);
        }
    }
    return w.length;
}

static void put_object(struct writer *w, const struct nearcache_metrics *values, bool whole)
{
    const char *separator = "";
    for (size_t i = 0; i < nc_metrics_count; i++) {
        const struct nc_metric *m = &nc_metrics[i];
        if (!whole && m->scope == NC_METRIC_CACHE)
            continue;
        uint64_t value = nc_metric_get(m, values);
        if (value == NEARCACHE_NONE)
            put(w, "%s\"%s\":null", separator, m->field);
        else
            put(w, "%s\"%s\":%" PRIu64, separator, m->field, value);
        separator = ",";
    }
}

size_t nc_metrics_json(char *text, size_t capacity, const struct nearcache_metrics *cache,
                       const struct nc_metrics_tier *tiers, size_t tier_count)
{
    struct writer w = {text, capacity, 0};
    put(&w, "{");
    put_object(&w, cache, true);
    put(&w, ",\"tiers\":{");
    for (size_t t = 0; t < tier_count; t++) {
        put(&w, "%s\"%s\":{", t ? "," : "", tiers[t].name);
        put_object(&w, &tiers[t].metrics, false);
        put(&w, "}");
    }
    put(&w, "}}\n");
    return w.length;
}
