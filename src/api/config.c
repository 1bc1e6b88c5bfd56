#include "api/config.h"

#include "base/clock.h"
#include "cache/tier.h"

#include <stdlib.h>
#include <string.h>

int nc_config_copy(void *mine, size_t my_size, const void *given)
{
    size_t size;
    memset(mine, 0, my_size);
    memcpy(mine, &my_size, sizeof my_size);
    if (!given)
        return 0;
    memcpy(&size, given, sizeof size);
    if (size < sizeof size || size > 65536)
        return NEARCACHE_EINVAL;
    for (size_t i = my_size; i < size; i++)
        if (((const unsigned char *)given)[i] != 0)
            return NEARCACHE_EINVAL;
    memcpy(mine, given, size < my_size ? size : my_size);
    memcpy(mine, &my_size, sizeof my_size);
    return 0;
}

static void put_default(uint64_t *field, uint64_t value)
{
    if (*field == 0)
        *field = value;
}

static bool name_space_is_valid(const char *name)
{
    size_t n = strlen(name);
    return n > 0 && n <= 64 &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                        "0123456789_-.:{}") == n;
}

int nc_config_complete(struct nearcache_config *c, const char **why)
{
    put_default(&c->budget_bytes, NEARCACHE_DEFAULT_BUDGET_BYTES);
    put_default(&c->deadline_us, NEARCACHE_DEFAULT_DEADLINE_US);
    put_default(&c->heartbeat_ms, NEARCACHE_DEFAULT_HEARTBEAT_MS);
    put_default(&c->lease_ms, NEARCACHE_DEFAULT_LEASE_MS);
    put_default(&c->journal_bytes, NEARCACHE_DEFAULT_JOURNAL_BYTES);
    put_default(&c->journal_entries, NEARCACHE_DEFAULT_JOURNAL_ENTRIES);
    put_default(&c->breaker_expiries, NEARCACHE_DEFAULT_BREAKER_EXPIRIES);
    if (!c->name_space)
        c->name_space = "nc";

    if (c->budget_bytes < NEARCACHE_MIN_BUDGET_BYTES)
        *why = "budget_bytes is below 1 MiB";
    else if (c->budget_bytes > (uint64_t)100 << 30) /* NC_ARENA_BYTES_MOST, and room for holes */
        *why = "budget_bytes is above 100 GiB";
    else if (c->shards > 65536)
        *why = "shards is above 65536";
    else if (c->deadline_us > 3600 * UINT64_C(1000000))
        *why = "deadline_us is above an hour";
    else if ((unsigned)c->log_level > NEARCACHE_LOG_DEBUG)
        *why = "log_level is unknown";
    else if (!name_space_is_valid(c->name_space))
        *why = "name_space must have 1 to 64 letters, digits or _-.:{}";
    else if (c->heartbeat_ms < 5 || c->heartbeat_ms > 60000)
        *why = "heartbeat_ms must be 5 to 60000";
    else if (c->lease_ms > 3600000)
        *why = "lease_ms is above an hour";
    else if (c->audit_per_million > 1000000)
        *why = "audit_per_million is above a million";
    else if (c->loader_threads > 0)
        *why = "loader_threads must be 0: a loader runs on the thread of its caller";
    else
        *why = NULL;
    if (*why)
        return NEARCACHE_EINVAL;
    if (c->lease_ms < 3 * c->heartbeat_ms) {
        *why = "lease_ms must be at least three times heartbeat_ms";
        return NEARCACHE_ECONFIG;
    }
    /* None means none: no journal takes nothing, no breaker never opens. */
    if (c->journal_bytes == NEARCACHE_NONE || c->journal_entries == NEARCACHE_NONE)
        c->journal_bytes = c->journal_entries = 0;
    if (c->journal_bytes > c->budget_bytes / 2)
        c->journal_bytes = c->budget_bytes / 2;
    return 0;
}

int nc_config_read(const struct nearcache_tier *tier, uint64_t default_deadline_us,
                   const struct nearcache_read *how, struct nc_read_options *options)
{
    struct nearcache_read mine = NEARCACHE_READ_INIT;
    if (how && nc_config_copy(&mine, sizeof mine, how) != 0)
        return NEARCACHE_EINVAL;
    if (mine.refresh > 1 || mine.timeout_us == NEARCACHE_NONE)
        return NEARCACHE_EINVAL;
    options->deadline_ns =
        nc_clock_deadline_ns(mine.timeout_us ? mine.timeout_us : default_deadline_us);
    uint64_t soft = mine.soft_timeout_us ? mine.soft_timeout_us : tier->soft_timeout_us;
    options->soft_deadline_ns = soft == NEARCACHE_NONE ? UINT64_MAX : nc_clock_deadline_ns(soft);
    if (mine.max_stale_ms == NEARCACHE_NONE)
        options->max_stale_ns = 0;
    else if (mine.max_stale_ms == 0)
        options->max_stale_ns = tier->max_stale_ns;
    else
        options->max_stale_ns = mine.max_stale_ms > UINT64_MAX / NC_NS_PER_MS
                                    ? UINT64_MAX
                                    : mine.max_stale_ms * NC_NS_PER_MS;
    options->refresh = mine.refresh == 1;
    return 0;
}

int nc_config_check_ttl(const struct nearcache_tier *tier, uint64_t ttl_ms)
{
    return nc_tier_takes_ttl(tier, ttl_ms) ? 0 : NEARCACHE_EINVAL;
}

int nc_config_write(const struct nearcache_tier *tier, uint64_t default_deadline_us,
                    const struct nearcache_write *how, struct nc_write_options *options)
{
    struct nearcache_write mine = NEARCACHE_WRITE_INIT;
    if (how && nc_config_copy(&mine, sizeof mine, how) != 0)
        return NEARCACHE_EINVAL;
    if (mine.timeout_us == NEARCACHE_NONE)
        return NEARCACHE_EINVAL;
    options->deadline_ns = UINT64_MAX; /* nothing to wait for */
    if (tier->linked)
        options->deadline_ns =
            nc_clock_deadline_ns(mine.timeout_us ? mine.timeout_us : default_deadline_us);
    options->ttl_ms = mine.ttl_ms ? mine.ttl_ms : tier->redis_ttl_ms;
    return nc_config_check_ttl(tier, options->ttl_ms);
}

/* ---- environment ---- */

static int number_from_env(const char *name, uint32_t most, uint32_t *value, bool *any)
{
    const char *text = getenv(name);
    char *end;
    if (!text || !*text)
        return 0;
    unsigned long n = strtoul(text, &end, 10);
    if (*end || text[0] < '0' || text[0] > '9' || n > most)
        return NEARCACHE_EINVAL;
    *value = (uint32_t)n;
    *any = true;
    return 0;
}

static const char *text_from_env(const char *name, bool *any)
{
    const char *text = getenv(name);
    if (!text || !*text)
        return NULL;
    *any = true;
    return text;
}

int nearcache_redis_from_env(struct nearcache_redis *redis)
{
    struct nearcache_redis found = NEARCACHE_REDIS_INIT;
    bool any = false;
    if (!redis)
        return NEARCACHE_EINVAL;
    found.url = text_from_env("REDIS_URL", &any);
    found.host = text_from_env("REDIS_HOST", &any);
    found.password = text_from_env("REDIS_PASSWORD", &any);
    if (number_from_env("REDIS_PORT", 65535, &found.port, &any) != 0 ||
        number_from_env("REDIS_DB", INT32_MAX, &found.database, &any) != 0)
        return NEARCACHE_EINVAL;
    if (!any)
        return NEARCACHE_MISS;
    *redis = found;
    return 0;
}
