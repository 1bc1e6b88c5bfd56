/*
 * What versions and messages cost a writer: nearcache_set and nearcache_set_many in a pub/sub tier
 * against hiredis' plain SET, 256-byte values, client and server on a processor each. Writes of one
 * thread (p50), batches of 32 against 32 pipelined SETs (p50), and the server's processor time per
 * key while 16 threads write, against SETs that are pipelined by 16 (the strictest peer: no client
 * sends plain SETs cheaper) and against a connection per thread.
 */
#include <hiredis/hiredis.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <nearcache.h>

#include "lib/histogram.h"
#include "lib/keys.h"
#include "lib/output.h"
#include "lib/redis_server.h"
#include "lib/threads.h"
#include "lib/timer.h"

#define KEYS 20000u
#define VALUE_BYTES 256u
#define BATCH 32u
#define WRITERS 16u

/* One thread, but for the cache. */
struct side {
    struct bench_redis *redis;
    bool tcp;
    struct nearcache *cache;
    struct nearcache_tier *tier;
    redisContext *hiredis;
    unsigned next;
    char value[VALUE_BYTES];
};

static redisContext *connect_hiredis(const struct bench_redis *redis, bool tcp)
{
    redisContext *context =
        tcp ? redisConnect("127.0.0.1", (int)redis->port) : redisConnectUnix(redis->socket_path);

    if (!context || context->err)
        bench_die("hiredis does not connect");
    return context;
}

static void open_side(struct side *side, struct bench_redis *redis, bool tcp)
{
    struct nearcache_redis where = NEARCACHE_REDIS_INIT;
    struct nearcache_config config = NEARCACHE_CONFIG_INIT;
    struct nearcache_tier_config tier = NEARCACHE_TIER_INIT;

    memset(side, 0, sizeof *side);
    memset(side->value, 'v', sizeof side->value);
    side->redis = redis;
    side->tcp = tcp;
    side->hiredis = connect_hiredis(redis, tcp);
    where.url = tcp ? redis->tcp_url : redis->unix_url;
    config.redis = &where;
    config.deadline_us = 5000000; /* a busy machine is not an outage */
    tier.name = "bench";
    tier.prefix = "bench:";
    if (nearcache_open(&side->cache, &config) ||
        nearcache_tier_open(side->cache, &tier, &side->tier) ||
        nearcache_wait(side->cache, 5000000))
        bench_die("nearcache does not come up with Redis");
}

static void close_side(struct side *side)
{
    nearcache_close(side->cache, 1000000);
    redisFree(side->hiredis);
}

/* ---- one thread ---- */

static void set_ours(struct side *side)
{
    char name[16];
    int bytes = snprintf(name, sizeof name, "%u", side->next++ % KEYS);
    int outcome = nearcache_set(side->tier, name, (size_t)bytes, side->value, VALUE_BYTES, NULL);

    if (outcome != 0)
        bench_die("a set failed: %s", nearcache_strerror(outcome));
}

static void take_ok(redisContext *hiredis)
{
    redisReply *reply = NULL;

    if (redisGetReply(hiredis, (void **)&reply) != REDIS_OK || !reply ||
        reply->type != REDIS_REPLY_STATUS)
        bench_die("hiredis got something else");
    freeReplyObject(reply);
}

static void append_set(struct side *side, redisContext *hiredis)
{
    redisAppendCommand(hiredis, "SET bench:%u %b PX 3600000", side->next++ % KEYS, side->value,
                       (size_t)VALUE_BYTES);
}

static void set_hiredis(struct side *side)
{
    append_set(side, side->hiredis);
    take_ok(side->hiredis);
}

static void batch_ours(struct side *side)
{
    struct nearcache_item items[BATCH];
    char names[BATCH][16];
    int statuses[BATCH];

    for (unsigned i = 0; i < BATCH; i++) {
        int bytes = snprintf(names[i], sizeof names[i], "%u", side->next++ % KEYS);

        items[i] = (struct nearcache_item){{names[i], (size_t)bytes}, side->value, VALUE_BYTES, 0};
    }
    if (nearcache_set_many(side->tier, items, BATCH, NULL, statuses) != 0)
        bench_die("a batch failed");
}

static void pipeline_hiredis(struct side *side, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        append_set(side, side->hiredis);
    for (unsigned i = 0; i < count; i++)
        take_ok(side->hiredis);
}

static void batch_hiredis(struct side *side) { pipeline_hiredis(side, BATCH); }

static double stretch(struct side *side, void (*write)(struct side *), unsigned ms)
{
    static struct bench_histogram histogram;
    uint64_t begin, end = bench_clock_ns() + (uint64_t)ms * 1000000u;

    bench_histogram_clear(&histogram);
    do {
        begin = bench_ticks();
        write(side);
        bench_histogram_add(&histogram, bench_ticks() - begin);
    } while (bench_clock_ns() < end);
    return bench_histogram_ns(&histogram, 0.5) / 1000.0;
}

static void run_latency(const struct bench_options *options, struct bench_redis *redis, bool tcp,
                        const char *name, const char *goal, void (*ours)(struct side *),
                        void (*theirs)(struct side *))
{
    struct bench_rounds we = {0, {0}}, they = {0, {0}}, again = {0, {0}};
    struct bench_summary ratio, same;
    struct side side;

    bench_redis_pin(redis, 1);
    bench_pin(1); /* the cache's own threads stay with the server */
    open_side(&side, redis, tcp);
    bench_pin(0);
    for (int round = 0; round < options->rounds; round++) {
        uint64_t delay_ns = bench_run_delay_ns(), begin_ns = bench_clock_ns();

        bench_progress("%s: round %d of %d", name, round + 1, options->rounds);
        stretch(&side, theirs, options->warm_ms);
        bench_rounds_add(&they, stretch(&side, theirs, options->measure_ms));
        stretch(&side, ours, options->warm_ms);
        bench_rounds_add(&we, stretch(&side, ours, options->measure_ms));
        bench_rounds_add(&again, stretch(&side, theirs, options->measure_ms));
        bench_noise_stolen((double)(bench_run_delay_ns() - delay_ns) /
                           (double)(bench_clock_ns() - begin_ns));
    }
    bench_table(name, "us");
    bench_row(name, "nearcache, p50", "us", &we);
    bench_row(name, "hiredis, p50", "us", &they);
    ratio = bench_ratio(&we, &they);
    bench_goal(goal, &ratio);
    same = bench_ratio(&again, &they);
    bench_noise_same(&same);
    close_side(&side);
}

/* ---- many threads ---- */

/* Processor time of the server's main thread so far. */
static uint64_t server_ns(const struct bench_redis *redis)
{
    char path[64];
    unsigned long long ns = 0;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/task/%d/schedstat", (int)redis->pid, (int)redis->pid);
    file = fopen(path, "r");
    if (!file || fscanf(file, "%llu", &ns) != 1)
        bench_die("the kernel does not tell the server's processor time");
    fclose(file);
    return ns;
}

/* Thread-safe: the counters; the rest is set before the threads start. */
struct crowd {
    struct side *side;
    bool ours;
    atomic_uint_fast64_t keys;
    atomic_uint next;
    atomic_bool stop;
};

static void *write_in_crowd(void *arg)
{
    struct crowd *crowd = arg;
    struct side mine = *crowd->side;

    bench_pin(0);
    mine.next = atomic_fetch_add(&crowd->next, KEYS / WRITERS);
    mine.hiredis = crowd->ours ? NULL : connect_hiredis(mine.redis, mine.tcp);
    while (!atomic_load_explicit(&crowd->stop, memory_order_relaxed)) {
        if (crowd->ours)
            set_ours(&mine);
        else
            set_hiredis(&mine);
        atomic_fetch_add_explicit(&crowd->keys, 1, memory_order_relaxed);
    }
    if (mine.hiredis)
        redisFree(mine.hiredis);
    return NULL;
}

static void sleep_ms(unsigned ms)
{
    struct timespec time = {ms / 1000, (long)(ms % 1000) * 1000000};

    clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL);
}

/* The server's processor time per key in us; keys per second in *rate. */
static double run_crowd(struct side *side, bool ours, const struct bench_options *options,
                        double *rate)
{
    struct crowd crowd = {.side = side, .ours = ours};
    pthread_t threads[WRITERS];
    uint64_t keys, ns, begin_ns;

    for (unsigned i = 0; i < WRITERS; i++)
        if (pthread_create(&threads[i], NULL, write_in_crowd, &crowd) != 0)
            bench_die("no thread");
    sleep_ms(options->warm_ms);
    keys = atomic_load(&crowd.keys);
    ns = server_ns(side->redis);
    begin_ns = bench_clock_ns();
    sleep_ms(options->measure_ms);
    keys = atomic_load(&crowd.keys) - keys;
    ns = server_ns(side->redis) - ns;
    *rate = (double)keys * 1e9 / (double)(bench_clock_ns() - begin_ns);
    atomic_store(&crowd.stop, true);
    for (unsigned i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    return keys ? (double)ns / 1000.0 / (double)keys : 0;
}

static double run_pipeline(struct side *side, const struct bench_options *options, double *rate)
{
    uint64_t keys = 0, end_ns, ns, begin_ns;

    for (end_ns = bench_clock_ns() + options->warm_ms * 1000000ull; bench_clock_ns() < end_ns;)
        pipeline_hiredis(side, WRITERS);
    ns = server_ns(side->redis);
    begin_ns = bench_clock_ns();
    for (end_ns = begin_ns + options->measure_ms * 1000000ull; bench_clock_ns() < end_ns;) {
        pipeline_hiredis(side, WRITERS);
        keys += WRITERS;
    }
    *rate = (double)keys * 1e9 / (double)(bench_clock_ns() - begin_ns);
    return (double)(server_ns(side->redis) - ns) / 1000.0 / (double)keys;
}

static void run_writers(const struct bench_options *options, struct bench_redis *redis)
{
    static const char name[] = "16 writers";
    struct bench_rounds ours = {0, {0}}, pipelined = {0, {0}}, apart = {0, {0}};
    struct bench_rounds our_rate = {0, {0}}, apart_rate = {0, {0}};
    struct bench_summary ratio;
    struct side side;
    double rate;

    bench_redis_pin(redis, 1);
    bench_pin(1);
    open_side(&side, redis, false);
    bench_pin(0);
    for (int round = 0; round < options->rounds; round++) {
        bench_progress("%s: round %d of %d", name, round + 1, options->rounds);
        bench_rounds_add(&pipelined, run_pipeline(&side, options, &rate));
        bench_rounds_add(&ours, run_crowd(&side, true, options, &rate));
        bench_rounds_add(&our_rate, rate);
        bench_rounds_add(&apart, run_crowd(&side, false, options, &rate));
        bench_rounds_add(&apart_rate, rate);
    }
    bench_table("16 writers: processor time of the server per key", "us");
    bench_row(name, "nearcache set", "us", &ours);
    bench_row(name, "plain SET, pipelined by 16", "us", &pipelined);
    bench_row(name, "plain SET, a connection per thread", "us", &apart);
    bench_table("16 writers: keys", "1/s");
    bench_row(name, "nearcache set, rate", "1/s", &our_rate);
    bench_row(name, "plain SET, a connection per thread, rate", "1/s", &apart_rate);
    ratio = bench_ratio(&ours, &pipelined);
    bench_goal("coherence_16_writers_pipelined", &ratio);
    ratio = bench_ratio(&ours, &apart);
    bench_goal("coherence_16_writers_apart", &ratio);
    close_side(&side);
}

/* ---- a cut ---- */

/* Kills the connections of the cache under test, whose name in Redis is "cut". */
static void cut_once(redisContext *hiredis)
{
    redisReply *list = redisCommand(hiredis, "CLIENT LIST");

    if (!list || list->type != REDIS_REPLY_STRING)
        bench_die("no list of clients");
    for (char *line = strtok(list->str, "\n"); line; line = strtok(NULL, "\n")) {
        unsigned long long id;

        if (strstr(line, " name=cut ") && sscanf(line, "id=%llu", &id) == 1)
            freeReplyObject(redisCommand(hiredis, "CLIENT KILL ID %llu", id));
    }
    freeReplyObject(list);
}

static struct nearcache *open_named(const struct bench_redis *redis, const char *name,
                                    struct nearcache_tier **tier)
{
    struct nearcache_redis where = NEARCACHE_REDIS_INIT;
    struct nearcache_config config = NEARCACHE_CONFIG_INIT;
    struct nearcache_tier_config of = NEARCACHE_TIER_INIT;
    struct nearcache *cache;

    where.url = redis->unix_url;
    where.client_name = name;
    config.redis = &where;
    config.deadline_us = 10000000;
    config.budget_bytes = (uint64_t)512 << 20;
    of.name = "bench";
    of.prefix = "bench:";
    of.redis_ttl_ms = NEARCACHE_NONE;
    if (nearcache_open(&cache, &config) || nearcache_tier_open(cache, &of, tier) ||
        nearcache_wait(cache, 10000000))
        bench_die("nearcache does not come up with Redis");
    return cache;
}

static void write_keys(struct nearcache_tier *tier, unsigned first, unsigned count)
{
    for (unsigned at = first; at < first + count; at += BATCH) {
        struct nearcache_item items[BATCH];
        char names[BATCH][16];
        int statuses[BATCH];

        for (unsigned i = 0; i < BATCH; i++) {
            int bytes = snprintf(names[i], sizeof names[i], "%u", at + i);

            items[i] =
                (struct nearcache_item){{names[i], (size_t)bytes}, "sixteen bytes ok", 16, 0};
        }
        if (nearcache_set_many(tier, items, BATCH, NULL, statuses) != 0)
            bench_die("a batch failed");
    }
}

static unsigned count_fresh(struct nearcache_tier *tier, unsigned entries)
{
    unsigned fresh = 0;

    for (unsigned i = 0; i < entries; i++) {
        struct nearcache_result result;
        char name[16];
        int bytes = snprintf(name, sizeof name, "%u", i);

        if (nearcache_peek(tier, name, (size_t)bytes, &result) == 0) {
            fresh += result.source == NEARCACHE_SOURCE_LOCAL;
            nearcache_release(&result);
        }
    }
    return fresh;
}

/* A second without connections, while another process changes keys: what is lost here? */
static void run_cut(const struct bench_options *options, struct bench_redis *redis)
{
    unsigned entries = options->quick ? 64000 : 1024000, changed = entries / 100;
    struct bench_rounds lost = {0, {0}}, back = {0, {0}};
    struct nearcache_tier *ours, *theirs;
    struct nearcache *cache = open_named(redis, "cut", &ours);
    struct nearcache *other = open_named(redis, "writer", &theirs);
    redisContext *hiredis = connect_hiredis(redis, false);
    struct bench_summary ratio;

    for (int round = 0; round < 3; round++) {
        uint64_t end_ns, begin_ns;
        unsigned before;

        bench_progress("a cut of 1 s: round %d of 3", round + 1);
        write_keys(ours, 0, entries);
        if (nearcache_sync(cache, 60000000) != 0)
            bench_die("the cache does not catch up");
        before = count_fresh(ours, entries);
        end_ns = bench_clock_ns() + 1000000000u;
        cut_once(hiredis);
        write_keys(theirs, 0, changed);
        for (; bench_clock_ns() < end_ns; sleep_ms(20))
            cut_once(hiredis);
        begin_ns = bench_clock_ns();
        if (nearcache_wait(cache, 60000000) != 0 || nearcache_sync(cache, 60000000) != 0)
            bench_die("the cache does not come back");
        bench_rounds_add(&back, (double)(bench_clock_ns() - begin_ns) / 1e6);
        bench_rounds_add(&lost, (double)(before - count_fresh(ours, entries)) / changed);
    }
    bench_table("a cut of 1 s: copies lost / keys changed; time until proven again", "");
    bench_row("cut", "copies lost / keys changed", "", &lost);
    bench_row("cut", "back after", "ms", &back);
    ratio = bench_summarise(&lost);
    bench_goal("coherence_cut_1m", &ratio);
    nearcache_close(cache, 1000000);
    nearcache_close(other, 1000000);
    redisFree(hiredis);
}

/* ---- back after a long outage ---- */

#define REVALIDATED_AT_ONCE 256u
#define REVALIDATED_PER_SECOND 100000u

/* Reads every key again, at a pace: the way that nearcache does not go. */
struct revalidation {
    struct nearcache_tier *tier;
    unsigned entries;
    atomic_bool stop;
};

static void *revalidate(void *arg)
{
    struct revalidation *all = arg;
    const uint64_t pause_ns = REVALIDATED_AT_ONCE * 1000000000ull / REVALIDATED_PER_SECOND;
    uint64_t next_ns = bench_clock_ns();

    bench_pin(0);
    for (unsigned at = 0; at < all->entries && !atomic_load(&all->stop);) {
        struct nearcache_name keys[REVALIDATED_AT_ONCE];
        struct nearcache_result results[REVALIDATED_AT_ONCE];
        char names[REVALIDATED_AT_ONCE][16];
        int statuses[REVALIDATED_AT_ONCE];
        unsigned n = 0;

        for (; n < REVALIDATED_AT_ONCE && at < all->entries; n++, at++)
            keys[n] = (struct nearcache_name){
                names[n], (size_t)snprintf(names[n], sizeof names[n], "%u", at)};
        if (nearcache_get_many(all->tier, keys, n, NULL, results, statuses) != 0)
            bench_die("a batch failed");
        nearcache_release_many(results, n);
        for (next_ns += pause_ns; bench_clock_ns() < next_ns;)
            sleep_ms(1);
    }
    return NULL;
}

/* What the reads after an outage, of which Redis knows no changes any more, cost. */
struct returned {
    struct bench_rounds read_ms, server_ms, misses, p999_us;
};

static void read_again(struct nearcache_tier *tier, const struct bench_sequence *sequence,
                       struct returned *returned, struct bench_redis *redis)
{
    static struct bench_histogram histogram;
    uint64_t begin_ns = bench_clock_ns(), ns = server_ns(redis), misses = 0;

    bench_histogram_clear(&histogram);
    for (uint64_t i = 0; i <= sequence->mask; i++) {
        struct nearcache_result result;
        char name[16];
        int bytes = snprintf(name, sizeof name, "%u", sequence->ids[i]);
        uint64_t begin = bench_ticks();

        if (nearcache_get(tier, name, (size_t)bytes, NULL, &result) != 0)
            bench_die("a key is gone");
        bench_histogram_add(&histogram, bench_ticks() - begin);
        misses += result.source != NEARCACHE_SOURCE_LOCAL;
        nearcache_release(&result);
    }
    bench_rounds_add(&returned->read_ms, (double)(bench_clock_ns() - begin_ns) / 1e6);
    bench_rounds_add(&returned->server_ms, (double)(server_ns(redis) - ns) / 1e6);
    bench_rounds_add(&returned->misses, (double)misses);
    bench_rounds_add(&returned->p999_us, bench_histogram_ns(&histogram, 0.999) / 1000.0);
}

/* As if more had been written in the meantime than Redis remembers. */
static void forget_changes(redisContext *hiredis)
{
    freeReplyObject(
        redisCommand(hiredis, "EVAL %s 0",
                     "local s = string.format('%.0f', redis.call('HGET', 'nc:s', 's') + 1) "
                     "redis.call('HSET', 'nc:s', 's', s, 'floor', s)"));
    cut_once(hiredis);
}

/* Copies that cannot be proven any more are dropped on access; the other way would be to read them
 * all again at a pace. The same reads beside both. */
static void run_return(const struct bench_options *options, struct bench_redis *redis)
{
    static const char name[] = "back after a long outage";
    unsigned entries = options->quick ? 20000 : 200000;
    struct returned ways[2];
    struct nearcache_tier *tier;
    struct bench_zipf zipf;
    struct bench_sequence sequence;
    redisContext *hiredis;

    memset(ways, 0, sizeof ways);
    bench_redis_pin(redis, 1);
    bench_pin(1);
    struct nearcache *cache = open_named(redis, "cut", &tier);
    bench_pin(0);
    hiredis = connect_hiredis(redis, false);
    bench_zipf_init(&zipf, entries, BENCH_ZIPF_EXPONENT);
    bench_sequence_init(&sequence, &zipf, entries, 20, 1);
    for (int round = 0; round < 3; round++)
        for (int way = 0; way < 2; way++) {
            struct revalidation all = {.tier = tier, .entries = entries};
            pthread_t thread;

            bench_progress("%s: round %d of 3, %s", name, round + 1,
                           way ? "reading all again" : "dropping on access");
            write_keys(tier, 0, entries);
            forget_changes(hiredis);
            for (uint64_t end_ns = bench_clock_ns() + 10000000000u;
                 count_fresh(tier, entries) > entries / 100;) {
                if (bench_clock_ns() > end_ns)
                    bench_die("the copies stay proven");
                sleep_ms(10);
            }
            if (nearcache_wait(cache, 10000000) != 0)
                bench_die("the cache does not come back");
            if (way == 1 && pthread_create(&thread, NULL, revalidate, &all) != 0)
                bench_die("no thread");
            read_again(tier, &sequence, &ways[way], redis);
            atomic_store(&all.stop, true);
            if (way == 1)
                pthread_join(thread, NULL);
        }
    for (int way = 0; way < 2; way++) {
        bench_table(way ? "a million reads, all copies read again meanwhile"
                        : "a million reads, copies dropped on access",
                    "");
        bench_row(name, "reads from Redis by the reader", "", &ways[way].misses);
        bench_row(name, "time of the reads", "ms", &ways[way].read_ms);
        bench_row(name, "p99.9 of a read", "us", &ways[way].p999_us);
        bench_row(name, "processor time of the server", "ms", &ways[way].server_ms);
    }
    nearcache_close(cache, 1000000);
    bench_sequence_deinit(&sequence);
    bench_zipf_deinit(&zipf);
    redisFree(hiredis);
}

static const char *const goals[] = {"coherence_write_tcp_split",  "coherence_write_unix_split",
                                    "coherence_batch32_split",    "coherence_16_writers_pipelined",
                                    "coherence_16_writers_apart", "coherence_cut_1m"};

int main(int argc, char **argv)
{
    struct bench_options options =
        bench_begin(argc, argv, "coherence", "versioned writes against plain SETs; a cut");
    struct bench_redis redis;
    const char *missing = NULL;

    if (bench_processors() < 2)
        missing = "one processor only";
    else if (!bench_redis_start(&redis))
        missing = "no redis-server on the PATH";
    for (unsigned i = 0; missing && i < sizeof goals / sizeof *goals; i++)
        bench_goal_skip(goals[i], missing);
    if (!missing) {
        if (bench_wants(&options, "one write, TCP"))
            run_latency(&options, &redis, true, "one write, TCP", goals[0], set_ours, set_hiredis);
        if (bench_wants(&options, "one write, unix"))
            run_latency(&options, &redis, false, "one write, unix", goals[1], set_ours,
                        set_hiredis);
        if (bench_wants(&options, "batch of 32"))
            run_latency(&options, &redis, true, "batch of 32", goals[2], batch_ours, batch_hiredis);
        if (bench_wants(&options, "16 writers"))
            run_writers(&options, &redis);
        bench_unpin();
        if (bench_wants(&options, "a cut"))
            run_cut(&options, &redis);
        if (bench_wants(&options, "a long outage"))
            run_return(&options, &redis);
        bench_redis_stop(&redis);
    }
    bench_end();
    return 0;
}
