#include "queue/exchange.h"

#include "base/clock.h"
#include "base/hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what is sent ---------------------------------------------------------------------------- */

static const struct nearcache_keep *keep_of(const struct nearcache_worker *worker,
                                            const struct nearcache_job *job, bool completed)
{
    const struct nearcache_keep *own = completed ? &job->options.complete : &job->options.fail;
    if (own->mode != NEARCACHE_KEEP_DEFAULT)
        return own;
    return completed ? &worker->config.complete : &worker->config.fail;
}

static void add_keep(struct nc_args *args, const struct nearcache_keep *keep)
{
    static const char *const modes[] = {"all", "all", "none", "some"};
    nc_args_add_string(args, modes[keep->mode]);
    nc_args_add_count(args, keep->count == NEARCACHE_NONE ? 0 : keep->count);
    nc_args_add_count(args, keep->age_s);
    nc_args_add_int(args, keep->limit && keep->limit < 1000 ? (int64_t)keep->limit : 1000);
}

/* The job's failures so far and this one, the last `stack_trace_limit` of them, as a JSON array. */
static void add_stack(struct nc_args *args, const struct nearcache_job *job)
{
    struct nc_text stack = {0};
    int64_t limit = job->options.stack_trace_limit;
    const char *old = job->info.stack_trace;
    struct nc_json array = {NULL, 0}, name, value;
    size_t cursor = 0;
    int64_t count = 0;
    if (old && nc_json_check(old, strlen(old), NULL) == 0)
        array = nc_json_root(old, strlen(old));
    while (nc_json_next(array, &cursor, &name, &value))
        count++;
    nc_text_add_string(&stack, "[");
    for (cursor = 0; limit != 0 && nc_json_next(array, &cursor, &name, &value); count--)
        if (limit < 0 || count < limit) {
            nc_text_add(&stack, value.at, value.bytes);
            nc_text_add_string(&stack, ",");
        }
    if (limit != 0)
        nc_json_add_string(&stack, job->text.data, job->text.bytes);
    nc_text_add_string(&stack, "]");
    if (stack.failed)
        args->text.failed = true;
    else
        nc_args_add(args, stack.data, stack.bytes);
    nc_text_deinit(&stack);
}

/* ms until the next try; 0 at once; -1: there is none. */
static int64_t next_try_ms(struct nearcache_worker *worker, const struct nearcache_job *job)
{
    const struct nc_options *options = &job->options;
    uint32_t failures = job->info.attempts_made + 1;
    if (job->unrecoverable || failures >= job->info.attempts)
        return -1;
    if (options->backoff.bytes == 0)
        return 0;
    const char *type = options->backoff.data;
    if (strcmp(type, "fixed") == 0 || strcmp(type, "exponential") == 0) {
        double random = (double)(nc_hash_step(&worker->random) >> 11) / 9007199254740992.0;
        return nc_options_backoff_ms(options, failures, random);
    }
    if (worker->config.backoff)
        return worker->config.backoff(worker->config.backoff_arg, job, type, failures);
    nc_log_write(&worker->queue->log, NEARCACHE_LOG_ERROR,
                 "queue %s: back-off type %.40s is not known to this worker", worker->queue->name,
                 type);
    return -1;
}

/* The ten arguments of one ended job. */
static void add_ended(struct nearcache_worker *worker, struct nearcache_job *job,
                      struct nc_args *args)
{
    int64_t number = 0;
    if (job->outcome == NC_OUTCOME_COMPLETED) {
        job->sent_as = "completed";
    } else if (job->outcome == NC_OUTCOME_LATER) {
        job->sent_as = "later";
        number = (int64_t)job->delay_ms;
    } else {
        number = next_try_ms(worker, job);
        job->sent_as = number < 0 ? "failed" : number == 0 ? "retry" : "delay";
        if (number < 0)
            number = job->info.attempts;
        else if (number == 0)
            number = job->options.lifo;
    }
    nc_args_add(args, job->info.id, job->id_bytes);
    nc_args_add_string(args, job->token);
    nc_args_add_string(args, job->sent_as);
    nc_args_add(args, job->text.data, job->text.bytes);
    if (job->outcome == NC_OUTCOME_FAILED)
        add_stack(args, job);
    else
        nc_args_add(args, "", 0);
    add_keep(args, keep_of(worker, job, job->outcome == NC_OUTCOME_COMPLETED));
    nc_args_add_int(args, number);
}

static void add_head(struct nearcache_worker *worker, uint32_t want, const char *token,
                     const char *doubtful, struct nc_args *args)
{
    const struct nearcache_worker_config *config = &worker->config;
    nc_args_add_int(args, (int64_t)nc_queue_now_ms());
    nc_args_add_string(args, token);
    nc_args_add_int(args, (int64_t)config->lock_duration_ms);
    nc_args_add_int(args, want);
    nc_args_add_string(args, worker->name ? worker->name : "");
    nc_args_add_count(args, config->limit_max);
    nc_args_add_count(args, config->limit_duration_ms);
    nc_args_add_count(args, worker->queue->max_events);
    nc_args_add_string(args, doubtful);
}

/* ---- what comes back ------------------------------------------------------------------------- */

/* What became of an ended job by the code that the script gave for it. */
static void judge(struct nearcache_job *job, int64_t code)
{
    /* Its report was sent before, without an answer, and it has ended since: that one arrived. */
    bool reported = code == 1 || (job->was_sent && (code == -1 || code == -7));
    job->event_outcome = 0;
    if (!reported) {
        job->event = NEARCACHE_WORKER_LOCK_LOST;
        job->event_outcome = code == -1 ? NEARCACHE_MISS : NEARCACHE_EREFUSED;
    } else if (strcmp(job->sent_as, "completed") == 0) {
        job->event = NEARCACHE_WORKER_COMPLETED;
    } else if (strcmp(job->sent_as, "failed") == 0) {
        job->event = NEARCACHE_WORKER_FAILED;
    } else {
        job->event = NEARCACHE_WORKER_RETRIED;
    }
    if (job->outcome == NC_OUTCOME_FAILED)
        job->info.failed_reason = job->text.data;
}

static void count_events_locked(struct nearcache_worker *worker, const struct job_list *reported)
{
    struct nearcache_worker_stats *stats = &worker->stats;
    for (const struct nearcache_job *job = reported->first; job; job = job->next) {
        stats->completed += job->event == NEARCACHE_WORKER_COMPLETED;
        stats->failed += job->event == NEARCACHE_WORKER_FAILED;
        stats->retried += job->event == NEARCACHE_WORKER_RETRIED;
        stats->locks_lost += job->event == NEARCACHE_WORKER_LOCK_LOST;
    }
}

/* A job of a flow cannot complete while its own children are at work (-4), nor when one has failed
 * (-9): it fails instead. */
static void fail_parent(struct nearcache_job *job, int64_t code)
{
    (void)nearcache_job_fail(job,
                             code == -4 ? "the job has children that are not done"
                                        : "the job has children that failed",
                             NEARCACHE_JOB_UNRECOVERABLE);
    job->was_sent = false;
}

/* `codes`: one for each ended job. */
static void settle(struct nearcache_worker *worker, struct job_list *ended,
                   struct nc_value *const *codes)
{
    struct job_list reported = {NULL, NULL, 0}, parents = {NULL, NULL, 0};
    struct nearcache_job *job;
    for (size_t i = 0; (job = nc_job_list_take(ended)); i++) {
        int64_t code = nc_value_int(codes[i]);
        bool waits = code == -4 || code == -9;
        if (waits)
            fail_parent(job, code);
        else
            judge(job, code);
        nc_job_list_add(waits ? &parents : &reported, job);
    }
    pthread_mutex_lock(&worker->lock);
    count_events_locked(worker, &reported);
    pthread_mutex_unlock(&worker->lock);
    for (job = reported.first; job; job = job->next)
        nc_worker_tell(worker, job->event, job, job->event_outcome);
    pthread_mutex_lock(&worker->lock);
    worker->reporting = 0;
    for (job = reported.first; job; job = job->next)
        nc_worker_forget_locked(worker, job);
    while ((job = nc_job_list_take(&parents)))
        nc_job_list_add(&worker->ended, job);
    pthread_mutex_unlock(&worker->lock);
    while ((job = nc_job_list_take(&reported)))
        nearcache_job_free(job);
}

static struct nearcache_job *take_job(struct nearcache_worker *worker, const struct nc_value *row,
                                      const char *token, uint64_t now_ns)
{
    if (!nc_value_is_array(row, 2) || !nc_value_is_text(row->element[0]) ||
        !nc_value_is_array(row->element[1], 0))
        return NULL;
    const struct nc_value *id = row->element[0];
    struct nearcache_job *job = nc_job_create(worker->queue, id->str, (size_t)id->len,
                                              row->element[1]->element, row->element[1]->elements);
    if (!job) /* its lock ends unrenewed, and stalled recovery finds it */
        return NULL;
    job->worker = worker;
    job->renewed_ns = now_ns;
    job->info.attempts_started++;
    job->info.processed_on_ms = (int64_t)nc_queue_now_ms();
    snprintf(job->token, sizeof job->token, "%s", token);
    return job;
}

static void take_jobs(struct nearcache_worker *worker, const struct nc_value *rows,
                      const char *token)
{
    uint64_t now_ns = nc_clock_io_ns();
    struct job_list taken = {NULL, NULL, 0};
    for (size_t i = 0; i < rows->elements; i++) {
        struct nearcache_job *job = take_job(worker, rows->element[i], token, now_ns);
        if (job)
            nc_job_list_add(&taken, job);
    }
    pthread_mutex_lock(&worker->lock);
    for (struct nearcache_job *job; (job = nc_job_list_take(&taken));) {
        job->is_running = true;
        job->all_prev = NULL;
        job->all_next = worker->all;
        if (worker->all)
            worker->all->all_prev = job;
        worker->all = job;
        worker->in_hand++;
        worker->stats.taken++;
        nc_job_list_add(worker->abandoned ? &worker->ended : &worker->ready, job);
    }
    nc_worker_wake_handler_locked(worker);
    pthread_mutex_unlock(&worker->lock);
}

static int take_answer(struct nearcache_worker *worker, const struct nc_value *answer,
                       const char *token, struct job_list *ended, struct nc_exchange *found)
{
    if (!nc_value_is_array(answer, 6) || !nc_value_is_array(answer->element[0], ended->count) ||
        !nc_value_is_array(answer->element[1], 0))
        return NEARCACHE_EPROTOCOL;
    take_jobs(worker, answer->element[1], token);
    found->taken = answer->element[1]->elements;
    found->due_ms = nc_value_int(answer->element[2]);
    found->wait_ms = nc_value_int(answer->element[3]);
    found->paused = nc_value_int(answer->element[4]) != 0;
    found->waiting = nc_value_int(answer->element[5]);
    settle(worker, ended, answer->element[0]->element);
    return 0;
}

/* `arrived`: Redis may have carried it out. */
static void put_back(struct nearcache_worker *worker, struct job_list *ended, bool arrived)
{
    pthread_mutex_lock(&worker->lock);
    for (struct nearcache_job *job; (job = nc_job_list_take(ended));) {
        job->was_sent |= arrived;
        nc_job_list_add(&worker->ended, job);
    }
    worker->reporting = 0;
    worker->stats.errors++;
    pthread_mutex_unlock(&worker->lock);
}

int nc_worker_exchange(struct nearcache_worker *worker, uint32_t want, struct nc_exchange *found)
{
    struct nc_args args = {0};
    struct job_list ended = {NULL, NULL, 0};
    struct nc_value *answer;
    char token[NC_TOKEN_BYTES];
    memset(found, 0, sizeof *found);
    pthread_mutex_lock(&worker->lock);
    if (!worker->abandoned && !worker->give_up) { /* else some of them never ran */
        ended = worker->ended;
        memset(&worker->ended, 0, sizeof worker->ended);
    }
    /* What an exchange without an answer took is handed out first, under the same token; a worker
     * that closes lets go of it. */
    const char *doubtful = !worker->in_doubt ? "" : worker->closing ? "2" : "1";
    if (worker->closing || worker->in_doubt)
        want = 0;
    worker->reporting = (uint32_t)ended.count;
    found->look = worker->looks_wanted;
    snprintf(token, sizeof token, "%s:%llu", worker->uuid, (unsigned long long)worker->counter);
    pthread_mutex_unlock(&worker->lock);
    found->asked = want;
    if (ended.count == 0 && want == 0 && !worker->in_doubt)
        return 0;
    add_head(worker, want, token, doubtful, &args);
    for (struct nearcache_job *job = ended.first; job; job = job->next)
        add_ended(worker, job, &args);
    int outcome = nc_queue_script(worker->queue, NC_QUEUE_SCRIPT_EXCHANGE, &args, &answer);
    if (outcome == 0) {
        outcome = take_answer(worker, answer, token, &ended, found);
        nc_value_free(answer);
    }
    if (outcome == 0) {
        worker->in_doubt = false;
        worker->counter++;
    } else {
        worker->in_doubt |= outcome == NEARCACHE_ETIMEOUT;
        put_back(worker, &ended, outcome == NEARCACHE_ETIMEOUT);
    }
    return outcome;
}
