/*
 * The C side of the interop tests: obeys one command a line on standard input, fields separated by
 * tabs, and answers each with one line. interop.mjs drives it against real BullMQ.
 */
#include <nearcache/queue.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_FIELDS 10
#define MAX_QUEUES 32

static struct nearcache_redis redis = NEARCACHE_REDIS_INIT;
static struct nearcache_queue *queues[MAX_QUEUES];
static struct nearcache_worker *worker;

static void print_log(void *arg, enum nearcache_log_level level, const char *line)
{
    (void)arg;
    (void)level;
    fprintf(stderr, "queue_peer: %s\n", line);
}

static struct nearcache_queue *queue_of(const char *name)
{
    struct nearcache_queue_config config = NEARCACHE_QUEUE_CONFIG_INIT;
    config.log = print_log;
    config.log_level = NEARCACHE_LOG_WARNING;
    for (int i = 0; i < MAX_QUEUES; i++) {
        if (!queues[i] && nearcache_queue_open(&queues[i], &redis, name, &config))
            exit(2);
        if (strcmp(nearcache_queue_name(queues[i]), name) == 0)
            return queues[i];
    }
    exit(2);
}

/* What a job's data says: "fail", "failonce", "hang"; anything else completes with its own data. */
static int run(void *arg, struct nearcache_job *job)
{
    const struct nearcache_job_info *info = nearcache_job_info(job);
    (void)arg;
    if (strstr(info->data, "\"hang\""))
        while (!nearcache_job_cancelled(job))
            nanosleep(&(struct timespec){0, 5000000}, NULL);
    if (strstr(info->data, "\"nap\""))
        nanosleep(&(struct timespec){0, 20000000}, NULL);
    if (strstr(info->data, "\"fail\"") ||
        (strstr(info->data, "\"failonce\"") && info->attempts_made == 0))
        return nearcache_job_fail(job, "told to fail", 0);
    if (strstr(info->data, "\"final\""))
        return nearcache_job_fail(job, "told to fail", NEARCACHE_JOB_UNRECOVERABLE);
    if (strstr(info->data, "\"report\"")) {
        nearcache_job_progress(job, "{\"done\":50}", 11);
        nearcache_job_log(job, "half way");
    }
    if (strstr(info->data, "\"notjson\"")) {
        nearcache_job_return(job, "{oops", 5);
        return 0;
    }
    return nearcache_job_return(job, info->data, info->data_bytes);
}

static int add(char **field, int count)
{
    struct nearcache_job_options how = NEARCACHE_JOB_OPTIONS_INIT;
    struct nearcache_job_id id;
    (void)count;
    how.json = field[4];
    how.json_bytes = strlen(field[4]);
    int outcome =
        nearcache_queue_add(queue_of(field[1]), field[2], field[3], strlen(field[3]), &how, &id);
    printf("%d %s\n", outcome, outcome >= 0 ? id.text : "");
    return 0;
}

/* Data {"n":0}, {"n":1}, ... */
static int add_many(char **field)
{
    size_t count = (size_t)atol(field[5]);
    struct nearcache_job_options how = NEARCACHE_JOB_OPTIONS_INIT;
    struct nearcache_job_spec *jobs = calloc(count, sizeof *jobs);
    char(*data)[64] = calloc(count, sizeof *data);
    how.json = field[4];
    how.json_bytes = strlen(field[4]);
    for (size_t i = 0; i < count; i++) {
        snprintf(data[i], sizeof data[i], field[3], i);
        jobs[i] = (struct nearcache_job_spec){field[2], data[i], strlen(data[i]), &how};
    }
    int outcome = nearcache_queue_add_many(queue_of(field[1]), jobs, count, NULL, NULL);
    free(data);
    free(jobs);
    return outcome;
}

/* Ids own-0, own-1, ... */
static int add_custom(char **field)
{
    size_t count = (size_t)atol(field[4]);
    struct nearcache_job_spec *jobs = calloc(count, sizeof *jobs);
    struct nearcache_job_options *how = calloc(count, sizeof *how);
    char(*ids)[32] = calloc(count, sizeof *ids);
    for (size_t i = 0; i < count; i++) {
        snprintf(ids[i], sizeof ids[i], "own-%zu", i);
        how[i] = (struct nearcache_job_options)NEARCACHE_JOB_OPTIONS_INIT;
        how[i].job_id = ids[i];
        jobs[i] = (struct nearcache_job_spec){field[2], field[3], strlen(field[3]), &how[i]};
    }
    int outcome = nearcache_queue_add_many(queue_of(field[1]), jobs, count, NULL, NULL);
    free(ids);
    free(how);
    free(jobs);
    return outcome;
}

static int start(char **field)
{
    struct nearcache_worker_config config = NEARCACHE_WORKER_CONFIG_INIT;
    config.run = run;
    config.concurrency = (uint32_t)atoi(field[2]);
    config.name = field[3];
    config.lock_duration_ms = (uint64_t)atol(field[4]);
    config.stalled_interval_ms = (uint64_t)atol(field[5]);
    return nearcache_worker_open(&worker, queue_of(field[1]), &config);
}

static int stop(void)
{
    int outcome = nearcache_worker_close(worker, 0);
    worker = NULL;
    return outcome;
}

static void stats(char **field)
{
    struct nearcache_queue_stats s;
    if (nearcache_queue_stats(queue_of(field[1]), &s))
        exit(2);
    printf("{\"waiting\":%llu,\"active\":%llu,\"completed\":%llu,\"failed\":%llu,\"delayed\":%llu,"
           "\"prioritized\":%llu,\"waiting-children\":%llu,\"paused\":%llu,\"isPaused\":%u}\n",
           (unsigned long long)s.waiting, (unsigned long long)s.active,
           (unsigned long long)s.completed, (unsigned long long)s.failed,
           (unsigned long long)s.delayed, (unsigned long long)s.prioritized,
           (unsigned long long)s.waiting_children, (unsigned long long)s.paused, s.is_paused);
}

static void show(char **field)
{
    struct nearcache_job *job;
    enum nearcache_job_state state = NEARCACHE_JOB_UNKNOWN;
    int outcome = nearcache_queue_job(queue_of(field[1]), field[2], &job);
    if (outcome) {
        printf("null\n");
        return;
    }
    nearcache_queue_job_state(queue_of(field[1]), field[2], &state);
    const struct nearcache_job_info *i = nearcache_job_info(job);
    printf("{\"id\":\"%s\",\"name\":\"%s\",\"data\":%s,\"opts\":%s,\"attemptsMade\":%u,"
           "\"attemptsStarted\":%u,\"priority\":%u,\"delay\":%lld,\"timestamp\":%lld,"
           "\"processedOn\":%lld,\"finishedOn\":%lld,\"returnvalue\":%s,\"stacktrace\":%s,"
           "\"progress\":%s,\"state\":\"%s\"}\n",
           i->id, i->name, i->data, i->options, i->attempts_made, i->attempts_started, i->priority,
           (long long)i->delay_ms, (long long)i->timestamp_ms, (long long)i->processed_on_ms,
           (long long)i->finished_on_ms, i->result ? i->result : "null",
           i->stack_trace ? i->stack_trace : "[]", i->progress ? i->progress : "0",
           nearcache_job_state_name(state));
    nearcache_job_free(job);
}

static int schedule(char **field)
{
    struct nearcache_schedule s = NEARCACHE_SCHEDULE_INIT;
    if (strcmp(field[3], "cron") == 0)
        s.cron = field[4];
    else
        s.every_ms = (uint64_t)atol(field[4]);
    s.job_name = field[5];
    s.data = field[6];
    s.data_bytes = strlen(field[6]);
    s.limit = (uint64_t)atol(field[7]);
    return nearcache_queue_schedule(queue_of(field[1]), field[2], &s, NULL);
}

static int print_name(void *arg, const char *text, size_t bytes)
{
    printf("%s%.*s", (*(int *)arg)++ ? "," : "", (int)bytes, text);
    return 0;
}

static int obey(char **field)
{
    const char *what = field[0];
    if (strcmp(what, "many") == 0)
        return add_many(field);
    if (strcmp(what, "custom") == 0)
        return add_custom(field);
    if (strcmp(what, "concurrency") == 0)
        return nearcache_queue_set_concurrency(queue_of(field[1]), (uint64_t)atol(field[2]));
    if (strcmp(what, "rate") == 0)
        return nearcache_queue_set_rate(queue_of(field[1]), (uint64_t)atol(field[2]),
                                        (uint64_t)atol(field[3]));
    if (strcmp(what, "work") == 0)
        return start(field);
    if (strcmp(what, "stop") == 0)
        return stop();
    if (strcmp(what, "pause") == 0)
        return nearcache_queue_pause(queue_of(field[1]));
    if (strcmp(what, "resume") == 0)
        return nearcache_queue_resume(queue_of(field[1]));
    if (strcmp(what, "retry") == 0)
        return nearcache_queue_retry(queue_of(field[1]), field[2], 0);
    if (strcmp(what, "promote") == 0)
        return nearcache_queue_promote(queue_of(field[1]), field[2]);
    if (strcmp(what, "remove") == 0)
        return nearcache_queue_remove(queue_of(field[1]), field[2]);
    if (strcmp(what, "drain") == 0)
        return nearcache_queue_drain(queue_of(field[1]), 1);
    if (strcmp(what, "obliterate") == 0)
        return nearcache_queue_obliterate(queue_of(field[1]), 1);
    if (strcmp(what, "schedule") == 0)
        return schedule(field);
    if (strcmp(what, "unschedule") == 0)
        return nearcache_queue_unschedule(queue_of(field[1]), field[2]);
    return -1000;
}

static void handle(char **field, int count)
{
    if (strcmp(field[0], "add") == 0) {
        add(field, count);
    } else if (strcmp(field[0], "stats") == 0) {
        stats(field);
    } else if (strcmp(field[0], "job") == 0) {
        show(field);
    } else if (strcmp(field[0], "workers") == 0) {
        int names = 0;
        nearcache_queue_workers(queue_of(field[1]), print_name, &names);
        printf("\n");
    } else {
        printf("%d\n", obey(field));
    }
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static char line[1 << 20];
    if (argc != 2)
        return 2;
    redis.unix_path = argv[1];
    while (fgets(line, sizeof line, stdin)) {
        char *field[MAX_FIELDS] = {0}, *rest = line;
        int count = 0;
        line[strcspn(line, "\n")] = 0;
        while (rest && count < MAX_FIELDS)
            field[count++] = strsep(&rest, "\t");
        handle(field, count);
    }
    if (nearcache_worker_close(worker, 1000000)) /* a job that hangs */
        nearcache_worker_abandon(worker);
    for (int i = 0; i < MAX_QUEUES && queues[i]; i++)
        nearcache_queue_close(queues[i], 0);
    return 0;
}
