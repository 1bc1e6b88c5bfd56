#include "queue/hand.h"

#include <unistd.h>

void nc_worker_tell(struct nearcache_worker *worker, enum nearcache_worker_event event,
                    const struct nearcache_job *job, int outcome)
{
    if (worker->config.on_event)
        worker->config.on_event(worker->config.on_event_arg, event, job, outcome);
}

void nc_worker_wake_talker(struct nearcache_worker *worker)
{
    uint64_t one = 1;
    ssize_t written = write(worker->wake_fd, &one, sizeof one);
    (void)written; /* a full counter wakes as well */
}

void nc_worker_forget_locked(struct nearcache_worker *worker, struct nearcache_job *job)
{
    if (job->all_prev)
        job->all_prev->all_next = job->all_next;
    else
        worker->all = job->all_next;
    if (job->all_next)
        job->all_next->all_prev = job->all_prev;
    worker->in_hand--;
    if (worker->in_hand == 0)
        pthread_cond_broadcast(&worker->state_cond);
}
