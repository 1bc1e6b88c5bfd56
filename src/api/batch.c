/* api/batch: many keys as one operation; see the public header. */
#include "api/call.h"
#include "sync/load.h"
#include "sync/write.h"

#include <stdlib.h>

/* Small batches need no allocation. */
#define SMALL 32

/* The first failure among the statuses, 0 if there is none (absent keys are none). */
static int first_failure(const int *statuses, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (statuses[i] < 0)
            return statuses[i];
    return 0;
}

static int fail_all(int outcome, int *statuses, size_t count)
{
    for (size_t i = 0; i < count; i++)
        statuses[i] = outcome;
    return outcome;
}

/* Reads what is here; what is not is noted in `wants`. Returns how many those are. */
static size_t read_wave(struct nc_call_context *call, struct nearcache_tier *tier,
                        const struct nearcache_name *names, size_t count, bool refresh,
                        struct nearcache_result *results, int *statuses, struct nc_want *wants)
{
    struct nc_key keys[NC_HIT_WAVE];
    struct nearcache_result *own[NC_HIT_WAVE];
    enum nc_found found[NC_HIT_WAVE] = {NC_FOUND_NOTHING};
    size_t good = 0, wanted = 0;
    for (size_t i = 0; i < count; i++) {
        statuses[i] = nc_cache_key(tier, names[i].data, names[i].bytes, &keys[good]);
        own[good] = &results[i];
        if (statuses[i] == 0)
            nc_hit_announce(&keys[good++]);
    }
    if (!refresh)
        nc_hit_find_wave(call->self, keys, good, own, found);
    for (size_t i = 0; i < good; i++) {
        if (nc_call_take_hit(&keys[i], found[i], false, own[i], &statuses[own[i] - results]))
            continue;
        wants[wanted++] = (struct nc_want){
            .key = keys[i], .result = own[i], .read_s = 0, .outcome = NEARCACHE_MISS};
    }
    return wanted;
}

static void count_reads(struct nc_call_context *call, struct nearcache_tier *tier,
                        const int *statuses, const struct nearcache_result *results, size_t count)
{
    size_t local = 0;
    for (size_t i = 0; i < count; i++)
        if (statuses[i] == 0 && results[i].source == NEARCACHE_SOURCE_LOCAL)
            local++;
        else
            nc_call_count_read(call, tier, statuses[i], &results[i]);
    if (local > 0)
        nc_cache_count(call->self, tier, NC_COUNT_hits_local, local);
}

/* More is missing than fits in. NULL: out of memory. */
static struct nc_want *enlarge(const struct nc_want *small, size_t wanted, size_t count)
{
    struct nc_want *wants = malloc(count * sizeof *wants);
    if (wants)
        memcpy(wants, small, wanted * sizeof *wants);
    return wants;
}

int nearcache_get_many(struct nearcache_tier *tier, const struct nearcache_name *names,
                       size_t count, const struct nearcache_read *how,
                       struct nearcache_result *results, int *statuses)
{
    struct nc_call_context call;
    struct nc_read_options options;
    struct nc_want small[SMALL], *wants = small;
    size_t wanted = 0;
    if (count == 0)
        return 0;
    if (!names || !results || !statuses)
        return NEARCACHE_EINVAL;
    memset(results, 0, count * sizeof results[0]);
    int outcome = nc_call_begin_tier(&call, tier);
    if (outcome == 0)
        outcome = nc_config_read(tier, call.cache->config.deadline_us, how, &options);
    if (outcome != 0)
        return fail_all(outcome, statuses, count);

    for (size_t at = 0; at < count; at += NC_HIT_WAVE) {
        size_t n = count - at < NC_HIT_WAVE ? count - at : NC_HIT_WAVE;
        if (wants == small && wanted + n > SMALL && !(wants = enlarge(small, wanted, count))) {
            nearcache_release_many(results, count);
            return fail_all(NEARCACHE_ENOMEM, statuses, count);
        }
        wanted += read_wave(&call, tier, &names[at], n, options.refresh, &results[at],
                            &statuses[at], &wants[wanted]);
    }
    if (wanted > 0 && call.cache->sync) {
        struct nc_fetch_options fetch = nc_call_fetch_options(&options);
        nc_fetch(call.cache->sync, call.self, wants, wanted, &fetch);
    }
    for (size_t i = 0; i < wanted; i++)
        statuses[wants[i].result - results] = wants[i].outcome;
    count_reads(&call, tier, statuses, results, count);
    if (wants != small)
        free(wants);
    return first_failure(statuses, count);
}

/* Writes that are ready to go, through to Redis or only here. */
static int write_items(struct nc_call_context *call, struct nearcache_tier *tier,
                       struct nc_write_item *items, size_t count, uint64_t deadline_ns,
                       int *statuses)
{
    size_t good = 0;
    struct nc_write_item bad;
    /* What was refused beforehand keeps its status and goes to the end, out of the way. */
    for (size_t i = 0; i < count; i++)
        if (items[i].outcome == 0) {
            bad = items[good];
            items[good++] = items[i];
            items[i] = bad;
        }
    if (call->cache->sync)
        nc_write(call->cache->sync, call->self, items, good, deadline_ns);
    else
        for (size_t i = 0; i < good; i++)
            nc_write_local(call->self, &items[i], NULL);
    for (size_t i = 0; i < count; i++)
        statuses[items[i].index] = items[i].outcome;
    for (size_t i = 0; i < count; i++)
        nc_call_count_write(call, tier, statuses[i], false);
    int outcome = first_failure(statuses, count);
    for (size_t i = 0; outcome == 0 && i < count; i++)
        outcome = statuses[i];
    return outcome;
}

static int begin_writes(struct nc_call_context *call, struct nearcache_tier *tier, size_t count,
                        const struct nearcache_write *how, struct nc_write_options *options,
                        struct nc_write_item *small, struct nc_write_item **items)
{
    int outcome = nc_call_begin_tier(call, tier);
    if (outcome == 0)
        outcome = nc_config_write(tier, call->cache->config.deadline_us, how, options);
    *items = small;
    if (outcome == 0 && count > SMALL && !(*items = malloc(count * sizeof **items)))
        outcome = NEARCACHE_ENOMEM;
    return outcome;
}

int nearcache_set_many(struct nearcache_tier *tier, const struct nearcache_item *given,
                       size_t count, const struct nearcache_write *how, int *statuses)
{
    struct nc_call_context call;
    struct nc_write_options options;
    struct nc_write_item small[SMALL], *items;
    if (count == 0)
        return 0;
    if (!given || !statuses)
        return NEARCACHE_EINVAL;
    int outcome = begin_writes(&call, tier, count, how, &options, small, &items);
    if (outcome != 0)
        return fail_all(outcome, statuses, count);
    for (size_t i = 0; i < count; i++) {
        struct nc_write_item *item = &items[i];
        memset(item, 0, sizeof *item);
        item->index = i;
        item->op = NC_WRITE_SET;
        item->value = given[i].value;
        item->value_bytes = given[i].value_bytes;
        item->ttl_ms = given[i].ttl_ms ? given[i].ttl_ms : options.ttl_ms;
        item->outcome = nc_cache_key(tier, given[i].name.data, given[i].name.bytes, &item->key);
        if (item->outcome == 0)
            item->outcome = nc_config_check_ttl(tier, item->ttl_ms);
        if (item->outcome == 0)
            item->outcome = nc_call_check_value(tier, item->value, item->value_bytes);
    }
    outcome = write_items(&call, tier, items, count, options.deadline_ns, statuses);
    if (items != small)
        free(items);
    return outcome;
}

int nearcache_set_vectors(struct nearcache_tier *tier, const struct nearcache_name *names,
                          size_t count, const void *matrix, size_t row_stride_bytes,
                          const struct nearcache_write *how, int *statuses)
{
    struct nc_call_context call;
    struct nc_write_options options;
    struct nc_write_item small[SMALL], *items;
    if (!tier || tier->row_bytes == 0 || (row_stride_bytes && row_stride_bytes < tier->row_bytes))
        return NEARCACHE_EINVAL;
    if (count == 0)
        return 0;
    if (!names || !matrix || !statuses)
        return NEARCACHE_EINVAL;
    int outcome = begin_writes(&call, tier, count, how, &options, small, &items);
    if (outcome != 0)
        return fail_all(outcome, statuses, count);
    size_t stride = row_stride_bytes ? row_stride_bytes : tier->row_bytes;
    for (size_t i = 0; i < count; i++) {
        struct nc_write_item *item = &items[i];
        memset(item, 0, sizeof *item);
        item->index = i;
        item->op = NC_WRITE_SET;
        item->value = (const char *)matrix + i * stride;
        item->value_bytes = tier->row_bytes;
        item->ttl_ms = options.ttl_ms;
        item->outcome = nc_cache_key(tier, names[i].data, names[i].bytes, &item->key);
    }
    outcome = write_items(&call, tier, items, count, options.deadline_ns, statuses);
    if (items != small)
        free(items);
    return outcome;
}
