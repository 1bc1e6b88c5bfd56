/* Sentinels that watch a primary and its replica, real ones and scripted ones. */
#include "base/clock.h"
#include "lib/child.h"
#include "lib/link_fixture.h"
#include "lib/logged.h"
#include "lib/redis_server.h"
#include "lib/wait_until.h"
#include "nearcache/queue.h"
#include "redis/sentinel.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

REDIS_SERVER_REQUIRED;

enum { SENTINELS = 3, NODES = 2 };

/* ---- the cast ---- */

static struct redis_server nodes[NODES]; /* the first begins as the primary */
static struct {
    pid_t pid;
    int port, reserved;
} sentinels[SENTINELS];
static char list[128];
static const char *sentinel_password;
static struct nearcache_redis redis = NEARCACHE_REDIS_INIT;
static struct nc_link *link_;
static struct seen seen;
static const struct nc_log to_test = {on_log, NULL, NEARCACHE_LOG_DEBUG};

/* Bound and never listening, so that nobody else gets the port; see lib/redis_server. */
static int reserve(int *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    getsockname(fd, (struct sockaddr *)&address, &bytes);
    *port = ntohs(address.sin_port);
    return fd;
}

static char *ask_port(int port, const char *command)
{
    const struct timeval timeout = {.tv_sec = 5};
    redisContext *context = redisConnectWithTimeout("127.0.0.1", port, timeout);
    redisReply *reply = context && !context->err ? redisCommand(context, command) : NULL;
    char *text = NULL;
    size_t bytes;
    FILE *to = open_memstream(&text, &bytes);
    for (size_t i = 0; reply && i < reply->elements; i++)
        fprintf(to, "%s ", reply->element[i]->str ? reply->element[i]->str : "");
    if (reply && reply->str)
        fputs(reply->str, to);
    fclose(to);
    if (reply)
        freeReplyObject(reply);
    if (context)
        redisFree(context);
    return text;
}

static bool port_says(int port, const char *command, const char *text)
{
    char *answer = ask_port(port, command);
    bool says = strstr(answer, text) != NULL;
    free(answer);
    return says;
}

static void start_sentinel(int which)
{
    char path[128];
    snprintf(path, sizeof path, "%s/sentinel%d.conf", nodes[0].directory, which);
    FILE *conf = fopen(path, "w");
    fprintf(conf,
            "port %d\nbind 127.0.0.1\ndir %s\nlogfile %s/sentinel%d.log\nprotected-mode no\n"
            "sentinel monitor ours 127.0.0.1 %d 2\nsentinel down-after-milliseconds ours 500\n"
            "sentinel failover-timeout ours 3000\n",
            sentinels[which].port, nodes[0].directory, nodes[0].directory, which, nodes[0].port);
    if (sentinel_password)
        fprintf(conf, "requirepass %s\n", sentinel_password);
    fclose(conf);
    const char *const argv[] = {"redis-server", path, "--sentinel", NULL};
    sentinels[which].pid = child_start(argv, -1, -1, -1);
    cr_assert_gt(sentinels[which].pid, 0);
    cr_assert(WAIT_UNTIL(
        port_says(sentinels[which].port, "PING", sentinel_password ? "NOAUTH" : "PONG"), 20000));
}

static void setup(void)
{
    size_t used = 0;
    for (int i = 0; i < NODES; i++)
        cr_assert(redis_server_start(&nodes[i], NULL));
    free(redis_server_ask(&nodes[1], "REPLICAOF 127.0.0.1 %d", nodes[0].port));
    cr_assert(
        WAIT_UNTIL(port_says(nodes[1].port, "INFO replication", "master_link_status:up"), 20000));
    for (int i = 0; i < SENTINELS; i++) {
        sentinels[i].reserved = reserve(&sentinels[i].port);
        start_sentinel(i);
        used += (size_t)snprintf(list + used, sizeof list - used, "%s127.0.0.1:%d", i ? "," : "",
                                 sentinels[i].port);
    }
    redis.sentinels = list;
    redis.sentinel_primary = "ours";
    redis.connections = 2;
}

static void stop_sentinel(int which)
{
    if (sentinels[which].pid > 0)
        child_kill(sentinels[which].pid);
    sentinels[which].pid = 0;
}

static void teardown(void)
{
    if (link_)
        nc_link_close(link_, 0);
    for (int i = 0; i < SENTINELS; i++)
        stop_sentinel(i);
    for (int i = 0; i < NODES; i++)
        redis_server_stop(&nodes[i]);
}

TestSuite(sentinel, .init = setup, .fini = teardown);

/* All three know each other and the replica: an election can be held. */
static void expect_ready(void)
{
    for (int i = 0; i < SENTINELS; i++)
        cr_assert(WAIT_UNTIL(port_says(sentinels[i].port, "SENTINEL MASTER ours",
                                       "num-slaves 1 num-other-sentinels 2"),
                             30000));
}

static void connect_link(void)
{
    const struct nc_link_config config = {.log = &to_test, .breaker_expiries = UINT64_MAX};
    link_ = link_with(&redis, &config);
}

static bool is_with(const struct redis_server *node)
{
    struct seen set;
    char value[16];
    snprintf(value, sizeof value, "%d", node->port);
    if (ask(link_, &set, 1000000, "SET", "where", value, NULL) != 0 || set.type != NC_REPLY_STATUS)
        return false;
    char *there = redis_server_ask(node, "GET where");
    bool same =
        strcmp(there, value) == 0 && port_says(node->port, "INFO replication", "role:master");
    free(there);
    return same;
}

/* ---- finding ---- */

Test(sentinel, the_primary_is_found)
{
    connect_link();
    cr_assert(link_wait_up(link_, 20000), "%s", logged);
    cr_expect(is_with(&nodes[0]));
}

Test(sentinel, one_of_three_may_be_gone)
{
    stop_sentinel(0);
    connect_link();
    cr_assert(link_wait_up(link_, 20000), "%s", logged);
    cr_expect(is_with(&nodes[0]));
}

Test(sentinel, one_of_three_alone_is_not_believed)
{
    stop_sentinel(0);
    stop_sentinel(1);
    connect_link();
    cr_expect(WAIT_UNTIL(was_logged("fewer than half"), 20000), "%s", logged);
    cr_expect_eq(ask(link_, &seen, 100000, "PING", NULL), NEARCACHE_EOFFLINK);
    start_sentinel(0);
    cr_assert(link_wait_up(link_, 20000), "%s", logged);
}

Test(sentinel, a_name_that_they_do_not_know_is_told)
{
    redis.sentinel_primary = "theirs";
    connect_link();
    cr_expect(WAIT_UNTIL(was_logged("no primary of that name"), 20000), "%s", logged);
}

Test(sentinel, the_password_for_them_is_given)
{
    sentinel_password = "watch";
    for (int i = 0; i < SENTINELS; i++) {
        stop_sentinel(i);
        start_sentinel(i);
    }
    connect_link();
    cr_assert(WAIT_UNTIL(nc_link_refused_auth(link_), 20000));
    nc_link_close(link_, 0);
    redis.sentinel_password = "watch";
    connect_link();
    cr_assert(link_wait_up(link_, 20000), "%s", logged);
}

/* ---- another primary ---- */

Test(sentinel, an_ordered_switch_is_followed)
{
    connect_link();
    cr_assert(link_wait_up(link_, 20000), "%s", logged);
    expect_ready();
    cr_assert(WAIT_UNTIL(port_says(sentinels[0].port, "SENTINEL FAILOVER ours", "OK"), 20000));
    cr_expect(WAIT_UNTIL(is_with(&nodes[1]), 60000), "%s", logged);
}

Test(sentinel, a_hung_primary_is_left_for_the_new_one)
{
    connect_link();
    cr_assert(link_wait_up(link_, 20000), "%s", logged);
    expect_ready();
    redis_server_pause(&nodes[0]);
    cr_expect(WAIT_UNTIL(is_with(&nodes[1]), 60000), "%s", logged);
    redis_server_resume(&nodes[0]);
}

static int run_job(void *arg, struct nearcache_job *job)
{
    atomic_fetch_add((_Atomic unsigned *)arg, 1);
    return nearcache_job_return(job, "true", 4);
}

Test(sentinel, a_queue_goes_on_with_the_new_primary)
{
    struct nearcache_worker_config config = NEARCACHE_WORKER_CONFIG_INIT;
    struct nearcache_queue *queue;
    struct nearcache_worker *worker;
    static _Atomic unsigned done;
    cr_assert_eq(nearcache_queue_open(&queue, &redis, "q", NULL), 0);
    config.run = run_job;
    config.run_arg = (void *)&done;
    cr_assert_eq(nearcache_worker_open(&worker, queue, &config), 0);
    cr_assert_eq(nearcache_queue_add(queue, "job", "{}", 2, NULL, NULL), 0);
    cr_expect(WAIT_UNTIL(atomic_load(&done) == 1, 20000));
    expect_ready();
    redis_server_kill(&nodes[0]);
    cr_expect(WAIT_UNTIL(nearcache_queue_add(queue, "job", "{}", 2, NULL, NULL) == 0, 60000));
    cr_expect(WAIT_UNTIL(atomic_load(&done) >= 2, 60000));
    nearcache_worker_close(worker, 0);
    nearcache_queue_close(queue, 0);
}

/* ---- a cache over a failover ---- */

Test(sentinel, a_cache_reads_and_writes_through_a_failover_without_errors)
{
    struct nearcache_config config = NEARCACHE_CONFIG_INIT;
    struct nearcache_tier_config with = NEARCACHE_TIER_INIT;
    struct nearcache_result result;
    struct nearcache *cache;
    struct nearcache_tier *tier;
    unsigned journaled = 0, in_doubt = 0, rounds = 0;
    config.redis = &redis;
    config.log = on_log;
    config.log_level = NEARCACHE_LOG_WARNING;
    with.name = "things";
    with.prefix = "thing:";
    with.off_link = NEARCACHE_OFF_LINK_STALE;
    cr_assert_eq(nearcache_open(&cache, &config), 0);
    cr_assert_eq(nearcache_tier_open(cache, &with, &tier), 0);
    cr_assert_eq(nearcache_wait(cache, 20000000), 0);
    cr_assert_eq(nearcache_set(tier, "read", 4, "only", 4, NULL), 0);
    expect_ready();
    redis_server_kill(&nodes[0]);
    bool moved = false;
    uint64_t until_ns = nc_clock_io_ns() + 60 * NC_NS_PER_S;
    while (!(moved && rounds > 20) && nc_clock_io_ns() < until_ns) {
        char value[16];
        int bytes = snprintf(value, sizeof value, "%u", ++rounds);
        int outcome = nearcache_set(tier, "written", 7, value, (size_t)bytes, NULL);
        journaled += outcome == NEARCACHE_LOCAL;
        in_doubt += outcome == NEARCACHE_ETIMEOUT;
        cr_assert(outcome == 0 || outcome == NEARCACHE_LOCAL || outcome == NEARCACHE_ETIMEOUT,
                  "a write: %s", nearcache_strerror(outcome));
        outcome = nearcache_get(tier, "read", 4, NULL, &result);
        cr_assert_eq(outcome, 0, "a read: %s", nearcache_strerror(outcome));
        cr_expect_arr_eq(result.data, "only", 4);
        nearcache_release(&result);
        char *there = redis_server_ask(&nodes[1], "GET thing:written");
        moved = strcmp(there, value) == 0;
        free(there);
        wait_a_little(0);
    }
    cr_expect(moved, "the new primary has no writes of ours: %s", logged);
    cr_expect_gt(journaled, 0);
    cr_expect_leq(in_doubt, 3);
    nearcache_close(cache, 0);
}

/* ---- scripted Sentinels ---- */

/* Answers SENTINEL MASTER with the text given, everything else with OK. */
struct script {
    int listener, port;
    const char *reply;
    _Atomic bool stop;
    pthread_t thread;
};

static void answer(struct script *script, int fd)
{
    char bytes[4096];
    ssize_t n;
    while ((n = recv(fd, bytes, sizeof bytes - 1, 0)) > 0) {
        bytes[n] = 0;
        for (char *at = bytes; (at = strchr(at, '*')); at++) {
            const char *reply = strstr(at, "MASTER") ? script->reply : "+OK\r\n";
            send(fd, reply, strlen(reply), MSG_NOSIGNAL);
        }
    }
}

static void *play(void *arg)
{
    struct script *script = arg;
    while (!atomic_load(&script->stop)) {
        struct pollfd polled = {script->listener, POLLIN, 0};
        if (poll(&polled, 1, 20) <= 0)
            continue;
        int fd = accept(script->listener, NULL, NULL);
        const struct timeval timeout = {.tv_sec = 1};
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
        answer(script, fd);
        close(fd);
    }
    return NULL;
}

static void start_script(struct script *script, const char *reply)
{
    script->reply = reply;
    script->listener = reserve(&script->port);
    cr_assert_eq(listen(script->listener, 16), 0);
    cr_assert_eq(pthread_create(&script->thread, NULL, play, script), 0);
}

static void stop_script(struct script *script)
{
    atomic_store(&script->stop, true);
    pthread_join(script->thread, NULL);
    close(script->listener);
}

#define ANSWER(port, epoch)                                                                        \
    "*6\r\n$2\r\nip\r\n$9\r\n127.0.0.1\r\n$4\r\nport\r\n$4\r\n" port                               \
    "\r\n$12\r\nconfig-epoch\r\n$1\r\n" epoch "\r\n"

/* What three scripted Sentinels lead to: a port, or 0 and why. */
static uint32_t find(const char *one, const char *two, const char *three, const char **why)
{
    struct script scripts[3] = {{0}};
    const char *const replies[3] = {one, two, three};
    struct nearcache_redis given = NEARCACHE_REDIS_INIT;
    struct nc_redis_settings *settings;
    struct nc_primary primary = {"", 0};
    char there[128];
    size_t used = 0;
    for (int i = 0; i < 3; i++) {
        start_script(&scripts[i], replies[i]);
        used += (size_t)snprintf(there + used, sizeof there - used, "%s127.0.0.1:%d", i ? "," : "",
                                 scripts[i].port);
    }
    given.sentinels = there;
    given.sentinel_primary = "ours";
    cr_assert_eq(nc_redis_settings_create(&settings, &given, &to_test), 0);
    *why = "";
    int outcome = nc_sentinel_find(settings, -1, nc_clock_deadline_ns(20000000), &primary, why);
    for (int i = 0; i < 3; i++)
        stop_script(&scripts[i]);
    nc_redis_settings_destroy(settings);
    return outcome == 0 ? primary.port : 0;
}

Test(sentinel_answers, the_newest_of_a_majority_counts)
{
    const char *why;
    cr_expect_eq(find(ANSWER("7001", "3"), ANSWER("7002", "4"), ANSWER("7002", "4"), &why), 7002);
    cr_expect_eq(find(ANSWER("7002", "4"), ANSWER("7001", "3"), ANSWER("7002", "4"), &why), 7002);
}

Test(sentinel_answers, nonsense_is_no_answer)
{
    static const char *const nonsense[] = {
        "-ERR No such master with that name\r\n",
        "*0\r\n",
        "*-1\r\n",
        "+OK\r\n",
        "$3\r\nabc\r\n",
        "*2\r\n$2\r\nip\r\n$0\r\n\r\n",
        ANSWER("0000", "3"),
        ANSWER("port", "3"),
        "*4\r\n$2\r\nip\r\n:1\r\n$4\r\nport\r\n:2\r\n",
        "garbage\r\n",
    };
    const char *why;
    for (size_t i = 0; i < sizeof nonsense / sizeof *nonsense; i++) {
        cr_expect_eq(find(ANSWER("7001", "3"), nonsense[i], nonsense[i], &why), 0, "%s",
                     nonsense[i]);
        cr_expect_eq(find(nonsense[i], ANSWER("7001", "3"), ANSWER("7001", "3"), &why), 7001, "%s",
                     nonsense[i]);
    }
}

Test(sentinel_answers, a_message_names_the_new_primary)
{
    const struct nc_redis_settings settings = {.sentinel_primary = (char *)"ours"};
    struct nc_primary primary;
    static const char good[] = "ours 10.0.0.1 6379 10.0.0.2 6380";
    cr_expect(nc_sentinel_heard(&settings, good, strlen(good), &primary));
    cr_expect_str_eq(primary.host, "10.0.0.2");
    cr_expect_eq(primary.port, 6380);
    static const char *const other[] = {"theirs 10.0.0.1 6379 10.0.0.2 6380",
                                        "ours 10.0.0.1 6379 10.0.0.2",
                                        "ours 10.0.0.1 6379 10.0.0.2 6380 x",
                                        "ours 10.0.0.1 6379 10.0.0.2 0",
                                        "ours 10.0.0.1 6379  6380",
                                        "ours",
                                        ""};
    for (size_t i = 0; i < sizeof other / sizeof *other; i++)
        cr_expect_not(nc_sentinel_heard(&settings, other[i], strlen(other[i]), &primary), "%s",
                      other[i]);
}
