/*
 * queue/job: a job as it was read from Redis, and, in a worker, what becomes of it.
 */
#ifndef NC_QUEUE_JOB_H
#define NC_QUEUE_JOB_H

#include "queue/queue.h"

enum nc_outcome {
    NC_OUTCOME_NONE = 0, /* the handler has not said */
    NC_OUTCOME_COMPLETED,
    NC_OUTCOME_FAILED,
    NC_OUTCOME_LATER /* not now; the try does not count */
};

#define NC_TOKEN_BYTES 64

/*
 * One thread at a time: the reader's, or in a worker its handler's until the job is handed back.
 * `cancelled` alone is written by others.
 */
struct nearcache_job {
    struct nearcache_job_info info; /* points into `texts` */
    size_t id_bytes;                /* others may add ids with zero bytes */
    struct nearcache_queue *queue;
    struct nc_options options;
    bool has_deferred_failure; /* `defa`: it stalled too often and must not run */
    const char *deferred_failure;
    char *texts;

    /* In a worker. */
    struct nearcache_worker *worker;
    struct nearcache_job *next;                /* in the list of ready or of ended jobs */
    struct nearcache_job *all_prev, *all_next; /* of all that the worker holds */
    char token[NC_TOKEN_BYTES];
    uint64_t renewed_ns;
    bool is_running; /* between taking and handing back; guarded by the worker's lock */
    bool was_sent;   /* its end was sent and there was no answer */
    atomic_bool cancelled;
    enum nc_outcome outcome;
    bool unrecoverable;

    uint64_t delay_ms;
    struct nc_text text;               /* the result or the reason */
    const char *sent_as;               /* "completed", "retry", ...: how its end was reported */
    enum nearcache_worker_event event; /* what is told of it, with this outcome */
    int event_outcome;
};

/* From the pairs of a HGETALL, elements[first] being the first name. NULL without memory. */
struct nearcache_job *nc_job_create(struct nearcache_queue *queue, const char *id, size_t id_bytes,
                                    struct nc_value *const *elements, size_t count);

#endif
