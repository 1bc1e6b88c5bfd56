#include "api/lanes.h"

#include "api/config.h"
#include "base/error.h"
#include "base/hash.h"
#include "cache/drop.h"
#include "redis/fleet.h"
#include "redis/settings.h"
#include "sync/lane.h"
#include "sync/proof.h"
#include "sync/state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- which lane ---- */

/* The same for all programs, so without the seed that keeps local tables from being attacked. */
static uint32_t partition_of(void *arg, const struct nearcache_tier *tier, const void *name,
                             size_t name_bytes)
{
    const struct nearcache *cache = arg;
    (void)tier;
    return (uint32_t)(nc_hash_common(name, name_bytes) % cache->redis->cluster_partitions);
}

/* Where a slot has no owner that is known any node will do: it says who has it. */
static uint32_t primary_of(void *arg, const struct nearcache_tier *tier, const void *name,
                           size_t name_bytes)
{
    struct nearcache *cache = arg;
    uint32_t lane = nc_cluster_lane(
        cache->cluster, nc_slot_of_both(tier->prefix, tier->prefix_bytes, name, name_bytes));
    /* Acquire pairs with the release in add_lane. */
    if (lane >= NC_LANES_MOST ||
        !atomic_load_explicit(&cache->lanes.all[lane], memory_order_acquire))
        return 0;
    return lane;
}

int nc_lanes_prepare(struct nearcache *cache, const struct nearcache_config *config,
                     struct nc_cache_config *cache_config)
{
    struct nearcache_redis redis = NEARCACHE_REDIS_INIT;
    if (!config->redis)
        return 0;
    if (nc_config_copy(&redis, sizeof redis, config->redis) != 0)
        return NEARCACHE_EINVAL;
    int outcome = nc_redis_settings_create(&cache->redis, &redis, &cache->log);
    if (outcome != 0)
        return outcome;
    if (cache->redis->seed_count > 0 && strpbrk(config->name_space, "{}")) {
        nc_log_write(&cache->log, NEARCACHE_LOG_ERROR,
                     "name_space: braces in it would be taken for the tag of a slot");
        nc_redis_settings_destroy(cache->redis);
        cache->redis = NULL;
        return NEARCACHE_ECONFIG;
    }
    cache_config->lane_arg = cache;
    if (cache->redis->cluster_partitions > 0) {
        cache_config->lanes_most = cache->redis->cluster_partitions;
        cache_config->lane_of = partition_of;
    } else if (cache->redis->seed_count > 0) {
        cache_config->lanes_most = NC_LANES_MOST;
        cache_config->lane_of = primary_of;
    }
    return 0;
}

/* ---- the links' events ---- */

static void on_up(void *arg, uint64_t generation) { nc_proof_up(arg, generation); }

static void on_down(void *arg, uint64_t generation)
{
    (void)generation;
    nc_proof_down(arg);
}

static void on_connecting(void *arg) { nc_state_set(arg, NEARCACHE_LINK_CONNECTING); }

static void on_message(void *arg, const char *channel, size_t channel_bytes, const char *payload,
                       size_t payload_bytes)
{
    nc_proof_message(arg, channel, channel_bytes, payload, payload_bytes);
}

static uint64_t on_tick(void *arg, uint64_t io_ns) { return nc_proof_tick(arg, io_ns); }

/* ---- lanes ---- */

static size_t write_tag(const struct nearcache *cache, uint32_t number, char tag[NC_TAG_MOST])
{
    return (size_t)snprintf(tag, NC_TAG_MOST, "{%s:%u}", cache->name_space, number);
}

/* Without partitions the protocol's own keys must still be on the lane's primary, and its channel
 * must be that of no other lane: the tag of a slot that it has. */
static void name_in_slots(void *arg, struct nc_sync *sync)
{
    struct nearcache *cache = arg;
    uint32_t slot = nc_cluster_slot(cache->cluster, sync->number);
    if (slot == NC_SLOTS)
        return;
    snprintf(sync->space, sizeof sync->space, "%s:{%u}", cache->name_space, nc_slot_tag(slot));
    nc_sync_rename(sync);
}

static bool lane_serves(void *arg, uint32_t lane)
{
    struct nearcache *cache = arg;
    return nc_cluster_lane_serves(cache->cluster, lane);
}

static bool refused_auth(void *arg)
{
    struct nearcache *cache = arg;
    return nc_cluster_refused_auth(cache->cluster);
}

static void init_sync(struct nearcache *cache, struct nc_sync *sync, uint32_t number)
{
    const struct nearcache_config *config = &cache->config;
    bool clustered = cache->cluster != NULL, parts = cache->redis->cluster_partitions > 0;
    sync->cache = &cache->cache;
    sync->lanes = &cache->lanes;
    sync->number = number;
    sync->log = &cache->log;
    sync->config = (struct nc_sync_config){
        .database = cache->redis->database,
        .heartbeat_ns = config->heartbeat_ms * NC_NS_PER_MS,
        .lease_ns = config->lease_ms * NC_NS_PER_MS,
        .journal_bytes = config->journal_bytes,
        .journal_entries = config->journal_entries,
        .audit_per_million = config->audit_per_million,
        .on_link = config->on_link,
        .on_link_arg = config->on_link_arg,
        .on_refusal = config->on_refusal,
        .on_refusal_arg = config->on_refusal_arg,
    };
    sync->sharded = clustered && parts;
    sync->one_slot = clustered && !parts;
    if (parts)
        write_tag(cache, number, sync->tag);
    snprintf(sync->space, sizeof sync->space, "%s", parts ? sync->tag : cache->name_space);
    snprintf(sync->own, sizeof sync->own, "%s:{", cache->name_space);
    nc_sync_init(sync);
}

static int open_link(struct nearcache *cache, struct nc_sync *sync)
{
    const struct nc_link_config config = {
        .settings = cache->redis,
        .log = &cache->log,
        .breaker_expiries = cache->config.breaker_expiries,
        .on_up = on_up,
        .on_down = on_down,
        .on_connecting = on_connecting,
        .on_message = on_message,
        .on_tick = on_tick,
        .arg = sync,
        .subscriber = true,
    };
    int outcome = cache->fleet
                      ? nc_fleet_open_link(cache->fleet, sync->number, &sync->link, &config)
                      : nc_link_open(&sync->link, &config);
    if (outcome == 0)
        nc_sync_attach(sync, sync->link);
    return outcome;
}

static void close_link(struct nearcache *cache, struct nc_sync *sync, uint64_t deadline_ns)
{
    if (cache->fleet)
        nc_fleet_close_link(cache->fleet, sync->number, sync->link, deadline_ns);
    else
        nc_link_close(sync->link, deadline_ns);
}

/* A lane and its link, which is not started yet. */
static int add_lane(struct nearcache *cache, uint32_t number)
{
    struct nc_sync *sync = aligned_alloc(64, (sizeof *sync + 63) / 64 * 64);
    if (!sync)
        return NEARCACHE_ENOMEM;
    memset(sync, 0, sizeof *sync);
    init_sync(cache, sync, number);
    int outcome = open_link(cache, sync);
    if (outcome != 0) {
        nc_sync_deinit(sync);
        free(sync);
        return outcome;
    }
    /* Release pairs with the acquires of nc_sync_for and NC_EACH_LANE. */
    atomic_store_explicit(&cache->lanes.all[number], sync, memory_order_release);
    return 0;
}

/* A primary was found. Without memory for its lane another one's node sends each request on. */
static void on_lane(void *arg, unsigned lane)
{
    struct nearcache *cache = arg;
    int outcome = 0;
    if (!atomic_load(&cache->lanes.all[lane]))
        outcome = add_lane(cache, lane);
    if (outcome == 0)
        outcome = nc_link_start(atomic_load(&cache->lanes.all[lane])->link);
    if (outcome != 0)
        nc_log_write(&cache->log, NEARCACHE_LOG_ERROR, "no link to another primary: %s",
                     nc_error_text(outcome));
}

/* Slots went from one primary to another: what came of either may be false, and its messages too.
 */
static void on_moved(void *arg, unsigned lane)
{
    struct nearcache *cache = arg;
    nc_cache_link_epoch(&cache->cache, lane);
}

static int open_fleet(struct nearcache *cache)
{
    uint32_t slots[NC_LANES_MOST];
    struct nc_cluster_config cluster = {
        .settings = cache->redis,
        .log = &cache->log,
        .partition_slots = slots,
        .partitions = cache->redis->cluster_partitions,
        .on_lane = on_lane,
        .on_moved = on_moved,
        .arg = cache,
    };
    for (uint32_t i = 0; i < cluster.partitions; i++) {
        char tag[NC_TAG_MOST];
        slots[i] = nc_slot_of(tag, write_tag(cache, i, tag));
    }
    int outcome = nc_fleet_open(&cache->fleet, &cluster);
    if (outcome == 0)
        cache->cluster = nc_fleet_cluster(cache->fleet);
    return outcome;
}

int nc_lanes_open(struct nearcache *cache, const struct nearcache_config *config)
{
    uint32_t partitions = cache->redis->cluster_partitions, count = partitions ? partitions : 1;
    snprintf(cache->name_space, sizeof cache->name_space, "%s", config->name_space);
    int outcome = cache->redis->seed_count > 0 ? open_fleet(cache) : 0;
    cache->lanes.arg = cache;
    cache->lanes.serves = cache->cluster ? lane_serves : NULL;
    cache->lanes.refused_auth = cache->cluster ? refused_auth : NULL;
    cache->lanes.name = cache->cluster && !partitions ? name_in_slots : NULL;
    atomic_store(&cache->lanes.told, NEARCACHE_LINK_DOWN);
    for (uint32_t i = 0; outcome == 0 && i < count; i++)
        outcome = add_lane(cache, i);
    cache->sync = atomic_load(&cache->lanes.all[0]);
    if (outcome == 0 && cache->fleet)
        outcome = nc_fleet_start(cache->fleet);
    if (outcome == 0 && !cache->lanes.name) { /* else on_lane does */
        NC_EACH_LANE(cache->sync, sync)
        if (outcome == 0)
            outcome = nc_link_start(sync->link);
    }
    if (outcome != 0)
        nc_lanes_close(cache, nc_clock_io_ns());
    return outcome;
}

void nc_lanes_close(struct nearcache *cache, uint64_t deadline_ns)
{
    if (cache->fleet)
        nc_fleet_stop(cache->fleet);
    for (uint32_t i = 0; i < NC_LANES_MOST; i++) {
        struct nc_sync *sync = atomic_load(&cache->lanes.all[i]);
        if (sync)
            close_link(cache, sync, deadline_ns);
    }
    /* What a link's end has told was told to all of them. */
    for (uint32_t i = 0; i < NC_LANES_MOST; i++) {
        struct nc_sync *sync = atomic_load(&cache->lanes.all[i]);
        atomic_store(&cache->lanes.all[i], NULL);
        if (!sync)
            continue;
        nc_sync_deinit(sync);
        free(sync);
    }
    if (cache->fleet)
        nc_fleet_close(cache->fleet);
    cache->fleet = NULL;
    cache->cluster = NULL;
    cache->sync = NULL;
    nc_redis_settings_destroy(cache->redis);
    cache->redis = NULL;
}
