/*
 * Workers are opened, closed and asked here: queue/hand is what they have, queue/run what they do.
 */
#include "base/clock.h"
#include "base/hash.h"
#include "queue/hand.h"
#include "queue/run.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* ---- open ------------------------------------------------------------------------------------ */

/* 34 years: times that are larger overflow sums, here and in Redis. */
#define MAX_MS ((uint64_t)1 << 40)
/* Longest wait for the bell. */
#define MAX_DRAIN_MS ((uint64_t)3600 * 1000)

/* Redis refuses other names of connections, and BullMQ finds workers by those. */
static bool is_client_name(const char *name)
{
    for (; *name; name++)
        if (*name < '!' || *name > '~')
            return false;
    return true;
}

static int check_numbers(struct nearcache_queue *queue,
                         const struct nearcache_worker_config *config)
{
    const struct {
        const char *name;
        uint64_t value, most;
        bool may_be_none;
    } numbers[] = {{"lock_duration_ms", config->lock_duration_ms, MAX_MS, false},
                   {"stalled_interval_ms", config->stalled_interval_ms, MAX_MS, true},
                   {"max_stalled_count", config->max_stalled_count, INT64_MAX, true},
                   {"limit_max", config->limit_max, INT64_MAX, true},
                   {"limit_duration_ms", config->limit_duration_ms, MAX_MS, !config->limit_max}};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        if (numbers[i].value > numbers[i].most &&
            !(numbers[i].may_be_none && numbers[i].value == NEARCACHE_NONE))
            return nc_queue_refuse(queue, "%s is at most %llu", numbers[i].name,
                                   (unsigned long long)numbers[i].most);
    return 0;
}

static int check_config(struct nearcache_queue *queue, const struct nearcache_worker_config *config)
{
    if (!config->run == !config->run_batch)
        return nc_queue_refuse(queue, "a worker needs run or run_batch, and not both");
    if (config->batch > 1 && config->run)
        return nc_queue_refuse(queue, "batch is for run_batch");
    if (config->concurrency > NEARCACHE_WORKER_MAX_CONCURRENCY ||
        config->batch > NEARCACHE_WORKER_MAX_CONCURRENCY)
        return nc_queue_refuse(queue, "concurrency is at most %u",
                               NEARCACHE_WORKER_MAX_CONCURRENCY);
    if (config->limit_max && config->limit_max != NEARCACHE_NONE && !config->limit_duration_ms)
        return nc_queue_refuse(queue, "limit_max needs limit_duration_ms");
    if (config->complete.mode > NEARCACHE_KEEP_SOME || config->fail.mode > NEARCACHE_KEEP_SOME)
        return nc_queue_refuse(queue, "no such way to keep jobs");
    if (config->name && !is_client_name(config->name))
        return nc_queue_refuse(queue,
                               "the name of a worker is of printable ASCII without blanks: "
                               "nobody would see it under \"%.80s\"",
                               config->name);
    if (!is_client_name(queue->prefix))
        nc_log_write(&queue->log, NEARCACHE_LOG_WARNING,
                     "queue %s: workers of a prefix that is not of printable ASCII without blanks "
                     "are not seen by others",
                     queue->name);
    return check_numbers(queue, config);
}

static void fill_defaults(struct nearcache_worker_config *config)
{
    if (!config->batch)
        config->batch = 1;
    if (!config->concurrency)
        config->concurrency = config->batch;
    if (!config->lock_duration_ms)
        config->lock_duration_ms = NEARCACHE_WORKER_LOCK_MS;
    if (!config->stalled_interval_ms)
        config->stalled_interval_ms = NEARCACHE_WORKER_STALLED_MS;
    if (!config->max_stalled_count)
        config->max_stalled_count = NEARCACHE_WORKER_MAX_STALLED;
    if (!config->drain_delay_ms)
        config->drain_delay_ms = NEARCACHE_WORKER_DRAIN_MS;
    if (config->drain_delay_ms > MAX_DRAIN_MS)
        config->drain_delay_ms = MAX_DRAIN_MS;
}

static void make_uuid(char uuid[40])
{
    uint64_t a = nc_hash_random(), b = nc_hash_random();
    snprintf(uuid, 40, "%08x-%04x-4%03x-%04x-%012llx", (unsigned)(a >> 32),
             (unsigned)(a >> 16 & 0xffff), (unsigned)(a & 0xfff),
             (unsigned)(0x8000 | (b >> 48 & 0x3fff)), (unsigned long long)(b & 0xffffffffffff));
}

/* "bull:<base64 of the name>", with ":w:<worker>" when it has a name: how BullMQ finds workers. */
static int open_bell(struct nearcache_worker *worker)
{
    struct nc_text name = {0};
    nc_text_add_string(&name, worker->queue->prefix);
    nc_text_add_string(&name, ":");
    nc_text_add_base64(&name, worker->queue->name, strlen(worker->queue->name));
    if (worker->name) {
        nc_text_add_string(&name, ":w:");
        nc_text_add_string(&name, worker->name);
    }
    int outcome = name.failed ? NEARCACHE_ENOMEM
                              : nc_waiter_open(&worker->bell, worker->queue->remote, name.data);
    nc_text_deinit(&name);
    return outcome;
}

static void init_locks(struct nearcache_worker *worker)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&worker->lock, NULL);
    pthread_cond_init(&worker->ready_cond, &monotonic);
    pthread_cond_init(&worker->state_cond, &monotonic);
    pthread_cond_init(&worker->keeper_cond, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

static void destroy(struct nearcache_worker *worker)
{
    nc_waiter_close(worker->bell);
    if (worker->wake_fd >= 0)
        close(worker->wake_fd);
    pthread_cond_destroy(&worker->ready_cond);
    pthread_cond_destroy(&worker->state_cond);
    pthread_cond_destroy(&worker->keeper_cond);
    pthread_mutex_destroy(&worker->lock);
    free(worker->handlers);
    free(worker->groups);
    free(worker->name);
    free(worker);
}

/* The process's signals are for its own threads. */
static int start_threads(struct nearcache_worker *worker)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int failed = 0;
    worker->has_talker = worker->threads_wanted > 1;
    if (worker->has_talker) {
        for (unsigned i = 0; i < worker->threads_wanted && !failed; i++) {
            failed = pthread_create(&worker->handlers[i], NULL, nc_worker_handler, worker);
            worker->handlers_started += !failed;
        }
    }
    if (!failed) {
        failed = pthread_create(&worker->keeper, NULL, nc_worker_keeper, worker);
        worker->has_keeper = !failed;
    }
    if (!failed) {
        failed = pthread_create(&worker->talker, NULL, nc_worker_talker, worker);
        if (failed)
            worker->talker = 0;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return failed ? NEARCACHE_EIO : 0;
}

/* Handlers and keeper; the talker has ended or never began. */
static void stop_threads(struct nearcache_worker *worker)
{
    pthread_mutex_lock(&worker->lock);
    worker->stop_handlers = true;
    worker->stop_keeper = true;
    pthread_cond_broadcast(&worker->ready_cond);
    pthread_cond_broadcast(&worker->keeper_cond);
    pthread_mutex_unlock(&worker->lock);
    for (unsigned i = 0; i < worker->handlers_started; i++)
        pthread_join(worker->handlers[i], NULL);
    if (worker->has_keeper)
        pthread_join(worker->keeper, NULL);
}

int nearcache_worker_open(struct nearcache_worker **out, struct nearcache_queue *queue,
                          const struct nearcache_worker_config *given)
{
    struct nearcache_worker_config config;
    int outcome = nc_queue_usable(queue);
    if (outcome || !out || !given)
        return outcome ? outcome : NEARCACHE_EINVAL;
    if (nc_struct_copy(&config, sizeof config, given, sizeof config))
        return NEARCACHE_EINVAL;
    outcome = check_config(queue, &config);
    if (outcome)
        return outcome;
    fill_defaults(&config);
    struct nearcache_worker *worker = calloc(1, sizeof *worker);
    if (!worker)
        return NEARCACHE_ENOMEM;
    worker->queue = queue;
    worker->config = config;
    worker->threads_wanted = (config.concurrency + config.batch - 1) / config.batch;
    worker->random = nc_hash_random();
    make_uuid(worker->uuid);
    init_locks(worker);
    worker->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    worker->handlers = calloc(worker->threads_wanted, sizeof *worker->handlers);
    worker->groups =
        calloc((size_t)worker->threads_wanted * config.batch, sizeof(struct nearcache_job *));
    worker->name = config.name ? nc_text_copy(config.name, strlen(config.name)) : NULL;
    worker->config.name = worker->name;
    if (worker->wake_fd < 0)
        outcome = NEARCACHE_EIO;
    else if (!worker->handlers || !worker->groups || (config.name && !worker->name))
        outcome = NEARCACHE_ENOMEM;
    else
        outcome = open_bell(worker);
    if (outcome == 0) {
        outcome = start_threads(worker);
        if (outcome)
            stop_threads(worker);
    }
    if (outcome) {
        destroy(worker);
        return outcome;
    }
    atomic_fetch_add(&queue->children, 1);
    *out = worker;
    return 0;
}

/* ---- close ----------------------------------------------------------------------------------- */

static void cancel_all_locked(struct nearcache_worker *worker)
{
    for (struct nearcache_job *job = worker->all; job; job = job->all_next) {
        /* Pairs with the load in nearcache_job_cancelled; nothing else depends on it. */
        atomic_store_explicit(&job->cancelled, true, memory_order_relaxed);
    }
}

/* All threads have been told to end. */
static void finish_close(struct nearcache_worker *worker)
{
    pthread_join(worker->talker, NULL);
    stop_threads(worker);
    for (struct nearcache_job *job; (job = worker->all);) { /* given up: stalled recovery's */
        nc_worker_forget_locked(worker, job);               /* nobody else is left */
        nearcache_job_free(job);
    }
    atomic_fetch_sub(&worker->queue->children, 1);
    destroy(worker);
}

/* Under the lock: true when no job is with a handler any more. */
static bool all_ended_locked(const struct nearcache_worker *worker)
{
    return worker->in_hand <= worker->ended.count + worker->reporting;
}

static bool wait_state_locked(struct nearcache_worker *worker, uint64_t deadline_ns)
{
    struct timespec at = {(time_t)(deadline_ns / NC_NS_PER_S), (long)(deadline_ns % NC_NS_PER_S)};
    return pthread_cond_timedwait(&worker->state_cond, &worker->lock, &at) == 0;
}

int nearcache_worker_close(struct nearcache_worker *worker, uint64_t timeout_us)
{
    if (!worker)
        return 0;
    int outcome = nc_queue_usable(worker->queue);
    if (outcome) /* the threads are the parent's, and so is what would wake them */
        return outcome;
    uint64_t deadline_ns = timeout_us ? nc_clock_deadline_ns(timeout_us) : UINT64_MAX;
    uint64_t report_until_ns = 0;
    pthread_mutex_lock(&worker->lock);
    worker->closing = true;
    pthread_mutex_unlock(&worker->lock);
    nc_worker_wake_talker(worker);
    pthread_mutex_lock(&worker->lock);
    while (worker->in_hand > 0) {
        uint64_t now_ns = nc_clock_io_ns();
        if (now_ns >= deadline_ns) {
            cancel_all_locked(worker);
            pthread_mutex_unlock(&worker->lock);
            return NEARCACHE_EBUSY;
        }
        /* With Redis gone there is nobody to report to: not longer than a call may take. */
        if (all_ended_locked(worker)) {
            if (!report_until_ns)
                report_until_ns = nc_queue_deadline_ns(worker->queue);
            if (now_ns >= report_until_ns) {
                nc_log_write(&worker->queue->log, NEARCACHE_LOG_WARNING,
                             "queue %s: %u ended jobs could not be reported; they will run again",
                             worker->queue->name, worker->in_hand);
                worker->give_up = true;
                worker->stop_keeper =
                    true; /* so that its last call and the talker's end together */
                pthread_cond_broadcast(&worker->keeper_cond);
                break;
            }
        }
        uint64_t look_ns = now_ns + 50 * NC_NS_PER_MS;
        wait_state_locked(worker, look_ns < deadline_ns ? look_ns : deadline_ns);
    }
    pthread_mutex_unlock(&worker->lock);
    nc_worker_wake_talker(worker);
    finish_close(worker);
    return 0;
}

void nearcache_worker_abandon(struct nearcache_worker *worker)
{
    if (!worker || nc_queue_usable(worker->queue))
        return;
    pthread_mutex_lock(&worker->lock);
    worker->closing = true;
    worker->abandoned = true;
    cancel_all_locked(worker);
    while (worker->ready.count) { /* never begun */
        struct nearcache_job *job = nc_job_list_take(&worker->ready);
        nc_job_list_add(&worker->ended, job);
    }
    pthread_mutex_unlock(&worker->lock);
    nc_worker_wake_talker(worker);
    finish_close(worker);
}

int nearcache_worker_wait_idle(struct nearcache_worker *worker, uint64_t timeout_us)
{
    if (!worker)
        return NEARCACHE_EINVAL;
    int outcome = nc_queue_usable(worker->queue);
    if (outcome)
        return outcome;
    uint64_t deadline_ns =
        nc_clock_deadline_ns(timeout_us ? timeout_us : worker->queue->timeout_us);
    pthread_mutex_lock(&worker->lock);
    /* What the worker found before may have changed since: it looks once more. */
    uint64_t look = ++worker->looks_wanted;
    pthread_mutex_unlock(&worker->lock);
    nc_worker_wake_talker(worker);
    pthread_mutex_lock(&worker->lock);
    while (!outcome && !(worker->drained && worker->drained_look >= look && worker->in_hand == 0))
        if (!wait_state_locked(worker, deadline_ns) && nc_clock_io_ns() >= deadline_ns)
            outcome = NEARCACHE_ETIMEOUT;
    pthread_mutex_unlock(&worker->lock);
    return outcome;
}

void nearcache_worker_stats(const struct nearcache_worker *worker,
                            struct nearcache_worker_stats *stats)
{
    struct nearcache_worker *lockable = (struct nearcache_worker *)worker;
    if (nc_queue_usable(worker->queue)) {
        memset(stats, 0, sizeof *stats);
        return;
    }
    pthread_mutex_lock(&lockable->lock);
    *stats = worker->stats;
    stats->running = worker->in_hand;
    pthread_mutex_unlock(&lockable->lock);
}
