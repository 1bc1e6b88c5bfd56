#include "base/clock.h"
#include "lib/link_fixture.h"
#include "lib/logged.h"
#include "lib/redis_server.h"
#include "lib/wait_until.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

REDIS_SERVER_REQUIRED;

static struct redis_server server;
static struct nearcache_redis redis = NEARCACHE_REDIS_INIT;
static struct nc_link *link_;
static struct seen seen;

/* Everything that the library logs. */
static const struct nc_log to_test = {on_log, NULL, NEARCACHE_LOG_DEBUG};

static void teardown(void)
{
    if (link_)
        nc_link_close(link_, 0);
    redis_server_stop(&server);
}

TestSuite(link, .fini = teardown);

static void start(const char *const *extra)
{
    cr_assert(redis_server_start(&server, extra));
    redis.host = "127.0.0.1";
    redis.port = (uint32_t)server.port;
}

static void connect_link(void)
{
    const struct nc_link_config config = {.log = &to_test, .breaker_expiries = UINT64_MAX};
    link_ = link_with(&redis, &config);
}

static void expect_up(void) { cr_assert(link_wait_up(link_, 20000), "%s", logged); }

static void expect_text(const char *text) { cr_expect_str_eq(seen.text, text); }

/* ---- why not ---- */

static void expect_why(const char *why)
{
    connect_link();
    cr_expect(WAIT_UNTIL(was_logged(why), 20000), "not \"%s\" but: %s", why, logged);
}

Test(link, a_port_where_nobody_listens_is_told)
{
    start(NULL);
    redis_server_kill(&server);
    expect_why("cannot connect to Redis at 127.0.0.1 port ");
    cr_expect(was_logged(": nobody listens there"), "%s", logged);
}

Test(link, a_socket_that_is_not_there_is_told)
{
    redis.unix_path = "/nonexistent/redis.sock";
    expect_why("cannot connect to Redis at /nonexistent/redis.sock: there is no such socket");
}

Test(link, a_database_that_the_server_does_not_have_is_told)
{
    start(NULL);
    redis.database = 99;
    expect_why("the server does not have this database");
}

Test(link, a_server_with_too_many_clients_is_told)
{
    const char *const few[] = {"--maxclients", "1", NULL};
    start(few);
    redisContext *only = redis_server_connect(&server);
    cr_assert_not_null(only);
    expect_why("as many clients as it takes");
    redisFree(only);
}

/* ---- names with several addresses ---- */

int __real_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                       struct addrinfo **found);
int __wrap_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                       struct addrinfo **found);

/* "two.test" is 127.0.0.2, then 127.0.0.1. */
int __wrap_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                       struct addrinfo **found)
{
    struct addrinfo *second;
    bool two = strcmp(host, "two.test") == 0 && !(hints->ai_flags & AI_NUMERICHOST);
    int error = __real_getaddrinfo(two ? "127.0.0.2" : host, port, hints, found);
    if (error == 0 && two && (error = __real_getaddrinfo("127.0.0.1", port, hints, &second)) == 0)
        (*found)->ai_next = second;
    return error;
}

/* It accepts nobody, and its queue is full: what is sent there is lost. */
static int open_hole(int port, int fillers[2])
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int hole = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    inet_pton(AF_INET, "127.0.0.2", &at.sin_addr);
    cr_assert_eq(bind(hole, (const struct sockaddr *)&at, sizeof at), 0);
    cr_assert_eq(listen(hole, 0), 0);
    for (int i = 0; i < 2; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        connect(fillers[i], (const struct sockaddr *)&at, sizeof at);
    }
    return hole;
}

Test(link, an_address_that_swallows_everything_leaves_time_for_the_next)
{
    int fillers[2];
    start(NULL);
    int hole = open_hole(server.port, fillers);
    redis.host = "two.test";
    connect_link();
    expect_up();
    close(hole);
    close(fillers[0]);
    close(fillers[1]);
}

/* ---- who we are ---- */

Test(link, a_password_is_given)
{
    start(NULL);
    free(redis_server_ask(&server, "CONFIG SET requirepass %s", "open sesame"));
    redis.password = "open sesame";
    connect_link();
    expect_up();
    cr_expect_eq(ask(link_, &seen, 5000000, "ECHO", "hi", NULL), 0);
    expect_text("hi");
}

Test(link, a_user_and_its_password_are_given)
{
    start(NULL);
    free(redis_server_ask(&server, "ACL SETUSER search on >s3cret ~* &* +@all"));
    redis.username = "search";
    redis.password = "s3cret";
    connect_link();
    expect_up();
    cr_expect_eq(ask(link_, &seen, 5000000, "ACL", "WHOAMI", NULL), 0);
    expect_text("search");
}

Test(link, a_wrong_password_is_told_without_showing_it)
{
    start(NULL);
    free(redis_server_ask(&server, "CONFIG SET requirepass %s", "right"));
    redis.password = "hunter2";
    connect_link();
    cr_assert(WAIT_UNTIL(nc_link_refused_auth(link_), 10000));
    cr_expect_eq(ask(link_, &seen, 100000, "PING", NULL), NEARCACHE_EOFFLINK);
    cr_expect(WAIT_UNTIL(was_logged("credentials"), 10000), "%s", logged);
    cr_expect_not(was_logged("hunter2"));
}

Test(link, a_missing_password_is_told)
{
    start(NULL);
    free(redis_server_ask(&server, "CONFIG SET requirepass %s", "right"));
    connect_link();
    cr_expect(WAIT_UNTIL(nc_link_refused_auth(link_), 10000));
}

Test(link, a_wrong_user_is_told_without_showing_it)
{
    start(NULL);
    redis.username = "nobody";
    redis.password = "hunter2";
    connect_link();
    cr_assert(WAIT_UNTIL(nc_link_refused_auth(link_), 10000));
    cr_expect_not(was_logged("hunter2"));
}

Test(link, a_password_that_becomes_right_lets_it_in)
{
    start(NULL);
    free(redis_server_ask(&server, "CONFIG SET requirepass %s", "first"));
    redis.password = "second";
    connect_link();
    cr_assert(WAIT_UNTIL(nc_link_refused_auth(link_), 10000));
    redisContext *admin = redis_server_connect(&server);
    freeReplyObject(redisCommand(admin, "AUTH first"));
    freeReplyObject(redisCommand(admin, "CONFIG SET requirepass second"));
    redisFree(admin);
    expect_up();
    cr_expect_not(nc_link_refused_auth(link_));
}

Test(link, a_database_is_selected)
{
    start(NULL);
    redis.database = 3;
    connect_link();
    expect_up();
    cr_expect_eq(ask(link_, &seen, 5000000, "SET", "k", "three", NULL), 0);
    char *keys = redis_server_ask(&server, "INFO keyspace");
    cr_expect(strstr(keys, "db3:keys=1"), "%s", keys);
    free(keys);
}

Test(link, a_database_that_does_not_exist_is_no_link)
{
    start(NULL);
    redis.database = 4000;
    connect_link();
    cr_expect(WAIT_UNTIL(was_logged("cannot connect"), 10000));
    cr_expect_eq(ask(link_, &seen, 100000, "PING", NULL), NEARCACHE_EOFFLINK);
    cr_expect_not(nc_link_refused_auth(link_));
}

static unsigned connections_named(const char *name)
{
    char text[64], *list = redis_server_ask(&server, "CLIENT LIST");
    unsigned count = 0;
    snprintf(text, sizeof text, " name=%s ", name);
    for (char *at = list; (at = strstr(at, text)); at++)
        count++;
    free(list);
    return count;
}

Test(link, every_connection_has_its_name)
{
    start(NULL);
    redis.client_name = "loader-7";
    redis.connections = 2;
    connect_link();
    expect_up();
    cr_expect_eq(connections_named("loader-7"), 3, "two shared ones and one for batches");
}

Test(link, a_user_that_may_not_name_itself_goes_nameless)
{
    start(NULL);
    free(redis_server_ask(&server, "ACL SETUSER plain on >p ~* &* +@all -client|setname"));
    redis.username = "plain";
    redis.password = "p";
    connect_link();
    expect_up();
}

/* ---- where Redis is ---- */

Test(link, a_unix_socket_is_a_way)
{
    start(NULL);
    redis.host = NULL;
    redis.unix_path = server.socket_path;
    connect_link();
    expect_up();
}

Test(link, a_name_is_looked_up_and_every_address_tried)
{
    start(NULL); /* listens on 127.0.0.1 alone; localhost may be ::1 as well */
    redis.host = "localhost";
    connect_link();
    expect_up();
}

static bool has_ipv6(void)
{
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    bool has = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0;
    if (fd >= 0)
        close(fd);
    return has;
}

Test(link, an_ipv6_address_is_a_way)
{
    if (!has_ipv6())
        cr_skip_test("no IPv6 here");
    start((const char *const[]){"--bind", "127.0.0.1", "::1", NULL});
    redis.host = "::1";
    connect_link();
    expect_up();
}

/* ---- what the server says ---- */

Test(link, a_server_out_of_memory_refuses_writes_and_keeps_the_link)
{
    start(NULL);
    connect_link();
    expect_up();
    free(redis_server_ask(&server, "CONFIG SET maxmemory 1"));
    uint64_t connects = atomic_load(&nc_link_stats(link_)->connects);
    cr_expect_eq(ask(link_, &seen, 5000000, "SET", "k", "v", NULL), 0);
    cr_expect_eq(seen.type, NC_REPLY_ERROR);
    cr_expect(strncmp(seen.text, "OOM", 3) == 0, "%s", seen.text);
    cr_expect_eq(ask(link_, &seen, 5000000, "GET", "k", NULL), 0);
    cr_expect_eq(seen.type, NC_REPLY_NIL);
    cr_expect_eq(atomic_load(&nc_link_stats(link_)->connects), connects);
}

Test(link, a_full_server_is_tried_again_until_it_has_room)
{
    start((const char *const[]){"--maxclients", "4", NULL});
    redisContext *others[3];
    for (int i = 0; i < 3; i++)
        cr_assert((others[i] = redis_server_connect(&server)));
    redis.connections = 2;
    connect_link();
    cr_expect(WAIT_UNTIL(was_logged("cannot connect"), 10000));
    cr_expect_eq(ask(link_, &seen, 100000, "PING", NULL), NEARCACHE_EOFFLINK);
    for (int i = 0; i < 3; i++)
        redisFree(others[i]);
    expect_up();
}

Test(link, a_replica_is_no_link_until_it_is_promoted)
{
    start(NULL);
    free(redis_server_ask(&server, "REPLICAOF 127.0.0.1 1"));
    connect_link();
    cr_expect(WAIT_UNTIL(was_logged("replica"), 10000), "%s", logged);
    cr_expect_eq(ask(link_, &seen, 100000, "PING", NULL), NEARCACHE_EOFFLINK);
    free(redis_server_ask(&server, "REPLICAOF NO ONE"));
    expect_up();
}

Test(link, a_primary_that_becomes_a_replica_is_left)
{
    start(NULL);
    connect_link();
    expect_up();
    free(redis_server_ask(&server, "REPLICAOF 127.0.0.1 1"));
    cr_expect_eq(ask(link_, &seen, 5000000, "SET", "k", "v", NULL), 0);
    cr_expect(strncmp(seen.text, "READONLY", 8) == 0, "%s", seen.text);
    cr_expect(WAIT_UNTIL(ask(link_, &seen, 1000000, "PING", NULL) == NEARCACHE_EOFFLINK, 10000));
    free(redis_server_ask(&server, "REPLICAOF NO ONE"));
    expect_up();
}

Test(link, a_server_that_loads_its_data_is_waited_for)
{
    start((const char *const[]){"--enable-debug-command", "yes", NULL});
    free(redis_server_ask(&server, "DEBUG POPULATE 20000 key 100"));
    free(redis_server_ask(&server, "SAVE"));
    free(redis_server_ask(&server, "CONFIG SET key-load-delay 100"));
    connect_link();
    expect_up();
    /* Loading it again takes 2 s, in which Redis answers everything with LOADING. */
    redisContext *other = redis_server_connect(&server);
    redisAppendCommand(other, "DEBUG RELOAD NOSAVE");
    int sent = 0;
    while (!sent)
        redisBufferWrite(other, &sent);
    cr_expect(WAIT_UNTIL(
        ask(link_, &seen, 500000, "PING", NULL) != 0 || seen.type != NC_REPLY_STATUS, 10000));
    expect_up();
    redisFree(other);
}

Test(link, an_error_reply_is_an_answer)
{
    start(NULL);
    connect_link();
    expect_up();
    cr_expect_eq(ask(link_, &seen, 5000000, "NOSUCHCOMMAND", NULL), 0);
    cr_expect_eq(seen.type, NC_REPLY_ERROR);
    cr_expect_eq(ask(link_, &seen, 5000000, "PING", NULL), 0);
    expect_text("PONG");
}
