#include "sync/state.h"

#include "base/futex.h"
#include "cache/removals.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

void nc_state_wake(struct nc_sync *sync)
{
    /* Release pairs with the acquire of who reads `heard` before it looks and sleeps. */
    atomic_fetch_add_explicit(&sync->heard, 1, memory_order_release);
    nc_futex_wake(&sync->heard, INT_MAX);
}

const char *nc_state_name(enum nearcache_link state)
{
    static const char *const names[] = {"none", "down", "connecting", "syncing", "live", "suspect"};
    return (unsigned)state < sizeof names / sizeof names[0] ? names[state] : "unknown";
}

/* A link that flaps must not flood the log. */
#define QUIET_NS NC_NS_PER_S

/* Losing a live link and having it back is worth a line; the steps between are for debugging. */
static void tell_state(struct nc_sync *sync, enum nearcache_link old, enum nearcache_link state)
{
    uint64_t now_ns = nc_clock_io_ns();
    uint64_t lost_ns = atomic_load(&sync->lost_at_ns);
    bool back = state == NEARCACHE_LINK_LIVE && (lost_ns != 0 || !atomic_load(&sync->was_live));
    /* Catching up with a gap is no loss, nor is the end of the cache. */
    bool lost = old == NEARCACHE_LINK_LIVE && state != NEARCACHE_LINK_SYNCING &&
                nc_life_check(sync->cache->life.word) == 0;
    if (lost)
        atomic_store(&sync->lost_at_ns, now_ns);
    if (state == NEARCACHE_LINK_LIVE) {
        atomic_store(&sync->lost_at_ns, 0);
        atomic_store(&sync->was_live, true);
    }
    if (!back && !lost) {
        nc_log_write(sync->log, NEARCACHE_LOG_DEBUG, "link %s (was %s)", nc_state_name(state),
                     nc_state_name(old));
        return;
    }
    /* The loss that is told is answered by its end, however soon that comes. */
    if (lost && now_ns < atomic_load(&sync->quiet_until_ns)) {
        atomic_fetch_add(&sync->untold, 1);
        return;
    }
    if (lost) {
        uint32_t untold = atomic_exchange(&sync->untold, 0);
        atomic_store(&sync->quiet_until_ns, now_ns + QUIET_NS);
        char earlier[48] = "";
        if (untold > 0)
            snprintf(earlier, sizeof earlier, " (%" PRIu32 " earlier losses not told)", untold);
        nc_log_write(sync->log, NEARCACHE_LOG_WARNING, "the link to Redis is lost: %s%s",
                     nc_state_name(state), earlier);
    } else if (lost_ns == 0) {
        nc_log_write(sync->log, NEARCACHE_LOG_INFO, "the link to Redis is live");
    } else if (atomic_load(&sync->untold) == 0) {
        nc_log_write(sync->log, NEARCACHE_LOG_INFO,
                     "the link to Redis is live again after %" PRIu64 " ms",
                     (now_ns - lost_ns) / NC_NS_PER_MS);
    }
}

void nc_state_set(struct nc_sync *sync, enum nearcache_link state)
{
    enum nearcache_link old =
        (enum nearcache_link)atomic_exchange_explicit(&sync->state, state, memory_order_acq_rel);
    if (old == state)
        return;
    nc_state_wake(sync);
    tell_state(sync, old, state);
    uint32_t all = nc_state_of_all(sync);
    if (atomic_exchange(&sync->lanes->told, all) != all && sync->config.on_link)
        sync->config.on_link(sync->config.on_link_arg, (enum nearcache_link)all);
}

static bool serves(const struct nc_sync *sync)
{
    const struct nc_lanes *lanes = sync->lanes;
    return !lanes->serves || lanes->serves(lanes->arg, sync->number);
}

enum nearcache_link nc_state_of_all(struct nc_sync *any)
{
    static const unsigned rank[] = {
        [NEARCACHE_LINK_DOWN] = 0,    [NEARCACHE_LINK_CONNECTING] = 1, [NEARCACHE_LINK_SYNCING] = 2,
        [NEARCACHE_LINK_SUSPECT] = 3, [NEARCACHE_LINK_LIVE] = 4,
    };
    enum nearcache_link worst = NEARCACHE_LINK_LIVE;
    bool some = false;
    NC_EACH_LANE(any, sync)
    {
        if (!serves(sync))
            continue;
        some = true;
        if (rank[nc_sync_state(sync)] < rank[worst])
            worst = nc_sync_state(sync);
    }
    return some ? worst : nc_sync_state(any);
}

/* ---- those who wait ---- */

/* Before a primary is known no link has tried. */
static bool refused_auth(const struct nc_sync *sync)
{
    const struct nc_lanes *lanes = sync->lanes;
    return nc_link_refused_auth(sync->link) ||
           (lanes->refused_auth && lanes->refused_auth(lanes->arg));
}

static int wait_live(struct nc_sync *sync, uint64_t deadline_ns)
{
    for (;;) {
        uint32_t heard = atomic_load_explicit(&sync->heard, memory_order_acquire);
        if (nc_sync_state(sync) == NEARCACHE_LINK_LIVE && nc_journal_entries(&sync->journal) == 0)
            return 0;
        if (nc_life_check(sync->cache->life.word) != 0)
            return NEARCACHE_ECLOSED;
        /* Writers and readers empty the journal too, and tell nobody: looks with each heartbeat. */
        uint64_t now_ns = nc_clock_io_ns(), until_ns = now_ns + sync->config.heartbeat_ns;
        if (now_ns >= deadline_ns)
            return refused_auth(sync) ? NEARCACHE_EAUTH : NEARCACHE_ETIMEOUT;
        nc_futex_wait(&sync->heard, heard, until_ns < deadline_ns ? until_ns : deadline_ns);
    }
}

static int catch_up(struct nc_sync *sync, uint64_t deadline_ns)
{
    struct nc_answer answer;
    struct nc_slice keys[] = {{sync->key_s, strlen(sync->key_s)},
                              {sync->key_w, strlen(sync->key_w)}};
    struct nc_slice args[] = {
        {"9007199254740991", 16}}; /* beyond every version: only s is wanted */
    struct nc_cache_thread *self = nc_cache_self(sync->cache);
    nc_removals_hold(self); /* while this thread may read for others */
    int outcome = nc_script_call(&sync->scripts, NC_SCRIPT_RESUME, keys, 2, args, 1, deadline_ns,
                                 &answer, NULL, NULL);
    nc_removals_tell(sync->cache, self);
    if (outcome != 0)
        return outcome == NEARCACHE_EREMOTE ? NEARCACHE_EOFFLINK : outcome;
    if (answer.count != 3 || answer.number[0] < 0)
        return NEARCACHE_EPROTOCOL;
    for (;;) {
        uint32_t heard = atomic_load_explicit(&sync->heard, memory_order_acquire);
        if (nc_sync_state(sync) == NEARCACHE_LINK_LIVE &&
            atomic_load_explicit(&sync->last, memory_order_acquire) >= (uint64_t)answer.number[0])
            return 0;
        if (!nc_futex_wait(&sync->heard, heard, deadline_ns))
            return NEARCACHE_ETIMEOUT;
    }
}

int nc_state_wait_live(struct nc_sync *any, uint64_t deadline_ns)
{
    for (bool some = false; !some;) {
        NC_EACH_LANE(any, sync)
        {
            int outcome = serves(sync) ? wait_live(sync, deadline_ns) : 0;
            if (outcome != 0)
                return outcome;
            some = some || serves(sync);
        }
        /* No primary is known yet; the first will be of lane 0. */
        int outcome = some ? 0 : wait_live(any, deadline_ns);
        if (outcome != 0)
            return outcome;
    }
    return 0;
}

uint64_t nc_state_unwritten(struct nc_sync *any)
{
    uint64_t entries = 0;
    NC_EACH_LANE(any, sync)
    entries += nc_journal_entries(&sync->journal);
    return entries;
}

int nc_state_catch_up(struct nc_sync *any, uint64_t deadline_ns)
{
    int outcome = 0;
    NC_EACH_LANE(any, sync)
    if (outcome == 0 && serves(sync))
        outcome = catch_up(sync, deadline_ns);
    return outcome;
}
