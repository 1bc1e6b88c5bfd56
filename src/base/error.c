#include "base/error.h"

#include <nearcache/async.h>

const char *nc_error_text(int outcome)
{
    switch (outcome) {
    case NEARCACHE_OK:
        return "ok";
    case NEARCACHE_MISS:
        return "no value";
    case NEARCACHE_LOCAL:
        return "kept here until Redis is back";
    case NEARCACHE_PENDING:
        return "under way";
    case NEARCACHE_EINVAL:
        return "invalid argument";
    case NEARCACHE_ENOMEM:
        return "out of memory";
    case NEARCACHE_ETOOBIG:
        return "key or value too large";
    case NEARCACHE_ETIMEOUT:
        return "deadline passed";
    case NEARCACHE_EOFFLINK:
        return "off-link: Redis is not reachable";
    case NEARCACHE_EFULL:
        return "journal full";
    case NEARCACHE_EREFUSED:
        return "refused: by the tier's policy while Redis is away, or in this state";
    case NEARCACHE_EREMOTE:
        return "Redis answered with an error";
    case NEARCACHE_EPROTOCOL:
        return "invalid answer from Redis";
    case NEARCACHE_ETYPE:
        return "value of another type or length";
    case NEARCACHE_ECONFIG:
        return "contradictory configuration";
    case NEARCACHE_EFORK:
        return "opened before fork in the parent process";
    case NEARCACHE_ECLOSED:
        return "cache closed";
    case NEARCACHE_EBUSY:
        return "still in use: results are pinned, or workers are open";
    case NEARCACHE_ELOADER:
        return "loader failed";
    case NEARCACHE_ENOTSUP:
        return "not supported here";
    case NEARCACHE_ECANCELED:
        return "cancelled";
    case NEARCACHE_EAUTH:
        return "Redis refuses the credentials";
    case NEARCACHE_EIO:
        return "operating system error";
    default:
        return "unknown outcome";
    }
}
