#include "redis/sentinel.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One that does not answer is left for the next. */
#define ANSWER_NS (250 * NC_NS_PER_MS)
#define SWITCH_CHANNEL "+switch-master"

/* ---- one Sentinel ---- */

/* Its reply to SENTINEL MASTER: names and values in turn. */
struct answer {
    struct nc_sink sink;
    struct nc_primary primary;
    uint64_t epoch;
    char name[32];
    bool refused;
};

static bool number(const char *text, size_t bytes, uint64_t *value)
{
    uint64_t n = 0;
    if (bytes == 0 || bytes > 19)
        return false;
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        n = n * 10 + (uint64_t)(text[i] - '0');
    }
    *value = n;
    return true;
}

static int on_answer(struct nc_sink *sink, const struct nc_reply_part *part)
{
    struct answer *a = (struct answer *)sink;
    if (part->depth == 0)
        a->refused = part->type != NC_REPLY_ARRAY;
    if (part->depth != 1 || part->type != NC_REPLY_BULK)
        return 0;
    if (part->index % 2 == 0) {
        size_t n = part->bytes < sizeof a->name ? part->bytes : 0;
        memcpy(a->name, part->str, n);
        a->name[n] = 0;
    } else if (strcmp(a->name, "ip") == 0) {
        nc_primary_put_host(&a->primary, part->str, part->bytes);
    } else if (strcmp(a->name, "port") == 0) {
        nc_primary_put_port(&a->primary, part->str, part->bytes);
    } else if (strcmp(a->name, "config-epoch") == 0) {
        number(part->str, part->bytes, &a->epoch);
    }
    return 0;
}

static void put_word(struct nc_command *command, const char *word)
{
    nc_command_arg(command, word, strlen(word));
}

static int open_sentinel(struct nc_conn *conn, const struct nc_redis_settings *settings,
                         unsigned which, int stop_fd, uint64_t deadline_ns)
{
    const struct nc_redis_settings sentinel = {.host = settings->sentinels[which].host,
                                               .port = settings->sentinels[which].port,
                                               .password = settings->sentinel_password,
                                               .client_name = settings->client_name,
                                               .tls = settings->tls};
    return nc_conn_open(conn, &sentinel, stop_fd, deadline_ns);
}

static int ask(const struct nc_redis_settings *settings, unsigned which, int stop_fd,
               uint64_t deadline_ns, struct answer *answer)
{
    struct nc_link_stats unused = {0};
    struct nc_conn conn;
    struct nc_command command;
    uint64_t latest_ns = nc_clock_io_ns() + ANSWER_NS;
    if (deadline_ns > latest_ns)
        deadline_ns = latest_ns;
    nc_conn_init(&conn, &unused);
    int outcome = open_sentinel(&conn, settings, which, stop_fd, deadline_ns);
    if (outcome != 0)
        return outcome;
    nc_command_init(&command);
    nc_command_begin(&command, 3);
    put_word(&command, "SENTINEL");
    put_word(&command, "MASTER");
    put_word(&command, settings->sentinel_primary);
    outcome = nc_conn_round_trip(&conn, &command, &answer->sink, stop_fd, deadline_ns);
    nc_command_deinit(&command);
    nc_conn_close(&conn);
    return outcome;
}

/* ---- all of them ---- */

int nc_sentinel_find(const struct nc_redis_settings *settings, int stop_fd, uint64_t deadline_ns,
                     struct nc_primary *primary, const char **why)
{
    unsigned answers = 0, unknown = 0, auth = 0, count = settings->sentinel_count;
    uint64_t newest = 0;
    for (unsigned i = 0; i < count && answers <= count / 2; i++) {
        struct answer answer = {.sink = {on_answer}};
        int outcome = ask(settings, i, stop_fd, deadline_ns, &answer);
        if (outcome == NEARCACHE_ECLOSED || outcome == NEARCACHE_ENOMEM)
            return outcome;
        auth += outcome == NEARCACHE_EAUTH;
        unknown += outcome == 0 && answer.refused;
        if (outcome != 0 || !answer.primary.host[0] || answer.primary.port == 0)
            continue;
        if (answers++ == 0 || answer.epoch > newest) {
            *primary = answer.primary;
            newest = answer.epoch;
        }
    }
    if (answers > count / 2)
        return 0;
    *why = auth == count ? NULL
           : unknown > 0 ? "the Sentinels know no primary of that name"
                         : "fewer than half of the Sentinels answer";
    return auth == count ? NEARCACHE_EAUTH : NEARCACHE_EOFFLINK;
}

int nc_sentinel_open(struct nc_conn *conn, const struct nc_redis_settings *settings, int stop_fd,
                     uint64_t deadline_ns)
{
    struct nc_primary primary;
    if (settings->sentinel_count == 0)
        return nc_conn_open(conn, settings, stop_fd, deadline_ns);
    int outcome = nc_sentinel_find(settings, stop_fd, deadline_ns, &primary, &conn->why);
    if (outcome != 0)
        return outcome;
    return nc_conn_open_at(conn, settings, &primary, stop_fd, deadline_ns);
}

/* ---- listening ---- */

int nc_sentinel_listen(struct nc_subscriber *subscriber, const struct nc_redis_settings *settings,
                       unsigned which, int stop_fd, uint64_t deadline_ns)
{
    static const char *const channel[] = {SWITCH_CHANNEL};
    int outcome = open_sentinel(&subscriber->conn, settings, which % settings->sentinel_count,
                                stop_fd, deadline_ns);
    if (outcome == 0)
        outcome = nc_subscriber_subscribe(subscriber, false, channel, 1, stop_fd, deadline_ns);
    if (outcome != 0)
        nc_conn_close(&subscriber->conn);
    return outcome;
}

/* `name old-host old-port new-host new-port`. */
bool nc_sentinel_heard(const struct nc_redis_settings *settings, const char *text, size_t bytes,
                       struct nc_primary *primary)
{
    const char *word[5], *end = text + bytes;
    size_t word_bytes[5];
    for (int i = 0; i < 5; i++) {
        const char *blank = memchr(text, ' ', (size_t)(end - text));
        if ((blank == NULL) != (i == 4))
            return false;
        word[i] = text;
        word_bytes[i] = (size_t)((blank ? blank : end) - text);
        text = blank ? blank + 1 : end;
    }
    return word_bytes[0] == strlen(settings->sentinel_primary) &&
           memcmp(word[0], settings->sentinel_primary, word_bytes[0]) == 0 &&
           nc_primary_put_host(primary, word[3], word_bytes[3]) &&
           nc_primary_put_port(primary, word[4], word_bytes[4]);
}
