#include "lib/loop_is_up.h"

#include "api/handle.h"
#include "redis/link.h"

bool loop_is_up(const struct nearcache *cache) { return nc_link_loop_is_up(cache->sync->link); }
