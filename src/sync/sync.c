#include "sync/sync.h"

#include "base/hash.h"
#include "redis/slot.h"
#include "sync/proof.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

void nc_sync_init(struct nc_sync *sync)
{
    sync->lane = &sync->cache->lanes[sync->number];
    sync->tag_bytes = strlen(sync->tag);
    sync->origin = nc_hash_random();
    snprintf(sync->origin_hex, sizeof sync->origin_hex, "%016" PRIx64, sync->origin);
    nc_sync_rename(sync);
    nc_flights_init(&sync->reads);
    nc_flights_init(&sync->loads);
    nc_flights_init(&sync->writes);
    for (int i = 0; i < 2; i++)
        nc_commits_init(&sync->commits[i]);
    nc_journal_init(&sync->journal, &sync->cache->store, sync->config.journal_bytes,
                    sync->config.journal_entries);
    nc_offset_init(&sync->offset);
    sync->audit.per_million = sync->config.audit_per_million;
    nc_proof_init(sync);
}

void nc_sync_attach(struct nc_sync *sync, struct nc_link *link)
{
    sync->link = link;
    nc_scripts_init(&sync->scripts, link, sync->sharded, sync->sharded || sync->one_slot);
}

void nc_sync_deinit(struct nc_sync *sync)
{
    nc_audit_deinit(&sync->audit);
    nc_offset_deinit(&sync->offset);
    nc_journal_deinit(&sync->journal);
    for (int i = 0; i < 2; i++)
        nc_commits_deinit(&sync->commits[i]);
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

bool nc_sync_wait_flight(struct nc_sync *sync, struct nc_flight *flight, uint64_t deadline_ns)
{
    bool along = flight->in_loop && !nc_flight_has_landed(flight);
    if (along)
        nc_link_loop_await(sync->link, true);
    bool landed = nc_flight_wait(flight, deadline_ns);
    if (along)
        nc_link_loop_await(sync->link, false);
    return landed;
}
