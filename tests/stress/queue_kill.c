/*
 * Workers that are killed at random moments under load lose no job, and no job runs more often than
 * stalled recovery gave it back.
 *     queue_kill THREADS SECONDS
 * Three processes work with THREADS handlers each; one after the other is killed with SIGKILL and
 * replaced, while jobs keep coming. Each run of a job is counted in Redis before it ends.
 *     queue_kill worker SOCKET THREADS        one of these processes; ends when its input does
 */
#include "lib/child.h"
#include "lib/redis_server.h"
#include "lib/wait_until.h"

#include <errno.h>
#include <fcntl.h>
#include <nearcache/queue.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORKERS 3
#define BURST 200
#define MOST_WAITING 2000
#define CHECKED 2000 /* jobs per script call */
#define LOCK_MS 1000
#define STALLED_MS 500
#define DRAIN_MS 60000

static void die(const char *what)
{
    fprintf(stderr, "queue_kill: %s\n", what);
    exit(1);
}

static struct nearcache_queue *open_queue(const char *socket_path)
{
    struct nearcache_redis redis = NEARCACHE_REDIS_INIT;
    struct nearcache_queue *queue;
    redis.unix_path = socket_path;
    if (nearcache_queue_open(&queue, &redis, "q", NULL) ||
        nearcache_queue_wait(queue, 10000000) != 0)
        die("no queue");
    return queue;
}

/* ---- a worker process ------------------------------------------------------------------------ */

static const char *worker_socket;
static pthread_key_t counting; /* each handler's connection */

static void disconnect(void *connection) { redisFree(connection); }

static int run(void *arg, struct nearcache_job *job)
{
    redisContext *redis = pthread_getspecific(counting);
    (void)arg;
    if (!redis) {
        redis = redisConnectUnix(worker_socket);
        if (!redis || pthread_setspecific(counting, redis))
            die("no connection to count with");
    }
    redisReply *reply = redisCommand(redis, "HINCRBY runs %s 1", nearcache_job_info(job)->id);
    if (!reply)
        return nearcache_job_fail(job, "cannot count", 0);
    freeReplyObject(reply);
    return nearcache_job_return(job, "true", 4);
}

static int work(const char *socket_path, unsigned threads)
{
    struct nearcache_worker_config config = NEARCACHE_WORKER_CONFIG_INIT;
    struct nearcache_queue *queue = open_queue(socket_path);
    struct nearcache_worker *worker;
    char byte;
    worker_socket = socket_path;
    if (pthread_key_create(&counting, disconnect))
        die("no key");
    config.run = run;
    config.concurrency = threads;
    config.lock_duration_ms = LOCK_MS;
    config.stalled_interval_ms = STALLED_MS;
    config.max_stalled_count = 1000000; /* a job may meet many deaths here */
    if (nearcache_worker_open(&worker, queue, &config))
        die("no worker");
    while (read(STDIN_FILENO, &byte, 1) < 0 && errno == EINTR)
        continue;
    nearcache_worker_close(worker, 0);
    nearcache_queue_close(queue, 0);
    return 0;
}

/* ---- the parent ------------------------------------------------------------------------------ */

struct team {
    const char *program, *socket_path;
    char threads[16];
    int in[2]; /* the workers' standard input: closed at the end */
    pid_t pid[WORKERS];
};

static void start(struct team *team, int i)
{
    const char *const argv[] = {team->program, "worker", team->socket_path, team->threads, NULL};
    team->pid[i] = child_start(argv, team->in[0], -1, -1);
    if (team->pid[i] < 0)
        die("no process");
}

static uint64_t add_burst(struct nearcache_queue *queue)
{
    static struct nearcache_job_spec jobs[BURST];
    for (int i = 0; i < BURST; i++)
        jobs[i] = (struct nearcache_job_spec){"n", "1", 1, NULL};
    if (nearcache_queue_add_many(queue, jobs, BURST, NULL, NULL))
        die("cannot add");
    return BURST;
}

static struct nearcache_queue_stats stats_of(struct nearcache_queue *queue)
{
    struct nearcache_queue_stats stats;
    if (nearcache_queue_stats(queue, &stats))
        die("no stats");
    return stats;
}

/* Every job completed, and ran at most once more than it was given back. The number of problems. */
static unsigned check(const struct redis_server *server, uint64_t jobs, uint64_t *stalls)
{
    static const char script[] =
        "local bad, stalls = 0, 0 "
        "for id = tonumber(ARGV[1]), tonumber(ARGV[2]) do "
        "  local j = redis.call('hmget', 'bull:q:' .. id, 'stc', 'ats', 'atm', 'finishedOn') "
        "  local stc = tonumber(j[1]) or 0 "
        "  local runs = tonumber(redis.call('hget', 'runs', id)) or 0 "
        "  stalls = stalls + stc "
        "  if not j[4] or runs < 1 or runs > 1 + stc or tonumber(j[2]) > 1 + stc or j[3] ~= '1' "
        "then "
        "    bad = bad + 1 "
        "    redis.log(redis.LOG_WARNING, 'job ' .. id .. ' ran ' .. runs .. ' times, stalled ' .. "
        "stc) "
        "  end "
        "end "
        "return {bad, stalls}";
    redisContext *redis = redis_server_connect(server);
    unsigned bad = 0;
    *stalls = 0;
    for (uint64_t first = 1; first <= jobs; first += CHECKED) {
        uint64_t last = first + CHECKED - 1 < jobs ? first + CHECKED - 1 : jobs;
        redisReply *reply = redisCommand(redis, "EVAL %s 0 %llu %llu", script,
                                         (unsigned long long)first, (unsigned long long)last);
        if (!reply || reply->type != REDIS_REPLY_ARRAY)
            die(reply && reply->str ? reply->str : "no answer");
        bad += (unsigned)reply->element[0]->integer;
        *stalls += (uint64_t)reply->element[1]->integer;
        freeReplyObject(reply);
    }
    redisFree(redis);
    return bad;
}

int main(int argc, char **argv)
{
    struct team team = {.program = "/proc/self/exe"};
    struct redis_server server;
    if (argc == 4 && strcmp(argv[1], "worker") == 0)
        return work(argv[2], (unsigned)atoi(argv[3]));
    unsigned seconds = argc > 2 ? (unsigned)atoi(argv[2]) : 5, kills = 0;
    if (!redis_server_available())
        return 77;
    if (!redis_server_start(&server, NULL) || pipe2(team.in, O_CLOEXEC))
        die("no redis-server");
    snprintf(team.threads, sizeof team.threads, "%d", argc > 1 ? atoi(argv[1]) : 4);
    team.socket_path = server.socket_path;
    struct nearcache_queue *queue = open_queue(server.socket_path);
    srand((unsigned)getpid());
    for (int i = 0; i < WORKERS; i++)
        start(&team, i);
    uint64_t jobs = 0, end_ns = wait_now_ns() + seconds * UINT64_C(1000000000), next_ns = 0;
    while (wait_now_ns() < end_ns || kills < 3) {
        if (stats_of(queue).waiting < MOST_WAITING)
            jobs += add_burst(queue);
        if (wait_now_ns() >= next_ns) {
            int victim = rand() % WORKERS;
            child_kill(team.pid[victim]);
            start(&team, victim);
            kills++;
            next_ns = wait_now_ns() + (uint64_t)(rand() % 400 + 50) * 1000000;
        }
    }
    if (!WAIT_UNTIL(stats_of(queue).completed == jobs, DRAIN_MS))
        die("jobs are missing");
    close(team.in[1]);
    for (int i = 0; i < WORKERS; i++)
        child_wait(team.pid[i], 20000);
    struct nearcache_queue_stats stats = stats_of(queue);
    uint64_t stalls;
    unsigned bad = check(&server, jobs, &stalls);
    printf("queue_kill: %llu jobs, %u workers killed, %llu jobs given back, %u wrong\n",
           (unsigned long long)jobs, kills, (unsigned long long)stalls, bad);
    bool fine =
        bad == 0 && stats.completed == jobs && stats.active + stats.waiting + stats.failed == 0;
    nearcache_queue_close(queue, 0);
    redis_server_stop(&server);
    return fine ? 0 : 1;
}
