#include "sync/lane.h"

#include "base/hash.h"
#include "sync/audit.h"
#include "sync/commit.h"
#include "sync/proof.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

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
    nc_journal_init(&sync->journal, &sync->cache->store, &sync->seen, sync->config.journal_bytes,
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
