#include "sync/offset.h"

#include "base/clock.h"

#define WINDOW_NS (10 * NC_NS_PER_S)
/* What Lua's numbers still tell exactly. */
#define NO_END_US (UINT64_C(1) << 53)

void nc_offset_init(struct nc_offset *offset)
{
    pthread_mutex_init(&offset->lock, NULL);
    nc_offset_reset(offset);
}

void nc_offset_deinit(struct nc_offset *offset) { pthread_mutex_destroy(&offset->lock); }

void nc_offset_reset(struct nc_offset *offset)
{
    pthread_mutex_lock(&offset->lock);
    offset->best_round_trip_ns = UINT64_MAX;
    offset->best_at_ns = 0;
    atomic_store(&offset->known, false);
    pthread_mutex_unlock(&offset->lock);
}

void nc_offset_sample(struct nc_offset *offset, uint64_t sent_ns, uint64_t received_ns,
                      uint64_t time_us, uint64_t version, bool replace)
{
    uint64_t round_trip = received_ns - sent_ns;
    int64_t time_ns = (int64_t)(time_us * NC_NS_PER_US);
    int64_t stamp_ns = (int64_t)((version > time_us ? version : time_us) * NC_NS_PER_US);
    pthread_mutex_lock(&offset->lock);
    if (replace || round_trip <= offset->best_round_trip_ns ||
        received_ns - offset->best_at_ns > WINDOW_NS) {
        offset->best_round_trip_ns = round_trip;
        offset->best_at_ns = received_ns;
        atomic_store(&offset->lower_ns, time_ns - (int64_t)received_ns);
        atomic_store(&offset->middle_ns, stamp_ns - (int64_t)(sent_ns + round_trip / 2));
        atomic_store(&offset->stamp_ns, stamp_ns - (int64_t)received_ns);
        atomic_store(&offset->known, true);
    }
    pthread_mutex_unlock(&offset->lock);
}

bool nc_offset_known(const struct nc_offset *offset) { return atomic_load(&offset->known); }

uint64_t nc_offset_not_after_us(const struct nc_offset *offset, uint64_t io_ns)
{
    if (io_ns > INT64_MAX / 2)
        return NO_END_US;
    return (uint64_t)((int64_t)io_ns + atomic_load(&offset->lower_ns)) / NC_NS_PER_US;
}

uint64_t nc_offset_stamp_us(const struct nc_offset *offset, uint64_t io_ns)
{
    return (uint64_t)((int64_t)io_ns + atomic_load(&offset->stamp_ns)) / NC_NS_PER_US;
}

uint64_t nc_offset_redis_us(const struct nc_offset *offset, uint64_t io_ns)
{
    return (uint64_t)((int64_t)io_ns + atomic_load(&offset->middle_ns)) / NC_NS_PER_US;
}
