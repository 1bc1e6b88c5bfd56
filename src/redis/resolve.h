/*
 * redis/resolve: a host name becomes addresses, within a deadline. getaddrinfo itself has none, so
 * names (addresses need no look-up) are resolved by a short-lived thread that is left behind when
 * it takes too long, and frees what it holds when it ends.
 */
#ifndef NC_REDIS_RESOLVE_H
#define NC_REDIS_RESOLVE_H

#include <stdint.h>
#include <sys/socket.h>

#define NC_ADDRESSES_MOST 8

struct nc_addresses {
    unsigned count;
    socklen_t bytes[NC_ADDRESSES_MOST];
    struct sockaddr_storage address[NC_ADDRESSES_MOST];
};

/* 0; NEARCACHE_EOFFLINK (no such host), NEARCACHE_ETIMEOUT, NEARCACHE_ECLOSED (stop_fd became
 * readable), NEARCACHE_EIO, NEARCACHE_ENOMEM. */
int nc_resolve(const char *host, uint16_t port, int stop_fd, uint64_t deadline_ns,
               struct nc_addresses *addresses);

#endif
