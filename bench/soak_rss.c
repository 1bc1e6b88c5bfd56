/*
 * Resident memory against the budget after 10^8 mixed operations of mixed sizes (make soak-rss).
 *
 * Two threads get, set, delete and let expire values of 1 byte to 512 KiB, the mixture of sizes
 * moving all the time, so that memory freed in one size must serve another. Every value read is
 * verified. The figure is the largest growth of resident memory seen, divided by the budget.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <nearcache.h>
#include <nearcache/metrics.h>

#include "lib/keys.h"
#include "lib/machine.h"
#include "lib/output.h"
#include "lib/threads.h"
#include "lib/timer.h"

#define BUDGET_BYTES ((uint64_t)256 << 20)
#define LARGEST ((size_t)512 << 10)
#define KEYS 2000000u
#define OPERATIONS 100000000u
#define CHUNK 1000u

/* Thread-safe: counters; the rest is set before the threads start. */
struct soak {
    struct nearcache_tier *tier;
    uint64_t operations;
    atomic_uint_fast64_t done;
    atomic_uint_fast64_t hits;
    atomic_uint_fast64_t wrong;
    atomic_uint_fast64_t refused;
};

struct soaker {
    struct soak *soak;
    unsigned index;
    pthread_t thread;
};

/* Log-uniform; the range slides with the progress, so that size classes come and go. */
static size_t draw_bytes(uint64_t *random, double progress)
{
    unsigned phase = (unsigned)(progress * 8.0) % 4u;
    unsigned low = phase * 3u, high = low + 6u; /* 1..64 B, 8..512 B, 64 B..4 KiB, 512 B..32 KiB */
    uint64_t draw = bench_random(random);
    unsigned power = low + (unsigned)((draw >> 40) % (high - low));

    if ((draw & 0xffffu) < 8u)
        return LARGEST - (size_t)(draw >> 50); /* one in 8192 */
    return ((size_t)1 << power) + (size_t)((draw >> 16) & (((uint64_t)1 << power) - 1u));
}

/* A value says whose it is at both ends. */
static void stamp(char *value, size_t bytes, uint64_t id)
{
    value[0] = (char)(id * 31u);
    value[bytes - 1u] = (char)(bytes == 1u ? id * 31u : id * 17u);
}

static bool right(const struct nearcache_result *result, uint64_t id)
{
    const char *value = result->data;

    if (value[0] != (char)(id * 31u))
        return false;
    return result->bytes == 1u || value[result->bytes - 1u] == (char)(id * 17u);
}

static void operate(struct soak *soak, char *buffer, uint64_t *random, double progress)
{
    uint64_t draw = bench_random(random), kind = draw & 127u;
    uint64_t id = ((draw >> 20) % KEYS) * ((draw >> 8) & 7u) / 7u; /* small ids more often */
    struct nearcache_result result;
    struct nearcache_write write = NEARCACHE_WRITE_INIT;
    char key[BENCH_KEY_BYTES];
    size_t bytes;

    bench_key(key, id);
    if (kind < 72u) {
        if (nearcache_get(soak->tier, key, sizeof key, NULL, &result))
            return;
        atomic_fetch_add_explicit(&soak->hits, 1, memory_order_relaxed);
        if (!right(&result, id))
            atomic_fetch_add(&soak->wrong, 1);
        nearcache_release(&result);
    } else if (kind < 122u) {
        bytes = draw_bytes(random, progress);
        stamp(buffer, bytes, id);
        write.ttl_ms = kind < 80u ? 500u : NEARCACHE_NONE;
        if (nearcache_set(soak->tier, key, sizeof key, buffer, bytes, &write))
            atomic_fetch_add(&soak->refused, 1);
    } else {
        nearcache_delete(soak->tier, key, sizeof key, NULL);
    }
}

static void *soaker_main(void *arg)
{
    struct soaker *soaker = arg;
    struct soak *soak = soaker->soak;
    uint64_t random = 0x9E3779B97F4A7C15ull * (soaker->index + 1u), done;
    char *buffer = calloc(1, LARGEST * 2u);

    if (!buffer)
        bench_die("out of memory");
    bench_pin(soaker->index);
    while ((done = atomic_fetch_add(&soak->done, CHUNK)) < soak->operations) {
        double progress = (double)done / (double)soak->operations;

        for (unsigned i = 0; i < CHUNK; i++)
            operate(soak, buffer, &random, progress);
    }
    free(buffer);
    return NULL;
}

/* Samples resident memory until the threads are done; returns the largest growth over `before`. */
static double watch(struct soak *soak, double before, struct bench_rounds *ratios)
{
    struct timespec pause = {0, 50000000L};
    double largest = 0.0;
    uint64_t done, next = soak->operations / 32u;

    while ((done = atomic_load(&soak->done)) < soak->operations) {
        double grown = (double)bench_memory_now().resident_bytes - before;

        if (grown > largest)
            largest = grown;
        if (done >= next) {
            bench_progress("%.0f%%, resident memory %.1f MiB over the start",
                           100.0 * (double)done / (double)soak->operations, grown / 1048576.0);
            bench_rounds_add(ratios, grown / (double)BUDGET_BYTES);
            next += soak->operations / 32u;
        }
        clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
    }
    return largest;
}

int main(int argc, char **argv)
{
    struct bench_options options =
        bench_begin(argc, argv, "soak_rss", "resident memory against the budget");
    unsigned threads = options.max_threads < 2u ? options.max_threads : 2u;
    struct nearcache_config config = NEARCACHE_CONFIG_INIT;
    struct nearcache_tier_config tier = NEARCACHE_TIER_INIT;
    struct nearcache_metrics metrics = NEARCACHE_METRICS_INIT;
    struct soak soak = {.operations = options.quick ? OPERATIONS / 20u : OPERATIONS};
    struct soaker soakers[2];
    struct bench_rounds ratios = {0, {0}};
    struct bench_summary summary;
    struct nearcache *cache;
    uint64_t begin = bench_clock_ns();
    /* The threads' buffers are ours. */
    double before = (double)bench_memory_now().resident_bytes + (double)threads * LARGEST, largest;

    config.budget_bytes = BUDGET_BYTES;
    tier.name = "soak";
    tier.redis_ttl_ms = NEARCACHE_NONE;
    if (nearcache_open(&cache, &config) || nearcache_tier_open(cache, &tier, &soak.tier))
        bench_die("nearcache does not open");
    for (unsigned i = 0; i < threads; i++) {
        soakers[i] = (struct soaker){.soak = &soak, .index = i};
        if (pthread_create(&soakers[i].thread, NULL, soaker_main, &soakers[i]))
            bench_die("no thread to be had");
    }
    largest = watch(&soak, before, &ratios);
    for (unsigned i = 0; i < threads; i++)
        pthread_join(soakers[i].thread, NULL);
    nearcache_metrics(cache, &metrics);
    bench_table("resident growth / budget, sampled while it ran", "ratio");
    bench_row("soak", "nearcache", "ratio", &ratios);
    printf("  %llu operations in %.1f s, %llu hits, %llu evicted, %llu expired, %llu refused; "
           "largest growth %.3f of the budget; accounted at the end %.3f\n",
           (unsigned long long)soak.operations, (double)(bench_clock_ns() - begin) / 1e9,
           (unsigned long long)soak.hits, (unsigned long long)metrics.removed_evicted,
           (unsigned long long)metrics.removed_expired, (unsigned long long)soak.refused,
           largest / (double)BUDGET_BYTES, (double)metrics.bytes_used / (double)BUDGET_BYTES);
    if (soak.wrong)
        bench_die("%llu wrong values", (unsigned long long)soak.wrong);
    summary = bench_summarise(&ratios);
    summary.median = largest / (double)BUDGET_BYTES;
    bench_goal("rss_growth", &summary);
    nearcache_close(cache, 1000000);
    bench_end();
    return 0;
}
