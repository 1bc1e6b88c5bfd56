#include "sync/sync.h"

#include "cache/removals.h"
#include "redis/slot.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How soon the link's thread looks again at what comes for an event loop. */
#define LOOK_NS NC_NS_PER_MS

void nc_sync_rename(struct nc_sync *sync)
{
    const char *space = sync->space;
    snprintf(sync->key_s, sizeof sync->key_s, "%s:s", space);
    snprintf(sync->key_w, sizeof sync->key_w, "%s:w", space);
    snprintf(sync->channel_inv, sizeof sync->channel_inv, "%s:%" PRIu32 ":inv", space,
             sync->config.database);
    snprintf(sync->channel_hb, sizeof sync->channel_hb, "%s:%" PRIu32 ":hb:%s", space,
             sync->config.database, sync->origin_hex);
}

void *nc_sync_write_redis_key(const struct nc_sync *sync, const struct nc_key *key, void *at)
{
    char *end = at;
    memcpy(end, key->tier->prefix, key->tier->prefix_bytes);
    end += key->tier->prefix_bytes;
    memcpy(end, sync->tag, sync->tag_bytes);
    end += sync->tag_bytes;
    memcpy(end, key->name, key->name_bytes);
    return end + key->name_bytes;
}

void *nc_sync_redis_key(const struct nc_sync *sync, const struct nc_key *key,
                        char small[NC_SMALL_KEY], size_t *bytes)
{
    *bytes = nc_sync_redis_key_bytes(sync, key);
    char *whole = *bytes <= NC_SMALL_KEY ? small : malloc(*bytes);
    if (whole)
        nc_sync_write_redis_key(sync, key, whole);
    return whole;
}

void nc_sync_put_redis_key(const struct nc_sync *sync, const struct nc_key *key,
                           struct nc_command *command)
{
    const struct nearcache_tier *tier = key->tier;
    char before[sizeof tier->prefix + NC_TAG_MOST];
    if (sync->tag_bytes == 0) {
        nc_command_arg2(command, tier->prefix, tier->prefix_bytes, key->name, key->name_bytes);
        return;
    }
    memcpy(before, tier->prefix, tier->prefix_bytes);
    memcpy(before + tier->prefix_bytes, sync->tag, sync->tag_bytes);
    nc_command_arg2(command, before, tier->prefix_bytes + sync->tag_bytes, key->name,
                    key->name_bytes);
}

void nc_sync_mark_slot(const struct nc_sync *sync, const struct nc_key *key, struct nc_call *call)
{
    if (sync->sharded)
        nc_call_in_slot(call, nc_slot_of(sync->tag, sync->tag_bytes));
    else if (sync->one_slot)
        nc_call_in_slot(call, nc_slot_of_both(key->tier->prefix, key->tier->prefix_bytes, key->name,
                                              key->name_bytes));
}

bool nc_sync_serves(struct nc_sync *sync)
{
    const struct nc_cache_thread *self = nc_cache_self(sync->cache);
    return self && self->serves;
}

/* By the link's thread. The loop may read as well: it looks who was faster. */
static bool wait_reading(struct nc_sync *sync, struct nc_flight *flight, uint64_t deadline_ns)
{
    uint64_t until_ns;
    bool landed;
    do {
        nc_link_loop_serve(sync->link);
        until_ns = nc_clock_io_ns() + LOOK_NS;
        landed = nc_flight_wait(flight, until_ns < deadline_ns ? until_ns : deadline_ns);
    } while (!landed && until_ns < deadline_ns);
    return landed;
}

bool nc_sync_wait_flight(struct nc_sync *sync, struct nc_flight *flight, uint64_t deadline_ns)
{
    bool along = flight->in_loop && !nc_flight_has_landed(flight);
    if (along && nc_sync_serves(sync))
        return wait_reading(sync, flight, deadline_ns);
    if (along)
        nc_link_loop_await(sync->link, true);
    bool landed = nc_flight_wait(flight, deadline_ns);
    if (along)
        nc_link_loop_await(sync->link, false);
    return landed;
}

void nc_sync_tell_read(struct nc_sync *sync, struct nc_cache_thread *self)
{
    if (self && self->serves)
        nc_removals_keep(self);
    else
        nc_removals_tell(sync->cache, self);
}
