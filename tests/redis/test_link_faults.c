/* What goes wrong around a link under load, and what its callers see of it. */
#include "base/clock.h"
#include "lib/link_fixture.h"
#include "lib/redis_server.h"
#include "lib/wait_until.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

REDIS_SERVER_REQUIRED;

static struct redis_server server;
static struct nc_link *link_;
static struct seen seen;

static void setup(void) { cr_assert(redis_server_start(&server, NULL)); }

static void teardown(void)
{
    if (link_)
        nc_link_close(link_, 0);
    redis_server_stop(&server);
}

TestSuite(link_faults, .init = setup, .fini = teardown);

static void expect_up(void) { cr_assert(link_wait_up(link_, 20000)); }

/* ---- callers ---- */

enum { THREADS = 64 };

/* One thread's, read by the test when it has ended. */
struct caller {
    pthread_t id;
    unsigned number;
    uint64_t timeout_us;
    unsigned calls; /* 0: until told to stop */
    uint64_t answered, timeouts, refused, wrong;
    uint64_t worst_late_ns; /* past the deadline, without the time spent waiting for a processor */
};

static struct caller callers[THREADS];
static _Atomic bool stop;
static _Atomic uint64_t answers;

/* How long this thread has stood in the run queue. */
static uint64_t run_delay_ns(int fd)
{
    char text[128];
    unsigned long long ran = 0, waited = 0;
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = 0;
    sscanf(text, "%llu %llu", &ran, &waited);
    return waited;
}

static void one_call(struct caller *c, int schedstat, unsigned round)
{
    struct seen mine;
    char word[32];
    snprintf(word, sizeof word, "%u-%u", c->number, round);
    uint64_t waited_ns = run_delay_ns(schedstat);
    uint64_t deadline_ns = nc_clock_deadline_ns(c->timeout_us);
    int outcome = ask(link_, &mine, c->timeout_us, "ECHO", word, NULL);
    uint64_t now_ns = nc_clock_io_ns();
    waited_ns = run_delay_ns(schedstat) - waited_ns;
    if (now_ns > deadline_ns + waited_ns && now_ns - deadline_ns - waited_ns > c->worst_late_ns)
        c->worst_late_ns = now_ns - deadline_ns - waited_ns;
    if (outcome == 0 && strcmp(mine.text, word) == 0) {
        c->answered++;
        atomic_fetch_add(&answers, 1);
    } else if (outcome == 0) {
        c->wrong++;
    } else if (outcome == NEARCACHE_ETIMEOUT) {
        c->timeouts++;
    } else {
        c->refused++;
        wait_a_little(0);
    }
}

static void *run(void *arg)
{
    struct caller *c = arg;
    int schedstat = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
    for (unsigned i = 0; c->calls ? i < c->calls : !atomic_load(&stop); i++)
        one_call(c, schedstat, i);
    close(schedstat);
    return NULL;
}

static void start_callers(unsigned count, unsigned calls, uint64_t timeout_us)
{
    for (unsigned i = 0; i < count; i++) {
        callers[i] = (struct caller){.number = i, .calls = calls, .timeout_us = timeout_us};
        cr_assert_eq(pthread_create(&callers[i].id, NULL, run, &callers[i]), 0);
    }
}

/* The sum over all. */
static struct caller join_callers(unsigned count)
{
    struct caller all = {0};
    for (unsigned i = 0; i < count; i++) {
        pthread_join(callers[i].id, NULL);
        all.answered += callers[i].answered;
        all.timeouts += callers[i].timeouts;
        all.refused += callers[i].refused;
        all.wrong += callers[i].wrong;
        if (callers[i].worst_late_ns > all.worst_late_ns)
            all.worst_late_ns = callers[i].worst_late_ns;
    }
    return all;
}

static bool more_answers(uint64_t count)
{
    static uint64_t from;
    from = atomic_load(&answers);
    return WAIT_UNTIL(atomic_load(&answers) >= from + count, 20000);
}

/* ---- a healthy server ---- */

static void *spin(void *arg)
{
    while (!atomic_load_explicit(&stop, memory_order_relaxed))
        ;
    return arg;
}

static void expect_no_timeouts(unsigned threads, unsigned calls)
{
    link_ = link_to(server.socket_path, 4, NULL);
    expect_up();
    start_callers(threads, calls, 20000000);
    struct caller all = join_callers(threads);
    cr_expect_eq(all.answered, threads * calls);
    cr_expect_eq(all.timeouts, 0, "a wake-up was lost");
    cr_expect_eq(all.wrong, 0);
    cr_expect_eq(all.refused, 0);
}

Test(link_faults, no_wake_up_is_lost_in_20000_calls_of_8_threads) { expect_no_timeouts(8, 2500); }

Test(link_faults, no_wake_up_is_lost_in_20000_calls_of_64_threads) { expect_no_timeouts(64, 313); }

Test(link_faults, no_wake_up_is_lost_on_busy_processors)
{
    pthread_t spinners[4];
    for (int i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&spinners[i], NULL, spin, NULL), 0);
    expect_no_timeouts(16, 1250);
    atomic_store(&stop, true);
    for (int i = 0; i < 4; i++)
        pthread_join(spinners[i], NULL);
}

/* ---- a stopped server ---- */

Test(link_faults, no_call_of_64_threads_outlives_its_deadline_on_a_stopped_server)
{
    link_ = link_to(server.socket_path, 4, NULL);
    expect_up();
    redis_server_pause(&server);
    start_callers(THREADS, 20, 20000);
    struct caller all = join_callers(THREADS);
    redis_server_resume(&server);
    cr_expect_eq(all.answered, 0);
    cr_expect_eq(all.wrong, 0);
    cr_expect_lt(all.worst_late_ns, 100 * NC_NS_PER_MS, "%.3f ms past the deadline",
                 (double)all.worst_late_ns / 1e6);
    expect_up();
}

Test(link_faults, late_replies_are_counted_off_and_the_connection_lives)
{
    link_ = link_to(server.socket_path, 1, NULL);
    expect_up();
    uint64_t connects = atomic_load(&nc_link_stats(link_)->connects);
    redis_server_pause(&server);
    for (int i = 0; i < 20; i++)
        cr_expect_eq(ask(link_, &seen, 2000, "ECHO", "late", NULL), NEARCACHE_ETIMEOUT);
    redis_server_resume(&server);
    for (int i = 0; i < 100; i++) {
        char word[16];
        snprintf(word, sizeof word, "now %d", i);
        cr_assert_eq(ask(link_, &seen, 10000000, "ECHO", word, NULL), 0);
        cr_assert_str_eq(seen.text, word);
    }
    cr_expect_eq(atomic_load(&nc_link_stats(link_)->connects), connects);
}

Test(link_faults, under_load_a_pause_costs_timeouts_and_nothing_else)
{
    link_ = link_to(server.socket_path, 4, NULL);
    expect_up();
    start_callers(THREADS, 0, 50000);
    for (int i = 0; i < 5; i++) {
        cr_expect(more_answers(500));
        redis_server_pause(&server);
        wait_a_little(0);
        redis_server_resume(&server);
    }
    cr_expect(more_answers(500));
    atomic_store(&stop, true);
    struct caller all = join_callers(THREADS);
    cr_expect_eq(all.wrong, 0);
}

/* ---- a killed server ---- */

Test(link_faults, under_load_a_killed_server_costs_errors_until_it_is_back)
{
    link_ = link_to(server.socket_path, 4, NULL);
    expect_up();
    start_callers(THREADS, 0, 200000);
    for (int i = 0; i < 4; i++) {
        cr_expect(more_answers(500));
        redis_server_kill(&server);
        cr_expect(WAIT_UNTIL(ask(link_, &seen, 100000, "PING", NULL) == NEARCACHE_EOFFLINK, 20000));
        cr_assert(redis_server_restart(&server));
    }
    cr_expect(more_answers(500));
    atomic_store(&stop, true);
    struct caller all = join_callers(THREADS);
    cr_expect_eq(all.wrong, 0);
    cr_expect_gt(all.refused, 0);
    cr_expect_lt(all.worst_late_ns, 100 * NC_NS_PER_MS, "%.3f ms past the deadline",
                 (double)all.worst_late_ns / 1e6);
}

Test(link_faults, connections_that_the_server_closes_are_made_anew)
{
    link_ = link_to(server.socket_path, 2, NULL);
    expect_up();
    for (int i = 0; i < 5; i++) {
        uint64_t connects = atomic_load(&nc_link_stats(link_)->connects);
        free(redis_server_ask(&server, "CLIENT KILL TYPE normal SKIPME yes"));
        cr_expect(WAIT_UNTIL(atomic_load(&nc_link_stats(link_)->connects) > connects, 20000));
        expect_up();
    }
}

Test(link_faults, a_server_that_appears_late_is_found)
{
    redis_server_kill(&server);
    link_ = link_to(server.socket_path, 2, NULL);
    cr_expect_eq(ask(link_, &seen, 100000, "PING", NULL), NEARCACHE_EOFFLINK);
    cr_assert(redis_server_restart(&server));
    expect_up();
}

/* ---- a process out of descriptors ---- */

Test(link_faults, without_free_descriptors_it_waits_and_comes_up_later)
{
    struct rlimit before, none;
    link_ = link_to(server.socket_path, 2, NULL);
    expect_up();
    redis_server_kill(&server);
    cr_expect(WAIT_UNTIL(ask(link_, &seen, 100000, "PING", NULL) == NEARCACHE_EOFFLINK, 20000));
    cr_assert(redis_server_restart(&server));
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 3;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    nc_link_fail(link_, "the test wants it");
    cr_expect(WAIT_UNTIL(ask(link_, &seen, 100000, "PING", NULL) == NEARCACHE_EOFFLINK, 20000));
    cr_expect_eq(ask(link_, &seen, 100000, "PING", NULL), NEARCACHE_EOFFLINK);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    expect_up();
}
