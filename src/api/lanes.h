/*
 * api/lanes: the links of a cache, one for each lane, and which lane a name is of.
 *
 *     one server         one lane
 *     P partitions       a lane each; XXH3 of the name says which, the link follows the partition
 *     plain keys         a lane for each primary as it is found; the slot of the key says which
 *
 * Opening comes in two steps, because the cache must know how many lanes there may be.
 */
#ifndef NC_API_LANES_H
#define NC_API_LANES_H

#include "api/handle.h"

/* Reads the settings; `cache->redis` and what the cache's configuration says of lanes. 0, EINVAL,
 * ECONFIG, ENOTSUP, ENOMEM. */
int nc_lanes_prepare(struct nearcache *cache, const struct nearcache_config *config,
                     struct nc_cache_config *cache_config);
/* Opens and starts the links. On failure all is as before. */
int nc_lanes_open(struct nearcache *cache, const struct nearcache_config *config);
/* Stops them; nothing of what prepare and open made is left. */
void nc_lanes_close(struct nearcache *cache, uint64_t deadline_ns);

#endif
