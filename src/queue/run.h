/*
 * queue/run: the threads of a worker.
 *
 *     talker:   exchange with Redis (ends jobs, takes new ones) ... wait for the bell or for work
 *     handlers:          ready list -> run -> ended list -> wake the talker
 *     keeper:   renews locks, looks for stalled jobs
 *
 * With one handler thread that thread is the talker too: no hop between ending a job and taking the
 * next. They end when the worker's state (queue/hand) says so.
 */
#ifndef NC_QUEUE_RUN_H
#define NC_QUEUE_RUN_H

/* Each takes the struct nearcache_worker. */
void *nc_worker_talker(void *worker);
void *nc_worker_handler(void *worker);
void *nc_worker_keeper(void *worker);

#endif
