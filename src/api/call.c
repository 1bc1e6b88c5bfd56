#include "api/call.h"

void nc_call_count_write(struct nc_call_context *call, struct nearcache_tier *tier, int outcome,
                         bool is_delete)
{
    enum nc_counter which = outcome == 0 ? is_delete ? NC_COUNT_deletes : NC_COUNT_writes
                            : outcome == NEARCACHE_LOCAL ? NC_COUNT_writes_local
                                                         : NC_COUNT_write_errors;
    nc_cache_count(call->self, tier, which, 1);
}
