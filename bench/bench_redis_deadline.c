/*
 * How late a call returns on a stopped Redis: threads call with deadlines of 1, 5 and 50 ms while
 * redis-server is stopped. What a call stood in the run queue for is told apart: it belongs to the
 * scheduler. Every call that is more than 5 ms late is listed with it. How late the machine is by
 * itself is told by as many threads that sleep until such deadlines in ppoll, in turn with ours.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "redis/link.h"

#include "lib/histogram.h"
#include "lib/output.h"
#include "lib/redis_server.h"
#include "lib/threads.h"
#include "lib/timer.h"

#define THREADS_MOST 64u
#define LISTED_MOST 1000u
#define LATE_NS UINT64_C(5000000)

static const struct variant {
    const char *name, *goal;
    unsigned deadline_ms, threads;
} variants[] = {
    {"1 ms", "redis_deadline_1ms", 1, 8},
    {"5 ms", "redis_deadline_5ms", 5, 16},
    {"50 ms", "redis_deadline_50ms", 50, 64},
};

/* One thread; histograms in ns and not in ticks. */
struct caller {
    pthread_t id;
    struct nc_link *link; /* NULL: it only sleeps */
    unsigned deadline_ms;
    struct bench_histogram late, net;
    unsigned listed;
    uint64_t late_ns[LISTED_MOST], waited_ns[LISTED_MOST];
};
static struct caller callers[THREADS_MOST];
static _Atomic bool stop;

static uint64_t run_delay_ns(int schedstat)
{
    char text[128];
    unsigned long long ran = 0, waited = 0;
    ssize_t n = pread(schedstat, text, sizeof text - 1, 0);

    text[n > 0 ? n : 0] = 0;
    sscanf(text, "%llu %llu", &ran, &waited);
    return waited;
}

static int get_until(struct nc_link *link, uint64_t deadline_ns)
{
    struct nc_call *call = nc_call_create();
    int outcome;

    if (!call)
        bench_die("no memory");
    nc_command_begin(nc_call_command(call), 2);
    nc_command_arg(nc_call_command(call), "GET", 3);
    nc_command_arg(nc_call_command(call), "k", 1);
    outcome = nc_link_call(link, call, NC_CALL_SINGLE, deadline_ns);
    nc_call_release(call);
    return outcome;
}

static int sleep_until(uint64_t deadline_ns)
{
    uint64_t now_ns = nc_clock_io_ns(), left_ns = deadline_ns > now_ns ? deadline_ns - now_ns : 0;
    const struct timespec left = {(time_t)(left_ns / NC_NS_PER_S), (long)(left_ns % NC_NS_PER_S)};

    ppoll(NULL, 0, &left, NULL);
    return NEARCACHE_ETIMEOUT;
}

static void call_once(struct caller *caller, int schedstat)
{
    uint64_t waited_ns = run_delay_ns(schedstat), late_ns;
    uint64_t deadline_ns = nc_clock_deadline_ns(caller->deadline_ms * 1000u);
    int outcome = caller->link ? get_until(caller->link, deadline_ns) : sleep_until(deadline_ns);

    late_ns = nc_clock_io_ns();
    late_ns = late_ns > deadline_ns ? late_ns - deadline_ns : 0;
    waited_ns = run_delay_ns(schedstat) - waited_ns;
    if (outcome != NEARCACHE_ETIMEOUT)
        return; /* the ring is full of calls that were never answered: refused at once */
    bench_histogram_add(&caller->late, late_ns);
    bench_histogram_add(&caller->net, late_ns > waited_ns ? late_ns - waited_ns : 0);
    if (caller->link && late_ns > LATE_NS && caller->listed < LISTED_MOST) {
        caller->late_ns[caller->listed] = late_ns;
        caller->waited_ns[caller->listed++] = waited_ns;
    }
}

static void *run(void *arg)
{
    struct caller *caller = arg;
    int schedstat = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);

    while (!atomic_load(&stop))
        call_once(caller, schedstat);
    close(schedstat);
    return NULL;
}

static struct nc_link *open_link(const struct bench_redis *redis)
{
    static const struct nc_log silent;
    struct nearcache_redis where = NEARCACHE_REDIS_INIT;
    struct nc_link_config config = {.log = &silent, .breaker_expiries = UINT64_MAX};
    struct nc_redis_settings *settings;
    struct nc_link *link;

    where.url = redis->tcp_url;
    if (nc_redis_settings_create(&settings, &where, &silent))
        bench_die("settings");
    config.settings = settings;
    if (nc_link_open(&link, &config) || nc_link_start(link))
        bench_die("a link");
    nc_redis_settings_destroy(settings);
    for (int tries = 0; tries < 5000; tries++) {
        struct nc_call *call = nc_call_create();

        nc_command_begin(nc_call_command(call), 1);
        nc_command_arg(nc_call_command(call), "PING", 4);
        int outcome = nc_link_call(link, call, NC_CALL_SINGLE, nc_clock_deadline_ns(1000000));
        nc_call_release(call);
        if (outcome == 0)
            return link;
        usleep(1000);
    }
    bench_die("no link within 5 s");
}

static void list_late(const struct variant *v, const struct caller *caller)
{
    for (unsigned i = 0; i < caller->listed; i++)
        printf("  %s: %.3f ms late, of which %.3f ms in the run queue\n", v->name,
               (double)caller->late_ns[i] / 1e6, (double)caller->waited_ns[i] / 1e6);
}

static double ms(double ns) { return ns / bench_timer.ns_per_tick / 1e6; }

/* `link` NULL: nobody calls, all sleep. */
static void run_round(const struct variant *v, struct nc_link *link, unsigned measure_ms,
                      struct bench_histogram *late, struct bench_histogram *net)
{
    const struct timespec time = {(time_t)(measure_ms / 1000), (long)(measure_ms % 1000) * 1000000};

    bench_histogram_clear(late);
    bench_histogram_clear(net);
    atomic_store(&stop, false);
    for (unsigned i = 0; i < v->threads; i++) {
        memset(&callers[i], 0, sizeof callers[i]);
        callers[i].link = link;
        callers[i].deadline_ms = v->deadline_ms;
        if (pthread_create(&callers[i].id, NULL, run, &callers[i]))
            bench_die("no thread");
    }
    nanosleep(&time, NULL);
    atomic_store(&stop, true);
    for (unsigned i = 0; i < v->threads; i++) {
        pthread_join(callers[i].id, NULL);
        list_late(v, &callers[i]);
        bench_histogram_merge(late, &callers[i].late);
        bench_histogram_merge(net, &callers[i].net);
    }
}

static void run_variant(const struct bench_options *options, struct bench_redis *redis,
                        const struct variant *v)
{
    static struct bench_histogram late, net;
    struct bench_rounds raw = {0, {0}}, own = {0, {0}}, bare = {0, {0}};
    unsigned measure_ms = options->quick ? 500 : 2000;
    uint64_t calls = 0;

    for (int round = 0; round < options->rounds; round++) {
        bench_progress("%s: round %d of %d", v->name, round + 1, options->rounds);
        struct nc_link *link = open_link(redis);
        kill(redis->pid, SIGSTOP);
        run_round(v, link, measure_ms, &late, &net);
        kill(redis->pid, SIGCONT);
        nc_link_close(link, 0);
        bench_rounds_add(&raw, ms(bench_histogram_ns(&late, 0.9999)));
        bench_rounds_add(&own, ms(bench_histogram_ns(&net, 0.9999)));
        calls += late.count;
        run_round(v, NULL, measure_ms, &late, &net);
        bench_rounds_add(&bare, ms(bench_histogram_ns(&net, 0.9999)));
    }
    bench_table(v->name, "ms past the deadline");
    bench_row(v->name, "p99.99, all", "ms", &raw);
    bench_row(v->name, "p99.99, without the run queue", "ms", &own);
    bench_row(v->name, "p99.99, the same of a bare ppoll", "ms", &bare);
    printf("  %llu calls\n", (unsigned long long)calls);
    struct bench_summary summary = bench_summarise(&own);
    bench_goal(v->goal, &summary);
}

int main(int argc, char **argv)
{
    struct bench_options options =
        bench_begin(argc, argv, "redis_deadline", "how late calls return on a stopped Redis");
    struct bench_redis redis;
    bool has = bench_redis_start(&redis);

    /* Timers of ours end when they are due, not 50 us later. */
    prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
    for (unsigned i = 0; i < sizeof variants / sizeof *variants; i++) {
        if (!bench_wants(&options, variants[i].name))
            continue;
        if (has)
            run_variant(&options, &redis, &variants[i]);
        else
            bench_goal_skip(variants[i].goal, "no redis-server on the PATH");
    }
    if (has)
        bench_redis_stop(&redis);
    bench_end();
    return 0;
}
