/* api/nearcache: the exported functions of one key and of the cache, but for its opening and
 * closing (api/runtime); see the public header. */
#include "nearcache.h"

#include "api/call.h"
#include "api/config.h"
#include "base/error.h"
#include "base/hash.h"
#include "cache/drop.h"
#include "cache/fill.h"
#include "sync/clear.h"
#include "sync/fetch.h"
#include "sync/load.h"
#include "sync/proof.h"
#include "sync/state.h"
#include "sync/write.h"

#include <inttypes.h>
#include <string.h>

const char *nearcache_strerror(int outcome) { return nc_error_text(outcome); }

const char *nearcache_version(void) { return NEARCACHE_VERSION; }

uint64_t nearcache_pinned(struct nearcache *cache)
{
    return cache ? nc_store_pinned(&cache->cache.store) : 0;
}

enum nearcache_link nearcache_link_state(const struct nearcache *cache)
{
    return cache && cache->sync ? nc_state_of_all(cache->sync) : NEARCACHE_LINK_NONE;
}

const char *nearcache_link_name(enum nearcache_link state) { return nc_state_name(state); }

static int check(struct nearcache *cache)
{
    return cache ? nc_life_check(cache->cache.life.word) : NEARCACHE_EINVAL;
}

/* In a callback on the link's thread the answer is that of now: what is waited for is its work. */
static uint64_t link_deadline(struct nearcache *cache, uint64_t timeout_us)
{
    return nc_sync_serves(cache->sync) ? nc_clock_io_ns() : nc_call_deadline(cache, timeout_us);
}

int nearcache_wait(struct nearcache *cache, uint64_t timeout_us)
{
    int outcome = check(cache);
    if (outcome != 0 || !cache->sync)
        return outcome;
    return nc_state_wait_live(cache->sync, link_deadline(cache, timeout_us));
}

int nearcache_sync(struct nearcache *cache, uint64_t timeout_us)
{
    int outcome = check(cache);
    if (outcome != 0 || !cache->sync)
        return outcome;
    for (uint32_t i = 0;; i++) {
        struct nearcache_tier *tier = nc_cache_tier_at(&cache->cache, i);
        if (!tier)
            return NEARCACHE_ENOTSUP;
        if (tier->coherence == NEARCACHE_COHERENCE_PUBSUB)
            break;
    }
    return nc_state_catch_up(cache->sync, link_deadline(cache, timeout_us));
}

/* ---- tiers ---- */

int nearcache_tier_preset(enum nearcache_preset preset, struct nearcache_tier_config *config)
{
    return nc_tier_preset(preset, config);
}

/* Where the user has asked for more than there is room for. `asked`: largest_local_bytes. */
static void warn_of_large_values(struct nearcache *cache, const struct nearcache_tier *tier,
                                 uint64_t asked)
{
    const struct nc_store *store = &cache->cache.store;
    uint64_t part = store->config.budget_bytes >> store->shard_bits;
    uint64_t most = tier->row_bytes ? tier->row_bytes : asked == NEARCACHE_NONE ? 0 : asked;
    if (most >= part)
        nc_log_write(&cache->log, NEARCACHE_LOG_WARNING,
                     "tier %s: values of %" PRIu64 " bytes are not kept here: a shard's part of "
                     "budget_bytes is %" PRIu64 "; a larger budget or fewer shards would do",
                     tier->name, most, part);
}

int nearcache_tier_open(struct nearcache *cache, const struct nearcache_tier_config *given,
                        struct nearcache_tier **tier)
{
    struct nearcache_tier_config config = NEARCACHE_TIER_INIT;
    const char *why = "the options are not of a known size";
    int outcome = check(cache);
    if (outcome != 0)
        return outcome;
    if (!given || !tier) {
        why = "config or tier is NULL";
        outcome = NEARCACHE_EINVAL;
    } else if (nc_config_copy(&config, sizeof config, given) != 0) {
        outcome = NEARCACHE_EINVAL;
    } else if (cache->sync && cache->sync->one_slot &&
               config.coherence == NEARCACHE_COHERENCE_PUBSUB) {
        why = "in a cluster without partitions a tier is in tracking mode or without coherence";
        outcome = NEARCACHE_ECONFIG;
    } else
        outcome =
            nc_cache_tier_open(&cache->cache, &config, cache, cache->sync != NULL, tier, &why);
    if (outcome != 0) {
        nc_log_write(&cache->log, NEARCACHE_LOG_ERROR, "nearcache_tier_open: %s", why);
        return outcome;
    }
    warn_of_large_values(cache, *tier, config.largest_local_bytes);
    if (cache->sync && config.coherence == NEARCACHE_COHERENCE_TRACKING)
        nc_proof_track_again(cache->sync);
    return 0;
}

int nearcache_tier_open_preset(struct nearcache *cache, enum nearcache_preset preset,
                               struct nearcache_tier **tier)
{
    struct nearcache_tier_config config = NEARCACHE_TIER_INIT;
    int outcome = nc_tier_preset(preset, &config);
    return outcome != 0 ? outcome : nearcache_tier_open(cache, &config, tier);
}

struct nearcache_tier *nearcache_tier_find(struct nearcache *cache, const char *name)
{
    return cache && name ? nc_cache_tier_find(&cache->cache, name) : NULL;
}

const char *nearcache_tier_name(const struct nearcache_tier *tier)
{
    return tier ? tier->name : "";
}

const char *nearcache_tier_prefix(const struct nearcache_tier *tier)
{
    return tier ? tier->prefix : "";
}

size_t nearcache_tier_row_bytes(const struct nearcache_tier *tier)
{
    return tier ? tier->row_bytes : 0;
}

/* ---- reading ---- */

/* A local-only cache has no Redis to ask, but an old copy may still stand in. */
static int read_local_only(struct nc_call_context *call, const struct nc_key *key, bool stale,
                           uint64_t max_stale_ns, struct nearcache_result *result)
{
    switch (nc_cache_find(call->self, key, stale, max_stale_ns, result)) {
    case NC_FOUND_FRESH:
        result->source = NEARCACHE_SOURCE_LOCAL;
        return 0;
    case NC_FOUND_OLD:
        result->source = NEARCACHE_SOURCE_STALE;
        return 0;
    case NC_FOUND_FRESH_ABSENCE:
    case NC_FOUND_FRESH_VOUCHED:
        result->source = NEARCACHE_SOURCE_NEGATIVE;
        return NEARCACHE_MISS;
    default:
        result->source = NEARCACHE_SOURCE_MISS;
        return NEARCACHE_MISS;
    }
}

static int read_remote(struct nc_call_context *call, const struct nc_key *key,
                       const struct nc_read_options *options, struct nearcache_result *result,
                       uint64_t *read_s)
{
    struct nc_want want = {.key = *key, .result = result};
    struct nc_fetch_options fetch = nc_call_fetch_options(options);
    nc_fetch(call->cache->sync, call->self, &want, 1, &fetch);
    *read_s = want.read_s;
    return want.outcome;
}

/* What is not a hit, apart from it, whose registers it would take. */
static __attribute__((noinline)) int get_further(struct nearcache_tier *tier, const void *name,
                                                 size_t name_bytes, uint64_t hash,
                                                 const struct nearcache_read *how,
                                                 struct nearcache_result *result)
{
    struct nc_call_context call;
    struct nc_key key = {tier, name, name_bytes, hash, nc_cache_lane_of(tier, name, name_bytes)};
    struct nc_read_options options;
    uint64_t read_s;
    memset(result, 0, sizeof *result);
    int outcome = nc_call_begin_tier(&call, tier);
    if (outcome == 0)
        outcome = nc_config_read(tier, call.cache->config.deadline_us, how, &options);
    if (outcome != 0)
        return outcome;
    if (call.cache->sync) {
        outcome = read_remote(&call, &key, &options, result, &read_s);
    } else if (options.refresh) {
        outcome = read_local_only(&call, &key, false, 0, result);
    } else {
        result->source = NEARCACHE_SOURCE_MISS; /* it has been looked for */
        outcome = NEARCACHE_MISS;
    }
    return nc_call_count_read(&call, tier, outcome, result);
}

/* Any tier and any name. */
static __attribute__((noinline)) int get_any(struct nearcache_tier *tier, const void *name,
                                             size_t name_bytes, const struct nearcache_read *how,
                                             struct nearcache_result *result)
{
    struct nc_call_context call;
    struct nc_key key;
    if (!result)
        return NEARCACHE_EINVAL;
    int outcome = nc_call_begin(&call, tier, name, name_bytes, NULL, &key);
    if (outcome != 0) {
        memset(result, 0, sizeof *result);
        return outcome;
    }
    if ((!how || how->refresh == 0) && nc_call_read_hit(&call, &key, false, result, &outcome))
        return nc_call_count_read(&call, tier, outcome, result);
    return get_further(tier, name, name_bytes, key.hash, how, result);
}

/* Inside the epoch, which it leaves: what is not the usual hit. `entry` may be NULL. */
static __attribute__((noinline)) int get_judged(struct nearcache_tier *tier, const void *name,
                                                size_t name_bytes, uint64_t hash,
                                                const struct nearcache_read *how,
                                                struct nearcache_result *result,
                                                struct nc_entry *entry)
{
    struct nc_call_context call = {tier->owner, nc_cache_self(tier->cache)};
    struct nc_key key = {tier, name, name_bytes, hash, 0};
    int outcome;
    if (nc_call_judge(call.self, &key, entry, result, &outcome))
        return nc_call_count_read(&call, tier, outcome, result);
    return get_further(tier, name, name_bytes, hash, how, result);
}

int nearcache_get(struct nearcache_tier *tier, const void *name, size_t name_bytes,
                  const struct nearcache_read *how, struct nearcache_result *result)
{
    struct nc_cache_thread *self = nc_call_usual(tier, name, name_bytes, result);
    if (__builtin_expect(!self || (how && how->refresh != 0), 0))
        return get_any(tier, name, name_bytes, how, result);
    uint64_t hash = nc_hash_name(tier->secret.words, tier->secret.seed, name, name_bytes);
    struct nc_entry *entry = nc_call_find_usual(self, tier, name, name_bytes, hash);
    if (__builtin_expect(nc_call_take_usual(self, tier, hash, entry, name_bytes, result), 1))
        return 0;
    return get_judged(tier, name, name_bytes, hash, how, result, entry);
}

static __attribute__((noinline)) int peek_further(struct nearcache_tier *tier, const void *name,
                                                  size_t name_bytes,
                                                  struct nearcache_result *result)
{
    struct nc_call_context call;
    struct nc_key key;
    int outcome =
        result ? nc_call_begin(&call, tier, name, name_bytes, result, &key) : NEARCACHE_EINVAL;
    if (outcome != 0)
        return outcome;
    if (!nc_call_read_hit(&call, &key, false, result, &outcome)) {
        if (call.cache->sync)
            outcome = nc_fetch_stale(call.cache->sync, call.self, &key, tier->max_stale_ns, true,
                                     NEARCACHE_MISS, result);
        else
            outcome = NEARCACHE_MISS;
    }
    return nc_call_count_read(&call, tier, outcome, result);
}

int nearcache_peek(struct nearcache_tier *tier, const void *name, size_t name_bytes,
                   struct nearcache_result *result)
{
    struct nc_cache_thread *self = nc_call_usual(tier, name, name_bytes, result);
    if (__builtin_expect(!self, 0))
        return peek_further(tier, name, name_bytes, result);
    uint64_t hash = nc_hash_name(tier->secret.words, tier->secret.seed, name, name_bytes);
    struct nc_entry *entry = nc_call_find_usual(self, tier, name, name_bytes, hash);
    if (__builtin_expect(nc_call_take_usual(self, tier, hash, entry, name_bytes, result), 1))
        return 0;
    nc_epoch_leave(&self->reader);
    return peek_further(tier, name, name_bytes, result);
}

void nearcache_release(struct nearcache_result *result)
{
    if (result)
        nc_cache_release(result);
}

void nearcache_release_many(struct nearcache_result *results, size_t count)
{
    for (size_t i = 0; results && i < count; i++)
        nc_cache_release(&results[i]);
}

int nearcache_exists(struct nearcache_tier *tier, const void *name, size_t name_bytes,
                     const struct nearcache_read *how)
{
    struct nc_call_context call;
    struct nc_key key;
    struct nc_read_options options;
    struct nearcache_result result;
    int outcome = nc_call_begin(&call, tier, name, name_bytes, &result, &key);
    if (outcome == 0)
        outcome = nc_config_read(tier, call.cache->config.deadline_us, how, &options);
    if (outcome != 0)
        return outcome;
    if ((!options.refresh || !call.cache->sync) &&
        nc_call_read_hit(&call, &key, false, &result, &outcome)) {
        nc_cache_release(&result);
        return outcome;
    }
    if (!call.cache->sync)
        return NEARCACHE_MISS;
    outcome = nc_fetch_exists(call.cache->sync, &key, options.deadline_ns);
    if (outcome == NEARCACHE_EOFFLINK || outcome == NEARCACHE_ETIMEOUT) {
        outcome = nc_fetch_stale(call.cache->sync, call.self, &key, options.max_stale_ns, true,
                                 outcome, &result);
        nc_cache_release(&result);
    }
    return outcome;
}

int nearcache_get_or_load(struct nearcache_tier *tier, const void *name, size_t name_bytes,
                          const struct nearcache_read *how, nearcache_load_fn load, void *arg,
                          struct nearcache_result *result)
{
    struct nc_call_context call;
    struct nc_key key;
    struct nc_read_options options;
    uint64_t read_s = 0;
    int outcome =
        result ? nc_call_begin(&call, tier, name, name_bytes, result, &key) : NEARCACHE_EINVAL;
    if (outcome != 0)
        return outcome;
    if (!load)
        return NEARCACHE_EINVAL;
    if ((!how || how->refresh == 0) && nc_call_read_hit(&call, &key, true, result, &outcome))
        return nc_call_count_read(&call, tier, outcome, result);
    outcome = nc_config_read(tier, call.cache->config.deadline_us, how, &options);
    if (outcome != 0)
        return outcome;
    if (call.cache->sync)
        outcome = read_remote(&call, &key, &options, result, &read_s);
    else
        outcome = NEARCACHE_MISS;
    /* A delete that waits for Redis is an answer; an old absence is none: the loader may know. */
    bool pending = outcome == NEARCACHE_MISS && result->source == NEARCACHE_SOURCE_STALE &&
                   nc_fetch_is_pending(call.cache->sync, &key);
    if ((outcome == NEARCACHE_MISS && !pending) || outcome == NEARCACHE_EOFFLINK ||
        outcome == NEARCACHE_ETIMEOUT) {
        struct nc_fetch_options fetch = nc_call_fetch_options(&options);
        /* A loader is worth its time also when asking Redis took all of it. */
        if (outcome == NEARCACHE_ETIMEOUT)
            fetch.deadline_ns = UINT64_MAX;
        outcome = nc_load(call.cache->sync,
                          call.cache->sync ? &call.cache->sync->loads : &call.cache->local_loads,
                          call.self, &key, load, arg, read_s, &fetch, result);
    }
    return nc_call_count_read(&call, tier, outcome, result);
}

/* ---- writing ---- */

static int write_one(struct nearcache_tier *tier, const void *name, size_t name_bytes,
                     enum nc_write_op op, const void *value, size_t value_bytes,
                     const struct nearcache_write *how)
{
    struct nc_call_context call;
    struct nc_write_options options;
    struct nc_key key;
    int outcome = nc_call_begin(&call, tier, name, name_bytes, NULL, &key);
    if (outcome == 0 && !call.cache->sync) /* its lines come while the rest is made ready */
        nc_cache_announce(&key);
    if (outcome == 0)
        outcome = nc_config_write(tier, call.cache->config.deadline_us, how, &options);
    if (outcome == 0 && op == NC_WRITE_SET)
        outcome = nc_call_check_value(tier, value, value_bytes);
    if (outcome != 0)
        return outcome;
    struct nc_write_item item = {
        .key = key, .op = op, .value = value, .value_bytes = value_bytes, .ttl_ms = options.ttl_ms};
    if (call.cache->sync)
        nc_write(call.cache->sync, call.self, &item, 1, options.deadline_ns);
    else
        nc_write_local(call.self, &item, NULL);
    if (op != NC_WRITE_INVALIDATE)
        nc_call_count_write(&call, tier, item.outcome, op == NC_WRITE_DELETE);
    return item.outcome;
}

int nearcache_set(struct nearcache_tier *tier, const void *name, size_t name_bytes,
                  const void *value, size_t value_bytes, const struct nearcache_write *how)
{
    return write_one(tier, name, name_bytes, NC_WRITE_SET, value, value_bytes, how);
}

int nearcache_delete(struct nearcache_tier *tier, const void *name, size_t name_bytes,
                     const struct nearcache_write *how)
{
    return write_one(tier, name, name_bytes, NC_WRITE_DELETE, NULL, 0, how);
}

int nearcache_invalidate(struct nearcache_tier *tier, const void *name, size_t name_bytes,
                         const struct nearcache_write *how)
{
    if (tier && tier->linked && tier->coherence != NEARCACHE_COHERENCE_PUBSUB) {
        struct nc_call_context call;
        struct nc_key key;
        int outcome = nc_call_begin(&call, tier, name, name_bytes, NULL, &key);
        if (outcome == 0)
            nc_cache_drop(call.self, &key, NEARCACHE_CAUSE_INVALIDATED);
        return outcome != 0 ? outcome : NEARCACHE_ENOTSUP;
    }
    return write_one(tier, name, name_bytes, NC_WRITE_INVALIDATE, NULL, 0, how);
}

int nearcache_touch(struct nearcache_tier *tier, const void *name, size_t name_bytes,
                    const struct nearcache_write *how)
{
    struct nc_call_context call;
    struct nc_key key;
    struct nc_write_options options;
    int outcome = nc_call_begin(&call, tier, name, name_bytes, NULL, &key);
    if (outcome == 0)
        outcome = nc_config_write(tier, call.cache->config.deadline_us, how, &options);
    if (outcome != 0)
        return outcome;
    if (call.cache->sync)
        return nc_write_touch(call.cache->sync, call.self, &key, options.ttl_ms,
                              options.deadline_ns);
    uint64_t ttl_ns =
        options.ttl_ms > UINT64_MAX / NC_NS_PER_MS ? NEARCACHE_NONE : options.ttl_ms * NC_NS_PER_MS;
    return nc_cache_touch(call.self, &key, ttl_ns, 0) ? 0 : NEARCACHE_MISS;
}

int nearcache_expire(struct nearcache_tier *tier, const void *name, size_t name_bytes)
{
    struct nc_call_context call;
    struct nc_key key;
    int outcome = nc_call_begin(&call, tier, name, name_bytes, NULL, &key);
    if (outcome != 0)
        return outcome;
    return nc_cache_expire(call.self, &key) ? 0 : NEARCACHE_MISS;
}

int nearcache_delete_prefix(struct nearcache_tier *tier, const void *prefix, size_t prefix_bytes,
                            uint64_t timeout_us, uint64_t *deleted)
{
    struct nc_call_context call;
    uint64_t count = 0;
    int outcome = nc_call_begin_tier(&call, tier);
    if (outcome == 0 && (timeout_us == NEARCACHE_NONE || (prefix_bytes > 0 && !prefix) ||
                         prefix_bytes > NEARCACHE_MAX_KEY_BYTES))
        outcome = NEARCACHE_EINVAL;
    if (outcome == 0 && call.cache->sync)
        outcome = nc_clear(call.cache->sync, tier, prefix, prefix_bytes,
                           nc_call_deadline(call.cache, timeout_us), &count);
    else if (outcome == 0 && !nc_cache_clear(tier, prefix, prefix_bytes,
                                             nc_call_deadline(call.cache, timeout_us), &count))
        outcome = NEARCACHE_ETIMEOUT;
    if (deleted)
        *deleted = count;
    return outcome;
}

int nearcache_clear(struct nearcache_tier *tier, uint64_t timeout_us, uint64_t *deleted)
{
    return nearcache_delete_prefix(tier, NULL, 0, timeout_us, deleted);
}

void nearcache_query_name(const void *query, size_t query_bytes,
                          char name[NEARCACHE_QUERY_NAME_BYTES + 1])
{
    nc_hash_hex128(query, query_bytes, name);
}
