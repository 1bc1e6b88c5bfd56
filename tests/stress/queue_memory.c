/*
 * Memory stays flat while jobs come and go: Redis' by the retention of the presets, ours by giving
 * back what jobs took.
 *     queue_memory WORKERS SECONDS [JOBS-A-SECOND]
 * WORKERS workers run the jobs of embedding-computation (50 completed and 200 failed are kept); one
 * job in ten fails for good, one in ten is tried again, some log and some report progress. After a
 * third of the time, and at least ten thousand jobs, what Redis and this process use is noted; from
 * then on neither what Redis uses at any time nor what both use at the end may be much more.
 * Without JOBS-A-SECOND jobs come as fast as they are done. `make soak-queue` is the long form.
 */
#include "lib/redis_server.h"
#include "lib/wait_until.h"

#include <nearcache/queue.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The address sanitizer keeps what was freed, on purpose. */
#if defined __has_feature
#if __has_feature(address_sanitizer)
#define OWN_MEMORY_TELLS false
#endif
#elif defined __SANITIZE_ADDRESS__
#define OWN_MEMORY_TELLS false
#endif
#ifndef OWN_MEMORY_TELLS
#define OWN_MEMORY_TELLS true
#endif

#define BURST 100
#define MOST_WAITING 1000
#define SETTLED_JOBS 10000
#define ALLOWED_BYTES (4 << 20) /* of noise, besides a tenth: what allocators keep */

#define LOOK_NS UINT64_C(1000000000)

static atomic_uint_fast64_t runs;

static void die(const char *what)
{
    fprintf(stderr, "queue_memory: %s\n", what);
    exit(1);
}

static int run(void *arg, struct nearcache_job *job)
{
    uint64_t number = atomic_fetch_add(&runs, 1);
    (void)arg;
    if (number % 20 == 7)
        nearcache_job_log(job, "a line of a log");
    if (number % 20 == 8)
        nearcache_job_progress(job, "50", 2);
    if (number % 10 == 3)
        return nearcache_job_fail(job, "for good", NEARCACHE_JOB_UNRECOVERABLE);
    if (number % 10 == 4 && nearcache_job_info(job)->attempts_made == 0)
        return nearcache_job_fail(job, "once more", 0);
    return nearcache_job_return(job, "{\"dimension\":512}", 17);
}

static uint64_t redis_bytes(const struct redis_server *server)
{
    char *info = redis_server_ask(server, "INFO memory");
    const char *used = info ? strstr(info, "used_memory:") : NULL;
    if (!used)
        die("no answer");
    uint64_t bytes = strtoull(used + strlen("used_memory:"), NULL, 10);
    free(info);
    return bytes;
}

static uint64_t own_bytes(void)
{
    unsigned long all = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file || fscanf(file, "%lu %lu", &all, &resident) != 2)
        die("no /proc/self/statm");
    fclose(file);
    return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void add_burst(struct nearcache_queue *queue)
{
    struct nearcache_embedding_request requests[BURST];
    for (int i = 0; i < BURST; i++)
        requests[i] = (struct nearcache_embedding_request){
            "B09XYZ1234", "https://images.example.com/p/B09XYZ1234.jpg", "Cotton shirt", "top"};
    if (nearcache_queue_compute_embeddings(queue, requests, BURST, 0, NULL))
        die("cannot add");
}

static uint64_t jobs_left(struct nearcache_queue *queue)
{
    struct nearcache_queue_stats stats;
    if (nearcache_queue_stats(queue, &stats))
        die("no stats");
    return stats.waiting + stats.prioritized + stats.active + stats.delayed;
}

/* How jobs come. One thread. */
struct load {
    struct nearcache_queue *queue;
    const struct redis_server *server;
    uint64_t begin_ns, jobs_a_second; /* 0: as fast as they are done */
    uint64_t added, looked_ns;
    uint64_t redis_peak; /* since it was last set to 0 */
};

static bool is_due(const struct load *load, uint64_t now_ns)
{
    uint64_t millis = (now_ns - load->begin_ns) / 1000000;
    return load->jobs_a_second == 0 || load->added < millis * load->jobs_a_second / 1000;
}

/* Until the time is over and so many jobs have run. */
static void work(struct load *load, uint64_t end_ns, uint64_t least_runs)
{
    for (;;) {
        uint64_t now_ns = wait_now_ns();
        if (now_ns >= end_ns && atomic_load(&runs) >= least_runs)
            return;
        if (now_ns - load->looked_ns >= LOOK_NS) {
            uint64_t used = redis_bytes(load->server);
            load->looked_ns = now_ns;
            load->redis_peak = used > load->redis_peak ? used : load->redis_peak;
        }
        if (is_due(load, now_ns) && jobs_left(load->queue) < MOST_WAITING) {
            add_burst(load->queue);
            load->added += BURST;
        } else {
            wait_a_little(0);
        }
    }
}

static bool has_grown(const char *what, uint64_t before, uint64_t after)
{
    printf("queue_memory: %s: %.1f MiB, then %.1f MiB\n", what, (double)before / 1048576,
           (double)after / 1048576);
    return after > before + before / 10 + ALLOWED_BYTES;
}

int main(int argc, char **argv)
{
    unsigned count = argc > 1 ? (unsigned)atoi(argv[1]) : 4;
    uint64_t seconds = argc > 2 ? (uint64_t)atoll(argv[2]) : 3;
    struct nearcache_worker_config config = NEARCACHE_WORKER_CONFIG_INIT;
    struct nearcache_redis redis = NEARCACHE_REDIS_INIT;
    struct nearcache_worker **workers = calloc(count, sizeof(struct nearcache_worker *));
    struct nearcache_queue *queue;
    struct redis_server server;

    if (!redis_server_available())
        return 77;
    if (!workers || !redis_server_start(&server, NULL))
        die("no redis-server");
    redis.url = server.unix_url;
    config.run = run;
    config.concurrency = 2;
    if (nearcache_queue_open_preset(&queue, &redis, NEARCACHE_QUEUE_EMBEDDINGS, NULL) ||
        nearcache_queue_wait(queue, 10000000))
        die("no queue");
    for (unsigned i = 0; i < count; i++)
        if (nearcache_worker_open(&workers[i], queue, &config))
            die("no worker");
    struct load load = {.queue = queue, .server = &server, .begin_ns = wait_now_ns()};
    load.jobs_a_second = argc > 3 ? (uint64_t)atoll(argv[3]) : 0;
    work(&load, load.begin_ns + seconds * LOOK_NS / 3, SETTLED_JOBS);
    uint64_t redis_before = redis_bytes(&server), own_before = own_bytes();
    load.redis_peak = 0;
    work(&load, load.begin_ns + seconds * LOOK_NS, atomic_load(&runs) + SETTLED_JOBS);
    uint64_t redis_after = redis_bytes(&server), own_after = own_bytes();
    redis_after = load.redis_peak > redis_after ? load.redis_peak : redis_after;

    if (!WAIT_UNTIL(jobs_left(queue) == 0, 60000))
        die("jobs are left");
    for (unsigned i = 0; i < count; i++)
        nearcache_worker_close(workers[i], 0);
    struct nearcache_queue_stats stats;
    if (nearcache_queue_stats(queue, &stats))
        die("no stats");
    printf("queue_memory: %llu runs; %llu completed and %llu failed jobs are kept\n",
           (unsigned long long)runs, (unsigned long long)stats.completed,
           (unsigned long long)stats.failed);
    bool grown = has_grown("Redis", redis_before, redis_after);
    bool own_grown = has_grown("this process", own_before, own_after);
    grown = (OWN_MEMORY_TELLS && own_grown) || grown;
    nearcache_queue_close(queue, 0);
    redis_server_stop(&server);
    free(workers);
    return grown || stats.completed != 50 || stats.failed != 200;
}
