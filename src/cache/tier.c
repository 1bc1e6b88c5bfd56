#include "cache/tier.h"

#include "base/clock.h"

#include <string.h>

#define HOUR_MS ((uint64_t)3600 * 1000)

static const struct {
    const char *name, *prefix;
    uint64_t redis_ttl_ms;
    enum nearcache_kind kind;
} presets[] = {
    [NEARCACHE_DEFAULT] = {"default", "", NEARCACHE_DEFAULT_TTL_MS, NEARCACHE_BYTES},
    [NEARCACHE_PRODUCTS] = {"products", "product:", 6 * HOUR_MS, NEARCACHE_BYTES},
    [NEARCACHE_PROMPTS] = {"prompts", "prompt:", 24 * HOUR_MS, NEARCACHE_BYTES},
    [NEARCACHE_AESTHETICS] = {"aesthetics", "aesthetic:", NEARCACHE_NONE, NEARCACHE_BYTES},
    [NEARCACHE_EMBEDDINGS] = {"embeddings", "embedding:", NEARCACHE_NONE, NEARCACHE_VECTOR_F32},
    [NEARCACHE_SESSIONS] = {"sessions", "session:", 7 * 24 * HOUR_MS, NEARCACHE_BYTES},
    [NEARCACHE_MARKETPLACE] = {"marketplace", "marketplace:", 6 * HOUR_MS, NEARCACHE_BYTES},
};

int nc_tier_preset(enum nearcache_preset preset, struct nearcache_tier_config *config)
{
    static const struct nearcache_tier_config blank = NEARCACHE_TIER_INIT;
    if ((unsigned)preset >= sizeof presets / sizeof presets[0] || !config)
        return NEARCACHE_EINVAL;
    *config = blank;
    config->name = presets[preset].name;
    config->prefix = presets[preset].prefix;
    config->redis_ttl_ms = presets[preset].redis_ttl_ms;
    config->kind = presets[preset].kind;
    return 0;
}

static bool name_is_valid(const char *name)
{
    size_t n = name ? strlen(name) : 0;
    if (n == 0 || n >= sizeof((struct nearcache_tier *)0)->name || name[0] < 'a' || name[0] > 'z')
        return false;
    return strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == n;
}

static uint32_t element_bytes(enum nearcache_kind kind)
{
    switch (kind) {
    case NEARCACHE_VECTOR_F32:
        return 4;
    case NEARCACHE_VECTOR_F16:
        return 2;
    case NEARCACHE_VECTOR_I8:
        return 1;
    default:
        return 0;
    }
}

/* Milliseconds of a user's field as nanoseconds; none stays none, and what overflows is none. */
static uint64_t ms_to_ns(uint64_t ms)
{
    return ms > UINT64_MAX / NC_NS_PER_MS ? NEARCACHE_NONE : ms * NC_NS_PER_MS;
}

static uint64_t or_default(uint64_t value, uint64_t other) { return value ? value : other; }

static const char *what_is_wrong(const struct nearcache_tier_config *c)
{
    if (!name_is_valid(c->name))
        return "the name of a tier must match [a-z][a-z0-9_]* and have at most 31 characters";
    if (c->prefix && strlen(c->prefix) > 255)
        return "a tier's prefix has at most 255 bytes";
    if (c->jitter_percent != NEARCACHE_NONE && c->jitter_percent > 100)
        return "jitter_percent is above 100";
    if (c->budget_share_percent > 100)
        return "budget_share_percent is above 100";
    if (c->eager_refresh_percent != NEARCACHE_NONE && c->eager_refresh_percent > 100)
        return "eager_refresh_percent is above 100";
    if ((unsigned)c->off_link > NEARCACHE_OFF_LINK_STALE ||
        (unsigned)c->outage_writes > NEARCACHE_OUTAGE_REFUSE ||
        (unsigned)c->coherence > NEARCACHE_COHERENCE_NONE ||
        (unsigned)c->policy > NEARCACHE_POLICY_AS3 || (unsigned)c->kind > NEARCACHE_VECTOR_I8)
        return "an enumeration of the tier has an unknown value";
    if (c->load_lease_ms != NEARCACHE_NONE && c->load_lease_ms > 3600000)
        return "load_lease_ms is above an hour";
    if (c->dimension > UINT32_MAX / 8)
        return "the dimension is too large";
    if (c->kind == NEARCACHE_BYTES && c->dimension != 0)
        return "a tier of bytes has no dimension";
    return NULL;
}

/* In ticks that can still be compared with others. */
static uint32_t linger_ticks(uint64_t max_stale_ns)
{
    uint64_t ticks = max_stale_ns >> NC_TICK_SHIFT;
    return ticks > UINT32_C(1) << 30 ? UINT32_C(1) << 30 : (uint32_t)ticks;
}

int nc_tier_init(struct nearcache_tier *tier, const struct nearcache_tier_config *c, bool linked,
                 const char **why)
{
    const char *wrong = what_is_wrong(c);
    if (wrong) {
        *why = wrong;
        return NEARCACHE_EINVAL;
    }
    memset(tier, 0, sizeof *tier);
    for (uint32_t lane = 0; lane < NC_LANES_MOST; lane++)
        atomic_init(&tier->epochs[lane], 1);
    strcpy(tier->name, c->name);
    if (c->prefix)
        strcpy(tier->prefix, c->prefix);
    tier->prefix_bytes = strlen(tier->prefix);
    tier->name_bytes_most = (uint32_t)(NEARCACHE_MAX_KEY_BYTES - tier->prefix_bytes);
    tier->linked = linked;
    tier->coherence = c->coherence;
    tier->proven = linked && c->coherence != NEARCACHE_COHERENCE_NONE;
    tier->redis_ttl_ms = or_default(c->redis_ttl_ms, NEARCACHE_DEFAULT_TTL_MS);

    uint64_t local_ms = c->local_ttl_ms;
    if (local_ms == 0)
        local_ms = linked && !tier->proven ? NEARCACHE_DEFAULT_UNPROVEN_TTL_MS : NEARCACHE_NONE;
    /* The local copy never outlives the Redis key; on a link its PTTL says so again. Without one
     * the only copy has the TTL of its write. */
    if (linked && tier->redis_ttl_ms < local_ms)
        local_ms = tier->redis_ttl_ms;
    tier->local_ttl_ns = ms_to_ns(local_ms);
    tier->negative_ttl_ns =
        ms_to_ns(or_default(c->negative_ttl_ms, NEARCACHE_DEFAULT_NEGATIVE_TTL_MS));
    tier->max_stale_ns = ms_to_ns(or_default(c->max_stale_ms, NEARCACHE_DEFAULT_MAX_STALE_MS));
    /* Who asks for stale answers asks for copies to be there; others have their memory back. */
    if (c->off_link == NEARCACHE_OFF_LINK_STALE || c->max_stale_ms != 0)
        tier->linger_ticks = linger_ticks(tier->max_stale_ns);
    tier->jitter_percent = c->jitter_percent == NEARCACHE_NONE
                               ? 0
                               : or_default(c->jitter_percent, NEARCACHE_DEFAULT_JITTER_PERCENT);
    tier->largest_local_bytes =
        or_default(c->largest_local_bytes, NEARCACHE_DEFAULT_LARGEST_LOCAL_BYTES);
    tier->soft_timeout_us = or_default(c->soft_timeout_us, NEARCACHE_NONE);
    tier->eager_refresh_percent =
        c->eager_refresh_percent == NEARCACHE_NONE ? 0 : c->eager_refresh_percent;
    tier->after_hit = tier->eager_refresh_percent != 0;
    tier->budget_share_percent = c->budget_share_percent;
    tier->load_lease_ms = c->load_lease_ms == NEARCACHE_NONE ? 0 : c->load_lease_ms;
    tier->off_link = c->off_link;
    tier->outage_writes = c->outage_writes;
    tier->policy = c->policy;
    tier->kind = c->kind;
    uint32_t dimension = c->dimension ? c->dimension : NEARCACHE_DEFAULT_DIMENSION;
    tier->row_bytes = element_bytes(c->kind) * dimension;
    return 0;
}

uint64_t nc_tier_local_ttl_ns(const struct nearcache_tier *tier, uint64_t ttl_ns, uint64_t random)
{
    if (ttl_ns == NEARCACHE_NONE || tier->jitter_percent == 0)
        return ttl_ns;
    uint64_t most = ttl_ns / 100 * tier->jitter_percent;
    uint64_t limit = NEARCACHE_MAX_JITTER_MS * NC_NS_PER_MS;
    if (most > limit)
        most = limit;
    return ttl_ns - (most ? random % most : 0);
}
