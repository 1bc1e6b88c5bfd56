/*
 * A scripted peer in Redis' place: garbage, huge lengths, half replies, wrong types, endless
 * nesting, replies that nobody asked for, and an end at every byte. The affected calls fail, within
 * their deadlines; nothing crashes, hangs or grows, and the link comes back.
 */
#include "base/clock.h"
#include "lib/link_fixture.h"
#include "lib/wait_until.h"

#include <criterion/criterion.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { PEERS = 16 };

/* The script's: read by its thread, `budget` and `attack` written by the test. */
static struct {
    int listener;
    char path[64];
    pthread_t thread;
    _Atomic bool stop;
    _Atomic long budget; /* bytes that it will still send; then it hangs up */
    const char *_Atomic attack;
    _Atomic size_t attack_bytes;
    struct {
        int fd; /* 0: free */
        redisReader *reader;
    } peers[PEERS];
} script;

static void hang_up(int which)
{
    close(script.peers[which].fd);
    redisReaderFree(script.peers[which].reader);
    script.peers[which].fd = 0;
}

static bool give(int which, const char *bytes, size_t count)
{
    long before = atomic_fetch_sub(&script.budget, (long)count);
    if (before < (long)count)
        count = before > 0 ? (size_t)before : 0;
    for (size_t sent = 0; sent < count;) {
        ssize_t n = send(script.peers[which].fd, bytes + sent, count - sent, MSG_NOSIGNAL);
        if (n < 0)
            return false;
        sent += (size_t)n;
    }
    return atomic_load(&script.budget) > 0;
}

static bool give_text(int which, const char *text) { return give(which, text, strlen(text)); }

/* True: go on with this peer. */
static bool answer(int which, const redisReply *command)
{
    const char *word = command->element[0]->str;
    if (strcmp(word, "INFO") == 0)
        return give_text(which, "$23\r\nrun_id:1\r\nrole:master\r\n\r\n");
    if (strcmp(word, "PING") == 0)
        return give_text(which, "+PONG\r\n");
    if (strcmp(word, "ATTACK") == 0)
        return give(which, atomic_load(&script.attack), atomic_load(&script.attack_bytes));
    if (strcmp(word, "ECHO") == 0)
        return give_text(which, "$4\r\ngood\r\n");
    return give_text(which, "+OK\r\n");
}

static bool serve(int which)
{
    char bytes[4096];
    void *command = NULL;
    bool good = true;
    ssize_t n = recv(script.peers[which].fd, bytes, sizeof bytes, 0);
    if (n <= 0)
        return false;
    redisReaderFeed(script.peers[which].reader, bytes, (size_t)n);
    while (good && redisReaderGetReply(script.peers[which].reader, &command) == REDIS_OK &&
           command) {
        good = answer(which, command);
        freeReplyObject(command);
    }
    return good;
}

static void accept_peer(void)
{
    int fd = accept(script.listener, NULL, NULL);
    for (int i = 0; i < PEERS; i++)
        if (script.peers[i].fd == 0) {
            script.peers[i].fd = fd;
            script.peers[i].reader = redisReaderCreate();
            return;
        }
    close(fd);
}

static void *play(void *arg)
{
    while (!atomic_load(&script.stop)) {
        struct pollfd fds[PEERS + 1];
        for (int i = 0; i < PEERS; i++)
            fds[i] = (struct pollfd){script.peers[i].fd ? script.peers[i].fd : -1, POLLIN, 0};
        fds[PEERS] = (struct pollfd){script.listener, POLLIN, 0};
        poll(fds, PEERS + 1, 20);
        for (int i = 0; i < PEERS; i++)
            if (fds[i].fd >= 0 && fds[i].revents && !serve(i))
                hang_up(i);
        if (fds[PEERS].revents)
            accept_peer();
    }
    return arg;
}

static void setup(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(script.path, sizeof script.path, "/tmp/hostile.%d", (int)getpid());
    strcpy(address.sun_path, script.path);
    unlink(script.path);
    script.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(script.listener, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(listen(script.listener, 64), 0);
    atomic_store(&script.budget, 1L << 40);
    cr_assert_eq(pthread_create(&script.thread, NULL, play, NULL), 0);
}

static void teardown(void)
{
    atomic_store(&script.stop, true);
    pthread_join(script.thread, NULL);
    for (int i = 0; i < PEERS; i++)
        if (script.peers[i].fd)
            hang_up(i);
    close(script.listener);
    unlink(script.path);
}

TestSuite(hostile, .init = setup, .fini = teardown);

static void expect_good(struct nc_link *link)
{
    struct seen seen;
    cr_expect(WAIT_UNTIL(ask(link, &seen, 5000000, "ECHO", "good", NULL) == 0 &&
                             strcmp(seen.text, "good") == 0,
                         20000));
}

/* A fresh link is attacked once; its outcome. Then it must be as good as before. */
static int attack(const char *bytes, size_t count, uint64_t timeout_us)
{
    struct nc_link *link = link_to(script.path, 1, NULL);
    struct seen seen;
    expect_good(link);
    atomic_store(&script.attack, bytes);
    atomic_store(&script.attack_bytes, count);
    uint64_t begun_ns = nc_clock_io_ns();
    int outcome = ask(link, &seen, timeout_us, "ATTACK", NULL);
    cr_expect_lt(nc_clock_io_ns() - begun_ns, timeout_us * 1000 + 5 * NC_NS_PER_S);
    nc_link_fail(link, "the test goes on");
    expect_good(link);
    nc_link_close(link, 0);
    return outcome;
}

Test(hostile, what_is_not_the_protocol_fails_its_call_alone)
{
    static const char *const bytes[] = {
        "HTTP/1.1 400 Bad Request\r\n\r\n",
        "garbage\r\n",
        "\r\n",
        "$abc\r\n",
        "$-2\r\n",
        "$99999999999999999999\r\n",
        "$536870913\r\n",
        "*16777217\r\n",
        "*-7\r\n",
        ":twelve\r\n",
        "$3\r\nabcde\r\n",
        "%1\r\n+key\r\n+value\r\n",
        ">2\r\n+push\r\n+x\r\n",
        ("*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*"
         "1\r\n"
         "*1\r\n*1\r\n*1\r\n"),
    };
    for (size_t i = 0; i < sizeof bytes / sizeof *bytes; i++)
        cr_expect_eq(attack(bytes[i], strlen(bytes[i]), 10000000), NEARCACHE_EPROTOCOL, "%s",
                     bytes[i]);
    cr_expect_eq(attack("\0\0\0\0\0\0\0\0", 8, 10000000), NEARCACHE_EPROTOCOL);
}

Test(hostile, replies_of_other_types_are_told_as_they_are)
{
    static const char *const bytes[] = {":1\r\n",  "+x\r\n", "$-1\r\n",
                                        "*-1\r\n", "*0\r\n", "*2\r\n:1\r\n$1\r\nx\r\n"};
    for (size_t i = 0; i < sizeof bytes / sizeof *bytes; i++)
        cr_expect_eq(attack(bytes[i], strlen(bytes[i]), 10000000), 0, "%s", bytes[i]);
}

Test(hostile, half_a_reply_costs_its_deadline_and_no_more)
{
    static const char *const bytes[] = {
        "$", "$5", "$5\r\nab", "*3\r\n:1\r\n", "+no end", "$536870912\r\nabc", "*16777216\r\n"};
    for (size_t i = 0; i < sizeof bytes / sizeof *bytes; i++)
        cr_expect_eq(attack(bytes[i], strlen(bytes[i]), 20000), NEARCACHE_ETIMEOUT, "%s", bytes[i]);
}

Test(hostile, a_reply_that_nobody_asked_for_ends_the_connection)
{
    static const char two[] = "+first\r\n+second\r\n";
    struct nc_link *link = link_to(script.path, 1, NULL);
    struct seen seen;
    expect_good(link);
    atomic_store(&script.attack, two);
    atomic_store(&script.attack_bytes, strlen(two));
    cr_expect_eq(ask(link, &seen, 5000000, "ATTACK", NULL), 0);
    cr_expect_str_eq(seen.text, "first");
    for (int i = 0; i < 5; i++) {
        int outcome = ask(link, &seen, 5000000, "ECHO", "good", NULL);
        cr_expect(outcome != 0 || strcmp(seen.text, "good") == 0, "another call's reply: %s",
                  seen.text);
    }
    expect_good(link);
    nc_link_close(link, 0);
}

static long resident_kb(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file && fscanf(file, "%*d %ld", &pages) != 1)
        pages = 0;
    if (file)
        fclose(file);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

Test(hostile, an_endless_line_does_not_grow_memory)
{
    size_t count = (size_t)32 << 20;
    char *bytes = malloc(count);
    memset(bytes, 'a', count);
    bytes[0] = '+';
    long before_kb = resident_kb();
    cr_expect_eq(attack(bytes, count, 20000000), NEARCACHE_EPROTOCOL);
    cr_expect_lt(resident_kb() - before_kb, 16 * 1024);
    free(bytes);
}

Test(hostile, claims_of_half_a_gigabyte_take_no_memory)
{
    long before_kb = resident_kb();
    for (int i = 0; i < 4; i++)
        cr_expect_eq(attack("*4\r\n$536870912\r\nabc", 19, 20000), NEARCACHE_ETIMEOUT);
    cr_expect_lt(resident_kb() - before_kb, 16 * 1024);
}

/* Everything that it says from the first greeting on, ended after each byte. */
Test(hostile, an_end_at_every_byte_is_an_error_in_time)
{
    static const char value[] = "*3\r\n$5\r\nhello\r\n$-1\r\n:42\r\n";
    atomic_store(&script.attack, value);
    atomic_store(&script.attack_bytes, strlen(value));
    bool whole = false;
    for (long cut = 0; cut < 400 && !whole; cut++) {
        struct seen seen;
        atomic_store(&script.budget, cut);
        struct nc_link *link = link_to(script.path, 1, NULL);
        uint64_t until_ns = nc_clock_io_ns() + 5 * NC_NS_PER_S;
        int outcome;
        /* Up and answered, or cut. */
        do {
            outcome = ask(link, &seen, 5000000, "ATTACK", NULL);
            if (outcome == NEARCACHE_EOFFLINK)
                wait_a_little(0);
        } while (outcome == NEARCACHE_EOFFLINK && atomic_load(&script.budget) > 0 &&
                 nc_clock_io_ns() < until_ns);
        whole = outcome == 0;
        cr_expect(whole || outcome == NEARCACHE_EOFFLINK, "cut after %ld: %d", cut, outcome);
        atomic_store(&script.budget, 1L << 40);
        nc_link_close(link, 0);
    }
    cr_expect(whole);
    struct nc_link *link = link_to(script.path, 1, NULL);
    expect_good(link);
    nc_link_close(link, 0);
}
