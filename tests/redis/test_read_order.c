/*
 * A read of one key is several commands. With versions they are of one moment; without them what
 * another process does between them leaves nothing behind that outlives its time. A relay before
 * the server splits a request where a test wants, and something happens there once all that was
 * before it has been answered.
 */
#include "coherence.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

REDIS_SERVER_REQUIRED;

static struct redis_server server;

/* ---- the relay ---- */

enum { PAIRS = 32, TICK_MS = 2 };
enum split { NOWHERE, BEFORE_VALUE, AFTER_VALUE, AFTER_ABSENCE };

/* What waits in the relay until it is let go. */
struct held {
    _Atomic bool waits, is_let_go;
    int to;
    size_t count;
    char bytes[4096];
};

/* What is not atomic is its thread's, once that runs. */
static struct {
    int listener;
    char path[96], url[112];
    pthread_t thread;
    _Atomic bool stop;
    _Atomic int split;     /* of the next request with a GET in it */
    void (*happens)(void); /* there; written before `split`. NULL: the rest is held */
    struct held read, write;
    _Atomic bool holds_write; /* the next one */
    _Atomic bool is_mute;     /* no messages */
    struct pair {
        int client, server;
        bool subscribes;
    } pairs[PAIRS];
    unsigned count;
} relay;

static int unix_socket(struct sockaddr_un *at, const char *path)
{
    *at = (struct sockaddr_un){.sun_family = AF_UNIX};
    cr_assert_lt(snprintf(at->sun_path, sizeof at->sun_path, "%s", path), (int)sizeof at->sun_path);
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static void take_client(void)
{
    struct sockaddr_un at;
    struct pair *pair = &relay.pairs[relay.count];
    cr_assert_lt(relay.count++, PAIRS);
    pair->client = accept(relay.listener, NULL, NULL);
    pair->server = unix_socket(&at, server.socket_path);
    cr_assert_eq(connect(pair->server, (struct sockaddr *)&at, sizeof at), 0);
}

static bool put(int to, const char *bytes, size_t count)
{
    return send(to, bytes, count, MSG_NOSIGNAL) == (ssize_t)count;
}

static bool pass_reply(struct pair *pair)
{
    char bytes[4096];
    ssize_t n = recv(pair->server, bytes, sizeof bytes, 0);
    return n > 0 && put(pair->client, bytes, (size_t)n);
}

static unsigned lines(const char *bytes, size_t count)
{
    unsigned found = 0;
    for (size_t i = 0; i < count; i++)
        found += bytes[i] == '\n';
    return found;
}

/* Until so many lines have been answered. */
static bool pass_lines(struct pair *pair, unsigned count)
{
    char bytes[4096];
    for (unsigned seen = 0; seen < count;) {
        ssize_t n = recv(pair->server, bytes, sizeof bytes, 0);
        if (n <= 0 || !put(pair->client, bytes, (size_t)n))
            return false;
        seen += lines(bytes, (size_t)n);
    }
    return true;
}

static bool hold(struct held *held, int to, const char *bytes, size_t count)
{
    held->to = to;
    held->count = count;
    memcpy(held->bytes, bytes, count);
    atomic_store(&held->is_let_go, false);
    atomic_store(&held->waits, true);
    return true;
}

static void pass_held(struct held *held)
{
    if (!atomic_load(&held->waits) || !atomic_load(&held->is_let_go))
        return;
    put(held->to, held->bytes, held->count);
    atomic_store(&held->waits, false);
}

static bool pass_request(struct pair *pair)
{
    static const char get[] = "*2\r\n$3\r\nGET\r\n";
    char bytes[4096];
    ssize_t n = recv(pair->client, bytes, sizeof bytes - 1, 0);
    if (n <= 0)
        return false;
    bytes[n] = '\0';
    pair->subscribes |= strstr(bytes, "SUBSCRIBE") != NULL;
    if (strstr(bytes, "EVALSHA") && strstr(bytes, "own") &&
        atomic_exchange(&relay.holds_write, false))
        return hold(&relay.write, pair->server, bytes, (size_t)n);
    int split = atomic_load(&relay.split);
    const char *at = split != NOWHERE ? strstr(bytes, get) : NULL;
    if (!at)
        return put(pair->server, bytes, (size_t)n);
    if (split != BEFORE_VALUE) {
        at += strlen(get);
        at = strstr(strstr(at, "\r\n") + 2, "\r\n") + 2;
    }
    /* Of a transaction each is answered by a line; else by a bulk of one, or the line of an
     * absence.
     */
    unsigned each = strstr(bytes, "$5\r\nMULTI\r\n") ? 1 : 2;
    unsigned answered = each == 2 && split == AFTER_ABSENCE ? -1u : 0;
    for (const char *c = bytes; c < at; c++)
        answered += *c == '*' ? each : 0;
    atomic_store(&relay.split, NOWHERE);
    if (!put(pair->server, bytes, (size_t)(at - bytes)) || !pass_lines(pair, answered))
        return false;
    if (!relay.happens)
        return hold(&relay.read, pair->server, at, (size_t)(bytes + n - at));
    relay.happens();
    return put(pair->server, at, (size_t)(bytes + n - at));
}

static void *run_relay(void *arg)
{
    while (!atomic_load(&relay.stop)) {
        struct pollfd fds[2 * PAIRS + 1] = {{relay.listener, POLLIN, 0}};
        unsigned count = relay.count;
        for (unsigned i = 0; i < count; i++) {
            fds[1 + 2 * i] = (struct pollfd){relay.pairs[i].client, POLLIN, 0};
            bool mute = relay.pairs[i].subscribes && atomic_load(&relay.is_mute);
            fds[2 + 2 * i] = (struct pollfd){mute ? -1 : relay.pairs[i].server, POLLIN, 0};
        }
        pass_held(&relay.read);
        pass_held(&relay.write);
        if (poll(fds, 1 + 2 * count, TICK_MS) <= 0)
            continue;
        for (unsigned i = 0; i < count; i++) {
            struct pair *pair = &relay.pairs[i];
            if ((!fds[1 + 2 * i].revents || pass_request(pair)) &&
                (!fds[2 + 2 * i].revents || pass_reply(pair)))
                continue;
            close(pair->client);
            close(pair->server);
            pair->client = pair->server = -1;
        }
        if (fds[0].revents)
            take_client();
    }
    return arg;
}

static void start_relay(void)
{
    struct sockaddr_un at;
    snprintf(relay.path, sizeof relay.path, "%s/relay", server.directory);
    snprintf(relay.url, sizeof relay.url, "unix://%s", relay.path);
    relay.listener = unix_socket(&at, relay.path);
    cr_assert_eq(bind(relay.listener, (struct sockaddr *)&at, sizeof at), 0);
    cr_assert_eq(listen(relay.listener, PAIRS), 0);
    cr_assert_eq(pthread_create(&relay.thread, NULL, run_relay, NULL), 0);
}

static void stop_relay(void)
{
    atomic_store(&relay.stop, true);
    pthread_join(relay.thread, NULL);
    for (unsigned i = 0; i < relay.count; i++)
        if (relay.pairs[i].client >= 0) {
            close(relay.pairs[i].client);
            close(relay.pairs[i].server);
        }
    close(relay.listener);
}

/* ---- the caches ---- */

/* `reader` is behind the relay, `writer` another process as far as it knows. */
static struct nearcache *reader, *writer;
static struct nearcache_tier *reads, *writes;

static void open_both(enum nearcache_coherence coherence)
{
    struct nearcache_redis redis = NEARCACHE_REDIS_INIT;
    struct nearcache_config config = coherence_config();
    struct nearcache_tier_config tier = coherence_tier_config();
    tier.coherence = coherence;
    writer = coherence_open(&server, config);
    writes = coherence_tier(writer, tier);
    redis.url = relay.url;
    config.redis = &redis;
    cr_assert_eq(nearcache_open(&reader, &config), 0);
    reads = coherence_tier(reader, tier);
    cr_assert_eq(coherence_set(writes, "k", "old"), 0);
    if (coherence == NEARCACHE_COHERENCE_PUBSUB)
        cr_assert_eq(nearcache_sync(reader, 10000000), 0);
}

static void set_up(void)
{
    cr_assert(redis_server_start(&server, NULL));
    start_relay();
}

static void tear_down(void)
{
    cr_assert_eq(nearcache_close(reader, 0), 0);
    cr_assert_eq(nearcache_close(writer, 0), 0);
    stop_relay();
    redis_server_stop(&server);
}

TestSuite(read_order, .init = set_up, .fini = tear_down, .timeout = 60);

static void split_next(enum split split, void (*happens)(void))
{
    relay.happens = happens;
    atomic_store(&relay.split, split);
}

static void expect_split(void)
{
    cr_assert_eq(atomic_load(&relay.split), NOWHERE, "no such request");
}

static void write_new(void) { cr_assert_eq(coherence_set(writes, "k", "new"), 0); }

static void delete (void) { cr_assert_eq(nearcache_delete(writes, "k", 1, NULL), 0); }

static void remove_from_redis(void) { free(redis_server_ask(&server, "DEL thing:k")); }

static void write_without_end(void) { free(redis_server_ask(&server, "SET thing:k other")); }

/* ---- the tests ---- */

static void expect_new(enum split split)
{
    split_next(split, write_new);
    cr_expect_eq(coherence_get(reads, "k", "new", NULL), 0);
    expect_split();
    cr_assert_eq(nearcache_sync(reader, 10000000), 0);
    cr_expect_eq(coherence_get(reads, "k", "new", NULL), 0);
}

Test(read_order, a_write_before_the_value_is_asked_for)
{
    open_both(NEARCACHE_COHERENCE_PUBSUB);
    expect_new(BEFORE_VALUE);
}

Test(read_order, a_write_before_the_ttl_is_asked_for)
{
    open_both(NEARCACHE_COHERENCE_PUBSUB);
    expect_new(AFTER_VALUE);
}

Test(read_order, a_write_of_an_absent_key)
{
    open_both(NEARCACHE_COHERENCE_PUBSUB);
    delete ();
    cr_assert_eq(nearcache_sync(reader, 10000000), 0);
    expect_new(AFTER_VALUE);
}

static void *write_own(void *arg)
{
    cr_expect_eq(coherence_set(reads, "k", "own"), 0);
    return arg;
}

static void *read_new(void *arg)
{
    cr_expect_eq(coherence_get(reads, "k", "new", NULL), 0);
    return arg;
}

static void let_go(struct held *held) { atomic_store(&held->is_let_go, true); }

/* An own write and another's come between version and value, and no message yet. The value that is
 * given is newer than the own one, so that is not given any more. */
Test(read_order, nobody_goes_back_to_his_own_write)
{
    pthread_t own, read;
    open_both(NEARCACHE_COHERENCE_PUBSUB);
    atomic_store(&relay.holds_write, true);
    cr_assert_eq(pthread_create(&own, NULL, write_own, NULL), 0);
    cr_assert(WAIT_UNTIL(atomic_load(&relay.write.waits), 5000));
    split_next(BEFORE_VALUE, NULL);
    cr_assert_eq(pthread_create(&read, NULL, read_new, NULL), 0);
    cr_assert(WAIT_UNTIL(atomic_load(&relay.read.waits), 5000));
    atomic_store(&relay.is_mute, true);
    let_go(&relay.write);
    pthread_join(own, NULL);
    write_new();
    let_go(&relay.read);
    pthread_join(read, NULL);
    cr_expect_eq(coherence_get(reads, "k", "new", NULL), 0);
    atomic_store(&relay.is_mute, false);
    cr_assert_eq(nearcache_sync(reader, 10000000), 0);
    cr_expect_eq(coherence_get(reads, "k", "new", NULL), 0);
}

/* Without coherence nothing tells of it: the TTL does. */
Test(read_order, a_key_that_went_is_not_kept)
{
    struct nearcache_result result;
    open_both(NEARCACHE_COHERENCE_NONE);
    split_next(AFTER_VALUE, remove_from_redis);
    cr_expect_eq(nearcache_get(reads, "k", 1, NULL, &result), 0);
    cr_expect_eq(result.ttl_ms, 0);
    nearcache_release(&result);
    expect_split();
    cr_expect_eq(coherence_get(reads, "k", NULL, NULL), NEARCACHE_MISS);
}

/* The old value stands for as long as without coherence it may. */
Test(read_order, a_new_ttl_does_not_make_the_old_value_last)
{
    struct nearcache_result result;
    open_both(NEARCACHE_COHERENCE_NONE);
    split_next(AFTER_VALUE, write_without_end);
    cr_expect_eq(nearcache_get(reads, "k", 1, NULL, &result), 0);
    cr_expect_leq(result.ttl_ms, 30000);
    nearcache_release(&result);
    expect_split();
}

/* A GET of another type is an error, so a TTL beside no value says nothing. */
Test(read_order, a_key_that_came_behind_an_absence_is_a_miss)
{
    open_both(NEARCACHE_COHERENCE_NONE);
    remove_from_redis();
    split_next(AFTER_ABSENCE, write_without_end);
    cr_expect_eq(coherence_get(reads, "k", NULL, NULL), NEARCACHE_MISS);
    expect_split();
}

static void expect_type(enum nearcache_coherence coherence)
{
    open_both(coherence);
    free(redis_server_ask(&server, "RPUSH thing:list 1"));
    cr_expect_eq(coherence_get(reads, "list", NULL, NULL), NEARCACHE_ETYPE);
    cr_expect_eq(coherence_get(reads, "none", NULL, NULL), NEARCACHE_MISS);
}

Test(read_order, a_key_of_another_type_is_told) { expect_type(NEARCACHE_COHERENCE_NONE); }

Test(read_order, a_key_of_another_type_is_told_with_versions)
{
    expect_type(NEARCACHE_COHERENCE_PUBSUB);
}
