#include "api/call.h"

int nc_call_count_read(struct nc_call_context *call, struct nearcache_tier *tier, int outcome,
                       const struct nearcache_result *result)
{
    static const enum nc_counter by_source[] = {
        [NEARCACHE_SOURCE_MISS] = NC_COUNT_misses,
        [NEARCACHE_SOURCE_LOCAL] = NC_COUNT_hits_local,
        [NEARCACHE_SOURCE_REMOTE] = NC_COUNT_hits_remote,
        [NEARCACHE_SOURCE_LOADED] = NC_COUNT_hits_loaded,
        [NEARCACHE_SOURCE_STALE] = NC_COUNT_hits_stale,
        [NEARCACHE_SOURCE_NEGATIVE] = NC_COUNT_hits_negative,
    };
    nc_cache_count(call->self, tier, outcome < 0 ? NC_COUNT_read_errors : by_source[result->source], 1);
    return outcome;
}

void nc_call_count_write(struct nc_call_context *call, struct nearcache_tier *tier, int outcome,
                         bool is_delete)
{
    enum nc_counter which = outcome == 0                 ? is_delete ? NC_COUNT_deletes : NC_COUNT_writes
                            : outcome == NEARCACHE_LOCAL ? NC_COUNT_writes_local
                                                         : NC_COUNT_write_errors;
    nc_cache_count(call->self, tier, which, 1);
}
