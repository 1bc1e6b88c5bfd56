#include "cli/check.h"
#include "cli/latency.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PINGS 200
#define SLOW_PING_NS UINT64_C(1000000)

/* The text of INFO `section` in a reply of the caller's to free; false: refused. */
static bool ask_info(struct cli_check *check, const char *section, struct cli_reply *reply)
{
    *reply = cli_raw_ask(check->raw, "INFO %s", section);
    return !reply->error && reply->reply->type == REDIS_REPLY_STRING;
}

static bool no_raw(struct cli_check *check, const char *name)
{
    if (check->raw)
        return false;
    cli_check_report(check, name, CLI_CHECK_SKIP, NULL, "needs a plain connection");
    return true;
}

void cli_check_connection(struct cli_check *check)
{
    char problem[CLI_RAW_PROBLEM_BYTES];
    uint64_t begin_ns = cli_now_ns();

    if (check->settings->redis.sentinels || check->settings->redis.cluster) {
        cli_check_report(check, "connection", CLI_CHECK_SKIP, NULL,
                         "Sentinel or Cluster: the cache's own link is checked below");
        return;
    }
    switch (cli_raw_open(&check->target, &check->raw, problem)) {
    case CLI_RAW_FINE:
        cli_check_report(check, "connection", CLI_CHECK_OK, NULL, "%s in %.1f ms",
                         check->target.label, (double)(cli_now_ns() - begin_ns) / 1e6);
        return;
    case CLI_RAW_TLS:
        cli_check_report(check, "connection", CLI_CHECK_SKIP, NULL,
                         "TLS: the cache's own link is checked below");
        return;
    case CLI_RAW_REFUSED:
        cli_check_report(check, "connection", CLI_CHECK_FAIL,
                         "check user, password and database number (--redis, --config, REDIS_*)",
                         "%s: %s", check->target.label, problem);
        return;
    case CLI_RAW_UNREACHABLE:
        check->unreachable = true;
        cli_check_report(check, "connection", CLI_CHECK_FAIL,
                         "is redis-server running there, and does it listen on this address?",
                         "%s: %s", check->target.label, problem);
    }
}

void cli_check_version(struct cli_check *check)
{
    struct cli_reply reply;
    char version[32] = "";
    unsigned major = 0, minor = 0;

    if (no_raw(check, "version"))
        return;
    if (!ask_info(check, "server", &reply) ||
        !cli_raw_info(reply.reply->str, "redis_version", version, sizeof version) ||
        sscanf(version, "%u.%u", &major, &minor) != 2)
        cli_check_report(check, "version", CLI_CHECK_WARN,
                         "allow +info: without it the cache cannot tell a restarted server",
                         "unknown: %s", reply.error ? reply.error : "INFO says nothing");
    else if (major < 6 || (major == 6 && minor < 2))
        cli_check_report(check, "version", CLI_CHECK_FAIL, "Redis 6.2 is the oldest that works",
                         "Redis %s", version);
    else
        cli_check_report(check, "version", CLI_CHECK_OK, NULL, "Redis %s", version);
    cli_reply_free(&reply);
}

void cli_check_role(struct cli_check *check)
{
    struct cli_reply reply;
    char role[32] = "";

    if (no_raw(check, "role"))
        return;
    if (!ask_info(check, "replication", &reply) ||
        !cli_raw_info(reply.reply->str, "role", role, sizeof role))
        cli_check_report(check, "role", CLI_CHECK_WARN, "allow +info", "unknown");
    else if (strcmp(role, "master") != 0)
        cli_check_report(check, "role", CLI_CHECK_FAIL,
                         "name the primary: a replica takes no writes", "the server is a %s", role);
    else
        cli_check_report(check, "role", CLI_CHECK_OK, NULL, "primary");
    cli_reply_free(&reply);
}

void cli_check_memory(struct cli_check *check)
{
    struct cli_reply reply;
    char policy[32] = "", limit[32] = "", used[32] = "";

    if (no_raw(check, "memory"))
        return;
    if (!ask_info(check, "memory", &reply) ||
        !cli_raw_info(reply.reply->str, "maxmemory_policy", policy, sizeof policy) ||
        !cli_raw_info(reply.reply->str, "maxmemory", limit, sizeof limit) ||
        !cli_raw_info(reply.reply->str, "used_memory", used, sizeof used))
        cli_check_report(check, "memory", CLI_CHECK_WARN, "allow +info", "unknown");
    else if (strncmp(policy, "allkeys", 7) == 0)
        cli_check_report(check, "memory", CLI_CHECK_WARN,
                         "job queues need maxmemory-policy noeviction; the cache itself copes",
                         "policy %s: any key may be evicted", policy);
    else if (strcmp(limit, "0") != 0 && strtod(used, NULL) > 0.9 * strtod(limit, NULL))
        cli_check_report(check, "memory", CLI_CHECK_WARN,
                         "writes fail when it is full: raise maxmemory",
                         "%.0f %% of maxmemory used, policy %s",
                         100 * strtod(used, NULL) / strtod(limit, NULL), policy);
    else
        cli_check_report(check, "memory", CLI_CHECK_OK, NULL, "policy %s, %.1f MB used", policy,
                         strtod(used, NULL) / 1e6);
    cli_reply_free(&reply);
}

/* ---- rights ---------------------------------------------------------------------------------- */

/* What the cache does, harmlessly. K: a key of this run; S, W: the cache's own; C: a channel. */
static const struct right {
    const char *what;
    const char *command; /* words parted by blanks; $K $S $W $C are replaced */
    bool essential;
} rights[] = {
    {"mset", "MSET $K 1", false},
    {"set", "SET $K 1 PX 60000", true},
    {"get", "GET $K", true},
    {"mget", "MGET $K", true},
    {"pttl", "PTTL $K", true},
    {"pexpire", "PEXPIRE $K 60000", true},
    {"exists", "EXISTS $K", true},
    {"multi", "MULTI", true},
    {"exec", "EXEC", true},
    {"time", "TIME", true},
    {"dbsize", "DBSIZE", true},
    {"eval", "EVAL return(redis.call('GET',KEYS[1])) 1 $K", true},
    {"evalsha", "EVALSHA 0000000000000000000000000000000000000000 1 $K", true},
    {"script", "SCRIPT EXISTS 0000000000000000000000000000000000000000", true},
    {"hget", "HGET $S s", true},
    {"hmget", "HMGET $S s", true},
    {"persist", "PERSIST $S", true},
    {"zscore", "ZSCORE $W x", true},
    {"zcard", "ZCARD $W", true},
    {"zrange", "ZRANGE $W 0 0", true},
    {"zrangebyscore", "ZRANGEBYSCORE $W 1 0", true},
    /* On a key of another type: the right is looked at first, and nothing is written. */
    {"hset", "HSET $K f 1", true},
    {"zadd", "ZADD $K 1 x", true},
    {"zremrangebyrank", "ZREMRANGEBYRANK $K 1 0", true},
    {"publish", "PUBLISH $C check", true},
    {"client", "CLIENT ID", true},
    {"del", "DEL $K", true},
    {"scan", "SCAN 0 COUNT 1", false},
    {"info", "INFO server", false},
};

/* Asks for one right; false: it is denied. Other errors say nothing about rights. */
static bool has_right(struct cli_check *check, const struct right *right)
{
    char text[256], key[CLI_CHECK_KEY_BYTES], own[2][160], channel[160];
    const char *words[8];
    struct cli_reply answer = {.error = NULL};
    int count = 0;
    char *state = NULL;
    bool denied;

    cli_check_key(check, "rights", key);
    snprintf(own[0], sizeof own[0], "%.128s:s", check->name_space);
    snprintf(own[1], sizeof own[1], "%.128s:w", check->name_space);
    snprintf(channel, sizeof channel, "%.128s:%u:check", check->name_space, check->target.database);
    snprintf(text, sizeof text, "%s", right->command);
    for (char *word = strtok_r(text, " ", &state); word && count < 8;
         word = strtok_r(NULL, " ", &state))
        words[count++] = strcmp(word, "$K") == 0   ? key
                         : strcmp(word, "$S") == 0 ? own[0]
                         : strcmp(word, "$W") == 0 ? own[1]
                         : strcmp(word, "$C") == 0 ? channel
                                                   : word;
    answer.reply = redisCommandArgv(check->raw, count, words, NULL);
    denied = answer.reply && answer.reply->type == REDIS_REPLY_ERROR &&
             (strncmp(answer.reply->str, "NOPERM", 6) == 0 || strstr(answer.reply->str, "NOPERM") ||
              strstr(answer.reply->str, "ACL failure"));
    cli_reply_free(&answer);
    return !denied;
}

/* Subscribing takes a connection of its own: it could ask for nothing else afterwards. */
static bool may_subscribe(struct cli_check *check, const char *channel)
{
    char problem[CLI_RAW_PROBLEM_BYTES];
    redisContext *context;
    struct cli_reply answer;
    bool fine;

    if (cli_raw_open(&check->target, &context, problem) != CLI_RAW_FINE)
        return false;
    answer = cli_raw_ask(context, "SUBSCRIBE %s", channel);
    fine = !answer.error;
    cli_reply_free(&answer);
    redisFree(context);
    return fine;
}

/* Turns tracking on and off again, which also says whether the command is allowed. */
static bool may_track(struct cli_check *check)
{
    struct cli_reply answer = cli_raw_ask(check->raw, "CLIENT TRACKING ON BCAST PREFIX x");
    bool fine = !answer.error || strncmp(answer.error, "NOPERM", 6) != 0;

    cli_reply_free(&answer);
    answer = cli_raw_ask(check->raw, "CLIENT TRACKING OFF");
    cli_reply_free(&answer);
    return fine && may_subscribe(check, "__redis__:invalidate");
}

static void add_word(char *list, size_t capacity, const char *word)
{
    size_t length = strlen(list);

    snprintf(list + length, capacity - length, "%s%s", length ? " +" : "+", word);
}

static void report_rights(struct cli_check *check, const char *missing, const char *optional)
{
    const char *tracked = check->may_track ? "" : " &__redis__:invalidate";
    char advice[768];

    snprintf(advice, sizeof advice, "ACL SETUSER %s ~%.128s* ~%.64s:* &%.64s:*%s %s%s%s",
             check->target.username ? check->target.username : "default", check->prefix,
             check->name_space, check->name_space, tracked, missing,
             *missing && *optional ? " " : "", optional);
    if (*missing)
        cli_check_report(check, "rights", CLI_CHECK_FAIL, advice, "denied: %s", missing);
    else if (*optional)
        cli_check_report(check, "rights", CLI_CHECK_WARN, advice,
                         "denied: %s (batches, deleting by prefix, tracking want them)", optional);
    else
        cli_check_report(check, "rights", CLI_CHECK_OK, NULL, "all commands, keys and channels");
}

void cli_check_rights(struct cli_check *check)
{
    char missing[384] = "", optional[128] = "", channel[160];

    if (no_raw(check, "rights"))
        return;
    for (size_t i = 0; i < sizeof rights / sizeof rights[0]; i++)
        if (!has_right(check, &rights[i]))
            add_word(rights[i].essential ? missing : optional,
                     rights[i].essential ? sizeof missing : sizeof optional, rights[i].what);
    snprintf(channel, sizeof channel, "%.128s:%u:check", check->name_space, check->target.database);
    if (!may_subscribe(check, channel))
        add_word(missing, sizeof missing, "subscribe");
    check->may_track = may_track(check);
    if (!check->may_track)
        add_word(optional, sizeof optional, "client|tracking");
    report_rights(check, missing, optional);
}

void cli_check_ping(struct cli_check *check)
{
    struct cli_latency *latency;
    uint64_t p50_ns, p99_ns;

    if (no_raw(check, "round trip"))
        return;
    latency = calloc(1, sizeof *latency);
    for (int i = 0; latency && i < PINGS; i++) {
        uint64_t begin_ns = cli_now_ns();
        struct cli_reply answer = cli_raw_ask(check->raw, "PING");

        if (!answer.error)
            cli_latency_add(latency, cli_now_ns() - begin_ns);
        cli_reply_free(&answer);
    }
    if (!latency || latency->count < PINGS) {
        cli_check_report(check, "round trip", CLI_CHECK_FAIL, NULL, "PING is not answered");
    } else {
        p50_ns = cli_latency_quantile_ns(latency, 0.5);
        p99_ns = cli_latency_quantile_ns(latency, 0.99);
        cli_check_report(
            check, "round trip", p50_ns > SLOW_PING_NS ? CLI_CHECK_WARN : CLI_CHECK_OK,
            p50_ns > SLOW_PING_NS ? "Redis is far away or busy: a miss costs that much" : NULL,
            "PING p50 %.0f us, p99 %.0f us", (double)p50_ns / 1e3, (double)p99_ns / 1e3);
    }
    free(latency);
}
