#include "cli/replay.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHUNK 256u      /* requests that a thread takes at a time */
#define SAMPLE_EVERY 8u /* look-ups, where only some are measured */
#define QUEUE_EVERY 32u /* look-ups between two readings of the run queue's delay */
#define OFF_LINK_PAUSE_US 200u

/* ---- values ---------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 32)) * UINT64_C(0xd6e8feb86659fd93);
    x = (x ^ (x >> 32)) * UINT64_C(0xd6e8feb86659fd93);
    return x ^ (x >> 32);
}

/* Eight bytes of the version, then a stream that both the id and the version decide. */
void cli_replay_make_value(uint64_t id, uint64_t version, unsigned char *value, size_t bytes)
{
    uint64_t state = mix(id + 1) ^ mix(version ^ UINT64_C(0x5851f42d4c957f2d)), word;
    size_t at;

    memcpy(value, &version, 8);
    for (at = 8; at + 8 <= bytes; at += 8) {
        word = mix(state + at);
        memcpy(value + at, &word, 8);
    }
    word = mix(state + at);
    memcpy(value + at, &word, bytes - at);
}

bool cli_replay_check_value(uint64_t id, const unsigned char *value, size_t bytes,
                            size_t wanted_bytes)
{
    uint64_t version, state, word, differs = 0;
    size_t at;

    if (bytes != wanted_bytes)
        return false;
    memcpy(&version, value, 8);
    state = mix(id + 1) ^ mix(version ^ UINT64_C(0x5851f42d4c957f2d));
    for (at = 8; at + 8 <= bytes; at += 8) {
        memcpy(&word, value + at, 8);
        differs |= word ^ mix(state + at);
    }
    word = mix(state + at);
    return differs == 0 && memcmp(value + at, &word, bytes - at) == 0;
}

/* ---- time ------------------------------------------------------------------------------------ */

uint64_t cli_replay_clock(void *arg)
{
    struct cli_replay *replay = arg;

    /* Pairs with the exchange in move_clock. The time orders nothing else: relaxed is enough, and
     * one location never runs backwards for a reader. */
    return atomic_load_explicit(&replay->clock_ns, memory_order_relaxed);
}

static void move_clock(struct cli_replay *replay, uint64_t pass, size_t index)
{
    const struct cli_trace *trace = replay->trace;
    uint64_t pass_s = (uint64_t)trace->seconds[trace->count - 1] + 1;
    /* Begins at 1000 s: a time of 0 would look like no time. */
    uint64_t now_ns = (1000 + pass * pass_s + trace->seconds[index]) * UINT64_C(1000000000);
    uint64_t had_ns = atomic_load_explicit(&replay->clock_ns, memory_order_relaxed);

    while (had_ns < now_ns &&
           !atomic_compare_exchange_weak_explicit(&replay->clock_ns, &had_ns, now_ns,
                                                  memory_order_relaxed, memory_order_relaxed))
        continue;
}

/* ---- the run queue --------------------------------------------------------------------------- */

/*
 * How long this thread has waited for a processor so far: the second number of schedstat. Reading
 * costs a microsecond, so it is read every now and then and after each call that was no local
 * hit: what a slow call waited is then known up to the few hits between.
 */
static uint64_t read_queued_ns(const struct cli_replay_worker *worker)
{
    unsigned long long ran_ns, queued_ns;
    char text[96];
    ssize_t bytes;

    if (worker->queue_fd < 0)
        return NEARCACHE_NONE;
    bytes = pread(worker->queue_fd, text, sizeof text - 1, 0);
    if (bytes <= 0)
        return NEARCACHE_NONE;
    text[bytes] = '\0';
    if (sscanf(text, "%llu %llu", &ran_ns, &queued_ns) != 2)
        return NEARCACHE_NONE;
    return queued_ns;
}

static void note_queue(struct cli_replay_worker *worker)
{
    worker->queued_ns = read_queued_ns(worker);
    worker->queued_at_ns = cli_now_ns();
}

static void note_slow(struct cli_replay_worker *worker, uint64_t id, bool write, int outcome,
                      uint64_t begin_ns, uint64_t took_ns)
{
    uint64_t queued_ns = read_queued_ns(worker);
    struct cli_replay_slow *slow;

    if (worker->slow_count++ >= CLI_REPLAY_MOST_SLOW)
        return;
    slow = &worker->slow[worker->slow_count - 1];
    slow->at_ns = begin_ns - worker->replay->begin_ns;
    slow->took_ns = took_ns;
    slow->queued_ns = queued_ns == NEARCACHE_NONE || worker->queued_ns == NEARCACHE_NONE
                          ? NEARCACHE_NONE
                          : queued_ns - worker->queued_ns;
    slow->unsure_ns = begin_ns - worker->queued_at_ns;
    slow->id = id;
    slow->outcome = outcome;
    slow->write = write;
}

/* ---- one request ----------------------------------------------------------------------------- */

/* What follows a measured call in a soak. */
static void judge_time(struct cli_replay_worker *worker, uint64_t id, bool write, int outcome,
                       bool local_hit, uint64_t begin_ns, uint64_t took_ns)
{
    const struct cli_replay *replay = worker->replay;

    if (took_ns > CLI_REPLAY_SLOW_NS)
        note_slow(worker, id, write, outcome, begin_ns, took_ns);
    if (!local_hit) {
        uint64_t over_ns = took_ns > replay->deadline_ns ? took_ns - replay->deadline_ns : 0;

        worker->past_deadline += over_ns > 0;
        cli_latency_add(&worker->overshoot, over_ns);
    }
    if (!local_hit || worker->requests % QUEUE_EVERY == 0)
        note_queue(worker);
}

static void count_write(struct cli_replay_worker *worker, int outcome)
{
    if (outcome == NEARCACHE_LOCAL) {
        worker->stored_local++;
        return;
    }
    if (outcome == 0)
        return;
    worker->write_errors++;
    worker->timeouts += outcome == NEARCACHE_ETIMEOUT;
    worker->off_link += outcome == NEARCACHE_EOFFLINK || outcome == NEARCACHE_EREFUSED;
}

static void store(struct cli_replay_worker *worker, uint64_t id, uint64_t version)
{
    const struct cli_replay *replay = worker->replay;
    uint64_t begin_ns = 0;
    int outcome;

    cli_replay_make_value(id, version, worker->value, replay->value_bytes);
    if (replay->soak)
        begin_ns = cli_now_ns();
    outcome = nearcache_set(replay->tier, &id, sizeof id, worker->value, replay->value_bytes, NULL);
    if (replay->soak)
        judge_time(worker, id, true, outcome, false, begin_ns, cli_now_ns() - begin_ns);
    count_write(worker, outcome);
}

/* True: nobody has the key, it is to be stored. */
static bool count_read(struct cli_replay_worker *worker, uint64_t id, int outcome,
                       struct nearcache_result *result)
{
    if (outcome == 0) {
        if (!cli_replay_check_value(id, result->data, result->bytes, worker->replay->value_bytes)) {
            worker->first_wrong_id = worker->wrong ? worker->first_wrong_id : id;
            worker->wrong++;
        }
        worker->hits += result->source != NEARCACHE_SOURCE_REMOTE;
        worker->remote += result->source == NEARCACHE_SOURCE_REMOTE;
        worker->stale += result->source == NEARCACHE_SOURCE_STALE;
        nearcache_release(result);
        return false;
    }
    if (outcome == NEARCACHE_MISS)
        return true;
    worker->read_errors++;
    worker->timeouts += outcome == NEARCACHE_ETIMEOUT;
    worker->off_link += outcome == NEARCACHE_EOFFLINK;
    if (outcome == NEARCACHE_EOFFLINK && worker->replay->soak)
        cli_pause_us(OFF_LINK_PAUSE_US);
    return false;
}

static void look_up(struct cli_replay_worker *worker, uint64_t id)
{
    struct cli_replay *replay = worker->replay;
    struct nearcache_result result;
    uint64_t begin_ns = 0, took_ns = 0;
    bool timed = replay->time_all || worker->requests % SAMPLE_EVERY == 0;
    bool hit;
    int outcome;

    if (timed)
        begin_ns = cli_now_ns();
    outcome = nearcache_get(replay->tier, &id, sizeof id, NULL, &result);
    if (timed) {
        took_ns = cli_now_ns() - begin_ns;
        hit = outcome == 0 && result.source != NEARCACHE_SOURCE_REMOTE;
        if (replay->soak)
            judge_time(worker, id, false, outcome, hit, begin_ns, took_ns);
        took_ns = took_ns > replay->timer_ns ? took_ns - replay->timer_ns : 0;
        cli_latency_add(&worker->get, took_ns);
        if (!hit && outcome >= 0)
            cli_latency_add(&worker->miss, took_ns);
    }
    if (count_read(worker, id, outcome, &result)) {
        worker->stored++;
        store(worker, id, 0);
    }
}

static void do_request(struct cli_replay_worker *worker, uint64_t id)
{
    const struct cli_replay *replay = worker->replay;

    worker->requests++;
    if (replay->writes_percent) {
        worker->random = mix(worker->random + 1);
        if (worker->random % 100 < replay->writes_percent) {
            worker->written++;
            store(worker, id, worker->random);
            return;
        }
    }
    look_up(worker, id);
}

/* ---- a thread -------------------------------------------------------------------------------- */

/* Requests [first, first + count) of the endless repetition of the trace. */
static void do_chunk(struct cli_replay_worker *worker, uint64_t first, size_t count)
{
    struct cli_replay *replay = worker->replay;
    const struct cli_trace *trace = replay->trace;
    uint64_t pass = first / trace->count;
    size_t index = (size_t)(first % trace->count);

    for (size_t i = 0; i < count; i++) {
        if (trace->seconds)
            move_clock(replay, pass, index);
        do_request(worker, trace->ids[index]);
        if (++index == trace->count) {
            index = 0;
            pass++;
        }
    }
}

void *cli_replay_run(void *arg)
{
    struct cli_replay_worker *worker = arg;
    struct cli_replay *replay = worker->replay;
    bool once = replay->end_ns == CLI_REPLAY_FOREVER;

    worker->queue_fd =
        replay->soak ? open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC) : -1;
    if (replay->soak)
        note_queue(worker);
    while (!cli_interrupted() && (once || cli_now_ns() < replay->end_ns)) {
        uint64_t first = atomic_fetch_add(&replay->cursor, CHUNK);
        size_t count = CHUNK;

        if (once && first >= replay->trace->count)
            break;
        if (once && replay->trace->count - first < count)
            count = (size_t)(replay->trace->count - first);
        do_chunk(worker, first, count);
    }
    if (worker->queue_fd >= 0)
        close(worker->queue_fd);
    return NULL;
}

void cli_replay_merge(struct cli_replay_worker *into, const struct cli_replay_worker *from)
{
    into->requests += from->requests;
    into->hits += from->hits;
    into->remote += from->remote;
    into->stale += from->stale;
    into->stored += from->stored;
    into->stored_local += from->stored_local;
    into->written += from->written;
    into->read_errors += from->read_errors;
    into->write_errors += from->write_errors;
    into->off_link += from->off_link;
    into->timeouts += from->timeouts;
    into->past_deadline += from->past_deadline;
    if (from->wrong && !into->wrong)
        into->first_wrong_id = from->first_wrong_id;
    into->wrong += from->wrong;
    into->slow_count += from->slow_count;
    cli_latency_merge(&into->get, &from->get);
    cli_latency_merge(&into->miss, &from->miss);
    cli_latency_merge(&into->overshoot, &from->overshoot);
}
