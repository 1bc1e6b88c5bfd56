#include "queue/run.h"

#include "base/clock.h"
#include "base/error.h"
#include "queue/exchange.h"
#include "queue/schedule.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define MAX_BELL_MS 10000
#define MAX_ERROR_PAUSE_MS 2000
#define ITERATE_AGAIN_MS 1000

/* ---- running --------------------------------------------------------------------------------- */

/* Puts up the next job of a schedule. Where that fails nobody else would: the job is put off, by
 * any worker it is tried again, and its own try does not count. */
static bool iterate(struct nearcache_worker *worker, struct nearcache_job *job)
{
    int outcome = nc_schedule_iterate(worker->queue, job);
    if (outcome >= 0)
        return true;
    nc_log_write(&worker->queue->log, NEARCACHE_LOG_ERROR,
                 "queue %s: the next job of schedule %.80s was not put up (%s); job %.80s waits",
                 worker->queue->name, job->info.schedule_id, nc_error_text(outcome), job->info.id);
    job->delay_ms = ITERATE_AGAIN_MS;
    job->outcome = NC_OUTCOME_LATER;
    return false;
}

/* Jobs that must not run end here: false. */
static bool may_run(struct nearcache_worker *worker, struct nearcache_job *job)
{
    if (job->has_deferred_failure) {
        (void)nearcache_job_fail(job, job->deferred_failure, NEARCACHE_JOB_UNRECOVERABLE);
        return false;
    }
    if (job->info.parent) {
        (void)nearcache_job_fail(job,
                                 "nearcache does not run children of a flow: only a worker that "
                                 "moves the parent can",
                                 NEARCACHE_JOB_UNRECOVERABLE);
        return false;
    }
    return !job->info.schedule_id || iterate(worker, job);
}

/* Every job leaves with an outcome. */
static void conclude(struct nearcache_job *job, int returned)
{
    if (job->outcome != NC_OUTCOME_NONE)
        return;
    if (returned == 0)
        (void)nearcache_job_return(job, NULL, 0);
    else
        (void)nearcache_job_fail(job, "the handler failed", 0);
    if (job->outcome == NC_OUTCOME_NONE) /* no memory for the text; an empty reason needs none */
        job->outcome = NC_OUTCOME_FAILED;
}

/* Moves the jobs that may run to the front; returns how many they are. */
static size_t runnable_first(struct nearcache_worker *worker, struct nearcache_job **jobs,
                             size_t count)
{
    size_t runnable = 0;
    for (size_t i = 0; i < count; i++) {
        struct nearcache_job *job = jobs[i];
        if (!may_run(worker, job))
            continue;
        jobs[i] = jobs[runnable];
        jobs[runnable++] = job;
    }
    return runnable;
}

/* Runs one group of jobs on this thread and puts them into the ended list. */
static void run_group(struct nearcache_worker *worker, struct nearcache_job **jobs, size_t count)
{
    size_t runnable = runnable_first(worker, jobs, count);
    if (worker->config.run_batch && runnable) {
        int returned = worker->config.run_batch(worker->config.run_arg, jobs, runnable);
        for (size_t i = 0; i < runnable; i++)
            conclude(jobs[i], returned);
    } else {
        for (size_t i = 0; i < runnable; i++)
            conclude(jobs[i], worker->config.run(worker->config.run_arg, jobs[i]));
    }
    pthread_mutex_lock(&worker->lock);
    for (size_t i = 0; i < count; i++) {
        jobs[i]->is_running = false;
        nc_job_list_add(&worker->ended, jobs[i]);
    }
    bool wake = worker->has_talker && worker->talker_waits;
    worker->talker_waits = false;
    pthread_mutex_unlock(&worker->lock);
    if (wake)
        nc_worker_wake_talker(worker);
}

/* Under the lock: the next group of ready jobs. */
static size_t take_ready_locked(struct nearcache_worker *worker, struct nearcache_job **jobs)
{
    size_t count = 0;
    while (count < worker->config.batch && worker->ready.count)
        jobs[count++] = nc_job_list_take(&worker->ready);
    return count;
}

void *nc_worker_handler(void *arg)
{
    struct nearcache_worker *worker = arg;
    pthread_mutex_lock(&worker->lock);
    struct nearcache_job **jobs =
        worker->groups + (size_t)worker->groups_given++ * worker->config.batch;
    for (;;) {
        while (!worker->ready.count && !worker->stop_handlers) {
            worker->handlers_free++;
            pthread_cond_wait(&worker->ready_cond, &worker->lock);
            worker->handlers_free--;
            worker->handler_comes = false;
        }
        size_t count = take_ready_locked(worker, jobs);
        if (count == 0)
            break;
        nc_worker_wake_handler_locked(worker);
        pthread_mutex_unlock(&worker->lock);
        run_group(worker, jobs, count);
        pthread_mutex_lock(&worker->lock);
    }
    pthread_mutex_unlock(&worker->lock);
    return NULL;
}

/* ---- the talker ------------------------------------------------------------------------------ */

/* One thread: the talker's own state. */
struct talker {
    struct nearcache_worker *worker;
    bool bell_sent; /* a wait for the bell is outstanding */
    uint64_t bell_until_ns;
    uint64_t error_pause_ms;
};

static void clear_wake(struct nearcache_worker *worker)
{
    uint64_t count;
    ssize_t got = read(worker->wake_fd, &count, sizeof count);
    (void)got;
}

/* Sends the wait for the bell unless one is outstanding. */
static int send_bell(struct talker *talker, uint64_t wait_ms)
{
    struct nearcache_worker *worker = talker->worker;
    struct nc_args args = {0};
    if (talker->bell_sent)
        return 0;
    if (wait_ms < 1)
        wait_ms = 1;
    nc_args_add_string(&args, "BZPOPMIN");
    nc_queue_add_key(worker->queue, &args, "marker");
    struct nc_text seconds = {0};
    nc_text_add_format(&seconds, "%llu.%03u", (unsigned long long)(wait_ms / 1000),
                       (unsigned)(wait_ms % 1000));
    nc_args_add(&args, seconds.data, seconds.bytes);
    int outcome = args.text.failed || seconds.failed
                      ? NEARCACHE_ENOMEM
                      : nc_waiter_send(worker->bell, &args, nc_queue_deadline_ns(worker->queue));
    nc_text_deinit(&seconds);
    nc_args_deinit(&args);
    if (outcome == 0) {
        talker->bell_sent = true;
        talker->bell_until_ns =
            nc_clock_io_ns() + wait_ms * NC_NS_PER_MS + worker->queue->timeout_us * NC_NS_PER_US;
    }
    return outcome;
}

/* Waits until the bell rings, the talker is woken, or the time is over. */
static int wait_for_bell(struct talker *talker, bool with_bell, uint64_t wait_ms)
{
    struct nearcache_worker *worker = talker->worker;
    struct pollfd polled[2] = {{worker->wake_fd, POLLIN, 0}, {-1, POLLIN, 0}};
    if (with_bell) {
        int outcome = send_bell(talker, wait_ms);
        if (outcome)
            return outcome;
    }
    if (talker->bell_sent)
        polled[1].fd = nc_waiter_fd(worker->bell);
    /* The bell's own timeout ends the wait; ours is only there for a Redis that says nothing. */
    int timeout_ms = with_bell ? -1 : (int)(wait_ms > MAX_BELL_MS ? MAX_BELL_MS : wait_ms);
    if (with_bell) {
        uint64_t now_ns = nc_clock_io_ns();
        timeout_ms = talker->bell_until_ns > now_ns
                         ? (int)((talker->bell_until_ns - now_ns) / NC_NS_PER_MS) + 1
                         : 0;
    }
    int got = poll(polled, 2, timeout_ms);
    if (polled[0].revents)
        clear_wake(worker);
    if (got < 0 && errno != EINTR)
        return NEARCACHE_EIO;
    if (talker->bell_sent && (polled[1].revents || (with_bell && got == 0))) {
        struct nc_value *answer;
        int outcome = nc_waiter_read(worker->bell, nc_clock_io_ns(), &answer);
        if (outcome == NEARCACHE_MISS && nc_clock_io_ns() < talker->bell_until_ns)
            return 0;
        talker->bell_sent = false;
        if (outcome == 0)
            nc_value_free(answer);
        return outcome == NEARCACHE_MISS ? NEARCACHE_ETIMEOUT : outcome;
    }
    return 0;
}

/* How long to wait when there is nothing to take. */
static uint64_t idle_ms(const struct nearcache_worker *worker, const struct nc_exchange *found)
{
    uint64_t wait_ms = worker->config.drain_delay_ms;
    uint64_t now_ms = nc_queue_now_ms();
    if (found->due_ms > 0) {
        uint64_t due_ms = (uint64_t)found->due_ms;
        uint64_t left_ms = due_ms > now_ms ? due_ms - now_ms : 0;
        wait_ms = left_ms > MAX_BELL_MS ? MAX_BELL_MS : left_ms;
    }
    return wait_ms;
}

static void pause_after_error(struct talker *talker, int outcome)
{
    struct nearcache_worker *worker = talker->worker;
    talker->error_pause_ms = talker->error_pause_ms ? talker->error_pause_ms * 2 : 50;
    if (talker->error_pause_ms > MAX_ERROR_PAUSE_MS)
        talker->error_pause_ms = MAX_ERROR_PAUSE_MS;
    nc_worker_tell(worker, NEARCACHE_WORKER_ERROR, NULL, outcome);
    struct pollfd polled = {worker->wake_fd, POLLIN, 0};
    pthread_mutex_lock(&worker->lock);
    bool closing = worker->closing;
    pthread_mutex_unlock(&worker->lock);
    if (poll(&polled, 1, closing ? 10 : (int)talker->error_pause_ms) > 0)
        clear_wake(worker);
}

/* Under the lock: nobody is left to wait for. */
static bool is_over_locked(const struct nearcache_worker *worker)
{
    bool keeps = worker->abandoned || worker->give_up;
    return worker->closing && worker->in_hand == (keeps ? worker->ended.count : 0);
}

/* How many may be taken now; false when the talker's time is over. */
static bool plan(struct nearcache_worker *worker, uint32_t *want, bool *has_ended)
{
    pthread_mutex_lock(&worker->lock);
    uint32_t in_hand = worker->in_hand - (uint32_t)worker->ended.count;
    *has_ended = worker->ended.count > 0 && !worker->abandoned && !worker->give_up;
    *want = worker->closing || in_hand >= worker->config.concurrency
                ? 0
                : worker->config.concurrency - in_hand;
    bool over = is_over_locked(worker);
    pthread_mutex_unlock(&worker->lock);
    return !over;
}

/* With one handler thread: runs what was taken, here. True when something ran. */
static bool run_here(struct nearcache_worker *worker)
{
    bool ran = false;
    if (worker->has_talker)
        return false;
    for (;;) {
        pthread_mutex_lock(&worker->lock);
        size_t count = take_ready_locked(worker, worker->groups);
        pthread_mutex_unlock(&worker->lock);
        if (count == 0)
            return ran;
        run_group(worker, worker->groups, count);
        ran = true;
    }
}

static void note_drained(struct nearcache_worker *worker, const struct nc_exchange *found)
{
    bool drained = found->asked > 0 && found->taken == 0 && found->waiting == 0;
    pthread_mutex_lock(&worker->lock);
    bool news = drained && !worker->drained;
    worker->drained = drained;
    worker->drained_look = found->look;
    if (drained)
        pthread_cond_broadcast(&worker->state_cond);
    pthread_mutex_unlock(&worker->lock);
    if (news)
        nc_worker_tell(worker, NEARCACHE_WORKER_DRAINED, NULL, 0);
}

/* Handlers wake the talker only when it says that it waits, so this is said under the lock, and
 * only while there is something to be woken for. */
static bool nothing_ended(struct nearcache_worker *worker)
{
    pthread_mutex_lock(&worker->lock);
    bool nothing = (worker->ended.count == 0 || worker->abandoned || worker->give_up) &&
                   !is_over_locked(worker);
    worker->talker_waits = nothing;
    pthread_mutex_unlock(&worker->lock);
    return nothing;
}

/* The last thing before a worker closes: jobs that Redis may have handed out are put back. */
static void settle_doubt(struct nearcache_worker *worker)
{
    struct nc_exchange found;
    pthread_mutex_lock(&worker->lock);
    bool ask = worker->in_doubt && !worker->abandoned && !worker->give_up;
    pthread_mutex_unlock(&worker->lock);
    if (ask && nc_worker_exchange(worker, 0, &found))
        nc_log_write(&worker->queue->log, NEARCACHE_LOG_WARNING,
                     "queue %s: Redis does not answer: what it handed out last stays active until "
                     "the stalled check of a worker finds it",
                     worker->queue->name);
}

void *nc_worker_talker(void *arg)
{
    struct nearcache_worker *worker = arg;
    struct talker talker = {.worker = worker};
    struct nc_exchange found = {0};
    uint32_t want;
    bool has_ended;
    bool look = true; /* there may be something to take */
    while (plan(worker, &want, &has_ended)) {
        int outcome = 0;
        if (has_ended || (want && look)) {
            outcome = nc_worker_exchange(worker, want, &found);
            if (outcome == 0) {
                talker.error_pause_ms = 0;
                look = found.asked ? found.taken == found.asked : want > 0;
                note_drained(worker, &found);
                run_here(worker);
                continue;
            }
        } else if (nothing_ended(worker)) {
            bool with_bell = want > 0 && found.wait_ms == 0;
            uint64_t wait_ms = found.wait_ms ? (uint64_t)found.wait_ms : idle_ms(worker, &found);
            outcome = wait_for_bell(&talker, with_bell, want ? wait_ms : MAX_BELL_MS);
            look = true;
        }
        if (outcome)
            pause_after_error(&talker, outcome);
    }
    settle_doubt(worker);
    return NULL;
}

/* ---- the keeper ------------------------------------------------------------------------------ */

/* Adds the jobs whose lock is half over; false when there are none. */
static bool collect_renewals(struct nearcache_worker *worker, struct nc_args *args)
{
    uint64_t now_ns = nc_clock_io_ns();
    uint64_t old_ns = worker->config.lock_duration_ms * NC_NS_PER_MS / 4;
    bool any = false;
    nc_args_add_int(args, (int64_t)worker->config.lock_duration_ms);
    pthread_mutex_lock(&worker->lock);
    for (struct nearcache_job *job = worker->all; job; job = job->all_next)
        if (now_ns - job->renewed_ns >= old_ns) {
            nc_args_add(args, job->info.id, job->id_bytes);
            nc_args_add_string(args, job->token);
            any = true;
        }
    pthread_mutex_unlock(&worker->lock);
    return any;
}

static void note_renewals(struct nearcache_worker *worker, const struct nc_value *lost,
                          uint64_t now_ns, uint64_t old_ns)
{
    pthread_mutex_lock(&worker->lock);
    for (struct nearcache_job *job = worker->all; job; job = job->all_next) {
        if (now_ns - job->renewed_ns >= old_ns)
            job->renewed_ns = now_ns;
        for (size_t i = 0; i + 1 < lost->elements; i += 2)
            /* The same job may have ended and been taken again since: the token tells. */
            if (nc_value_is_text(lost->element[i]) && nc_value_is_text(lost->element[i + 1]) &&
                job->is_running && (size_t)lost->element[i]->len == job->id_bytes &&
                memcmp(lost->element[i]->str, job->info.id, job->id_bytes) == 0 &&
                strcmp(lost->element[i + 1]->str, job->token) == 0) {
                /* Pairs with the load in nearcache_job_cancelled; nothing else depends on it. */
                atomic_store_explicit(&job->cancelled, true, memory_order_relaxed);
            }
    }
    pthread_mutex_unlock(&worker->lock);
}

static void renew(struct nearcache_worker *worker)
{
    struct nc_args args = {0};
    struct nc_value *lost;
    uint64_t now_ns = nc_clock_io_ns();
    if (!collect_renewals(worker, &args)) {
        nc_args_deinit(&args);
        return;
    }
    if (nc_queue_script(worker->queue, NC_QUEUE_SCRIPT_RENEW, &args, &lost) == 0) {
        if (nc_value_is_array(lost, 0))
            note_renewals(worker, lost, now_ns, worker->config.lock_duration_ms * NC_NS_PER_MS / 4);
        nc_value_free(lost);
    }
}

static void look_for_stalled(struct nearcache_worker *worker)
{
    struct nc_args args = {0};
    struct nc_value *found;
    uint64_t most = worker->config.max_stalled_count;
    nc_args_add_int(&args, (int64_t)nc_queue_now_ms());
    nc_args_add_int(&args, (int64_t)worker->config.stalled_interval_ms);
    nc_args_add_int(&args, most == NEARCACHE_NONE ? 0 : (int64_t)most);
    if (nc_queue_script(worker->queue, NC_QUEUE_SCRIPT_STALLED, &args, &found))
        return;
    if (nc_value_is_array(found, 1)) {
        pthread_mutex_lock(&worker->lock);
        worker->stats.stalled_found += found->elements;
        pthread_mutex_unlock(&worker->lock);
        nc_worker_wake_talker(worker);
    }
    nc_value_free(found);
}

void *nc_worker_keeper(void *arg)
{
    struct nearcache_worker *worker = arg;
    uint64_t renew_ns = worker->config.lock_duration_ms * NC_NS_PER_MS / 4;
    uint64_t stalled_ms = worker->config.stalled_interval_ms;
    uint64_t now_ns = nc_clock_io_ns(), next_renew_ns = now_ns + renew_ns / 2;
    uint64_t next_stalled_ns = stalled_ms == NEARCACHE_NONE ? UINT64_MAX : now_ns;
    pthread_mutex_lock(&worker->lock);
    while (!worker->stop_keeper) {
        uint64_t next_ns = next_renew_ns < next_stalled_ns ? next_renew_ns : next_stalled_ns;
        now_ns = nc_clock_io_ns();
        if (now_ns < next_ns) {
            struct timespec at = {(time_t)(next_ns / NC_NS_PER_S), (long)(next_ns % NC_NS_PER_S)};
            pthread_cond_timedwait(&worker->keeper_cond, &worker->lock, &at);
            continue;
        }
        pthread_mutex_unlock(&worker->lock);
        if (now_ns >= next_renew_ns) {
            renew(worker);
            next_renew_ns = nc_clock_io_ns() + renew_ns / 2;
        }
        pthread_mutex_lock(&worker->lock);
        bool stop = worker->stop_keeper; /* a call may have waited long for Redis */
        pthread_mutex_unlock(&worker->lock);
        if (now_ns >= next_stalled_ns && !stop) {
            look_for_stalled(worker);
            next_stalled_ns = nc_clock_io_ns() + stalled_ms * NC_NS_PER_MS;
        }
        pthread_mutex_lock(&worker->lock);
    }
    pthread_mutex_unlock(&worker->lock);
    return NULL;
}
