/*
 * The tail of local hits while the cache around them is busy: another process writes 35,000 keys
 * a second (each an invalidation here), a second thread fills and evicts without pause, and the
 * connections are killed twice a second. The quiet half of each round has none of that.
 *
 * One processor for the reader, the other for everything else: what is measured is what the cache
 * does to its readers, not what processes do to each other for lack of processors.
 */
#include <hiredis/hiredis.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <nearcache.h>
#include <nearcache/metrics.h>

#include "lib/histogram.h"
#include "lib/keys.h"
#include "lib/output.h"
#include "lib/redis_server.h"
#include "lib/threads.h"
#include "lib/timer.h"

#define HOT_KEYS 10000u
#define COLD_KEYS 200000u
#define VALUE_BYTES 64u
#define BATCH 64u
#define RATE 35000u

/* Shared with the child: set and cleared by the parent. */
struct control {
    atomic_bool churning;
    atomic_uint_fast64_t written;
};

/* Thread-safe: the flags; the rest is set before the threads start. */
struct churn {
    struct bench_redis redis;
    struct control *control;
    struct nearcache *cache;
    struct nearcache_tier *hot;
    struct nearcache_tier *cold;
    atomic_bool stop;
};

static void pause_ns(uint64_t ns)
{
    struct timespec time = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};

    clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL);
}

static void open_cache(const struct bench_redis *redis, struct nearcache **cache,
                       struct nearcache_tier **hot, struct nearcache_tier **cold)
{
    struct nearcache_redis where = NEARCACHE_REDIS_INIT;
    struct nearcache_config config = NEARCACHE_CONFIG_INIT;
    struct nearcache_tier_config tier = NEARCACHE_TIER_INIT;

    where.url = redis->unix_url;
    config.redis = &where;
    config.capacity_entries = 4u * HOT_KEYS;
    if (nearcache_open(cache, &config))
        bench_die("nearcache does not open");
    tier.name = "hot";
    tier.prefix = "hot:";
    tier.off_link = NEARCACHE_OFF_LINK_STALE;
    if (nearcache_tier_open(*cache, &tier, hot))
        bench_die("no tier");
    tier.name = "cold";
    tier.prefix = "cold:";
    if (nearcache_tier_open(*cache, &tier, cold))
        bench_die("no tier");
    if (nearcache_wait(*cache, 5000000))
        bench_die("nearcache does not come up with Redis");
}

/* The other process: writes 64 keys of the cold tier at a time, 35,000 a second. */
static void write_elsewhere(struct churn *churn)
{
    struct nearcache_item items[BATCH];
    char names[BATCH][16], value[VALUE_BYTES] = {0};
    int statuses[BATCH];
    struct nearcache *cache;
    struct nearcache_tier *hot, *cold;
    uint64_t random = 12345, due_ns;

    open_cache(&churn->redis, &cache, &hot, &cold);
    due_ns = bench_clock_ns();
    for (;;) {
        if (!atomic_load(&churn->control->churning)) {
            pause_ns(5000000);
            due_ns = bench_clock_ns();
            continue;
        }
        for (unsigned i = 0; i < BATCH; i++) {
            int bytes = snprintf(names[i], sizeof names[i], "%u",
                                 (unsigned)(bench_random(&random) % COLD_KEYS));

            items[i] = (struct nearcache_item){{names[i], (size_t)bytes}, value, VALUE_BYTES, 0};
        }
        nearcache_set_many(cold, items, BATCH, NULL, statuses);
        for (unsigned i = 0; i < BATCH; i++)
            if (statuses[i] == 0)
                atomic_fetch_add(&churn->control->written, 1);
        due_ns += (uint64_t)BATCH * 1000000000u / RATE;
        if (bench_clock_ns() < due_ns)
            pause_ns(due_ns - bench_clock_ns());
        else if (bench_clock_ns() > due_ns + 100000000u)
            due_ns = bench_clock_ns();
    }
}

/* Misses of the cold tier: each fills and, once full, evicts. Every half second no connection
 * lives. */
static void *disturb(void *arg)
{
    struct churn *churn = arg;
    redisContext *hiredis = redisConnectUnix(churn->redis.socket_path);
    uint64_t random = 999, kill_ns = bench_clock_ns();

    bench_pin(1);
    while (!atomic_load(&churn->stop)) {
        struct nearcache_result result;
        char name[16];
        int bytes;

        if (!atomic_load(&churn->control->churning)) {
            pause_ns(2000000);
            continue;
        }
        bytes = snprintf(name, sizeof name, "%u", (unsigned)(bench_random(&random) % COLD_KEYS));
        if (nearcache_get(churn->cold, name, (size_t)bytes, NULL, &result) == 0)
            nearcache_release(&result);
        if (bench_clock_ns() - kill_ns < 500000000u || !hiredis)
            continue;
        freeReplyObject(redisCommand(hiredis, "CLIENT KILL TYPE normal SKIPME yes"));
        freeReplyObject(redisCommand(hiredis, "CLIENT KILL TYPE pubsub SKIPME yes"));
        kill_ns = bench_clock_ns();
    }
    if (hiredis)
        redisFree(hiredis);
    return NULL;
}

struct half {
    struct bench_histogram hits;
    uint64_t others;
};

/* A read that went to Redis is not what this is about: it is counted and made good. */
static void read_half(struct churn *churn, struct half *half, const struct bench_sequence *sequence,
                      unsigned ms)
{
    uint64_t begin, ticks, end = bench_clock_ns() + (uint64_t)ms * 1000000u, position = 0;

    bench_histogram_clear(&half->hits);
    half->others = 0;
    do {
        for (unsigned i = 0; i < 64; i++) {
            struct nearcache_result result;
            char name[BENCH_KEY_BYTES];
            int outcome;

            bench_key(name, sequence->ids[position++ & sequence->mask]);
            begin = bench_ticks_begin();
            outcome = nearcache_get(churn->hot, name, sizeof name, NULL, &result);
            if (outcome == 0)
                nearcache_release(&result);
            ticks = bench_ticks_end() - begin;
            if (outcome == 0 && (result.source == NEARCACHE_SOURCE_LOCAL ||
                                 result.source == NEARCACHE_SOURCE_STALE))
                bench_histogram_add(&half->hits, ticks);
            else
                half->others++;
        }
    } while (bench_clock_ns() < end);
}

static void fill(struct churn *churn)
{
    char name[BENCH_KEY_BYTES], value[VALUE_BYTES] = {0};
    char cold[16];

    for (unsigned i = 0; i < HOT_KEYS; i++) {
        bench_key(name, i);
        if (nearcache_set(churn->hot, name, sizeof name, value, sizeof value, NULL))
            bench_die("a set failed");
    }
    for (unsigned i = 0; i < COLD_KEYS / 10u; i++) {
        int bytes = snprintf(cold, sizeof cold, "%u", i * 10u);

        if (nearcache_set(churn->cold, cold, (size_t)bytes, value, sizeof value, NULL))
            bench_die("a set failed");
    }
}

static void measure(const struct bench_options *options, struct churn *churn)
{
    static struct half quiet, busy;
    struct bench_rounds q[3] = {{0, {0}}, {0, {0}}, {0, {0}}},
                        b[3] = {{0, {0}}, {0, {0}}, {0, {0}}};
    struct bench_rounds again = {0, {0}}, rate = {0, {0}}, local = {0, {0}};
    static const double quantiles[] = {0.5, 0.99, 0.999};
    static const char *const names[] = {"p50", "p99", "p99.9"};
    struct bench_sequence sequence;
    struct bench_summary ratio;
    unsigned ms = options->quick ? 300u : 1000u;

    bench_sequence_init(&sequence, NULL, HOT_KEYS, 17, 1);
    for (int round = 0; round < options->rounds; round++) {
        uint64_t written, delay_ns = bench_run_delay_ns(), begin_ns = bench_clock_ns();

        bench_progress("round %d of %d", round + 1, options->rounds);
        read_half(churn, &quiet, &sequence, ms / 2u);
        for (int i = 0; i < 3; i++)
            bench_rounds_add(&q[i], bench_histogram_ns(&quiet.hits, quantiles[i]));
        atomic_store(&churn->control->churning, true);
        pause_ns(50000000);
        written = atomic_load(&churn->control->written);
        read_half(churn, &busy, &sequence, ms);
        written = atomic_load(&churn->control->written) - written;
        atomic_store(&churn->control->churning, false);
        for (int i = 0; i < 3; i++)
            bench_rounds_add(&b[i], bench_histogram_ns(&busy.hits, quantiles[i]));
        bench_rounds_add(&rate, (double)written * 1000.0 / ms);
        bench_rounds_add(&local, (double)busy.hits.count / (double)(busy.hits.count + busy.others));
        bench_noise_stolen((double)(bench_run_delay_ns() - delay_ns) /
                           (double)(bench_clock_ns() - begin_ns));
        pause_ns(300000000);
        read_half(churn, &quiet, &sequence, ms / 2u);
        bench_rounds_add(&again, bench_histogram_ns(&quiet.hits, 0.999));
    }
    bench_table("local hits, quiet and under churn", "ns");
    for (int i = 0; i < 3; i++) {
        struct bench_plot plot = {"tail-churn",
                                  "Tail of local hits, quiet and under churn",
                                  "one in N hits is slower",
                                  "ns",
                                  true,
                                  true};
        char series[32];
        struct bench_summary summary;

        snprintf(series, sizeof series, "quiet %s", names[i]);
        bench_row("churn", series, "ns", &q[i]);
        snprintf(series, sizeof series, "churn %s", names[i]);
        bench_row("churn", series, "ns", &b[i]);
        summary = bench_summarise(&q[i]);
        bench_point(&plot, "quiet", 1.0 / (1.0 - quantiles[i]), summary.median, summary.q1,
                    summary.q3);
        summary = bench_summarise(&b[i]);
        bench_point(&plot, "under churn", 1.0 / (1.0 - quantiles[i]), summary.median, summary.q1,
                    summary.q3);
    }
    bench_row("churn", "invalidations a second", "1/s", &rate);
    bench_row("churn", "share answered locally", "", &local);
    ratio = bench_ratio(&again, &q[2]);
    bench_noise_same(&ratio);
    ratio = bench_ratio(&b[2], &q[2]);
    if (bench_summarise(&rate).median < 0.8 * RATE)
        bench_goal_skip("tail_churn", "the machine did not reach 35,000 invalidations a second");
    else
        bench_goal("tail_churn", &ratio);
    bench_sequence_deinit(&sequence);
}

int main(int argc, char **argv)
{
    struct bench_options options = bench_begin(
        argc, argv, "redis_churn", "tail of local hits under invalidations and reconnects");
    static struct churn churn;
    pthread_t thread;
    pid_t child;

    if (bench_processors() < 2 || !bench_redis_start(&churn.redis)) {
        bench_goal_skip("tail_churn", "needs two processors and redis-server on the PATH");
        bench_end();
        return 0;
    }
    churn.control = mmap(NULL, sizeof *churn.control, PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (churn.control == MAP_FAILED)
        bench_die("out of memory");
    bench_redis_pin(&churn.redis, 1);
    bench_pin(1); /* what is started here stays with the server: the reader has a processor */
    fflush(NULL);
    if ((child = fork()) == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        write_elsewhere(&churn);
        _exit(0);
    }
    open_cache(&churn.redis, &churn.cache, &churn.hot, &churn.cold);
    if (pthread_create(&thread, NULL, disturb, &churn))
        bench_die("no thread to be had");
    fill(&churn);
    bench_pin(0);
    measure(&options, &churn);
    atomic_store(&churn.stop, true);
    pthread_join(thread, NULL);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    nearcache_close(churn.cache, 1000000);
    bench_redis_stop(&churn.redis);
    bench_end();
    return 0;
}
