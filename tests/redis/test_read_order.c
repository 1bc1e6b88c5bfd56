/*
 * A read of one key is several commands. With versions they are of one moment; without them what
 * another process does between them leaves nothing behind that outlives its time. A relay before
 * the server splits a request where a test wants, and something happens there once all that was
 * before it has been answered.
 */
#include "coherence.h"

#include "lib/relay.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

REDIS_SERVER_REQUIRED;

static struct redis_server server;

/* ---- the relay ---- */

enum split { NOWHERE, BEFORE_VALUE, AFTER_VALUE, AFTER_ABSENCE };

static _Atomic int split;        /* of the next request with a GET in it */
static void (*happens)(void);    /* there; written before `split`. NULL: the rest is held */
static _Atomic bool holds_write; /* the next one */
static _Atomic bool is_mute;     /* no messages */

/* What waits in the relay until it is let go. What is not atomic is the relay's. */
static struct held {
    _Atomic bool waits, is_let_go;
    int to;
    size_t count;
    char bytes[4096];
} held_read, held_write;

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
    relay_put(held->to, held->bytes, held->count);
    atomic_store(&held->waits, false);
}

static void pass_all_held(void)
{
    pass_held(&held_read);
    pass_held(&held_write);
}

/* Until so many lines have been answered. */
static bool pass_lines(struct relay_pair *pair, unsigned count)
{
    char bytes[4096];
    for (unsigned seen = 0; seen < count;) {
        ssize_t n = recv(pair->server, bytes, sizeof bytes, 0);
        if (n <= 0 || !relay_put(pair->client, bytes, (size_t)n))
            return false;
        for (ssize_t i = 0; i < n; i++)
            seen += bytes[i] == '\n';
    }
    return true;
}

/* Before the name of the key that a GET asks for, or behind it. NULL: there is no GET. */
static const char *split_at(const char *bytes, int where)
{
    static const char get[] = "*2\r\n$3\r\nGET\r\n";
    const char *at = where != NOWHERE ? strstr(bytes, get) : NULL;
    if (!at || where == BEFORE_VALUE)
        return at;
    at += strlen(get);
    return strstr(strstr(at, "\r\n") + 2, "\r\n") + 2;
}

/* Of a transaction each command is answered by a line; else by a bulk of two, or the one line of an
 * absence. */
static unsigned lines_before(const char *bytes, const char *at, int where)
{
    unsigned each = strstr(bytes, "$5\r\nMULTI\r\n") ? 1 : 2;
    unsigned count = each == 2 && where == AFTER_ABSENCE ? -1u : 0;
    for (const char *c = bytes; c < at; c++)
        count += *c == '*' ? each : 0;
    return count;
}

static bool pass_request(struct relay_pair *pair)
{
    char bytes[4096];
    ssize_t n = recv(pair->client, bytes, sizeof bytes - 1, 0);
    if (n <= 0)
        return false;
    bytes[n] = '\0';
    pair->is_special |= strstr(bytes, "SUBSCRIBE") != NULL;
    if (strstr(bytes, "EVALSHA") && strstr(bytes, "own") && atomic_exchange(&holds_write, false))
        return hold(&held_write, pair->server, bytes, (size_t)n);
    int where = atomic_load(&split);
    const char *at = split_at(bytes, where);
    if (!at)
        return relay_put(pair->server, bytes, (size_t)n);
    atomic_store(&split, NOWHERE);
    if (!relay_put(pair->server, bytes, (size_t)(at - bytes)) ||
        !pass_lines(pair, lines_before(bytes, at, where)))
        return false;
    if (!happens)
        return hold(&held_read, pair->server, at, (size_t)(bytes + n - at));
    happens();
    return relay_put(pair->server, at, (size_t)(bytes + n - at));
}

static bool hears_nothing(const struct relay_pair *pair)
{
    return pair->is_special && atomic_load(&is_mute);
}

static struct relay relay = {
    .on_request = pass_request, .is_mute = hears_nothing, .on_tick = pass_all_held};

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
    tier.off_link = NEARCACHE_OFF_LINK_STALE;
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
    relay_start(&relay, &server);
}

static void tear_down(void)
{
    cr_assert_eq(nearcache_close(reader, 0), 0);
    cr_assert_eq(nearcache_close(writer, 0), 0);
    relay_stop(&relay);
    redis_server_stop(&server);
}

TestSuite(read_order, .init = set_up, .fini = tear_down, .timeout = 60);

static void split_next(enum split where, void (*then)(void))
{
    happens = then;
    atomic_store(&split, where);
}

static void expect_split(void) { cr_assert_eq(atomic_load(&split), NOWHERE, "no such request"); }

static void write_new(void) { cr_assert_eq(coherence_set(writes, "k", "new"), 0); }

static void delete (void) { cr_assert_eq(nearcache_delete(writes, "k", 1, NULL), 0); }

static void remove_from_redis(void) { free(redis_server_ask(&server, "DEL thing:k")); }

static void write_without_end(void) { free(redis_server_ask(&server, "SET thing:k other")); }

/* ---- the tests ---- */

static void expect_new(enum split where)
{
    split_next(where, write_new);
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
    atomic_store(&holds_write, true);
    cr_assert_eq(pthread_create(&own, NULL, write_own, NULL), 0);
    cr_assert(WAIT_UNTIL(atomic_load(&held_write.waits), 5000));
    split_next(BEFORE_VALUE, NULL);
    cr_assert_eq(pthread_create(&read, NULL, read_new, NULL), 0);
    cr_assert(WAIT_UNTIL(atomic_load(&held_read.waits), 5000));
    atomic_store(&is_mute, true);
    let_go(&held_write);
    pthread_join(own, NULL);
    write_new();
    let_go(&held_read);
    pthread_join(read, NULL);
    cr_expect_eq(coherence_get(reads, "k", "new", NULL), 0);
    atomic_store(&is_mute, false);
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
    redis_server_kill(&server);
    cr_assert(WAIT_UNTIL(nearcache_link_state(reader) != NEARCACHE_LINK_LIVE, 10000));
    cr_expect_neq(coherence_get(reads, "k", NULL, NULL), 0, "a copy stood in");
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
