#include "sync/lease.h"

#include "base/futex.h"
#include "base/hash.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How soon those who wait look again without having heard anything. */
#define LOOK_NS (50 * NC_NS_PER_MS)

/* <ns>:l:<Redis key>; with partitions in the slot of the key's. Freed by the caller. */
static char *lease_key(const struct nc_sync *sync, const struct nc_key *key, size_t *bytes)
{
    size_t space_bytes = strlen(sync->space);
    *bytes = space_bytes + 3 + nc_sync_redis_key_bytes(sync, key);
    char *text = malloc(*bytes), *at = text;
    if (!text)
        return NULL;
    memcpy(at, sync->space, space_bytes);
    memcpy(at + space_bytes, ":l:", 3);
    nc_sync_write_redis_key(sync, key, at + space_bytes + 3);
    return text;
}

static int call(struct nc_sync *sync, const struct nc_lease *lease, const struct nc_key *key,
                bool take, uint64_t deadline_ns, int64_t *status)
{
    char lease_ms[24];
    size_t bytes, redis_bytes = nc_sync_redis_key_bytes(sync, key);
    struct nc_answer answer;
    char *text = lease_key(sync, key, &bytes);
    if (!text)
        return NEARCACHE_ENOMEM;
    int n = snprintf(lease_ms, sizeof lease_ms, "%" PRIu64, key->tier->load_lease_ms);
    struct nc_slice keys[] = {{text, bytes}, {text + bytes - redis_bytes, redis_bytes}};
    struct nc_slice args[] = {
        {take ? "take" : "give", 4}, {lease->token, 16}, {lease_ms, (size_t)n}};
    int outcome = nc_script_call(&sync->scripts, NC_SCRIPT_LEASE, keys, 2, args, 3, deadline_ns,
                                 &answer, NULL, NULL);
    free(text);
    if (outcome == 0 && answer.count != 1)
        outcome = NEARCACHE_EPROTOCOL;
    *status = outcome == 0 ? answer.number[0] : -1;
    return outcome;
}

enum nc_lease_state nc_lease_take(struct nc_sync *sync, struct nc_lease *lease,
                                  const struct nc_key *key, uint64_t deadline_ns)
{
    int64_t status;
    lease->held = false;
    if (sync->one_slot) /* no name of a lease is in the key's slot for certain */
        return NC_LEASE_UNKNOWN;
    snprintf(lease->token, sizeof lease->token, "%016" PRIx64, nc_hash_random());
    call(sync, lease, key, true, deadline_ns, &status);
    lease->held = status == 1;
    switch (status) {
    case 0:
        return NC_LEASE_OTHERS;
    case 1:
        return NC_LEASE_TAKEN;
    case 2:
        return NC_LEASE_THERE;
    default:
        return NC_LEASE_UNKNOWN;
    }
}

void nc_lease_give(struct nc_sync *sync, struct nc_lease *lease, const struct nc_key *key,
                   uint64_t deadline_ns)
{
    int64_t status;
    if (!lease->held)
        return;
    lease->held = false;
    call(sync, lease, key, false, deadline_ns, &status);
}

bool nc_lease_wait(struct nc_sync *sync, const struct nc_key *key, const struct nc_ticket *since,
                   uint64_t deadline_ns)
{
    uint64_t until_ns = nc_clock_io_ns() + LOOK_NS;
    bool last = deadline_ns <= until_ns, changed = false, in_time = true;
    if (last)
        until_ns = deadline_ns;
    /* Sequentially consistent, as is nc_lease_heard: it sees us waiting, or we see what it heard.
     */
    atomic_fetch_add(&sync->lease_waiters, 1);
    while (!changed && in_time) {
        uint32_t heard = atomic_load(&sync->lease_heard);
        changed = nc_cache_ticket(key).changes != since->changes;
        in_time = changed || nc_futex_wait(&sync->lease_heard, heard, until_ns);
    }
    atomic_fetch_sub(&sync->lease_waiters, 1);
    return changed || !last;
}

void nc_lease_heard(struct nc_sync *sync)
{
    if (atomic_load(&sync->lease_waiters) == 0)
        return;
    atomic_fetch_add(&sync->lease_heard, 1);
    nc_futex_wake(&sync->lease_heard, INT_MAX);
}
