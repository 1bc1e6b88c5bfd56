#include "sync/sync.h"

#include "base/hash.h"
#include "sync/proof.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void nc_sync_init(struct nc_sync *sync)
{
    const char *ns = sync->config.name_space;
    sync->origin = nc_hash_random();
    snprintf(sync->origin_hex, sizeof sync->origin_hex, "%016" PRIx64, sync->origin);
    snprintf(sync->key_s, sizeof sync->key_s, "%s:s", ns);
    snprintf(sync->key_w, sizeof sync->key_w, "%s:w", ns);
    snprintf(sync->channel_inv, sizeof sync->channel_inv, "%s:%" PRIu32 ":inv", ns,
             sync->config.database);
    snprintf(sync->channel_hb, sizeof sync->channel_hb, "%s:%" PRIu32 ":hb:%s", ns,
             sync->config.database, sync->origin_hex);
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
    nc_scripts_init(&sync->scripts, link);
}

void nc_sync_deinit(struct nc_sync *sync)
{
    nc_audit_deinit(&sync->audit);
    nc_offset_deinit(&sync->offset);
    nc_journal_deinit(&sync->journal);
    for (int i = 0; i < 2; i++)
        nc_commits_deinit(&sync->commits[i]);
    nc_flights_deinit(&sync->writes);
    nc_flights_deinit(&sync->loads);
    nc_flights_deinit(&sync->reads);
}

void *nc_sync_redis_key(const struct nc_key *key, char small[NC_SMALL_KEY], size_t *bytes)
{
    const struct nearcache_tier *tier = key->tier;
    *bytes = nc_sync_redis_key_bytes(key);
    char *whole = *bytes <= NC_SMALL_KEY ? small : malloc(*bytes);
    if (!whole)
        return NULL;
    memcpy(whole, tier->prefix, tier->prefix_bytes);
    memcpy(whole + tier->prefix_bytes, key->name, key->name_bytes);
    return whole;
}
