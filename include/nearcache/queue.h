/*
 * nearcache/queue.h: job queues in Redis that BullMQ (v5 from 5.16, v6) shares with this library.
 *
 *     struct nearcache_redis redis = NEARCACHE_REDIS_INIT;
 *     struct nearcache_job_options how = NEARCACHE_JOB_OPTIONS_INIT;
 *     struct nearcache_worker_config config = NEARCACHE_WORKER_CONFIG_INIT;
 *     struct nearcache_queue *queue;
 *     struct nearcache_worker *worker;
 *
 *     redis.url = "redis://127.0.0.1:6379/0";
 *     if (nearcache_queue_open(&queue, &redis, "mail", NULL)) return 1;   (never waits for Redis)
 *     how.attempts = 3;
 *     how.backoff = NEARCACHE_BACKOFF_EXPONENTIAL;
 *     how.backoff_delay_ms = 1000;
 *     nearcache_queue_add(queue, "welcome", "{\"to\":\"a@b.c\"}", 14, &how, NULL);
 *
 *     static int send_mail(void *arg, struct nearcache_job *job) {
 *         const struct nearcache_job_info *info = nearcache_job_info(job);
 *         if (deliver(info->data, info->data_bytes)) return nearcache_job_fail(job, "no route", 0);
 *         return nearcache_job_return(job, "{\"sent\":true}", 13);
 *     }
 *     config.run = send_mail;
 *     config.concurrency = 8;
 *     nearcache_worker_open(&worker, queue, &config);                      (starts its threads)
 *     ...
 *     nearcache_worker_close(worker, 0);
 *     nearcache_queue_close(queue, 0);
 *
 * Worth knowing before the first call:
 *  - Producers, workers, inspectors (getJob, Bull Board, QueueEvents) may be Node or C in any mix.
 *  - Delivery is at least once: a worker that dies holding a job loses its lock after
 *    lock_duration_ms, and the job runs again, once per death, at most max_stalled_count times.
 *  - `data`, results and progress are JSON (RFC 8259, UTF-8, at most NEARCACHE_JSON_DEPTH deep),
 *    validated here, because text that is not JSON ends the event loop of a BullMQ QueueEvents.
 *    They are stored byte for byte.
 *  - Not spoken: flows, deduplication, metrics lists, telemetry and the repeat option (use a
 *    schedule). Adding one answers NEARCACHE_ENOTSUP. A worker that is handed a child of a flow
 *    fails that job for good with a clear reason rather than leave its parent waiting unseen.
 *  - Redis is one primary, by address or by Sentinel: a queue does not work with a cluster.
 *  - Redis must not evict: a maxmemory-policy other than noeviction is warned about in the log.
 *  - Every call is thread-safe unless it says otherwise. Strings given are copied.
 *  - In a child of fork() all calls on the parent's handles answer NEARCACHE_EFORK (stats of a
 *    worker: zeros), and those that return nothing do nothing. The child opens its own.
 *  - Outcomes are those of nearcache.h; where a code alone does not tell, the log line does.
 *
 * This header is C99 and C++ clean.
 */
#ifndef NEARCACHE_QUEUE_H
#define NEARCACHE_QUEUE_H

#include <nearcache.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- limits and defaults ------------------------------------------------------------------- */

#define NEARCACHE_QUEUE_PREFIX "bull"
#define NEARCACHE_QUEUE_TIMEOUT_US 5000000u
#define NEARCACHE_QUEUE_NAME_BYTES 255u
#define NEARCACHE_JOB_ID_BYTES 255u
#define NEARCACHE_JOB_MAX_PRIORITY 2097151u
#define NEARCACHE_JOB_DATA_BYTES ((uint64_t)64 << 20)
#define NEARCACHE_JSON_DEPTH 512u
#define NEARCACHE_WORKER_LOCK_MS 30000u
#define NEARCACHE_WORKER_STALLED_MS 30000u
#define NEARCACHE_WORKER_MAX_STALLED 1u
#define NEARCACHE_WORKER_DRAIN_MS 5000u
#define NEARCACHE_WORKER_MAX_CONCURRENCY 4096u
#define NEARCACHE_EMBEDDING_BATCH 32u

struct nearcache_queue;
struct nearcache_worker;
struct nearcache_job;
struct nearcache_events;
struct nearcache_cron;

/* ---- open and close ------------------------------------------------------------------------ */

struct nearcache_job_options;

struct nearcache_queue_config {
    size_t size;        /* sizeof(struct nearcache_queue_config) */
    const char *prefix; /* of every key, without the colon; default "bull" */
    /* What jobs get where the options of an add leave something at its default; no id, delay or
     * timestamp, in its JSON neither. Copied. */
    const struct nearcache_job_options *defaults;
    uint64_t timeout_us; /* of each call, and of closing; default 5 s */
    uint64_t max_events; /* approximate length of the event stream; 0: what the queue says, 10000 */
    nearcache_log_fn log; /* runs on the thread of the call, or one of a worker */
    void *log_arg;
    enum nearcache_log_level log_level; /* default NEARCACHE_LOG_ERROR */
};
#define NEARCACHE_QUEUE_CONFIG_INIT                                                                \
    {                                                                                              \
        sizeof(struct nearcache_queue_config), 0, 0, 0, 0, 0, 0, NEARCACHE_LOG_ERROR               \
    }

/*
 * Opens a queue: the handle for adding, looking and ordering, and what workers, schedules and
 * event readers are opened from. `redis` is the struct that the cache takes. Never waits for
 * Redis; the first call does. `name` is 1 to 255 bytes without a colon; config may be NULL.
 * Returns 0 (close with nearcache_queue_close); NEARCACHE_EINVAL, ECONFIG, ENOTSUP (a cluster, or
 * TLS not built in), ENOMEM, EIO.
 */
int nearcache_queue_open(struct nearcache_queue **queue, const struct nearcache_redis *redis,
                         const char *name, const struct nearcache_queue_config *config);

/*
 * Closes a queue; `timeout_us` 0 is the configured one. Close its workers and event readers first:
 * NEARCACHE_EBUSY, and nothing happens, while one is open; NEARCACHE_EFORK. NULL is allowed. One
 * thread, and no other call may be running on the queue.
 */
int nearcache_queue_close(struct nearcache_queue *queue, uint64_t timeout_us);

/* Waits until Redis answers: 0, NEARCACHE_ETIMEOUT, EOFFLINK, EAUTH, EFORK. */
int nearcache_queue_wait(struct nearcache_queue *queue, uint64_t timeout_us);

/* The name that the queue was opened with. Valid as long as the queue. */
const char *nearcache_queue_name(const struct nearcache_queue *queue);

/* ---- adding -------------------------------------------------------------------------------- */

enum nearcache_backoff {
    NEARCACHE_BACKOFF_DEFAULT = 0,     /* the queue's default; without one a retry runs at once */
    NEARCACHE_BACKOFF_NONE = 1,        /* a retry runs at once */
    NEARCACHE_BACKOFF_FIXED = 2,       /* after backoff_delay_ms */
    NEARCACHE_BACKOFF_EXPONENTIAL = 3, /* after backoff_delay_ms * 2^(failures - 1) */
    NEARCACHE_BACKOFF_CUSTOM = 4       /* another type, which the worker must know */
};

enum nearcache_keep_mode {
    NEARCACHE_KEEP_DEFAULT = 0, /* the queue's default, else the worker's, else all */
    NEARCACHE_KEEP_ALL = 1,
    NEARCACHE_KEEP_NONE = 2, /* removed when it ends; the event is still sent */
    NEARCACHE_KEEP_SOME = 3  /* by count, age, or both; of the whole queue */
};

/* How many ended jobs stay. Applied whenever a job that carries it ends. */
struct nearcache_keep {
    enum nearcache_keep_mode mode;
    uint64_t count; /* the newest; 0 or NEARCACHE_NONE: any number */
    uint64_t age_s; /* ended at most this long ago; 0: any age */
    uint64_t limit; /* removed by age at a time; default 1000, which is also the most */
};

struct nearcache_job_options {
    size_t size; /* sizeof(struct nearcache_job_options) */
    /*
     * A name of the caller's. A job that exists already is not added again (NEARCACHE_MISS of the
     * adds below). Not an integer, no colon, at most 255 bytes. NULL: the queue counts.
     */
    const char *job_id;
    uint32_t priority; /* 1 runs first, 2097151 last; 0: before all of them, in order of adding */
    uint32_t lifo;     /* 1: the next job to run */
    int64_t delay_ms;  /* not before this many ms after timestamp_ms; negative is an error */
    uint32_t attempts; /* tries in all; 0: the queue's default, else 1 */
    enum nearcache_backoff backoff;
    uint64_t backoff_delay_ms;
    double backoff_jitter;          /* 0..1: the delay is drawn from [d * (1 - jitter), d] */
    struct nearcache_keep complete; /* removeOnComplete */
    struct nearcache_keep fail;     /* removeOnFail */
    uint64_t stack_trace_limit;     /* failures whose text is kept; 0: all; NEARCACHE_NONE: none */
    uint64_t keep_logs;             /* log lines that are kept; 0: all */
    uint64_t timestamp_ms;          /* of creation; 0: now */
    /*
     * BullMQ's options as a JSON object, for those who have them as text; NULL: none. Fields
     * above that are not at their default win. Members that this library does not know are
     * stored as they are. job_id, delay, priority and so on are read with BullMQ's names.
     */
    const char *json;
    size_t json_bytes;
};
#define NEARCACHE_JOB_OPTIONS_INIT                                                                 \
    {                                                                                              \
        sizeof(struct nearcache_job_options), 0, 0, 0, 0, 0, NEARCACHE_BACKOFF_DEFAULT, 0, 0,      \
            {NEARCACHE_KEEP_DEFAULT, 0, 0, 0}, {NEARCACHE_KEEP_DEFAULT, 0, 0, 0}, 0, 0, 0, 0, 0    \
    }

/* The id of a job, zero-terminated. */
struct nearcache_job_id {
    char text[NEARCACHE_JOB_ID_BYTES + 1];
};

/*
 * Adds one job. `data` is JSON (NULL with 0 bytes: {}); `how` may be NULL; `id` (may be NULL)
 * receives the id.
 * Returns 0; NEARCACHE_MISS: a job with that id exists and nothing was added (*id is written);
 * NEARCACHE_EINVAL (not JSON, an id or number out of its range, ...: the log says which),
 * NEARCACHE_ETOOBIG (data), NEARCACHE_ENOTSUP (an option listed above), NEARCACHE_ETIMEOUT (it
 * may or may not have been added; with a job_id adding again is safe), NEARCACHE_EOFFLINK,
 * NEARCACHE_EREMOTE (Redis is full or refuses), EAUTH, EPROTOCOL, ENOMEM (nothing was sent, unless
 * memory ran out for the answer itself), EFORK, ECLOSED.
 */
int nearcache_queue_add(struct nearcache_queue *queue, const char *name, const void *data,
                        size_t data_bytes, const struct nearcache_job_options *how,
                        struct nearcache_job_id *id);

struct nearcache_job_spec {
    const char *name;
    const void *data;
    size_t data_bytes;
    const struct nearcache_job_options *how; /* may be NULL, may be shared */
};

/*
 * Adds many jobs, in order, hundreds per script call: each call is atomic, the whole is not.
 * ids (may be NULL) and statuses (may be NULL) have `count` elements; statuses[i] is what
 * nearcache_queue_add would have returned. Nothing is sent when one of the jobs is invalid; the
 * statuses of the others are then NEARCACHE_ECANCELED.
 * Returns 0 when every status is 0 or NEARCACHE_MISS, else the first failure. timeout_us applies
 * to each script call.
 */
int nearcache_queue_add_many(struct nearcache_queue *queue, const struct nearcache_job_spec *jobs,
                             size_t count, struct nearcache_job_id *ids, int *statuses);

/* ---- jobs ---------------------------------------------------------------------------------- */

enum nearcache_job_state {
    NEARCACHE_JOB_UNKNOWN = 0, /* the job exists in no list: it is moving, or was damaged */
    NEARCACHE_JOB_WAITING = 1,
    NEARCACHE_JOB_ACTIVE = 2,
    NEARCACHE_JOB_DELAYED = 3,
    NEARCACHE_JOB_PRIORITIZED = 4,
    NEARCACHE_JOB_COMPLETED = 5,
    NEARCACHE_JOB_FAILED = 6,
    NEARCACHE_JOB_WAITING_CHILDREN = 7,
    NEARCACHE_JOB_PAUSED = 8 /* in the list that BullMQ v5 keeps while a queue is paused */
};

/* "waiting", "active", ... "unknown". Static. */
const char *nearcache_job_state_name(enum nearcache_job_state state);

/*
 * What is known of a job. Texts are zero-terminated besides their length; an absent one is NULL.
 * The library makes this struct; it grows at its end.
 */
struct nearcache_job_info {
    const char *id;
    const char *queue;
    const char *name;
    const char *data; /* JSON */
    size_t data_bytes;
    const char *options; /* JSON */
    size_t options_bytes;
    uint32_t attempts;         /* tries allowed in all, at least 1 */
    uint32_t attempts_made;    /* tries that have ended */
    uint32_t attempts_started; /* tries that have begun */
    uint32_t stalled;          /* times that a worker died or hung with it */
    uint32_t priority;
    int64_t delay_ms;
    int64_t timestamp_ms;
    int64_t processed_on_ms; /* begin of the latest try; 0: none */
    int64_t finished_on_ms;  /* 0: not ended */
    const char *progress;    /* JSON */
    const char *result;      /* JSON; only of completed jobs */
    size_t result_bytes;
    const char *failed_reason;
    const char *stack_trace;  /* a JSON array of strings, one per failed try */
    const char *processed_by; /* name of the worker */
    const char *schedule_id;  /* the schedule that made it */
    const char *parent;       /* key of the parent in a flow */
};

/*
 * What is known of the job: in a handler, as of its start. Valid until the handler returns, or
 * nearcache_job_free.
 */
const struct nearcache_job_info *nearcache_job_info(const struct nearcache_job *job);

/* ---- workers ------------------------------------------------------------------------------- */

enum {
    NEARCACHE_JOB_UNRECOVERABLE = 1 /* no further try, however many are left */
};

/*
 * Runs one job on one of the worker's threads. Say the outcome with nearcache_job_return,
 * nearcache_job_fail or nearcache_job_delay and return what that returned; a handler that says
 * nothing completes with null when it returns 0 and fails when it returns anything else.
 */
typedef int (*nearcache_job_fn)(void *arg, struct nearcache_job *job);

/*
 * Runs several jobs at once (at least 1, at most `batch`). Each has its own outcome, said as
 * above; for jobs without one the return value decides.
 */
typedef int (*nearcache_job_batch_fn)(void *arg, struct nearcache_job **jobs, size_t count);

/*
 * The delay of a custom back-off type in ms; `failures` counts this one. -1: fail for good.
 */
typedef int64_t (*nearcache_backoff_fn)(void *arg, const struct nearcache_job *job,
                                        const char *type, uint32_t failures);

enum nearcache_worker_event {
    NEARCACHE_WORKER_COMPLETED = 0, /* job: the job */
    NEARCACHE_WORKER_FAILED = 1,    /* failed for good */
    NEARCACHE_WORKER_RETRIED = 2,   /* failed, or was put off, and will run again */
    NEARCACHE_WORKER_LOCK_LOST = 3, /* somebody else has the job, or may have */
    NEARCACHE_WORKER_DRAINED = 4,   /* job NULL: nothing to do any more, or the queue is paused */
    NEARCACHE_WORKER_ERROR = 5      /* job NULL: Redis is in trouble; the worker tries again */
};
/*
 * Runs on a thread of the worker; the job is valid during the call, and its failed_reason is that
 * of the try that FAILED or RETRIED reports.
 */
typedef void (*nearcache_worker_event_fn)(void *arg, enum nearcache_worker_event event,
                                          const struct nearcache_job *job, int outcome);

struct nearcache_worker_config {
    size_t size;          /* sizeof(struct nearcache_worker_config) */
    nearcache_job_fn run; /* exactly one of run and run_batch */
    nearcache_job_batch_fn run_batch;
    void *run_arg;
    uint32_t concurrency; /* jobs in hand at a time; default 1, or `batch` */
    uint32_t batch;       /* jobs per call of run_batch; default 1 */
    /* Shown by getWorkers and as processed_by; printable ASCII without blanks. NULL: none. */
    const char *name;
    uint64_t lock_duration_ms;    /* default 30 s; renewed at half of its half */
    uint64_t stalled_interval_ms; /* default 30 s; NEARCACHE_NONE: this worker does not check */
    uint64_t max_stalled_count;   /* default 1; NEARCACHE_NONE: never again after a stall */
    uint64_t drain_delay_ms; /* longest wait for the bell when idle; default 5 s, at most 1 h */
    /* Jobs started per limit_duration_ms by all workers; 0: no limit. The number that the queue was
     * given with nearcache_queue_set_rate goes before this one. */
    uint64_t limit_max;
    uint64_t limit_duration_ms;
    struct nearcache_keep complete; /* for jobs that say nothing themselves */
    struct nearcache_keep fail;
    nearcache_backoff_fn backoff; /* for types other than fixed and exponential */
    void *backoff_arg;
    nearcache_worker_event_fn on_event;
    void *on_event_arg;
};
#define NEARCACHE_WORKER_CONFIG_INIT                                                               \
    {                                                                                              \
        sizeof(struct nearcache_worker_config), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,                \
            {NEARCACHE_KEEP_DEFAULT, 0, 0, 0}, {NEARCACHE_KEEP_DEFAULT, 0, 0, 0}, 0, 0, 0, 0       \
    }

/*
 * Opens a worker and starts it: concurrency / batch handler threads (rounded up), one that renews
 * locks and looks for stalled jobs, and, for more than one handler thread, one that talks to
 * Redis. With one handler thread finishing a job and taking the next is one round trip on the
 * thread that runs it. Never waits for Redis. The queue must stay open.
 * Returns 0; NEARCACHE_EINVAL, ENOMEM, EIO, EFORK.
 */
int nearcache_worker_open(struct nearcache_worker **worker, struct nearcache_queue *queue,
                          const struct nearcache_worker_config *config);

/*
 * Closes a worker: takes nothing more, waits for running handlers and reports their outcomes.
 * `timeout_us` 0: as long as they take. When time is over, nearcache_job_cancelled turns true and
 * NEARCACHE_EBUSY is returned: call again, or nearcache_worker_abandon. NEARCACHE_EFORK. NULL is
 * allowed. One thread, and not a handler.
 */
int nearcache_worker_close(struct nearcache_worker *worker, uint64_t timeout_us);

/*
 * Closes by force: running handlers see nearcache_job_cancelled and are waited for (threads cannot
 * be ended from outside), but nothing of theirs is reported: their jobs stay active, without
 * renewal, and stalled recovery gives them to another worker.
 */
void nearcache_worker_abandon(struct nearcache_worker *worker);

/*
 * Waits until the worker has looked after this call began, found nothing to do, and has nothing in
 * hand: 0, NEARCACHE_ETIMEOUT or EFORK. Jobs that a rate or the queue's concurrency holds back are
 * to do; those of a paused queue and delayed ones are not. `timeout_us` 0: the queue's.
 */
int nearcache_worker_wait_idle(struct nearcache_worker *worker, uint64_t timeout_us);

/* What a worker did so far. */
struct nearcache_worker_stats {
    uint64_t taken, completed, failed, retried, locks_lost, stalled_found, errors;
    uint64_t running; /* jobs in hand now */
};
void nearcache_worker_stats(const struct nearcache_worker *worker,
                            struct nearcache_worker_stats *stats);

/* ---- inside a handler ---------------------------------------------------------------------- */

/*
 * The job's result: JSON, copied (NULL with 0 bytes: null). Returns 0; NEARCACHE_EINVAL when it
 * is not JSON: the job then fails with that as its reason unless an outcome is said again.
 * NEARCACHE_ENOMEM.
 */
int nearcache_job_return(struct nearcache_job *job, const void *json, size_t bytes);

/*
 * The try has failed. `reason` is text, not JSON, and is copied; bytes that are not UTF-8 are
 * replaced. flags: 0 or NEARCACHE_JOB_UNRECOVERABLE. Returns 0, NEARCACHE_EINVAL, ENOMEM.
 */
int nearcache_job_fail(struct nearcache_job *job, const char *reason, unsigned flags);

/* Not now: runs again after delay_ms, and this try does not count. Returns 0 or NEARCACHE_EINVAL.
 */
int nearcache_job_delay(struct nearcache_job *job, uint64_t delay_ms);

/*
 * Tells watchers how far it is: JSON, a number or an object by habit. One round trip.
 * Returns as nearcache_queue_add; NEARCACHE_MISS when the job does not exist any more.
 */
int nearcache_job_progress(struct nearcache_job *job, const void *json, size_t bytes);

/* Adds a line to the job's log. One round trip; outcomes as above. */
int nearcache_job_log(struct nearcache_job *job, const char *line);

/*
 * 1 when going on is useless: the lock was lost, or the worker is closing and out of time. Long
 * handlers ask now and then. One load.
 */
int nearcache_job_cancelled(const struct nearcache_job *job);

/* ---- looking ------------------------------------------------------------------------------- */

/* `paused` counts jobs in the separate list that BullMQ v5 keeps; is_paused is the state. */
struct nearcache_queue_stats {
    uint64_t waiting, active, completed, failed;
    uint64_t delayed, prioritized, waiting_children, paused;
    uint32_t is_paused;
};
/* All counts at one moment. Returns 0 or as nearcache_queue_add. */
int nearcache_queue_stats(struct nearcache_queue *queue, struct nearcache_queue_stats *stats);

/* Reads a job; free it with nearcache_job_free. NEARCACHE_MISS: there is none. */
int nearcache_queue_job(struct nearcache_queue *queue, const char *id, struct nearcache_job **job);
void nearcache_job_free(struct nearcache_job *job);

/* Where a job is: 0; NEARCACHE_MISS when it does not exist. */
int nearcache_queue_job_state(struct nearcache_queue *queue, const char *id,
                              enum nearcache_job_state *state);

/*
 * Lists jobs of a state: `first` skipped, at most `count` returned; waiting, prioritized and
 * delayed with the next to run first, active with the oldest first, ended ones with the newest
 * first. jobs[] has `count` elements; *found are written, each to be freed. Jobs that vanish
 * meanwhile are left out. Returns 0 or as nearcache_queue_add.
 */
int nearcache_queue_list(struct nearcache_queue *queue, enum nearcache_job_state state,
                         uint64_t first, size_t count, struct nearcache_job **jobs, size_t *found);

/* Called once per line or name; a return other than 0 ends the walk and is returned. */
typedef int (*nearcache_text_fn)(void *arg, const char *text, size_t bytes);

/* The log lines of a job, oldest first. */
int nearcache_queue_job_logs(struct nearcache_queue *queue, const char *id, nearcache_text_fn each,
                             void *arg);

/*
 * The workers that are connected, Node's too, by the names of their connections ("" for one
 * without a name). NEARCACHE_ENOTSUP where CLIENT LIST is forbidden.
 */
int nearcache_queue_workers(struct nearcache_queue *queue, nearcache_text_fn each, void *arg);

/* ---- ordering ------------------------------------------------------------------------------ */

/*
 * Each returns 0 or as nearcache_queue_add; NEARCACHE_MISS when there is no such job;
 * NEARCACHE_EREFUSED when its state forbids it (the log says why).
 */
/* A failed or completed job runs again. `attempts_made` stays, unless reset_attempts is 1. */
int nearcache_queue_retry(struct nearcache_queue *queue, const char *id, unsigned reset_attempts);
/* A delayed job runs now. */
int nearcache_queue_promote(struct nearcache_queue *queue, const char *id);
/* Refused while a worker holds it, and for the next job of a schedule. */
int nearcache_queue_remove(struct nearcache_queue *queue, const char *id);

/*
 * Removes up to `limit` (0: all) jobs of a state that ended (waiting, prioritized, paused: were
 * created; delayed: were created) at least grace_ms ago. Locked jobs and the next jobs of schedules
 * stay. States: completed, failed, waiting, prioritized, delayed, paused. *removed may be NULL.
 */
int nearcache_queue_clean(struct nearcache_queue *queue, enum nearcache_job_state state,
                          uint64_t grace_ms, uint64_t limit, uint64_t *removed);

/* Removes all that waits, with `delayed` 1 the delayed ones too (but those of schedules). */
int nearcache_queue_drain(struct nearcache_queue *queue, unsigned delayed);

/*
 * Removes the queue with everything in it. It must be paused, and without active jobs unless
 * `force` is 1: else NEARCACHE_EREFUSED (the log says why).
 */
int nearcache_queue_obliterate(struct nearcache_queue *queue, unsigned force);

/* Workers everywhere finish what they have and take nothing more, until resumed. */
int nearcache_queue_pause(struct nearcache_queue *queue);
int nearcache_queue_resume(struct nearcache_queue *queue);

/* Each returns 0; NEARCACHE_EINVAL (a number out of its range, see the log); as
 * nearcache_queue_add. */
/* Most jobs active at a time over all workers; 0: no limit. */
int nearcache_queue_set_concurrency(struct nearcache_queue *queue, uint64_t most);
/* Most jobs started per duration (at most 2^40 ms) over all workers; 0: no limit. */
int nearcache_queue_set_rate(struct nearcache_queue *queue, uint64_t most, uint64_t duration_ms);

/* ---- events -------------------------------------------------------------------------------- */

/* One entry of the event stream. Valid until the next call on its reader. */
struct nearcache_event {
    const char *id;     /* position: "ms-n" */
    const char *event;  /* added, waiting, active, delayed, progress, completed, failed, ... */
    const char *job_id; /* "" where an event has none */
    /* The remaining pairs in order: name, value. */
    const char *const *pairs;
    size_t pair_count;
};

/*
 * Opens a reader; `after` is the position of the last event seen, "0" for all that is kept, NULL
 * for those that come from now on. With a connection of its own. Returns as nearcache_queue_open.
 */
int nearcache_events_open(struct nearcache_events **events, struct nearcache_queue *queue,
                          const char *after);
/*
 * The next event: 0; NEARCACHE_MISS: none came within timeout_us; as nearcache_queue_add
 * otherwise, and calling again goes on behind the last event. One thread at a time.
 */
int nearcache_events_next(struct nearcache_events *events, uint64_t timeout_us,
                          struct nearcache_event *event);
void nearcache_events_close(struct nearcache_events *events);

/* ---- schedules ----------------------------------------------------------------------------- */

struct nearcache_schedule {
    size_t size;      /* sizeof(struct nearcache_schedule) */
    const char *cron; /* exactly one of cron and every_ms */
    uint64_t every_ms;
    const char *tz;   /* IANA name for cron; NULL: this machine's zone ($TZ, /etc/localtime) */
    uint64_t limit;   /* iterations in all; 0: no limit */
    int64_t start_ms; /* none before; 0: no start */
    int64_t end_ms;   /* none after; 0: no end */
    const char *job_name;
    const void *data; /* JSON; NULL with 0 bytes: {} */
    size_t data_bytes;
    const struct nearcache_job_options *how; /* of each job; job_id and delay_ms must be unset */
};
#define NEARCACHE_SCHEDULE_INIT                                                                    \
    {                                                                                              \
        sizeof(struct nearcache_schedule), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0                            \
    }

/*
 * Creates or changes a schedule: its next job is put up at once as a delayed job, and whichever
 * worker takes that puts up the one after it. *next_ms (may be NULL): when it is due.
 * Returns 0; NEARCACHE_EINVAL (the log says what is wrong with the pattern, zone, ...);
 * NEARCACHE_MISS: no time is left before end_ms, nothing was changed; NEARCACHE_EBUSY: an iteration
 * of that time is being worked on; as nearcache_queue_add.
 */
int nearcache_queue_schedule(struct nearcache_queue *queue, const char *schedule_id,
                             const struct nearcache_schedule *schedule, int64_t *next_ms);

/* Ends a schedule and removes its next job. NEARCACHE_MISS: there is none of that name. */
int nearcache_queue_unschedule(struct nearcache_queue *queue, const char *schedule_id);

struct nearcache_schedule_info {
    const char *id;
    const char *cron; /* NULL: every_ms */
    uint64_t every_ms;
    const char *tz;
    const char *job_name;
    const char *data; /* JSON; NULL: {} */
    const char *options;
    uint64_t iterations;
    uint64_t limit;
    int64_t start_ms, end_ms;
    int64_t next_ms;
};
/* Called once per schedule; a return other than 0 ends the walk and is returned. */
typedef int (*nearcache_schedule_fn)(void *arg, const struct nearcache_schedule_info *info);
/* All schedules, the next one due first. */
int nearcache_queue_schedules(struct nearcache_queue *queue, nearcache_schedule_fn each, void *arg);

/*
 * A cron pattern: five fields (minute hour day month weekday), or six with seconds in front; *
 * , - / ? and names (jan..dec, sun..sat), weekday 0-7, L (last day), 5L (last Friday), 1#2 (second
 * Monday), @yearly @monthly @weekly @daily @hourly. When day and weekday are both given either one
 * is enough. A time that the spring change skips runs that much later on the same day; a fixed
 * hour that autumn repeats runs once.
 * `tz` as in a schedule; a $TZ that is no zone and no rule is an error. `why` (may be NULL)
 * receives up to why_bytes of what is wrong. Returns 0 (free with nearcache_cron_destroy),
 * NEARCACHE_EINVAL, NEARCACHE_ENOMEM.
 */
int nearcache_cron_create(struct nearcache_cron **cron, const char *pattern, const char *tz,
                          char *why, size_t why_bytes);
/* The first time strictly after from_ms: 0, or NEARCACHE_MISS: none comes in the next 40 years. */
int nearcache_cron_next(const struct nearcache_cron *cron, int64_t from_ms, int64_t *next_ms);
void nearcache_cron_destroy(struct nearcache_cron *cron);

/* ---- JSON ---------------------------------------------------------------------------------- */

/*
 * Whether a text is what the queue takes as data, results and progress: one JSON value, see above.
 * What other programs left in Redis need not be. Returns 0 or NEARCACHE_EINVAL; *where (may be
 * NULL) is then the offset of the first wrong byte, unless text is NULL. Thread-safe.
 */
int nearcache_json_check(const void *text, size_t bytes, size_t *where);

/* ---- the three queues of the fashion search service ------------------------------------------ */

enum nearcache_preset_queue {
    NEARCACHE_QUEUE_PRODUCTS = 0,   /* product-refresh */
    NEARCACHE_QUEUE_EMBEDDINGS = 1, /* embedding-computation */
    NEARCACHE_QUEUE_ANALYTICS = 2   /* analytics-processing */
};

/* Opens one of them with its name and defaults; config->defaults must be NULL. */
int nearcache_queue_open_preset(struct nearcache_queue **queue, const struct nearcache_redis *redis,
                                enum nearcache_preset_queue preset,
                                const struct nearcache_queue_config *config);

/* Sets up its schedule (products 0 2 * * *, analytics 0 0 * * *). NEARCACHE_ENOTSUP: embeddings. */
int nearcache_queue_schedule_preset(struct nearcache_queue *queue, const char *tz,
                                    int64_t *next_ms);

/*
 * One refresh-products job, priority 1; `limit` 0: none given. marketplace is amazon or flipkart.
 * category NULL: the four categories top, bottom, shoes and accessories at limit 100, priority 2,
 * in one call; *id is then the last one's.
 */
int nearcache_queue_refresh_products(struct nearcache_queue *queue, const char *marketplace,
                                     const char *category, uint64_t limit,
                                     struct nearcache_job_id *id);

struct nearcache_embedding_request {
    const char *product_id;
    const char *image_url;
    const char *title;
    const char *category;
};
/* compute-embedding jobs: one has priority 1, several 2; fresh 1: new products, priority 0. */
int nearcache_queue_compute_embeddings(struct nearcache_queue *queue,
                                       const struct nearcache_embedding_request *requests,
                                       size_t count, unsigned fresh, struct nearcache_job_id *ids);

/*
 * A process-analytics job; type is daily, weekly, monthly or custom; dates as text; `metrics` a
 * JSON array; all but type may be NULL.
 */
int nearcache_queue_process_analytics(struct nearcache_queue *queue, const char *type,
                                      const char *start_date, const char *end_date,
                                      const char *metrics, struct nearcache_job_id *id);

/* Removes completed jobs older than 7 days and failed ones older than 30, 100 of each at a time. */
int nearcache_queue_clean_preset(struct nearcache_queue *queue, uint64_t *removed);

#ifdef __cplusplus
}
#endif

#endif
