/*
 * Queues: adding one by one and in bulk, and workers whose handler does nothing, against BullMQ on
 * Node on the same Redis (when NODE_MODULES names a folder with bullmq). Each round runs every task
 * of ours and then the same one of theirs, on an empty Redis.
 */
#include <hiredis/hiredis.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <nearcache/queue.h>

#include "lib/output.h"
#include "lib/redis_server.h"
#include "lib/timer.h"

#define BULK 1000u

static const char data[] = "{\"productId\":\"B09XYZ1234\","
                           "\"imageUrl\":\"https://images.example.com/p/B09XYZ1234.jpg\","
                           "\"title\":\"Cotton shirt with long sleeves\",\"category\":\"top\"}";

enum task_kind { ADD, BULK_ADD, WORK };

static const struct task {
    const char *name, *goal;
    enum task_kind kind;
    unsigned jobs, quick_jobs, concurrency;
} tasks[] = {
    {"add, one by one", "queue_add", ADD, 3000, 500, 0},
    {"add, 1000 a call", "queue_bulk", BULK_ADD, 20000, 4000, 0},
    {"work, concurrency 1", "queue_work_1", WORK, 8000, 1500, 1},
    {"work, concurrency 50", "queue_work_50", WORK, 20000, 4000, 50},
};

#define TASKS (sizeof tasks / sizeof tasks[0])

/* ---- ours ------------------------------------------------------------------------------------ */

static void add_bulk(struct nearcache_queue *queue, unsigned jobs)
{
    static struct nearcache_job_spec specs[BULK];

    for (unsigned i = 0; i < BULK; i++)
        specs[i] = (struct nearcache_job_spec){"compute-embedding", data, sizeof data - 1, NULL};
    for (unsigned at = 0; at < jobs; at += BULK)
        if (nearcache_queue_add_many(queue, specs, BULK < jobs - at ? BULK : jobs - at, NULL, NULL))
            bench_die("adding in bulk failed");
}

/* The handlers and the talker of a worker share it. */
struct counter {
    unsigned jobs;
    atomic_uint done;
    _Atomic uint64_t begin_ns, end_ns; /* of the first job and the last one; 0: not yet */
};

static int do_nothing(void *arg, struct nearcache_job *job)
{
    struct counter *counter = arg;

    (void)job;
    /* Only its own value counts; the end is read after the worker was closed. */
    if (atomic_load_explicit(&counter->begin_ns, memory_order_relaxed) == 0) {
        uint64_t none = 0;
        atomic_compare_exchange_strong(&counter->begin_ns, &none, bench_clock_ns());
    }
    return nearcache_job_return(job, NULL, 0);
}

static void count(void *arg, enum nearcache_worker_event event, const struct nearcache_job *job,
                  int outcome)
{
    struct counter *counter = arg;

    (void)job;
    (void)outcome;
    if (event == NEARCACHE_WORKER_COMPLETED &&
        atomic_fetch_add(&counter->done, 1) + 1 == counter->jobs)
        atomic_store(&counter->end_ns, bench_clock_ns());
}

static double work_ns(struct nearcache_queue *queue, unsigned jobs, unsigned concurrency)
{
    struct nearcache_worker_config config = NEARCACHE_WORKER_CONFIG_INIT;
    struct counter counter = {.jobs = jobs};
    struct nearcache_worker *worker;

    config.run = do_nothing;
    config.run_arg = &counter;
    config.concurrency = concurrency;
    config.on_event = count;
    config.on_event_arg = &counter;
    if (nearcache_worker_open(&worker, queue, &config))
        bench_die("no worker");
    while (atomic_load(&counter.end_ns) == 0)
        usleep(1000);
    nearcache_worker_close(worker, 0);
    return (double)(counter.end_ns - counter.begin_ns);
}

static double ours_ns(struct nearcache_queue *queue, const struct task *task, unsigned jobs)
{
    uint64_t begin = bench_clock_ns();

    switch (task->kind) {
    case ADD:
        for (unsigned i = 0; i < jobs; i++)
            if (nearcache_queue_add(queue, "compute-embedding", data, sizeof data - 1, NULL, NULL))
                bench_die("adding failed");
        break;
    case BULK_ADD:
        add_bulk(queue, jobs);
        break;
    case WORK:
        return work_ns(queue, jobs, task->concurrency);
    }
    return (double)(bench_clock_ns() - begin);
}

/* ---- theirs ---------------------------------------------------------------------------------- */

/* A long-lived node that does one task for each line it is sent. */
struct node {
    pid_t pid;
    FILE *to, *from;
    char version[32];
};

static bool start_node(struct node *node, const struct bench_redis *redis, const char *script)
{
    int in[2], out[2];
    char port[16];

    snprintf(port, sizeof port, "%u", redis->port);
    if (pipe(in) || pipe(out) || (node->pid = fork()) < 0)
        return false;
    if (node->pid == 0) {
        dup2(in[0], STDIN_FILENO);
        dup2(out[1], STDOUT_FILENO);
        close(in[1]);
        close(out[0]);
        execlp("node", "node", script, port, (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    node->to = fdopen(in[1], "w");
    node->from = fdopen(out[0], "r");
    return node->to && node->from && fscanf(node->from, "ready %31s", node->version) == 1;
}

static void stop_node(struct node *node)
{
    fclose(node->to);
    fclose(node->from);
    waitpid(node->pid, NULL, 0);
}

static double theirs_ns(struct node *node, const struct task *task, unsigned jobs)
{
    static const char *const words[] = {"add", "bulk", "work"};
    double ns = 0.0;

    fprintf(node->to, "%s %u %u\n", words[task->kind], jobs, task->concurrency);
    fflush(node->to);
    if (fscanf(node->from, "%lf", &ns) != 1)
        bench_die("node gave up");
    return ns;
}

/* ---- both ------------------------------------------------------------------------------------ */

static void empty(redisContext *hiredis)
{
    redisReply *reply = redisCommand(hiredis, "FLUSHALL SYNC");

    if (!reply || reply->type == REDIS_REPLY_ERROR)
        bench_die("Redis cannot be emptied");
    freeReplyObject(reply);
}

static void report(const struct task *task, const struct bench_rounds *ours,
                   const struct bench_rounds *theirs, const char *version)
{
    struct bench_summary ratio;
    char peer[64];

    bench_table(task->name, "jobs/s");
    bench_row(task->name, "nearcache", "jobs/s", ours);
    if (theirs->count == 0) {
        bench_goal_skip(task->goal,
                        "node with bullmq not found (make bench-goals NODE_MODULES=DIR)");
        return;
    }
    snprintf(peer, sizeof peer, "BullMQ %s (Node)", version);
    bench_row(task->name, peer, "jobs/s", theirs);
    ratio = bench_ratio(ours, theirs);
    bench_goal(task->goal, &ratio);
}

static void run(const struct bench_options *options, const struct bench_redis *redis)
{
    struct bench_rounds ours[TASKS] = {{0, {0}}}, theirs[TASKS] = {{0, {0}}};
    struct nearcache_redis where = NEARCACHE_REDIS_INIT;
    struct node node = {0, NULL, NULL, ""};
    const char *script = getenv("BENCH_BULLMQ");
    bool with_node = script && *script && start_node(&node, redis, script);
    redisContext *hiredis = redisConnect("127.0.0.1", (int)redis->port);
    struct nearcache_queue *queue;

    where.url = redis->tcp_url;
    if (!hiredis || hiredis->err || nearcache_queue_open(&queue, &where, "bench", NULL) ||
        nearcache_queue_wait(queue, 5000000))
        bench_die("no connection to Redis");
    for (int round = 0; round < options->rounds; round++)
        for (size_t i = 0; i < TASKS; i++) {
            const struct task *task = &tasks[i];
            unsigned jobs = options->quick ? task->quick_jobs : task->jobs;

            if (!bench_wants(options, task->name))
                continue;
            bench_progress("round %d of %d: %s", round + 1, options->rounds, task->name);
            for (int side = 0; side < 1 + with_node; side++) {
                empty(hiredis);
                if (task->kind == WORK)
                    add_bulk(queue, jobs);
                double ns = side ? theirs_ns(&node, task, jobs) : ours_ns(queue, task, jobs);
                bench_rounds_add(side ? &theirs[i] : &ours[i], (double)jobs * 1e9 / ns);
            }
        }
    for (size_t i = 0; i < TASKS; i++)
        if (ours[i].count)
            report(&tasks[i], &ours[i], &theirs[i], node.version);
    if (with_node)
        stop_node(&node);
    nearcache_queue_close(queue, 0);
    redisFree(hiredis);
}

int main(int argc, char **argv)
{
    struct bench_options options =
        bench_begin(argc, argv, "queue", "queues: add, bulk and work against BullMQ on Node");
    struct bench_redis redis;

    if (bench_redis_start(&redis)) {
        run(&options, &redis);
        bench_redis_stop(&redis);
    } else {
        for (size_t i = 0; i < TASKS; i++)
            bench_goal_skip(tasks[i].goal, "no redis-server on the PATH");
    }
    bench_end();
    return 0;
}
