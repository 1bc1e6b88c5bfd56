/* cli/cmd_queue_work: runs the jobs of queues by a command of the shell. */
#include "cli/job_process.h"
#include "cli/queue.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define LOOK_US 50000
#define PAGE 100

/* One thread, but for `command`, which the handlers read, and the counters. */
struct work {
    struct cli_queue at;
    const char *command, *name;
    uint64_t concurrency;
    bool until_drained;
    size_t count;
    struct nearcache_queue **queues; /* the first one is at.queue */
    struct nearcache_worker **workers;
    pthread_t *closers; /* one for each of them */
    _Atomic uint64_t completed, failed, retried, locks_lost;
    _Atomic int told_error; /* of Redis, told last; 0: none since a job was done */
};

static int run_job(void *arg, struct nearcache_job *job)
{
    const struct work *work = arg;

    return cli_job_process_run(work->command, job);
}

static void report(void *arg, enum nearcache_worker_event event, const struct nearcache_job *job,
                   int outcome)
{
    struct work *work = arg;
    const struct nearcache_job_info *info = job ? nearcache_job_info(job) : NULL;

    switch (event) {
    case NEARCACHE_WORKER_COMPLETED:
        work->completed++;
        break;
    case NEARCACHE_WORKER_FAILED:
        work->failed++;
        cli_error(work->at.command, "%s: job %s failed: %s", info->queue, info->id,
                  info->failed_reason ? info->failed_reason : "");
        break;
    case NEARCACHE_WORKER_RETRIED:
        work->retried++;
        break;
    case NEARCACHE_WORKER_LOCK_LOST:
        work->locks_lost++;
        cli_error(work->at.command, "%s: job %s: the lock was lost; it may run twice", info->queue,
                  info->id);
        break;
    case NEARCACHE_WORKER_DRAINED:
        break;
    case NEARCACHE_WORKER_ERROR:
        /* Each one once, until another comes or a job is done: tries go on for as long as it takes.
         */
        if (work->told_error != outcome)
            cli_error(work->at.command, "Redis: %s; trying again", nearcache_strerror(outcome));
        work->told_error = outcome;
        return;
    }
    work->told_error = 0;
}

/* ---- the end --------------------------------------------------------------------------------- */

/*
 * All of the `delayed` jobs that were counted are iterations of schedules: 1, 0, or an error. Fewer
 * in the list than were counted: one has gone on meanwhile, and there is something to do.
 */
static int only_iterations(struct nearcache_queue *queue, uint64_t delayed)
{
    struct nearcache_job *jobs[PAGE];
    uint64_t iterations = 0;
    size_t found = PAGE;

    for (uint64_t first = 0; found == PAGE; first += PAGE) {
        int outcome = nearcache_queue_list(queue, NEARCACHE_JOB_DELAYED, first, PAGE, jobs, &found);
        if (outcome)
            return outcome;
        for (size_t i = 0; i < found; i++) {
            iterations += nearcache_job_info(jobs[i])->schedule_id != NULL;
            nearcache_job_free(jobs[i]);
        }
        if (iterations < first + found)
            return 0;
    }
    return iterations >= delayed;
}

/* 1, 0, or an error. What a paused queue keeps back does not count. */
static int is_drained(struct nearcache_queue *queue)
{
    struct nearcache_queue_stats stats;
    int outcome = nearcache_queue_stats(queue, &stats);

    if (outcome)
        return outcome;
    if (stats.active)
        return 0;
    if (stats.is_paused)
        return 1;
    if (stats.waiting || stats.prioritized)
        return 0;
    return stats.delayed == 0 ? 1 : only_iterations(queue, stats.delayed);
}

/* 1, 0, or an error of Redis that no waiting mends. Where Redis does not answer each question takes
 * the queue's timeout: one is enough, the next look asks again. */
static int all_drained(const struct work *work)
{
    int all = 1;
    for (size_t i = 0; i < work->count && !cli_interrupted(); i++) {
        int outcome = is_drained(work->queues[i]);
        if (outcome == NEARCACHE_EREMOTE || outcome == NEARCACHE_ETYPE)
            return outcome;
        if (outcome < 0)
            return 0;
        all = all && outcome == 1;
    }
    return all;
}

/* ---- start and stop -------------------------------------------------------------------------- */

static int start(struct work *work)
{
    struct nearcache_worker_config config = NEARCACHE_WORKER_CONFIG_INIT;

    config.run = run_job;
    config.run_arg = work;
    config.concurrency = (uint32_t)work->concurrency;
    config.name = work->name;
    config.on_event = report;
    config.on_event_arg = work;
    for (size_t i = 0; i < work->count; i++) {
        int outcome = nearcache_worker_open(&work->workers[i], work->queues[i], &config);
        if (outcome)
            return cli_queue_finish(&work->at, outcome, nearcache_queue_name(work->queues[i]));
    }
    return CLI_GO_ON;
}

static int open_queues(struct work *work, const struct cli_command *self, char **names)
{
    int status = cli_queue_open(&work->at, self, names[0]);

    work->queues[0] = work->at.queue;
    for (size_t i = 1; i < work->count && status == CLI_GO_ON; i++)
        status = cli_queue_open_more(&work->at, names[i], &work->queues[i]);
    return status;
}

static void print_totals(const struct work *work)
{
    struct cli_json json;

    cli_json_init(&json, work->at.json ? stdout : NULL);
    cli_json_begin_object(&json, NULL);
    cli_json_number(&json, "completed", work->completed);
    cli_json_number(&json, "failed", work->failed);
    cli_json_number(&json, "retried", work->retried);
    cli_json_number(&json, "locks_lost", work->locks_lost);
    cli_json_end_object(&json);
    if (!work->at.json)
        printf("%llu completed, %llu failed, %llu tries repeated\n",
               (unsigned long long)work->completed, (unsigned long long)work->failed,
               (unsigned long long)work->retried);
}

static void *close_worker(void *worker)
{
    nearcache_worker_close(worker, 0);
    return NULL;
}

/* All at once: one that waits for its jobs must not let the others take more. */
static void close_workers(struct work *work)
{
    size_t closing = 0;

    while (closing < work->count &&
           !pthread_create(&work->closers[closing], NULL, close_worker, work->workers[closing]))
        closing++;
    for (size_t i = closing; i < work->count; i++) /* there was no thread for it */
        nearcache_worker_close(work->workers[i], 0);
    for (size_t i = 0; i < closing; i++)
        pthread_join(work->closers[i], NULL);
}

/* Finishes what runs; a second interrupt ends the program at once. */
static void stop(struct work *work)
{
    if (work->workers && work->closers)
        close_workers(work);
    for (size_t i = 1; work->queues && i < work->count; i++)
        nearcache_queue_close(work->queues[i], 0);
    cli_queue_close(&work->at);
}

static int run_work(const struct cli_command *self, int argc, char **argv)
{
    struct work work = {.at = {.command = self}, .concurrency = 1};
    const struct cli_option options[] = {
        {"exec", CLI_TEXT, "CMD", "run by /bin/sh -c for each job, its data on standard input",
         &work.command, 0, 0, NULL},
        {"concurrency", CLI_NUMBER, "N", "jobs of each queue at a time; default 1",
         &work.concurrency, 1, NEARCACHE_WORKER_MAX_CONCURRENCY, NULL},
        {"name", CLI_TEXT, "W", "what the worker is called", &work.name, 0, 0, NULL},
        {"until-drained", CLI_FLAG, NULL, "end when nothing is left to do", &work.until_drained, 0,
         0, NULL},
        CLI_QUEUE_OPTIONS(&work.at)};
    char **names;
    int status = cli_options_parse(self, options, sizeof options / sizeof options[0], argc, argv, 1,
                                   1000, &names);

    if (status != CLI_GO_ON)
        return status;
    if (!work.command) {
        cli_error(self, "--exec CMD is missing");
        return CLI_USAGE;
    }
    while (names[work.count])
        work.count++;
    work.queues = calloc(work.count, sizeof *work.queues);
    work.workers = calloc(work.count, sizeof *work.workers);
    work.closers = calloc(work.count, sizeof *work.closers);
    status =
        work.queues && work.workers && work.closers ? open_queues(&work, self, names) : CLI_WRONG;
    if (status == CLI_GO_ON && !cli_job_process_prepare(work.count * work.concurrency)) {
        cli_error(self, "out of memory");
        status = CLI_WRONG;
    }
    if (status == CLI_GO_ON)
        status = start(&work);
    bool started = status == CLI_GO_ON;

    int drained = 0;
    while (started && !cli_interrupted() && drained == 0) {
        if (work.until_drained)
            drained = all_drained(&work);
        if (drained == 0)
            cli_pause_us(LOOK_US);
    }
    stop(&work);
    if (started)
        print_totals(&work);
    free(work.queues);
    free(work.workers);
    free(work.closers);
    if (!started)
        return status;
    if (drained < 0) {
        cli_error(self, "cannot tell whether the queues are drained: %s",
                  nearcache_strerror(drained));
        return CLI_WRONG;
    }
    /* A signal is how a worker ends that has no end of its own. */
    return cli_interrupted() && work.until_drained ? CLI_INTERRUPTED : CLI_FINE;
}

const struct cli_command cli_queue_work = {
    .name = "queue work",
    .arguments = "QUEUE... --exec CMD",
    .summary = "run the jobs of queues by a command",
    .details = "CMD finds NEARCACHE_JOB_ID, NEARCACHE_JOB_NAME, NEARCACHE_ATTEMPTS_MADE and\n"
               "NEARCACHE_QUEUE in its environment. When it exits with 0, what it wrote is the\n"
               "result (JSON; nothing is null). Else the job fails with the last line of its\n"
               "standard error. An interrupt, a termination signal or a hang-up lets the running\n"
               "jobs finish (exit status 0, or 130 with --until-drained). A second signal, but\n"
               "for a hang-up, kills them with their process groups and ends at once, and so\n"
               "does SIGQUIT: they become stalled and are run again by another worker.\n",
    .run = run_work,
};
