/* queue/scripts: the Lua scripts as text. Each takes one key: how the queue's keys begin. */
#ifndef NC_QUEUE_SCRIPTS_H
#define NC_QUEUE_SCRIPTS_H

enum nc_queue_script {
    NC_QUEUE_SCRIPT_ADD,
    NC_QUEUE_SCRIPT_EXCHANGE,
    NC_QUEUE_SCRIPT_RENEW,
    NC_QUEUE_SCRIPT_STALLED,
    NC_QUEUE_SCRIPT_PAUSE,
    NC_QUEUE_SCRIPT_RETRY,
    NC_QUEUE_SCRIPT_PROMOTE,
    NC_QUEUE_SCRIPT_REMOVE,
    NC_QUEUE_SCRIPT_CLEAN,
    NC_QUEUE_SCRIPT_OBLITERATE,
    NC_QUEUE_SCRIPT_COUNTS,
    NC_QUEUE_SCRIPT_STATE,
    NC_QUEUE_SCRIPT_LIST,
    NC_QUEUE_SCRIPT_PROGRESS,
    NC_QUEUE_SCRIPT_LOG,
    NC_QUEUE_SCRIPT_SCHEDULE,
    NC_QUEUE_SCRIPT_ITERATE,
    NC_QUEUE_SCRIPT_UNSCHEDULE,
    NC_QUEUE_SCRIPTS
};

/* The parts whose concatenation is the script; NULL behind the last. Static. */
const char *const *nc_queue_script_parts(enum nc_queue_script script);

#endif
