#include "redis/guests.h"

#include <string.h>

void nc_guests_init(struct nc_guests *guests, const struct nc_redis_settings *settings,
                    const struct nc_log *log, uint64_t idle_ns)
{
    memset(guests, 0, sizeof *guests);
    guests->settings = settings;
    guests->log = log;
    guests->idle_ns = idle_ns;
    pthread_mutex_init(&guests->lock, NULL);
    pthread_cond_init(&guests->unused, NULL);
    for (unsigned i = 0; i < NC_GUESTS_MOST; i++)
        guests->guest[i].guests = guests;
}

void nc_guests_deinit(struct nc_guests *guests)
{
    nc_guests_dismiss(guests, true);
    pthread_cond_destroy(&guests->unused);
    pthread_mutex_destroy(&guests->lock);
}

static void set_up(struct nc_guest *guest, bool up)
{
    pthread_mutex_lock(&guest->guests->lock);
    guest->up = up;
    pthread_mutex_unlock(&guest->guests->lock);
}

static void on_up(void *arg, uint64_t generation)
{
    (void)generation;
    set_up(arg, true);
}

static void on_down(void *arg, uint64_t generation)
{
    (void)generation;
    set_up(arg, false);
}

/* Under the lock, for which its link's thread waits at the latest in on_up. */
static void open_locked(struct nc_guest *guest, const struct nc_primary *server)
{
    struct nc_redis_settings there = *guest->guests->settings;
    const struct nc_link_config config = {.settings = &there,
                                          .log = guest->guests->log,
                                          .breaker_expiries = UINT64_MAX,
                                          .on_up = on_up,
                                          .on_down = on_down,
                                          .arg = guest};
    there.host = (char *)server->host;
    there.port = server->port;
    there.seed_count = 0;
    there.connections = 1;
    guest->at = *server;
    guest->used_ns = nc_clock_io_ns();
    if (nc_link_open(&guest->link, &config) != 0) {
        guest->link = NULL;
    } else if (nc_link_start(guest->link) != 0) {
        nc_link_close(guest->link, 0);
        guest->link = NULL;
    }
}

void nc_guests_invite(struct nc_guests *guests, const struct nc_primary *server)
{
    struct nc_guest *free_place = NULL;
    bool known = false;
    pthread_mutex_lock(&guests->lock);
    for (unsigned i = 0; i < NC_GUESTS_MOST; i++) {
        struct nc_guest *guest = &guests->guest[i];
        if (guest->link)
            known = known || nc_primary_is(&guest->at, server);
        else if (!guest->leaves)
            free_place = guest;
    }
    if (!known && free_place)
        open_locked(free_place, server);
    pthread_mutex_unlock(&guests->lock);
}

struct nc_link *nc_guests_use(struct nc_guests *guests, const struct nc_primary *server,
                              unsigned *which)
{
    struct nc_link *link = NULL;
    pthread_mutex_lock(&guests->lock);
    for (unsigned i = 0; !link && i < NC_GUESTS_MOST; i++) {
        struct nc_guest *guest = &guests->guest[i];
        if (!guest->link || !guest->up || !nc_primary_is(&guest->at, server))
            continue;
        *which = i;
        guest->users++;
        guest->used_ns = nc_clock_io_ns();
        link = guest->link;
    }
    pthread_mutex_unlock(&guests->lock);
    return link;
}

void nc_guests_end_use(struct nc_guests *guests, unsigned which)
{
    pthread_mutex_lock(&guests->lock);
    if (--guests->guest[which].users == 0)
        pthread_cond_broadcast(&guests->unused);
    pthread_mutex_unlock(&guests->lock);
}

void nc_guests_dismiss(struct nc_guests *guests, bool all)
{
    uint64_t now_ns = nc_clock_io_ns();
    for (unsigned i = 0; i < NC_GUESTS_MOST; i++) {
        struct nc_guest *guest = &guests->guest[i];
        pthread_mutex_lock(&guests->lock);
        struct nc_link *link =
            all || now_ns - guest->used_ns > guests->idle_ns ? guest->link : NULL;
        if (link) {
            guest->link = NULL;
            guest->leaves = true;
            while (guest->users > 0)
                pthread_cond_wait(&guests->unused, &guests->lock);
        }
        pthread_mutex_unlock(&guests->lock);
        if (!link)
            continue;
        nc_link_close(link, 0);
        pthread_mutex_lock(&guests->lock);
        guest->leaves = guest->up = false;
        pthread_mutex_unlock(&guests->lock);
    }
}
