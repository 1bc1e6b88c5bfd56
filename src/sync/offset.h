/*
 * sync/offset: how far Redis' clock is ahead of this machine's monotonic one, from round trips.
 *
 * A reply that carries TIME T, sent at a and read at b, bounds the offset to [T - b, T - a]. The
 * smallest round trip of the last 10 s is kept. The lower bound makes deadlines that never end
 * later in Redis than here (R11), and stamps that are not later than what they stamp (R12): a round
 * trip may have taken long, and half of it is no proof. Thread-safe: written under a lock, read
 * without.
 */
#ifndef NC_SYNC_OFFSET_H
#define NC_SYNC_OFFSET_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct nc_offset {
    pthread_mutex_t lock;
    uint64_t best_round_trip_ns, best_at_ns; /* guarded by lock */
    _Atomic int64_t lower_ns, middle_ns, stamp_ns;
    _Atomic bool known;
};

void nc_offset_init(struct nc_offset *offset);
void nc_offset_deinit(struct nc_offset *offset);

/* A new link: what was known of another server's clock is void. */
void nc_offset_reset(struct nc_offset *offset);

/*
 * TIME and s of one reply. Stamps follow the larger of the two, because versions never run
 * backwards when Redis' clock does. `replace`: the old value has proven wrong (a write was called
 * late that was not).
 */
void nc_offset_sample(struct nc_offset *offset, uint64_t sent_ns, uint64_t received_ns,
                      uint64_t time_us, uint64_t version, bool replace);

bool nc_offset_known(const struct nc_offset *offset);
/* Redis time in us of a moment here: not later than it really is; the same among versions, which
 * may be ahead of it; the best guess among those. */
uint64_t nc_offset_not_after_us(const struct nc_offset *offset, uint64_t io_ns);
uint64_t nc_offset_stamp_us(const struct nc_offset *offset, uint64_t io_ns);
uint64_t nc_offset_redis_us(const struct nc_offset *offset, uint64_t io_ns);

#endif
