#include "queue/remote.h"

#include "base/clock.h"
#include "base/sha1.h"
#include "queue/options.h"
#include "redis/conn.h"
#include "redis/link.h"
#include "redis/sentinel.h"
#include "redis/settings.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_NS (20 * NC_NS_PER_MS)

/* An error that says that the script has to be sent once more. */
enum { NO_SCRIPT = -1000 };

/* Thread-safe; `generation` and `is_up` are guarded by the lock. */
struct nc_remote {
    struct nc_redis_settings *settings;
    struct nc_link *link;
    struct nc_log log;
    char hash[NC_QUEUE_SCRIPTS][41];
    pthread_mutex_t lock;
    pthread_cond_t changed; /* the link came up */
    bool is_up;
};

/* ---- the link -------------------------------------------------------------------------------- */

static void on_up(void *arg, uint64_t generation)
{
    struct nc_remote *remote = arg;
    (void)generation;
    pthread_mutex_lock(&remote->lock);
    remote->is_up = true;
    pthread_cond_broadcast(&remote->changed);
    pthread_mutex_unlock(&remote->lock);
}

static void on_down(void *arg, uint64_t generation)
{
    struct nc_remote *remote = arg;
    (void)generation;
    pthread_mutex_lock(&remote->lock);
    remote->is_up = false;
    pthread_mutex_unlock(&remote->lock);
}

static void make_hashes(struct nc_remote *remote)
{
    for (int script = 0; script < NC_QUEUE_SCRIPTS; script++) {
        const char *const *part = nc_queue_script_parts((enum nc_queue_script)script);
        struct nc_sha1_part parts[4];
        size_t count = 0;
        for (; part[count]; count++)
            parts[count] = (struct nc_sha1_part){part[count], strlen(part[count])};
        nc_sha1_hex(parts, count, remote->hash[script]);
    }
}

static void destroy(struct nc_remote *remote)
{
    if (remote->link)
        nc_link_close(remote->link, nc_clock_deadline_ns(0));
    if (remote->settings)
        nc_redis_settings_destroy(remote->settings);
    pthread_cond_destroy(&remote->changed);
    pthread_mutex_destroy(&remote->lock);
    free(remote);
}

/* Calls are few and large: one shared connection serves them, unless more are asked for. */
static int create_settings(struct nc_remote *remote, const struct nearcache_redis *redis)
{
    struct nearcache_redis given;
    /* A program built with an older header gives a shorter struct. */
    if (nc_struct_copy(&given, sizeof given, redis, sizeof given.size))
        return NEARCACHE_EINVAL;
    given.size = sizeof given;
    if (!given.connections)
        given.connections = 1;
    int outcome = nc_redis_settings_create(&remote->settings, &given, &remote->log);
    if (outcome == 0 && remote->settings->seed_count > 0) {
        nc_log_write(&remote->log, NEARCACHE_LOG_ERROR, "a queue does not work with a cluster");
        return NEARCACHE_ENOTSUP;
    }
    return outcome;
}

int nc_remote_open(struct nc_remote **out, const struct nearcache_redis *redis,
                   const struct nc_log *log)
{
    struct nc_remote *remote = calloc(1, sizeof *remote);
    pthread_condattr_t monotonic;
    if (!remote)
        return NEARCACHE_ENOMEM;
    remote->log = *log;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&remote->lock, NULL);
    pthread_cond_init(&remote->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    make_hashes(remote);
    int outcome = create_settings(remote, redis);
    const struct nc_link_config config = {.settings = remote->settings,
                                          .log = &remote->log,
                                          .breaker_expiries = UINT64_MAX,
                                          .on_up = on_up,
                                          .on_down = on_down,
                                          .arg = remote};
    if (outcome == 0)
        outcome = nc_link_open(&remote->link, &config);
    if (outcome == 0)
        outcome = nc_link_start(remote->link);
    if (outcome) {
        destroy(remote);
        return outcome;
    }
    *out = remote;
    return 0;
}

void nc_remote_close(struct nc_remote *remote)
{
    if (remote)
        destroy(remote);
}

/*
 * Waits until the link is up: 0, or why it is not at the deadline. The link tells nobody that its
 * credentials were refused, so that is looked for now and then.
 */
static int wait_for_link(struct nc_remote *remote, uint64_t deadline_ns)
{
    int outcome = 0;
    pthread_mutex_lock(&remote->lock);
    while (!remote->is_up && !outcome) {
        uint64_t now_ns = nc_clock_io_ns(), look_ns = now_ns + LOOK_NS;
        if (look_ns > deadline_ns)
            look_ns = deadline_ns;
        struct timespec at = {(time_t)(look_ns / NC_NS_PER_S), (long)(look_ns % NC_NS_PER_S)};
        if (nc_link_refused_auth(remote->link))
            outcome = NEARCACHE_EAUTH;
        else if (now_ns >= deadline_ns)
            outcome = NEARCACHE_EOFFLINK;
        else
            pthread_cond_timedwait(&remote->changed, &remote->lock, &at);
    }
    pthread_mutex_unlock(&remote->lock);
    return outcome;
}

/* ---- calls ----------------------------------------------------------------------------------- */

/* What a command begins with, before its arguments. */
struct head {
    const char *word[4];
    size_t bytes[4];
    size_t count;
};

static void add_word(struct head *head, const char *word, size_t bytes)
{
    head->word[head->count] = word;
    head->bytes[head->count++] = bytes;
}

static void write_command(struct nc_command *command, const struct head *head,
                          const struct nc_args *args)
{
    size_t bytes;
    nc_command_begin(command, head->count + args->count);
    for (size_t i = 0; i < head->count; i++)
        nc_command_arg(command, head->word[i], head->bytes[i]);
    for (size_t i = 0; i < args->count; i++) {
        const char *data = nc_args_at(args, i, &bytes);
        nc_command_arg(command, data ? data : "", bytes);
    }
}

/* An answer that is an error becomes an outcome. */
static int judge(struct nc_remote *remote, struct nc_value_builder *builder,
                 struct nc_value **answer)
{
    bool failed = builder->failed;
    struct nc_value *value = nc_value_builder_take(builder);
    if (!value)
        return failed ? NEARCACHE_ENOMEM : NEARCACHE_EPROTOCOL;
    if (value->type != NC_REPLY_ERROR) {
        *answer = value;
        return 0;
    }
    int outcome = strncmp(value->str, "NOSCRIPT", 8) == 0 ? NO_SCRIPT : NEARCACHE_EREMOTE;
    if (outcome == NEARCACHE_EREMOTE)
        nc_log_write(&remote->log, NEARCACHE_LOG_ERROR, "queue: Redis says: %.300s", value->str);
    nc_value_free(value);
    return outcome;
}

/* One attempt. *again: the link was lost before anything was sent. */
static int call_once(struct nc_remote *remote, const struct head *head, const struct nc_args *args,
                     uint64_t deadline_ns, struct nc_value **answer, bool *again)
{
    struct nc_value_builder builder;
    struct nc_call *call = nc_call_create();
    *again = false;
    if (!call)
        return NEARCACHE_ENOMEM;
    nc_value_builder_init(&builder);
    write_command(nc_call_command(call), head, args);
    nc_call_expect(call, &builder.sink, NULL, NULL);
    int outcome = nc_link_call(remote->link, call, NC_CALL_SINGLE, deadline_ns);
    if (outcome == NEARCACHE_EOFFLINK) {
        if (nc_call_was_sent(call))
            outcome = NEARCACHE_ETIMEOUT; /* Redis may have done it */
        else
            *again = true;
    }
    nc_call_release(call);
    if (outcome == 0)
        return judge(remote, &builder, answer);
    nc_value_builder_deinit(&builder);
    return outcome;
}

static int call(struct nc_remote *remote, const struct head *head, const struct nc_args *args,
                uint64_t deadline_ns, struct nc_value **answer)
{
    for (;;) {
        bool again = false;
        int outcome = wait_for_link(remote, deadline_ns);
        if (outcome == 0)
            outcome = call_once(remote, head, args, deadline_ns, answer, &again);
        if (!again || nc_clock_io_ns() >= deadline_ns)
            return outcome;
        poll(NULL, 0, 1); /* the link's thread is about to notice */
    }
}

int nc_remote_command(struct nc_remote *remote, const struct nc_args *args, uint64_t deadline_ns,
                      struct nc_value **answer)
{
    const struct head head = {.count = 0};
    return call(remote, &head, args, deadline_ns, answer);
}

/* With the script's text in place of its hash; Redis keeps it from then on. */
static int call_text(struct nc_remote *remote, enum nc_queue_script script, struct head *head,
                     const struct nc_args *args, uint64_t deadline_ns, struct nc_value **answer)
{
    struct nc_text text = {0};
    int outcome = NEARCACHE_ENOMEM;
    for (const char *const *part = nc_queue_script_parts(script); *part; part++)
        nc_text_add_string(&text, *part);
    if (!text.failed) {
        head->word[0] = "EVAL";
        head->bytes[0] = 4;
        head->word[1] = text.data;
        head->bytes[1] = text.bytes;
        outcome = call(remote, head, args, deadline_ns, answer);
    }
    nc_text_deinit(&text);
    return outcome;
}

int nc_remote_script(struct nc_remote *remote, enum nc_queue_script script, const char *prefix,
                     const struct nc_args *args, uint64_t deadline_ns, struct nc_value **answer)
{
    struct head head = {.count = 0};
    add_word(&head, "EVALSHA", 7);
    add_word(&head, remote->hash[script], 40);
    add_word(&head, "1", 1);
    add_word(&head, prefix, strlen(prefix));
    int outcome = call(remote, &head, args, deadline_ns, answer);
    return outcome == NO_SCRIPT ? call_text(remote, script, &head, args, deadline_ns, answer)
                                : outcome;
}

/* ---- a connection that blocks ---------------------------------------------------------------- */

struct nc_waiter {
    struct nc_remote *remote;
    struct nc_redis_settings *settings; /* with a client name of its own */
    struct nc_link_stats stats;
    struct nc_conn conn;
    struct nc_value_builder builder;
    bool has_answer;
};

static void on_part(void *arg, const struct nc_reply_part *part)
{
    struct nc_waiter *waiter = arg;
    waiter->builder.sink.part(&waiter->builder.sink, part);
}

static void on_end(void *arg) { ((struct nc_waiter *)arg)->has_answer = true; }

int nc_waiter_open(struct nc_waiter **out, struct nc_remote *remote, const char *client_name)
{
    struct nc_waiter *waiter = calloc(1, sizeof *waiter);
    if (!waiter)
        return NEARCACHE_ENOMEM;
    waiter->remote = remote;
    nc_conn_init(&waiter->conn, &waiter->stats);
    nc_value_builder_init(&waiter->builder);
    int outcome = nc_redis_settings_copy(&waiter->settings, remote->settings);
    char *name = outcome ? NULL : nc_text_copy(client_name, strlen(client_name));
    if (!name) {
        nc_waiter_close(waiter);
        return outcome ? outcome : NEARCACHE_ENOMEM;
    }
    free(waiter->settings->client_name);
    waiter->settings->client_name = name;
    *out = waiter;
    return 0;
}

void nc_waiter_close(struct nc_waiter *waiter)
{
    if (!waiter)
        return;
    nc_conn_close(&waiter->conn);
    nc_value_builder_deinit(&waiter->builder);
    if (waiter->settings)
        nc_redis_settings_destroy(waiter->settings);
    free(waiter);
}

/* Drops the connection; the next use makes a new one. */
static int lose(struct nc_waiter *waiter, int outcome)
{
    nc_conn_close(&waiter->conn);
    nc_value_builder_deinit(&waiter->builder);
    waiter->has_answer = false;
    return outcome;
}

static bool wait_ready(const struct nc_waiter *waiter, uint64_t deadline_ns)
{
    struct pollfd polled = {waiter->conn.fd, POLLIN, 0};
    if (nc_conn_has_output(&waiter->conn))
        polled.events |= POLLOUT;
    uint64_t now_ns = nc_clock_io_ns();
    uint64_t left_ns = deadline_ns > now_ns ? deadline_ns - now_ns : 0;
    struct timespec timeout = {(time_t)(left_ns / NC_NS_PER_S), (long)(left_ns % NC_NS_PER_S)};
    return ppoll(&polled, 1, &timeout, NULL) > 0;
}

int nc_waiter_send(struct nc_waiter *waiter, const struct nc_args *args, uint64_t deadline_ns)
{
    const struct head head = {.count = 0};
    struct nc_command command;
    int outcome = 0;
    if (waiter->conn.fd < 0)
        outcome = nc_sentinel_open(&waiter->conn, waiter->settings, -1, deadline_ns);
    if (outcome)
        return outcome;
    waiter->conn.events = (struct nc_reader_events){on_part, on_end, waiter};
    waiter->has_answer = false;
    nc_command_init(&command);
    write_command(&command, &head, args);
    outcome = command.failed ? NEARCACHE_ENOMEM
                             : nc_conn_queue(&waiter->conn, command.bytes, command.used);
    nc_command_deinit(&command);
    while (outcome == 0 && nc_conn_has_output(&waiter->conn)) {
        outcome = nc_conn_flush(&waiter->conn);
        if (outcome == 0 && nc_conn_has_output(&waiter->conn) && !wait_ready(waiter, deadline_ns))
            outcome = NEARCACHE_ETIMEOUT;
    }
    return outcome ? lose(waiter, outcome) : 0;
}

int nc_waiter_fd(const struct nc_waiter *waiter) { return waiter->conn.fd; }

int nc_waiter_read(struct nc_waiter *waiter, uint64_t deadline_ns, struct nc_value **answer)
{
    if (waiter->conn.fd < 0)
        return NEARCACHE_EOFFLINK;
    while (!waiter->has_answer) {
        if (!wait_ready(waiter, deadline_ns))
            return NEARCACHE_MISS;
        int outcome = nc_conn_read(&waiter->conn);
        if (outcome)
            return lose(waiter, outcome);
    }
    waiter->has_answer = false;
    int outcome = judge(waiter->remote, &waiter->builder, answer);
    return outcome == NO_SCRIPT ? NEARCACHE_EREMOTE : outcome;
}
