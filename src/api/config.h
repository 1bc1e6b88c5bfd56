/*
 * api/config: the caller's option structs, checked and completed with their defaults. Everything
 * that says what a zero means for a cache or a call stands here; tiers have cache/tier.
 */
#ifndef NC_API_CONFIG_H
#define NC_API_CONFIG_H

#include "nearcache.h"

#include <stdbool.h>

/*
 * Copies a sized struct of the caller's (any age of the header) over `mine`: fields that the caller
 * does not have keep their zero, and fields that this library does not know must be zero.
 * `given` NULL: all zero. 0 or NEARCACHE_EINVAL.
 */
int nc_config_copy(void *mine, size_t my_size, const void *given);

/* Checks a cache's configuration and puts defaults in. `linked`: Redis is configured. On failure
 * *why is static text. 0, NEARCACHE_EINVAL, NEARCACHE_ECONFIG. */
int nc_config_complete(struct nearcache_config *config, const char **why);

/* Options of one call, completed: the absolute deadline and the rest with zero meaning default. */
struct nc_read_options {
    uint64_t deadline_ns;      /* machine's monotonic clock */
    uint64_t soft_deadline_ns; /* UINT64_MAX: none */
    uint64_t max_stale_ns;     /* 0: nothing stale */
    bool refresh;
};

struct nc_write_options {
    uint64_t deadline_ns;
    uint64_t ttl_ms; /* NEARCACHE_NONE: no expiry */
};

struct nearcache_tier;
int nc_config_read(const struct nearcache_tier *tier, uint64_t default_deadline_us,
                   const struct nearcache_read *how, struct nc_read_options *options);
int nc_config_write(const struct nearcache_tier *tier, uint64_t default_deadline_us,
                    const struct nearcache_write *how, struct nc_write_options *options);
/* Whether a key of the tier may have that TTL. 0 or NEARCACHE_EINVAL. */
int nc_config_check_ttl(const struct nearcache_tier *tier, uint64_t ttl_ms);

#endif
