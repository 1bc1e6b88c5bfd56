/* queue/scripts: the Lua scripts as text. Each takes one key: how the queue's keys begin. */
#ifndef NC_QUEUE_SCRIPTS_H
#define NC_QUEUE_SCRIPTS_H

enum nc_script {
    NC_SCRIPT_ADD,
    NC_SCRIPT_EXCHANGE,
    NC_SCRIPT_RENEW,
    NC_SCRIPT_STALLED,
    NC_SCRIPT_PAUSE,
    NC_SCRIPT_RETRY,
    NC_SCRIPT_PROMOTE,
    NC_SCRIPT_REMOVE,
    NC_SCRIPT_CLEAN,
    NC_SCRIPT_OBLITERATE,
    NC_SCRIPT_COUNTS,
    NC_SCRIPT_STATE,
    NC_SCRIPT_LIST,
    NC_SCRIPT_PROGRESS,
    NC_SCRIPT_LOG,
    NC_SCRIPT_SCHEDULE,
    NC_SCRIPT_ITERATE,
    NC_SCRIPT_UNSCHEDULE,
    NC_SCRIPTS
};

/* The parts whose concatenation is the script; NULL behind the last. Static. */
const char *const *nc_script_parts(enum nc_script script);

#endif
