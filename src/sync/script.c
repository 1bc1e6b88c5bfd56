#include "sync/script.h"

#include "base/clock.h"
#include "base/mutant.h"
#include "base/sha1.h"
#include "redis/slot.h"
#include "sync/lua_scripts.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define TEXT(text)                                                                                 \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }

/* `common`: the script stands on what common-2.lua defines. `sharded`: where it publishes, how it
 * does in a cluster. */
static const struct {
    struct nc_slice text;
    bool common;
    struct nc_slice sharded;
} scripts_text[NC_SCRIPTS] = {
    [NC_SCRIPT_WRITE] = {TEXT(nc_lua_write_2), false, TEXT(nc_lua_write_2_sharded)},
    [NC_SCRIPT_PLAIN] = {TEXT(nc_lua_plain_0), false, {NULL, 0}},
    [NC_SCRIPT_REPLAY] = {TEXT(nc_lua_replay_3), true, TEXT(nc_lua_replay_3_sharded)},
    [NC_SCRIPT_TOUCH] = {TEXT(nc_lua_touch_3), true, TEXT(nc_lua_touch_3_sharded)},
    [NC_SCRIPT_CLEAR] = {TEXT(nc_lua_clear_2), true, TEXT(nc_lua_clear_2_sharded)},
    [NC_SCRIPT_SWEEP] = {TEXT(nc_lua_sweep_2), true, TEXT(nc_lua_sweep_2_sharded)},
    [NC_SCRIPT_RESUME] = {TEXT(nc_lua_resume_2), true, {NULL, 0}},
    [NC_SCRIPT_REPLAY_TRACKED] = {TEXT(nc_lua_replay_tracked_1), false, {NULL, 0}},
    [NC_SCRIPT_TOUCH_TRACKED] = {TEXT(nc_lua_touch_tracked_1), false, {NULL, 0}},
    [NC_SCRIPT_LEASE] = {TEXT(nc_lua_lease_2), false, {NULL, 0}},
    [NC_SCRIPT_HEARTBEAT] = {TEXT(nc_lua_heartbeat_2), true, TEXT(nc_lua_heartbeat_2_sharded)},
};

/* The text of a script without the part that all share. */
static struct nc_slice text_of(const struct nc_scripts *scripts, enum nc_script which)
{
    struct nc_slice text = scripts_text[which].text;
    if (scripts->sharded && scripts_text[which].sharded.data)
        text = scripts_text[which].sharded;
#ifdef NC_MUTANTS
    static _Thread_local char changed[8192];
    const char *from = NULL, *to = "";
    if (which == NC_SCRIPT_WRITE && NC_MUTANT(unindexed_delete)) {
        from = "at = at + 2";
        to = "if op ~= 'd' then at = at + 2 else index[at + 1], index[at + 2] = nil, nil end";
    } else if (which == NC_SCRIPT_HEARTBEAT && NC_MUTANT(idle_heartbeat)) {
        from = "redis.pcall('PERSIST', S)";
        to = "0";
    }
    const char *at = from ? memmem(text.data, text.bytes, from, strlen(from)) : NULL;
    if (at) {
        int before = (int)(at - (const char *)text.data);
        int after = (int)(text.bytes - strlen(from)) - before;
        text.bytes = (size_t)snprintf(changed, sizeof changed, "%.*s%s%.*s", before,
                                      (const char *)text.data, to, after, at + strlen(from));
        text.data = changed;
    }
#endif
    return text;
}

static size_t common_bytes(enum nc_script which)
{
    return scripts_text[which].common ? sizeof nc_lua_common_2 - 1 : 0;
}

void nc_scripts_init(struct nc_scripts *scripts, struct nc_link *link, bool sharded, bool clustered)
{
    scripts->link = link;
    scripts->sharded = sharded;
    scripts->clustered = clustered;
    for (int i = 0; i < NC_SCRIPTS; i++) {
        struct nc_slice text = text_of(scripts, (enum nc_script)i);
        struct nc_sha1_part parts[] = {{nc_lua_common_2, common_bytes((enum nc_script)i)},
                                       {text.data, text.bytes}};
        nc_sha1_hex(parts, 2, scripts->script[i].text_sha);
    }
}

static bool begins(const char *text, size_t bytes, const char *word)
{
    size_t n = strlen(word);
    return bytes >= n && memcmp(text, word, n) == 0 && (bytes == n || text[n] == ' ');
}

enum nc_refusal nc_refusal_of(const char *error, size_t bytes)
{
    static const char *const unavailable[] = {"READONLY", "NOREPLICAS", "MISCONF",     "LOADING",
                                              "BUSY",     "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN",
                                              "MOVED",    "ASK",        "NOAUTH"};
    /* Before 7.0 a script's error is wrapped: "ERR Error running script (...): @user_script:1: X".
     */
    static const char wrapper[] = "ERR Error running script";
    if (bytes > sizeof wrapper && memcmp(error, wrapper, sizeof wrapper - 1) == 0) {
        const char *inner = memmem(error, bytes, ": -", 3);
        if (inner)
            return nc_refusal_of(inner + 3, bytes - (size_t)(inner + 3 - error));
    }
    if (begins(error, bytes, "NOSCRIPT"))
        return NC_REFUSAL_NOSCRIPT;
    if (begins(error, bytes, "WRONGTYPE"))
        return NC_REFUSAL_TYPE;
    for (size_t i = 0; i < sizeof unavailable / sizeof unavailable[0]; i++)
        if (begins(error, bytes, unavailable[i]))
            return NC_REFUSAL_UNAVAILABLE;
    return NC_REFUSAL_OTHER;
}

static bool number_of(const struct nc_reply_part *part, int64_t *number)
{
    if (part->type == NC_REPLY_INTEGER) {
        *number = part->integer;
        return true;
    }
    if (part->type != NC_REPLY_BULK || part->bytes == 0 || part->bytes > 18)
        return false;
    *number = 0;
    for (size_t i = 0; i < part->bytes; i++) {
        if (part->str[i] < '0' || part->str[i] > '9')
            return false;
        *number = *number * 10 + (part->str[i] - '0');
    }
    return true;
}

static int on_part(struct nc_sink *sink, const struct nc_reply_part *part)
{
    struct nc_script_run *c = (struct nc_script_run *)sink;
    struct nc_answer *answer = c->answer;
    if (part->type == NC_REPLY_ERROR) {
        size_t n = part->bytes < sizeof answer->error - 1 ? part->bytes : sizeof answer->error - 1;
        memcpy(answer->error, part->str, n);
        answer->error[n] = 0;
        answer->refusal = nc_refusal_of(part->str, part->bytes);
    } else if (part->depth == 1 && part->type != NC_REPLY_ARRAY) {
        if (answer->count == NC_ANSWER_MOST || !number_of(part, &answer->number[answer->count]))
            c->malformed = true;
        else
            answer->count++;
    } else if (part->depth == 2 && part->type == NC_REPLY_BULK && c->list) {
        c->list(c->list_arg, part->str, part->bytes);
    } else if (part->type != NC_REPLY_ARRAY && !(part->depth == 2 && !c->list)) {
        c->malformed = true;
    }
    return 0;
}

static void put_number(struct nc_command *command, unsigned number)
{
    char text[16];
    int bytes = snprintf(text, sizeof text, "%u", number);
    nc_command_arg(command, text, (size_t)bytes);
}

/* A call of the script by its hash or with its text; NULL: out of memory. */
static struct nc_call *build(struct nc_scripts *scripts, enum nc_script which, bool by_hash,
                             const struct nc_slice *keys, unsigned key_count,
                             const struct nc_slice *args, unsigned arg_count)
{
    struct nc_call *call = nc_call_create();
    if (!call)
        return NULL;
    struct nc_command *command = nc_call_command(call);
    nc_command_begin(command, 3 + key_count + arg_count);
    if (by_hash) {
        nc_command_arg(command, "EVALSHA", 7);
        nc_command_arg(command, scripts->script[which].text_sha, 40);
    } else {
        nc_command_arg(command, "EVAL", 4);
        struct nc_slice text = text_of(scripts, which);
        nc_command_arg2(command, nc_lua_common_2, common_bytes(which), text.data, text.bytes);
    }
    put_number(command, key_count);
    for (unsigned i = 0; i < key_count; i++)
        nc_command_arg(command, keys[i].data, keys[i].bytes);
    for (unsigned i = 0; i < arg_count; i++)
        nc_command_arg(command, args[i].data, args[i].bytes);
    if (scripts->clustered && key_count > 0 && which != NC_SCRIPT_HEARTBEAT &&
        which != NC_SCRIPT_RESUME)
        nc_call_in_slot(call, nc_slot_of(keys[key_count - 1].data, keys[key_count - 1].bytes));
    return call;
}

void nc_scripts_load(struct nc_scripts *scripts, uint64_t deadline_ns)
{
    static const enum nc_script shared[] = {NC_SCRIPT_WRITE, NC_SCRIPT_PLAIN};
    struct nc_call *call = nc_call_create();
    if (!call)
        return;
    struct nc_command *command = nc_call_command(call);
    for (unsigned i = 0; i < sizeof shared / sizeof shared[0]; i++) {
        nc_command_begin(command, 3);
        nc_command_arg(command, "SCRIPT", 6);
        nc_command_arg(command, "LOAD", 4);
        struct nc_slice text = text_of(scripts, shared[i]);
        nc_command_arg2(command, nc_lua_common_2, common_bytes(shared[i]), text.data, text.bytes);
    }
    nc_link_call(scripts->link, call, NC_CALL_SINGLE, deadline_ns);
    nc_call_release(call);
}

static void begin(struct nc_script_run *run, struct nc_answer *answer, nc_script_list_fn list,
                  void *list_arg, struct nc_call *call)
{
    *run = (struct nc_script_run){{on_part}, answer, list, list_arg, false, call};
    memset(answer, 0, offsetof(struct nc_answer, number));
}

static int outcome_of(const struct nc_script_run *run, int status)
{
    if (status != 0)
        return status;
    if (run->answer->error[0])
        return NEARCACHE_EREMOTE;
    return run->malformed ? NEARCACHE_EPROTOCOL : 0;
}

int nc_script_prepare(struct nc_scripts *scripts, enum nc_script which, const struct nc_slice *keys,
                      unsigned key_count, const struct nc_slice *args, unsigned arg_count,
                      struct nc_script_run *run, struct nc_answer *answer,
                      void (*done)(void *arg, int status), void *arg)
{
    struct nc_call *call = build(scripts, which, true, keys, key_count, args, arg_count);
    if (!call)
        return NEARCACHE_ENOMEM;
    begin(run, answer, NULL, NULL, call);
    nc_call_expect(call, &run->sink, done, arg);
    return 0;
}

int nc_script_end(struct nc_script_run *run, int status)
{
    run->answer->received_ns = nc_clock_io_ns();
    run->answer->sent = nc_call_was_sent(run->call);
    run->answer->moved = nc_call_was_moved(run->call);
    return outcome_of(run, status);
}

static int run_once(struct nc_scripts *scripts, enum nc_script which, bool by_hash,
                    const struct nc_slice *keys, unsigned key_count, const struct nc_slice *args,
                    unsigned arg_count, uint64_t deadline_ns, struct nc_script_run *run)
{
    struct nc_answer *answer = run->answer;
    struct nc_call *call = build(scripts, which, by_hash, keys, key_count, args, arg_count);
    if (!call)
        return NEARCACHE_ENOMEM;
    begin(run, answer, run->list, run->list_arg, call);
    nc_call_expect(call, &run->sink, NULL, NULL);
    answer->sent_ns = nc_clock_io_ns();
    int outcome = nc_link_call(scripts->link, call, NC_CALL_SINGLE, deadline_ns);
    answer->received_ns = nc_clock_io_ns();
    answer->sent = nc_call_was_sent(call);
    answer->moved = nc_call_was_moved(call);
    nc_call_release(call);
    return outcome_of(run, outcome);
}

int nc_script_call(struct nc_scripts *scripts, enum nc_script which, const struct nc_slice *keys,
                   unsigned key_count, const struct nc_slice *args, unsigned arg_count,
                   uint64_t deadline_ns, struct nc_answer *answer, nc_script_list_fn list,
                   void *list_arg)
{
    struct nc_script_run run = {.answer = answer, .list = list, .list_arg = list_arg};
    int outcome =
        run_once(scripts, which, true, keys, key_count, args, arg_count, deadline_ns, &run);
    if (outcome == NEARCACHE_EREMOTE && answer->refusal == NC_REFUSAL_NOSCRIPT)
        outcome =
            run_once(scripts, which, false, keys, key_count, args, arg_count, deadline_ns, &run);
    return outcome;
}
