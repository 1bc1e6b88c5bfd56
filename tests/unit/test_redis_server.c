#include "lib/redis_server.h"

#include "lib/wait_until.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

REDIS_SERVER_REQUIRED;

static struct redis_server server;

static void setup(void) { cr_assert(redis_server_start(&server, NULL)); }

static void teardown(void) { redis_server_stop(&server); }

TestSuite(redis_server, .init = setup, .fini = teardown, .timeout = 60);

static void expect_answer(const char *command, const char *expected)
{
    char *answer = redis_server_ask(&server, command);

    cr_expect_str_eq(answer, expected);
    free(answer);
}

Test(redis_server, it_answers_on_the_socket_and_on_the_port)
{
    redisContext *redis = redisConnect("127.0.0.1", server.port);
    redisReply *reply;

    cr_assert_not(redis->err);
    reply = redisCommand(redis, "PING");
    cr_assert_str_eq(reply->str, "PONG");
    freeReplyObject(reply);
    redisFree(redis);
    expect_answer("PING", "PONG");
}

Test(redis_server, answers_become_text)
{
    expect_answer("SET a 1", "OK");
    expect_answer("INCR a", "2");
    expect_answer("MGET a b", "2 (nil)");
    expect_answer("LPUSH a 1",
                  "(error) WRONGTYPE Operation against a key holding the wrong kind of value");
}

Test(redis_server, a_restart_is_empty_and_on_the_same_port)
{
    int port = server.port;
    redisContext *redis;

    expect_answer("SET a 1", "OK");
    redis_server_kill(&server);
    cr_expect_null(redis_server_connect(&server));
    redis = redisConnect("127.0.0.1", port);
    cr_expect(redis->err, "the port is free for others while the server is down");
    redisFree(redis);
    cr_assert(redis_server_restart(&server));
    cr_expect_eq(server.port, port);
    expect_answer("GET a", "(nil)");
}

Test(redis_server, a_paused_server_is_silent_until_it_is_resumed)
{
    const struct timeval short_time = {.tv_usec = 20000};
    redisContext *redis = redis_server_connect(&server);

    redis_server_pause(&server);
    redisSetTimeout(redis, short_time);
    cr_expect_null(redisCommand(redis, "PING"));
    redisFree(redis);
    redis_server_resume(&server);
    expect_answer("PING", "PONG");
}

Test(redis_server, two_servers_share_nothing)
{
    struct redis_server other;

    cr_assert(redis_server_start(&other, NULL));
    cr_expect_neq(other.port, server.port);
    expect_answer("SET a 1", "OK");
    char *answer = redis_server_ask(&other, "GET a");
    cr_expect_str_eq(answer, "(nil)");
    free(answer);
    redis_server_stop(&other);
}

Test(redis_server, wrong_arguments_are_a_failure_with_its_log)
{
    const char *const wrong[] = {"--no-such-option", "1", NULL};
    struct redis_server other;

    cr_expect_not(redis_server_start(&other, wrong));
}

Test(redis_server, stop_removes_the_directory)
{
    char directory[sizeof server.directory];
    struct stat info;

    strcpy(directory, server.directory);
    redis_server_stop(&server);
    cr_expect_neq(stat(directory, &info), 0);
}

Test(redis_server, what_was_asked_to_be_kept_outlives_a_kill)
{
    const char *const keep[] = {"--appendonly", "yes", "--appendfsync", "always", NULL};

    redis_server_stop(&server);
    cr_assert(redis_server_start(&server, keep));
    expect_answer("SET a 1", "OK");
    redis_server_kill(&server);
    cr_assert(redis_server_restart(&server));
    expect_answer("GET a", "1");
}

static bool gone(pid_t pid) { return kill(pid, 0) != 0; }

Test(redis_server, it_ends_with_a_test_that_is_killed)
{
    int pipes[2];
    pid_t test, redis;

    cr_assert_eq(pipe(pipes), 0);
    test = fork();
    if (test == 0) {
        struct redis_server own;

        if (redis_server_start(&own, NULL) && write(pipes[1], &own.pid, sizeof own.pid) > 0)
            raise(SIGKILL);
        _exit(1);
    }
    cr_assert_eq(read(pipes[0], &redis, sizeof redis), (ssize_t)sizeof redis);
    cr_assert_eq(waitpid(test, NULL, 0), test);
    cr_expect(WAIT_UNTIL(gone(redis), 10000));
}
