#include "api/call.h"

#include "sync/audit.h"

void nc_call_count_write(struct nc_call_context *call, struct nearcache_tier *tier, int outcome,
                         bool is_delete)
{
    enum nc_counter which = outcome == 0 ? is_delete ? NC_COUNT_deletes : NC_COUNT_writes
                            : outcome == NEARCACHE_LOCAL ? NC_COUNT_writes_local
                                                         : NC_COUNT_write_errors;
    nc_cache_count(call->self, tier, which, 1);
}

void nc_call_after_hit(struct nearcache_tier *tier, const void *name, size_t name_bytes,
                       uint64_t hash, const struct nearcache_result *result)
{
    struct nearcache *cache = tier->owner;
    struct nc_key key = {tier, name, name_bytes, hash, nc_cache_lane_of(tier, name, name_bytes)};
    if (!cache->sync)
        return;
    if (tier->eager_refresh_percent != 0 && nc_call_refresh_is_due(tier, result))
        nc_fetch_refresh(cache->sync, &key);
    if (cache->sync->audit.per_million != 0 && tier->proven)
        nc_audit_offer(cache->sync, nc_cache_self(tier->cache), &key, result);
}

bool nc_call_judge(struct nc_cache_thread *self, const struct nc_key *key, struct nc_entry *entry,
                   struct nearcache_result *result, int *outcome)
{
    struct nc_hit_view none = {0, 0}; /* nothing of it is asked for in a plain tier */
    enum nc_found found = NC_FOUND_NOTHING;
    if (entry) {
        uint8_t flags = nc_entry_flags(entry);
        found =
            nc_hit_judge(self, key, entry, flags, none, nc_hit_now_ns(key->tier, flags), result);
    }
    nc_epoch_leave(&self->reader);
    return nc_call_take_hit(key, found, false, result, outcome);
}
