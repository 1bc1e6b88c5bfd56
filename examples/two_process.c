/*
 * Two processes, one Redis: how soon a write in one drops the copy in the other.
 *
 *     two_process REDIS_URL [rounds]
 *
 * The reader holds a local copy; the writer sets a new value; the reader watches its own copy with
 * nearcache_peek (which asks nobody) until it is gone, and then reads what Redis has: it must be
 * the new value. The clock is CLOCK_MONOTONIC, which is the same for both processes.
 */
#include <nearcache.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS_MAX = 100000 };
static const uint64_t give_up_ns = 2000000000;

struct times {
    uint64_t called_ns; /* nearcache_set was called */
    uint64_t acked_ns;  /* it returned: the value is in Redis */
    int outcome;
};

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int open_products(const char *url, struct nearcache **cache, struct nearcache_tier **tier)
{
    struct nearcache_redis redis = NEARCACHE_REDIS_INIT;
    struct nearcache_config config = NEARCACHE_CONFIG_INIT;

    redis.url = url;
    config.redis = &redis;
    if (nearcache_open(cache, &config) != 0)
        return -1;
    if (nearcache_tier_open_preset(*cache, NEARCACHE_PRODUCTS, tier) != 0)
        return -1;
    return nearcache_wait(*cache, 5000000);
}

/* The writing process: one write for each number that comes in. */
static int write_rounds(const char *url, int order_fd, int report_fd)
{
    struct nearcache *cache = NULL;
    struct nearcache_tier *tier;
    uint64_t round;

    if (open_products(url, &cache, &tier) != 0)
        return 1;
    while (read(order_fd, &round, sizeof round) == sizeof round) {
        struct times times = {0};

        times.called_ns = now_ns();
        times.outcome = nearcache_set(tier, "shared", 6, &round, sizeof round, NULL);
        times.acked_ns = now_ns();
        if (write(report_fd, &times, sizeof times) != sizeof times)
            break;
    }
    return nearcache_close(cache, 0) != 0;
}

/* When the local copy of the last round was gone, or 0: not in time. */
static uint64_t watch_copy(struct nearcache_tier *tier, uint64_t last_round)
{
    uint64_t start_ns = now_ns(), seen_ns = start_ns;

    while (seen_ns - start_ns < give_up_ns) {
        struct nearcache_result copy;
        uint64_t value = last_round + 1;
        int outcome = nearcache_peek(tier, "shared", 6, &copy);

        if (outcome == 0) {
            if (copy.bytes == sizeof value)
                memcpy(&value, copy.data, sizeof value);
            nearcache_release(&copy);
        }
        seen_ns = now_ns();
        if (outcome != 0 || value != last_round)
            return seen_ns;
    }
    return 0;
}

/* Reads the value; 0 when it is that of the round. */
static int expect_value(struct nearcache_tier *tier, uint64_t round)
{
    struct nearcache_result result;
    int wrong;

    if (nearcache_get(tier, "shared", 6, NULL, &result) != 0)
        return -1;
    wrong = result.bytes != sizeof round || memcmp(result.data, &round, sizeof round) != 0;
    nearcache_release(&result);
    return wrong ? -1 : 0;
}

static int by_size(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;

    return (a > b) - (a < b);
}

static void print_delays(const char *what, int64_t *delays_ns, uint64_t count)
{
    qsort(delays_ns, count, sizeof delays_ns[0], by_size);
    printf("%-28s p50 %8.1f us   p99 %8.1f us   max %8.1f us\n", what,
           (double)delays_ns[count / 2] / 1000, (double)delays_ns[count * 99 / 100] / 1000,
           (double)delays_ns[count - 1] / 1000);
}

/* The reading process. Returns 0 when every round went as promised. */
static int read_rounds(const char *url, int order_fd, int report_fd, uint64_t rounds)
{
    int64_t *from_call_ns = calloc(rounds, sizeof *from_call_ns);
    int64_t *from_ack_ns = calloc(rounds, sizeof *from_ack_ns);
    struct nearcache *cache = NULL;
    struct nearcache_tier *tier;
    uint64_t round = 0, first = 0;
    int failed = -1;

    if (!from_call_ns || !from_ack_ns || open_products(url, &cache, &tier) != 0 ||
        nearcache_set(tier, "shared", 6, &first, sizeof first, NULL) != 0 ||
        expect_value(tier, first) != 0) {
        fprintf(stderr, "two_process: Redis at %s does not answer\n", url);
        goto out;
    }
    for (round = 1; round <= rounds; round++) {
        struct times times = {0};
        uint64_t gone_ns;

        if (write(order_fd, &round, sizeof round) != sizeof round)
            goto out;
        gone_ns = watch_copy(tier, round - 1);
        if (read(report_fd, &times, sizeof times) != sizeof times || times.outcome != 0 ||
            gone_ns == 0 || expect_value(tier, round) != 0) {
            fprintf(stderr, "two_process: round %llu: set %s, copy %s\n", (unsigned long long)round,
                    nearcache_strerror(times.outcome), gone_ns ? "dropped" : "NOT dropped");
            goto out;
        }
        from_call_ns[round - 1] = (int64_t)(gone_ns - times.called_ns);
        from_ack_ns[round - 1] = (int64_t)(gone_ns - times.acked_ns);
    }
    printf("%llu writes in one process, each dropped the other process's copy\n",
           (unsigned long long)rounds);
    print_delays("from the call of set:", from_call_ns, rounds);
    print_delays("from its acknowledgement:", from_ack_ns, rounds);
    failed = 0;
out:
    nearcache_close(cache, 0);
    free(from_call_ns);
    free(from_ack_ns);
    return failed;
}

int main(int argc, char **argv)
{
    uint64_t rounds = argc > 2 ? strtoull(argv[2], NULL, 10) : 200;
    int orders[2], reports[2], status = 0, failed;
    pid_t writer;

    if (argc < 2 || rounds < 1 || rounds > ROUNDS_MAX) {
        fprintf(stderr, "usage: two_process REDIS_URL [rounds]\n");
        return 2;
    }
    if (pipe(orders) != 0 || pipe(reports) != 0 || (writer = fork()) < 0) {
        perror("two_process");
        return 1;
    }
    /* Each process opens a cache of its own, after the fork. */
    if (writer == 0) {
        close(orders[1]);
        close(reports[0]);
        _exit(write_rounds(argv[1], orders[0], reports[1]));
    }
    close(orders[0]);
    close(reports[1]);
    failed = read_rounds(argv[1], orders[1], reports[0], rounds);
    close(orders[1]);
    waitpid(writer, &status, 0);
    return failed != 0 || status != 0;
}
