#include "api/call.h"

void nc_call_count_write(struct nc_call_context *call, struct nearcache_tier *tier, int outcome,
                         bool is_delete)
{
    enum nc_counter which = outcome == 0 ? is_delete ? NC_COUNT_deletes : NC_COUNT_writes
                            : outcome == NEARCACHE_LOCAL ? NC_COUNT_writes_local
                                                         : NC_COUNT_write_errors;
    nc_cache_count(call->self, tier, which, 1);
}

void nc_call_after_hit(struct nc_call_context *call, const struct nc_key *key,
                       const struct nearcache_result *result)
{
    struct nc_sync *sync = &call->cache->sync;
    if (key->tier->eager_refresh_percent != 0 && nc_call_refresh_is_due(key->tier, result))
        nc_fetch_refresh(sync, key);
    if (sync->audit.per_million != 0 && key->tier->proven)
        nc_audit_offer(sync, call->self, key, result);
}
