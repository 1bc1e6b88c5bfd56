/* queue/schedule: what a worker does for a schedule whose job it has taken. */
#ifndef NC_QUEUE_SCHEDULE_H
#define NC_QUEUE_SCHEDULE_H

#include "queue/job.h"

/* Puts the next iteration of the schedule up that the job belongs to. */
int nc_schedule_iterate(struct nearcache_queue *queue, const struct nearcache_job *job);

#endif
