/*
 * redis_link THREADS SECONDS [SEED]: threads share a link in every way that there is (waiting,
 * timing out, abandoning, leaving, batches, big values, big requests) while the link is torn down
 * now and then. Each reply must be the one that its request asked for, each call must end exactly
 * once, and nothing may be written after a call was abandoned. Meant for ThreadSanitizer.
 */
#include "base/clock.h"
#include "base/hash.h"
#include "lib/link_fixture.h"
#include "lib/redis_server.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEYS 64u
#define BATCH 16u

static struct nc_link *shared;
static _Atomic bool stop;
static _Atomic uint64_t begun, ended, answered, timeouts, refused, wrong;

struct thread {
    pthread_t id;
    uint64_t random;
};

/* Value i: its number over and over; some are long. */
static size_t value_bytes(unsigned i) { return i % 8 == 7 ? 60000 + i : 8 + i * 7; }

static unsigned char value_byte(unsigned i, size_t at) { return (unsigned char)(i * 31 + at); }

struct request {
    struct nc_sink sink;
    unsigned keys[BATCH], count;
    _Atomic unsigned got;
    _Atomic bool left; /* about to be abandoned: it may end without its reply */
    _Atomic bool gone; /* abandoned: no part may come any more */
    _Atomic int ends;
};

static void complain(const char *what)
{
    fprintf(stderr, "%s\n", what);
    atomic_fetch_add(&wrong, 1);
}

static int on_part(struct nc_sink *sink, const struct nc_reply_part *part)
{
    struct request *r = (struct request *)sink;
    if (atomic_load(&r->gone))
        complain("a part after the call was abandoned");
    if (part->type == NC_REPLY_ARRAY)
        return 0;
    unsigned at = atomic_fetch_add(&r->got, 1);
    if (part->type != NC_REPLY_BULK || at >= r->count) {
        complain("a part of the wrong type");
        return 0;
    }
    unsigned key = r->keys[at];
    if (part->bytes != value_bytes(key) || (unsigned char)part->str[0] != value_byte(key, 0) ||
        (unsigned char)part->str[part->bytes - 1] != value_byte(key, part->bytes - 1))
        complain("a reply of another request");
    return 0;
}

static void on_done(void *arg, int status)
{
    struct request *r = arg;
    if (atomic_fetch_add(&r->ends, 1) != 0)
        complain("a call ended twice");
    if (status == 0 && !atomic_load(&r->left) && atomic_load(&r->got) != r->count)
        complain("a call ended without its reply");
    atomic_fetch_add(&ended, 1);
}

static void on_left(void *arg, int status)
{
    on_done(arg, status);
    free(arg);
}

/* The value goes there and comes back: long ones are sent from where they are. */
static void ask_back(struct nc_command *command, struct request *r, unsigned key)
{
    char value[64 * 1024];
    for (size_t i = 0; i < value_bytes(key); i++)
        value[i] = (char)value_byte(key, i);
    r->keys[0] = key;
    nc_command_begin(command, 2);
    nc_command_arg(command, "ECHO", 4);
    nc_command_arg(command, value, value_bytes(key));
}

static struct nc_call *make(struct thread *t, struct request **out, bool left)
{
    struct request *r = calloc(1, sizeof *r);
    struct nc_call *call = nc_call_create();
    char name[16];
    if (!r || !call)
        abort();
    r->sink.part = on_part;
    r->count = nc_hash_step(&t->random) % 4 == 0 ? BATCH : 1;
    struct nc_command *command = nc_call_command(call);
    nc_call_expect(call, &r->sink, left ? on_left : on_done, r);
    atomic_fetch_add(&begun, 1);
    *out = r;
    if (r->count == 1 && nc_hash_step(&t->random) % 4 == 0) {
        ask_back(command, r, (unsigned)(nc_hash_step(&t->random) % KEYS));
        return call;
    }
    nc_command_begin(command, 1 + r->count);
    nc_command_arg(command, r->count > 1 ? "MGET" : "GET", r->count > 1 ? 4 : 3);
    for (unsigned i = 0; i < r->count; i++) {
        r->keys[i] = (unsigned)(nc_hash_step(&t->random) % KEYS);
        nc_command_arg(command, name, (size_t)snprintf(name, sizeof name, "k%u", r->keys[i]));
    }
    return call;
}

static enum nc_call_kind kind_of(const struct request *r)
{
    return r->count > 1 ? NC_CALL_BATCH : NC_CALL_SINGLE;
}

/* The requests that were abandoned are kept until all calls have ended. */
static pthread_mutex_t kept_lock = PTHREAD_MUTEX_INITIALIZER;
static struct request **kept;
static size_t kept_count;

static void keep(struct request *r)
{
    pthread_mutex_lock(&kept_lock);
    if ((kept_count & (kept_count - 1)) == 0)
        kept = realloc(kept, (kept_count ? 2 * kept_count : 1) * sizeof *kept);
    kept[kept_count++] = r;
    pthread_mutex_unlock(&kept_lock);
}

static void one(struct thread *t)
{
    struct request *r;
    uint64_t dice = nc_hash_step(&t->random) % 100;
    struct nc_call *call = make(t, &r, dice < 20);
    if (dice < 20) { /* nobody waits */
        nc_link_submit(shared, call, kind_of(r), nc_clock_deadline_ns(1000000));
        nc_call_release(call);
        return;
    }
    uint64_t timeout_us = dice < 40 ? nc_hash_step(&t->random) % 300 : 2000000;
    uint64_t deadline_ns = nc_clock_deadline_ns(timeout_us);
    nc_link_submit(shared, call, kind_of(r), dice < 30 ? deadline_ns : UINT64_MAX);
    int outcome = nc_link_wait(shared, call, deadline_ns);
    if (outcome == NEARCACHE_ETIMEOUT) {
        atomic_store(&r->left, true);
        nc_call_abandon(call);
        atomic_store(&r->gone, true);
        atomic_fetch_add(&timeouts, 1);
        keep(r);
    } else {
        if (outcome == 0 && atomic_load(&r->got) != r->count)
            complain("a reply is missing");
        if (atomic_load(&r->ends) != 1)
            complain("the waiter returned before the call ended");
        atomic_fetch_add(outcome == 0 ? &answered : &refused, 1);
        free(r);
        if (outcome != 0)
            poll(NULL, 0, 1); /* the link is down for a moment */
    }
    nc_call_release(call);
}

static void *run(void *arg)
{
    while (!atomic_load(&stop))
        one(arg);
    return NULL;
}

static void fill(struct nc_link *link)
{
    static char text[70000];
    for (unsigned i = 0; i < KEYS; i++) {
        struct seen seen;
        struct nc_call *call = nc_call_create();
        char name[16];
        seen_init(&seen);
        for (size_t at = 0; at < value_bytes(i); at++)
            text[at] = (char)value_byte(i, at);
        nc_command_begin(nc_call_command(call), 3);
        nc_command_arg(nc_call_command(call), "SET", 3);
        nc_command_arg(nc_call_command(call), name, (size_t)snprintf(name, sizeof name, "k%u", i));
        nc_command_arg(nc_call_command(call), text, value_bytes(i));
        nc_call_expect(call, &seen.sink, NULL, NULL);
        if (nc_link_call(link, call, NC_CALL_SINGLE, nc_clock_deadline_ns(5000000)) != 0)
            complain("SET failed");
        nc_call_release(call);
    }
}

int main(int argc, char **argv)
{
    unsigned threads = argc > 1 ? (unsigned)atoi(argv[1]) : 8;
    unsigned seconds = argc > 2 ? (unsigned)atoi(argv[2]) : 5;
    uint64_t random = argc > 3 ? strtoull(argv[3], NULL, 10) : nc_hash_random();
    struct redis_server server;
    printf("seed %llu\n", (unsigned long long)random);
    if (!redis_server_available())
        return 77;
    if (!redis_server_start(&server, NULL))
        return 1;
    shared = link_to(server.socket_path, 3, NULL);
    if (!link_wait_up(shared, 10000))
        abort();
    fill(shared);
    struct thread *list = calloc(threads, sizeof *list);
    for (unsigned i = 0; i < threads; i++) {
        list[i].random = nc_hash_step(&random);
        pthread_create(&list[i].id, NULL, run, &list[i]);
    }
    for (unsigned i = 0; i < seconds * 4; i++) {
        poll(NULL, 0, 250);
        if (i % 4 == 3)
            nc_link_fail(shared, "the test wants it");
    }
    atomic_store(&stop, true);
    for (unsigned i = 0; i < threads; i++)
        pthread_join(list[i].id, NULL);
    uint64_t until = nc_clock_io_ns() + 10 * NC_NS_PER_S;
    while (atomic_load(&ended) != atomic_load(&begun) && nc_clock_io_ns() < until)
        poll(NULL, 0, 1);
    if (atomic_load(&ended) != atomic_load(&begun))
        complain("calls never ended");
    nc_link_close(shared, nc_clock_deadline_ns(1000000));
    redis_server_stop(&server);
    for (size_t i = 0; i < kept_count; i++)
        free(kept[i]);
    free(kept);
    free(list);
    printf("calls %llu answered %llu timeouts %llu refused %llu left %llu wrong %llu\n",
           (unsigned long long)begun, (unsigned long long)answered, (unsigned long long)timeouts,
           (unsigned long long)refused, (unsigned long long)(begun - answered - timeouts - refused),
           (unsigned long long)wrong);
    return wrong ? 1 : 0;
}
