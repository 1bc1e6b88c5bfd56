#include "redis/backoff.h"

#include "base/clock.h"
#include "base/hash.h"

#define FIRST_NS (50 * NC_NS_PER_MS)
#define MOST_NS (2 * NC_NS_PER_S)

void nc_backoff_reset(struct nc_backoff *backoff) { backoff->failures = 0; }

uint64_t nc_backoff_next_ns(struct nc_backoff *backoff)
{
    unsigned doublings = backoff->failures < 16 ? backoff->failures : 16;
    uint64_t wait_ns = FIRST_NS << doublings;
    backoff->failures++;
    if (wait_ns > MOST_NS)
        wait_ns = MOST_NS;
    return wait_ns - nc_hash_step(&backoff->random) % (wait_ns / 4);
}
