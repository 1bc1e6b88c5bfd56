#include "queue/scripts.h"

#include "queue/lua_scripts.h"

#include <stddef.h>

#define PARTS 4

const char *const *nc_queue_script_parts(enum nc_queue_script script)
{
    static const char *const parts[NC_QUEUE_SCRIPTS][PARTS] = {
        [NC_QUEUE_SCRIPT_ADD] = {nc_lua_common_1, nc_lua_add_1},
        [NC_QUEUE_SCRIPT_EXCHANGE] = {nc_lua_common_1, nc_lua_exchange_1},
        [NC_QUEUE_SCRIPT_RENEW] = {nc_lua_common_1, nc_lua_renew_1},
        [NC_QUEUE_SCRIPT_STALLED] = {nc_lua_common_1, nc_lua_stalled_1},
        [NC_QUEUE_SCRIPT_PAUSE] = {nc_lua_common_1, nc_lua_pause_1},
        [NC_QUEUE_SCRIPT_RETRY] = {nc_lua_common_1, nc_lua_retry_1},
        [NC_QUEUE_SCRIPT_PROMOTE] = {nc_lua_common_1, nc_lua_promote_1},
        [NC_QUEUE_SCRIPT_REMOVE] = {nc_lua_common_1, nc_lua_remove_1},
        [NC_QUEUE_SCRIPT_CLEAN] = {nc_lua_common_1, nc_lua_clean_1},
        [NC_QUEUE_SCRIPT_OBLITERATE] = {nc_lua_common_1, nc_lua_obliterate_1},
        [NC_QUEUE_SCRIPT_COUNTS] = {nc_lua_common_1, nc_lua_counts_1},
        [NC_QUEUE_SCRIPT_STATE] = {nc_lua_common_1, nc_lua_state_1},
        [NC_QUEUE_SCRIPT_LIST] = {nc_lua_common_1, nc_lua_list_1},
        [NC_QUEUE_SCRIPT_PROGRESS] = {nc_lua_common_1, nc_lua_progress_1},
        [NC_QUEUE_SCRIPT_LOG] = {nc_lua_common_1, nc_lua_log_1},
        [NC_QUEUE_SCRIPT_SCHEDULE] = {nc_lua_common_1, nc_lua_common_schedule_1, nc_lua_schedule_1},
        [NC_QUEUE_SCRIPT_ITERATE] = {nc_lua_common_1, nc_lua_common_schedule_1, nc_lua_iterate_1},
        [NC_QUEUE_SCRIPT_UNSCHEDULE] = {nc_lua_common_1, nc_lua_common_schedule_1,
                                        nc_lua_unschedule_1},
    };
    return parts[script];
}
