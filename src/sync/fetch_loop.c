#include "sync/fetch_loop.h"

#include "cache/find.h"
#include "sync/chunk.h"

bool nc_fetch_loop_takes(struct nc_sync *any, const struct nc_key *key, int epoll_fd)
{
    struct nc_sync *sync = nc_sync_for(any, key);
    if (nc_link_loop_is_up(sync->link))
        return !nc_fetch_is_pending(sync, key);
    nc_link_loop_attach(sync->link, epoll_fd);
    return false;
}

/* ---- rows ---- */

/*
 * Who departs with a read opens its row, and who gives the read up may be another thread at the
 * same time: whichever comes second at the gate closes the row.
 */
enum { GATE_UNUSED, GATE_OPEN, GATE_CLOSED };

/* Before the request is made: nobody writes yet. */
static void open_row(struct nc_loop_read *read)
{
    uint32_t unused = GATE_UNUSED;
    nc_row_open(&read->want.flight->row, read->want.row);
    /* Release pairs with the acquire below: who finds the gate open finds the flight. */
    if (!atomic_compare_exchange_strong_explicit(&read->gate, &unused, GATE_OPEN,
                                                 memory_order_release, memory_order_relaxed))
        nc_row_close(&read->want.flight->row);
}

void nc_fetch_loop_close(struct nc_loop_read *read)
{
    /* Acquire: see above. One that has arrived has no flight, and its row is closed. */
    if (atomic_exchange_explicit(&read->gate, GATE_CLOSED, memory_order_acquire) == GATE_OPEN &&
        read->want.flight)
        nc_row_close(&read->want.flight->row);
}

/* ---- departing ---- */

/* Flights of one lane that are to be sent together. */
struct begun {
    struct nc_flight_block *block;
    struct nc_flight *flights[NC_CHUNK_KEYS];
    uint32_t count;
};

/* As in sync/fetch. */
static struct nc_flight_block *make_room(const struct nc_sync *sync,
                                         struct nc_loop_read *const *reads, size_t count)
{
    size_t most = nc_chunk_keys(sync, reads[0]->want.key.tier), names_bytes = 0;
    if (most > count)
        most = count;
    if (most == 1)
        return NULL;
    for (size_t i = 0; i < most; i++)
        names_bytes += reads[i]->want.key.name_bytes;
    return nc_flight_block_create((uint32_t)most, names_bytes);
}

static void send_begun(struct nc_sync *sync, struct begun *begun, uint64_t deadline_ns)
{
    nc_flight_block_end(begun->block);
    begun->block = NULL;
    if (begun->count == 0)
        return;
    struct nc_call *call =
        nc_chunk_send(sync, begun->flights, begun->count, NC_CALL_LOOP, deadline_ns);
    begun->count = 0;
    /* The loop reads for it: it need not be known as one that somebody has left. */
    if (call)
        nc_call_drop(call);
}

static void join(struct nc_sync *sync, struct nc_cache_thread *self, struct nc_loop_read *read,
                 struct begun *begun)
{
    const struct nc_key *key = &read->want.key;
    struct nc_ticket ticket = nc_cache_ticket(key);
    /* After the ticket was taken: a write that comes to wait from here on makes it void. */
    if (nc_fetch_is_pending(sync, key))
        return;
    struct nc_flight *flight = nc_flight_join_watched(&sync->reads, begun->block, key, &ticket,
                                                      &read->watch, &read->want.leads);
    if (!flight)
        return;
    read->want.flight = flight;
    if (!read->want.leads) {
        nc_cache_count(self, key->tier, NC_COUNT_flight_waits, 1);
        return;
    }
    if (read->want.row)
        open_row(read);
    begun->flights[begun->count++] = flight;
}

/* Those of this lane. */
static void depart(struct nc_sync *sync, struct nc_cache_thread *self,
                   struct nc_loop_read *const *reads, size_t count, uint64_t deadline_ns)
{
    struct begun begun;
    begun.block = NULL;
    begun.count = 0;
    for (size_t i = 0; i < count; i++) {
        if (reads[i]->want.key.lane != sync->number)
            continue;
        if (!begun.block && begun.count == 0)
            begun.block = make_room(sync, &reads[i], count - i);
        join(sync, self, reads[i], &begun);
        if (begun.count == nc_chunk_keys(sync, reads[i]->want.key.tier))
            send_begun(sync, &begun, deadline_ns);
    }
    send_begun(sync, &begun, deadline_ns);
    nc_link_loop_flush(sync->link);
}

void nc_fetch_loop_depart(struct nc_sync *any, struct nc_cache_thread *self,
                          struct nc_loop_read *const *reads, size_t count, uint64_t deadline_ns)
{
    if (count == 1) {
        depart(nc_sync_for(any, &reads[0]->want.key), self, reads, 1, deadline_ns);
        return;
    }
    NC_EACH_LANE(any, sync)
    depart(sync, self, reads, count, deadline_ns);
}

/* ---- the end ---- */

bool nc_fetch_loop_leave(struct nc_loop_read *read)
{
    return nc_flight_unwatch(read->want.flight, &read->watch);
}

bool nc_fetch_loop_has_old(struct nc_cache_thread *self, const struct nc_loop_read *read,
                           const struct nc_fetch_options *options)
{
    struct nearcache_result probe = {0};
    if (options->soft_deadline_ns >= options->deadline_ns)
        return false;
    bool old =
        nc_cache_find(self, &read->want.key, true, options->max_stale_ns, &probe) == NC_FOUND_OLD;
    nc_cache_release(&probe);
    return old;
}

void nc_fetch_loop_arrive(struct nc_sync *any, struct nc_cache_thread *self,
                          struct nc_loop_read *read, const struct nc_fetch_options *options,
                          bool landed)
{
    struct nc_want *want = &read->want;
    bool early = !landed && nc_clock_io_ns() < options->deadline_ns;
    /* One without a flight may have led one on a thread of the cache, where it was counted. */
    if (!landed && !early && want->flight && want->leads && !read->counted) {
        nc_link_expired(nc_sync_for(any, &want->key)->link);
        read->counted = true;
    }
    if (want->flight)
        nc_fetch_leave(self, want, landed);
    else
        want->outcome = NEARCACHE_ETIMEOUT; /* it never left */
    if (want->outcome != NEARCACHE_EOFFLINK && want->outcome != NEARCACHE_ETIMEOUT)
        return;
    /* What was left early had an old copy at hand, which may have become a fresh one since. */
    want->soft = early || nc_fetch_loop_has_old(self, read, options);
    want->outcome = nc_fetch_stale(any, self, &want->key, options->max_stale_ns, !want->soft,
                                   want->outcome, want->result);
}

void nc_fetch_loop_drop(struct nc_loop_read *read)
{
    nc_flight_release(read->want.flight);
    read->want.flight = NULL;
}
