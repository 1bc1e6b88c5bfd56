/* api/batch: many keys as one operation; see the public header. */
#include "api/call.h"
#include "api/statuses.h"
#include "sync/load.h"
#include "sync/write.h"

#include <stdlib.h>

/* Small batches need no allocation. */
#define SMALL 32

/* Takes what needs no more than the usual hit; left[]: the others, which it returns. */
static size_t read_usual(const struct nc_call_context *call, const struct nearcache_tier *tier,
                         const struct nearcache_name *names, size_t count, bool refresh,
                         struct nearcache_result *results, int *statuses, uint8_t *left)
{
    uint64_t hashes[NC_HIT_WAVE];
    /* Entries with an end would be looked up twice: a wave of them goes the general way at once. */
    bool ends = tier->local_ttl_ns != NEARCACHE_NONE || tier->redis_ttl_ms != NEARCACHE_NONE;
    bool usual = tier->plain && !ends && !refresh;
    for (size_t i = 0; i < count && usual; i++) {
        const struct nearcache_name *name = &names[i];
        usual = name->data && name->bytes - 1 < NC_NAME_SHORT;
        if (!usual)
            break;
        hashes[i] = nc_hash_name(tier->secret.words, tier->secret.seed, name->data, name->bytes);
        nc_index_prefetch_bucket(nc_hit_head(tier, hashes[i]), hashes[i]);
        statuses[i] = 0;
    }
    if (usual)
        return nc_hit_take_wave(call->self, tier, names, hashes, count, results, left);
    for (size_t i = 0; i < count; i++)
        left[i] = (uint8_t)i;
    return count;
}

/* Reads what is here; what is not is noted in `wants`. Returns how many those are. */
static size_t read_wave(struct nc_call_context *call, struct nearcache_tier *tier,
                        const struct nearcache_name *names, const uint8_t *left, size_t count,
                        bool refresh, struct nearcache_result *results, int *statuses,
                        struct nc_want *wants)
{
    struct nc_key keys[NC_HIT_WAVE];
    struct nearcache_result *own[NC_HIT_WAVE];
    enum nc_found found[NC_HIT_WAVE] = {NC_FOUND_NOTHING};
    size_t good = 0, wanted = 0;
    for (size_t i = 0; i < count; i++) {
        const struct nearcache_name *name = &names[left[i]];
        int status = nc_cache_key(tier, name->data, name->bytes, &keys[good]);
        statuses[left[i]] = status;
        own[good] = &results[left[i]];
        if (status == 0)
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

/* One call. `unusual`: how many keys were no usual hits; `wanted`: of them those not here. */
struct batch {
    struct nc_call_context call;
    struct nc_read_options options;
    struct nc_want small[SMALL], *wants;
    size_t wanted, unusual;
};

static int read_local(struct batch *batch, struct nearcache_tier *tier,
                      const struct nearcache_name *names, size_t count,
                      struct nearcache_result *results, int *statuses)
{
    uint8_t left[NC_HIT_WAVE];
    for (size_t at = 0; at < count; at += NC_HIT_WAVE) {
        size_t n = count - at < NC_HIT_WAVE ? count - at : NC_HIT_WAVE;
        n = read_usual(&batch->call, tier, &names[at], n, batch->options.refresh, &results[at],
                       &statuses[at], left);
        if (n == 0)
            continue;
        batch->unusual += n;
        if (batch->wants == batch->small && batch->wanted + n > SMALL &&
            !(batch->wants = enlarge(batch->small, batch->wanted, count)))
            return NEARCACHE_ENOMEM;
        batch->wanted += read_wave(&batch->call, tier, &names[at], left, n, batch->options.refresh,
                                   &results[at], &statuses[at], &batch->wants[batch->wanted]);
    }
    return 0;
}

/* Without options and Redis nothing has a deadline, which would take reading the clock. */
static int batch_options(struct batch *batch, struct nearcache_tier *tier,
                         const struct nearcache_read *how)
{
    if (how || batch->call.cache->sync)
        return nc_config_read(tier, batch->call.cache->config.deadline_us, how, &batch->options);
    batch->options = (struct nc_read_options){.refresh = false};
    return 0;
}

int nearcache_get_many(struct nearcache_tier *tier, const struct nearcache_name *names,
                       size_t count, const struct nearcache_read *how,
                       struct nearcache_result *results, int *statuses)
{
    struct batch batch;
    if (count == 0)
        return 0;
    if (results)
        memset(results, 0, count * sizeof results[0]);
    if (!names || !results || !statuses)
        return nc_statuses_fail_all(NEARCACHE_EINVAL, statuses, count);
    int outcome = nc_call_begin_tier(&batch.call, tier);
    if (outcome == 0)
        outcome = batch_options(&batch, tier, how);
    if (outcome != 0)
        return nc_statuses_fail_all(outcome, statuses, count);
    batch.options.refresh &= batch.call.cache->sync != NULL; /* else there is nobody to ask */

    batch.wants = batch.small;
    batch.wanted = batch.unusual = 0;
    if (read_local(&batch, tier, names, count, results, statuses) != 0) {
        nearcache_release_many(results, count);
        return nc_statuses_fail_all(NEARCACHE_ENOMEM, statuses, count);
    }
    if (batch.unusual == 0) {
        nc_cache_count(batch.call.self, tier, NC_COUNT_hits_local, count);
        return 0;
    }
    if (batch.wanted > 0 && batch.call.cache->sync) {
        struct nc_fetch_options fetch = nc_call_fetch_options(&batch.options);
        nc_fetch(batch.call.cache->sync, batch.call.self, batch.wants, batch.wanted, &fetch);
    }
    for (size_t i = 0; i < batch.wanted; i++)
        statuses[batch.wants[i].result - results] = batch.wants[i].outcome;
    count_reads(&batch.call, tier, statuses, results, count);
    if (batch.wants != batch.small)
        free(batch.wants);
    return nc_statuses_first_failure(statuses, count);
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
    int outcome = nc_statuses_first_failure(statuses, count);
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
        return nc_statuses_fail_all(NEARCACHE_EINVAL, statuses, count);
    int outcome = begin_writes(&call, tier, count, how, &options, small, &items);
    if (outcome != 0)
        return nc_statuses_fail_all(outcome, statuses, count);
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
        return nc_statuses_fail_all(NEARCACHE_EINVAL, statuses, count);
    if (count == 0)
        return 0;
    if (!names || !matrix || !statuses)
        return nc_statuses_fail_all(NEARCACHE_EINVAL, statuses, count);
    int outcome = begin_writes(&call, tier, count, how, &options, small, &items);
    if (outcome != 0)
        return nc_statuses_fail_all(outcome, statuses, count);
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
