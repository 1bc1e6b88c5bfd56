#include "queue/scripts.h"

#include <stddef.h>

/* Made from lua/ by the build: nc_lua_queue_<name>. */
extern const char nc_lua_queue_common[];
extern const char nc_lua_queue_common_schedule[];
extern const char nc_lua_queue_add[];
extern const char nc_lua_queue_exchange[];
extern const char nc_lua_queue_renew[];
extern const char nc_lua_queue_stalled[];
extern const char nc_lua_queue_pause[];
extern const char nc_lua_queue_retry[];
extern const char nc_lua_queue_promote[];
extern const char nc_lua_queue_remove[];
extern const char nc_lua_queue_clean[];
extern const char nc_lua_queue_obliterate[];
extern const char nc_lua_queue_counts[];
extern const char nc_lua_queue_state[];
extern const char nc_lua_queue_list[];
extern const char nc_lua_queue_progress[];
extern const char nc_lua_queue_log[];
extern const char nc_lua_queue_schedule[];
extern const char nc_lua_queue_iterate[];
extern const char nc_lua_queue_unschedule[];

#define PARTS 4

const char *const *nc_script_parts(enum nc_script script)
{
    static const char *const parts[NC_SCRIPTS][PARTS] = {
        [NC_SCRIPT_ADD] = {nc_lua_queue_common, nc_lua_queue_add},
        [NC_SCRIPT_EXCHANGE] = {nc_lua_queue_common, nc_lua_queue_exchange},
        [NC_SCRIPT_RENEW] = {nc_lua_queue_common, nc_lua_queue_renew},
        [NC_SCRIPT_STALLED] = {nc_lua_queue_common, nc_lua_queue_stalled},
        [NC_SCRIPT_PAUSE] = {nc_lua_queue_common, nc_lua_queue_pause},
        [NC_SCRIPT_RETRY] = {nc_lua_queue_common, nc_lua_queue_retry},
        [NC_SCRIPT_PROMOTE] = {nc_lua_queue_common, nc_lua_queue_promote},
        [NC_SCRIPT_REMOVE] = {nc_lua_queue_common, nc_lua_queue_remove},
        [NC_SCRIPT_CLEAN] = {nc_lua_queue_common, nc_lua_queue_clean},
        [NC_SCRIPT_OBLITERATE] = {nc_lua_queue_common, nc_lua_queue_obliterate},
        [NC_SCRIPT_COUNTS] = {nc_lua_queue_common, nc_lua_queue_counts},
        [NC_SCRIPT_STATE] = {nc_lua_queue_common, nc_lua_queue_state},
        [NC_SCRIPT_LIST] = {nc_lua_queue_common, nc_lua_queue_list},
        [NC_SCRIPT_PROGRESS] = {nc_lua_queue_common, nc_lua_queue_progress},
        [NC_SCRIPT_LOG] = {nc_lua_queue_common, nc_lua_queue_log},
        [NC_SCRIPT_SCHEDULE] = {nc_lua_queue_common, nc_lua_queue_common_schedule,
                                nc_lua_queue_schedule},
        [NC_SCRIPT_ITERATE] = {nc_lua_queue_common, nc_lua_queue_common_schedule,
                               nc_lua_queue_iterate},
        [NC_SCRIPT_UNSCHEDULE] = {nc_lua_queue_common, nc_lua_queue_common_schedule,
                                  nc_lua_queue_unschedule},
    };
    return parts[script];
}
