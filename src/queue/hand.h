/*
 * queue/hand: a worker's state: the jobs that it has in hand, and whom to wake about them. All
 * lists are guarded by one lock, which is never held while Redis or a handler is called.
 */
#ifndef NC_QUEUE_HAND_H
#define NC_QUEUE_HAND_H

#include "queue/job.h"

#include <pthread.h>

struct job_list {
    struct nearcache_job *first, **last;
    size_t count;
};

/* Thread-safe; the fields below `lock` are guarded by it. */
struct nearcache_worker {
    struct nearcache_queue *queue;
    struct nearcache_worker_config config; /* with the defaults filled in; name is a copy */
    char *name;
    char uuid[40];
    unsigned threads_wanted;
    struct nc_waiter *bell; /* the talker's */
    int wake_fd;            /* eventfd: wakes the talker */

    pthread_mutex_t lock;
    pthread_cond_t ready_cond; /* handlers: jobs are ready, or the end has come */
    pthread_cond_t state_cond; /* idle and closing: something was handed back */
    pthread_cond_t keeper_cond;
    struct job_list ready, ended;
    struct nearcache_job *all;
    uint32_t in_hand;   /* taken and not yet reported */
    uint32_t reporting; /* of these, out of `ended` and on their way to Redis */
    uint32_t handlers_free;
    bool handler_comes; /* one was woken and is not there yet */
    bool talker_waits;
    bool closing, abandoned, give_up, stop_handlers, stop_keeper;
    bool drained; /* the last take found nothing, and nothing waits that a limit holds back */
    /* Who wants to know whether there is something to do asks for a look, and `drained` is about
     * the latest one that was asked for before the exchange. */
    uint64_t looks_wanted, drained_look;
    uint64_t random;
    struct nearcache_worker_stats stats;

    /* The talker's own. */
    uint64_t counter; /* of tokens */
    bool in_doubt;    /* an exchange with this token was sent and not answered */

    /* For the group of jobs that a handler runs: `batch` places for each of them. */
    struct nearcache_job **groups;
    unsigned groups_given; /* guarded by the lock */
    pthread_t *handlers;
    pthread_t talker, keeper;
    unsigned handlers_started;
    bool has_talker, has_keeper;
};

void nc_worker_wake_talker(struct nearcache_worker *worker);
void nc_worker_tell(struct nearcache_worker *worker, enum nearcache_worker_event event,
                    const struct nearcache_job *job, int outcome);
/* Forgets a job that was reported or given up; its memory stays. Under the lock. */
void nc_worker_forget_locked(struct nearcache_worker *worker, struct nearcache_job *job);
/* Wakes one handler where there is work for it. He wakes the next; until he is there nobody else is
 * woken, because the others may well be done with everything by then. Under the lock. */
static inline void nc_worker_wake_handler_locked(struct nearcache_worker *worker)
{
    if (worker->ready.count && worker->handlers_free && !worker->handler_comes) {
        worker->handler_comes = true;
        pthread_cond_signal(&worker->ready_cond);
    }
}

static inline void nc_job_list_add(struct job_list *list, struct nearcache_job *job)
{
    job->next = NULL;
    *(list->first ? list->last : &list->first) = job;
    list->last = &job->next;
    list->count++;
}

static inline struct nearcache_job *nc_job_list_take(struct job_list *list)
{
    struct nearcache_job *job = list->first;
    if (job) {
        list->first = job->next;
        list->count--;
    }
    return job;
}

#endif
