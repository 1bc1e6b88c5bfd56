/*
 * queue/options: the options of a job, between the caller's struct, BullMQ's JSON and what the
 * worker needs to know. Four sources are laid over each other, later ones win: JSON of the queue's
 * defaults, their fields, JSON of the call, its fields. Members that are not known here are kept.
 */
#ifndef NC_QUEUE_OPTIONS_H
#define NC_QUEUE_OPTIONS_H

#include "nearcache/queue.h"
#include "queue/json.h"

#define NC_OPTIONS_WHY_BYTES 160

/* One thread. What the sources said. */
struct nc_options {
    struct nc_text job_id; /* decoded; empty: none */
    uint32_t priority;
    bool lifo;
    int64_t delay_ms;
    uint32_t attempts;      /* 0: not said */
    struct nc_text backoff; /* its type; empty: none */
    int64_t backoff_delay_ms;
    double backoff_jitter;
    struct nearcache_keep complete, fail;
    int64_t stack_trace_limit;      /* -1: not said */
    int64_t keep_logs;              /* 0: all */
    int64_t timestamp_ms;           /* 0: not said */
    char why[NC_OPTIONS_WHY_BYTES]; /* what is wrong, after a failure */
};

void nc_options_init(struct nc_options *options);
void nc_options_deinit(struct nc_options *options);

/* Reads what Redis holds of a job: nothing is refused, what makes no sense is as if not there. */
void nc_options_read(struct nc_options *options, const char *json, size_t bytes);

/*
 * Lays the sources over each other and appends the JSON to be stored to *json. Returns 0,
 * NEARCACHE_EINVAL, NEARCACHE_ENOTSUP (a member that needs what is not spoken here), ENOMEM.
 */
int nc_options_resolve(struct nc_options *options, const struct nearcache_job_options *defaults,
                       const struct nearcache_job_options *how, struct nc_text *json);

/* The options of a schedule's jobs as their template: without id, delay and time. */
void nc_options_write_template(const struct nc_options *options,
                               const struct nearcache_job_options *defaults,
                               const struct nearcache_job_options *how, struct nc_text *json);

/* The wait before the next try, `failures` counting this one. */
int64_t nc_options_backoff_ms(const struct nc_options *options, uint32_t failures, double random);

/* Copies a caller's struct of any accepted size into a whole one: 0 or NEARCACHE_EINVAL. */
int nc_struct_copy(void *to, size_t to_bytes, const void *from, size_t least_bytes);

#endif
