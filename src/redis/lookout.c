#include "redis/lookout.h"

#include "base/clock.h"

/* Looking for a Sentinel holds up the link's thread: now and then, and not for long. */
#define EVERY_NS (1 * NC_NS_PER_S)
#define LISTEN_NS (50 * NC_NS_PER_MS)

static void on_message(void *arg, const char *channel, size_t channel_bytes, const char *payload,
                       size_t payload_bytes)
{
    struct nc_lookout *lookout = arg;
    struct nc_primary now;
    (void)channel;
    (void)channel_bytes;
    if (payload && nc_sentinel_heard(lookout->settings, payload, payload_bytes, &now))
        lookout->on_primary(lookout->arg, &now);
}

void nc_lookout_init(struct nc_lookout *lookout, const struct nc_redis_settings *settings,
                     int stop_fd, void (*on_primary)(void *arg, const struct nc_primary *primary),
                     void *arg)
{
    memset(lookout, 0, sizeof *lookout);
    lookout->settings = settings;
    lookout->stop_fd = stop_fd;
    lookout->on_primary = on_primary;
    lookout->arg = arg;
    nc_subscriber_init(&lookout->subscriber, &lookout->unused, on_message, lookout);
}

uint64_t nc_lookout_tick(struct nc_lookout *lookout, uint64_t now_ns)
{
    const struct nc_redis_settings *settings = lookout->settings;
    struct nc_primary now;
    const char *why;
    if (settings->sentinel_count == 0 || nc_lookout_fd(lookout) >= 0)
        return UINT64_MAX;
    if (now_ns < lookout->due_ns)
        return lookout->due_ns;
    lookout->due_ns = now_ns + EVERY_NS;
    if (nc_sentinel_listen(&lookout->subscriber, settings, lookout->tried++, lookout->stop_fd,
                           now_ns + LISTEN_NS) != 0)
        return lookout->due_ns;
    /* Who was chosen before it listened. */
    if (nc_sentinel_find(settings, lookout->stop_fd, now_ns + 2 * LISTEN_NS, &now, &why) == 0)
        lookout->on_primary(lookout->arg, &now);
    return UINT64_MAX;
}

void nc_lookout_read(struct nc_lookout *lookout)
{
    if (nc_conn_read(&lookout->subscriber.conn) != 0)
        nc_conn_close(&lookout->subscriber.conn);
}

void nc_lookout_close(struct nc_lookout *lookout)
{
    nc_conn_close(&lookout->subscriber.conn);
    lookout->due_ns = 0;
}
