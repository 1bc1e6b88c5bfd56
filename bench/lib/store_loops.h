/*
 * The loops of store.h for one peer. Before including, a peer defines
 *     struct peer; struct peer_pin;
 *     static inline const uint64_t *peer_get(struct peer *, const char *key, struct peer_pin *);
 *     static inline void peer_release(struct peer *, struct peer_pin *);     (after a found get)
 *     static inline int peer_set(struct peer *, const char *key, const void *value);
 * and, where it gathers anything between operations, PEER_PAUSE(peer), called every 32 operations.
 */
#ifndef PEER_PAUSE
#define PEER_PAUSE(peer) ((void)(peer))
#endif

/* Reads one key of the sequence; returns what the next position must wait for. */
static inline __attribute__((always_inline)) uint64_t
loop_get(struct peer *peer, struct bench_worker *worker, uint64_t position)
{
    uint64_t id = worker->sequence->ids[position & worker->sequence->mask], step = 0;
    char key[BENCH_KEY_BYTES];
    struct peer_pin pin;
    const uint64_t *value;

    bench_key(key, id);
    value = peer_get(peer, key, &pin);
    if (__builtin_expect(value == NULL, 0)) {
        worker->missing++;
        return 0;
    }
    step = value[0];
    if (__builtin_expect(value[1] != id, 0))
        worker->missing++;
    else
        worker->found++;
    peer_release(peer, &pin);
    return step;
}

static inline int loop_set(struct peer *peer, struct bench_worker *worker, uint64_t id)
{
    char key[BENCH_KEY_BYTES];

    bench_key(key, id);
    ((uint64_t *)worker->value)[1] = id;
    return peer_set(peer, key, worker->value);
}

static void peer_run_hit(void *store, struct bench_worker *worker, uint64_t count)
{
    struct peer *peer = store;
    uint64_t position = worker->position;

    for (uint64_t i = 0; i < count; i++) {
        position += 1u + loop_get(peer, worker, position);
        if ((i & 31u) == 31u)
            PEER_PAUSE(peer);
    }
    worker->position = position;
}

static __attribute__((unused)) void peer_run_insert(void *store, struct bench_worker *worker,
                                                    uint64_t count)
{
    struct peer *peer = store;

    for (uint64_t i = 0; i < count; i++) {
        if (loop_set(peer, worker, worker->next_id))
            worker->missing++;
        worker->next_id += worker->id_step;
        if ((i & 31u) == 31u)
            PEER_PAUSE(peer);
    }
}

static __attribute__((unused)) void peer_run_mixed(void *store, struct bench_worker *worker,
                                                   uint64_t count)
{
    struct peer *peer = store;
    uint64_t position = worker->position;

    for (uint64_t i = 0; i < count; i++) {
        if ((bench_random(&worker->random) >> 54) < worker->set_share) {
            loop_set(peer, worker, worker->sequence->ids[position++ & worker->sequence->mask]);
        } else {
            position += 1u + loop_get(peer, worker, position);
        }
        if ((i & 31u) == 31u)
            PEER_PAUSE(peer);
    }
    worker->position = position;
}

static __attribute__((unused)) void peer_run_timed(void *store, struct bench_worker *worker,
                                                   uint64_t count)
{
    struct peer *peer = store;
    uint64_t position = worker->position, begin;

    for (uint64_t i = 0; i < count; i++) {
        if ((bench_random(&worker->random) >> 54) < worker->set_share) {
            uint64_t id = worker->sequence->ids[position++ & worker->sequence->mask];

            begin = bench_ticks_begin();
            loop_set(peer, worker, id);
            bench_histogram_add(worker->sets, bench_ticks_end() - begin);
        } else {
            begin = bench_ticks_begin();
            position += 1u + loop_get(peer, worker, position);
            bench_histogram_add(worker->gets, bench_ticks_end() - begin);
        }
        begin = bench_ticks_begin();
        bench_histogram_add(worker->timer, bench_ticks_end() - begin);
        if ((i & 31u) == 31u)
            PEER_PAUSE(peer);
    }
    worker->position = position;
}
