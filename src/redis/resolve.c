#include "redis/resolve.h"

#include "base/clock.h"
#include "nearcache.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Shared by who asks and the thread that looks; the last of the two frees it. */
struct lookup {
    _Atomic int holders;
    int done_fd;
    int outcome;
    char port[8];
    struct nc_addresses addresses;
    char host[];
};

static void let_go(struct lookup *lookup)
{
    if (atomic_fetch_sub(&lookup->holders, 1) != 1)
        return;
    close(lookup->done_fd);
    free(lookup);
}

static int look_up(const char *host, const char *port, int flags, struct nc_addresses *addresses)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = flags};
    struct addrinfo *found = NULL;
    addresses->count = 0;
    int error = getaddrinfo(host, port, &hints, &found);
    if (error != 0)
        return error == EAI_MEMORY ? NEARCACHE_ENOMEM : NEARCACHE_EOFFLINK;
    for (struct addrinfo *a = found; a && addresses->count < NC_ADDRESSES_MOST; a = a->ai_next) {
        memcpy(&addresses->address[addresses->count], a->ai_addr, a->ai_addrlen);
        addresses->bytes[addresses->count++] = a->ai_addrlen;
    }
    freeaddrinfo(found);
    return addresses->count > 0 ? 0 : NEARCACHE_EOFFLINK;
}

static void *run(void *arg)
{
    struct lookup *lookup = arg;
    uint64_t one = 1;
    lookup->outcome = look_up(lookup->host, lookup->port, 0, &lookup->addresses);
    while (write(lookup->done_fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
    let_go(lookup);
    return NULL;
}

static int wait_for(struct lookup *lookup, int stop_fd, uint64_t deadline_ns)
{
    for (;;) {
        struct pollfd fds[2] = {{lookup->done_fd, POLLIN, 0}, {stop_fd, POLLIN, 0}};
        uint64_t now = nc_clock_io_ns();
        if (now >= deadline_ns)
            return NEARCACHE_ETIMEOUT;
        poll(fds, stop_fd >= 0 ? 2 : 1, (int)((deadline_ns - now) / NC_NS_PER_MS) + 1);
        if (stop_fd >= 0 && fds[1].revents)
            return NEARCACHE_ECLOSED;
        if (fds[0].revents & POLLIN)
            return lookup->outcome;
    }
}

static int resolve_name(const char *host, const char *port, int stop_fd, uint64_t deadline_ns,
                        struct nc_addresses *addresses)
{
    pthread_t thread;
    struct lookup *lookup = calloc(1, sizeof *lookup + strlen(host) + 1);
    if (!lookup)
        return NEARCACHE_ENOMEM;
    atomic_init(&lookup->holders, 2);
    strcpy(lookup->host, host);
    memcpy(lookup->port, port, strlen(port) + 1);
    lookup->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (lookup->done_fd < 0 || pthread_create(&thread, NULL, run, lookup) != 0) {
        atomic_store(&lookup->holders, 1);
        let_go(lookup);
        return NEARCACHE_EIO;
    }
    pthread_detach(thread);
    int outcome = wait_for(lookup, stop_fd, deadline_ns);
    if (outcome == 0)
        *addresses = lookup->addresses;
    let_go(lookup);
    return outcome;
}

int nc_resolve(const char *host, uint16_t port, int stop_fd, uint64_t deadline_ns,
               struct nc_addresses *addresses)
{
    char text[8];
    snprintf(text, sizeof text, "%u", (unsigned)port);
    if (look_up(host, text, AI_NUMERICHOST | AI_NUMERICSERV, addresses) == 0)
        return 0;
    return resolve_name(host, text, stop_fd, deadline_ns, addresses);
}
