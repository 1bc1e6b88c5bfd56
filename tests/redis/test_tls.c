/* TLS against Debian's redis-server, with an authority made at test time. */
#include "base/clock.h"
#include "lib/authority.h"
#include "lib/child.h"
#include "lib/link_fixture.h"
#include "lib/logged.h"
#include "lib/redis_server.h"
#include "lib/wait_until.h"
#include "nearcache/queue.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

REDIS_SERVER_REQUIRED;

static struct redis_server server;
static struct authority ours;
static struct nearcache_redis redis = NEARCACHE_REDIS_INIT;
static struct nc_link *link_;
static struct seen seen;
static const struct nc_log to_test = {on_log, NULL, NEARCACHE_LOG_DEBUG};

static bool is_ok(char *answer)
{
    bool ok = strcmp(answer, "OK") == 0;
    if (!ok)
        fprintf(stderr, "redis-server: %s\n", answer);
    free(answer);
    return ok;
}

/* From now on the server speaks TLS alone, with that certificate. */
static void serve_tls(const char *name, int days, const char *alt_name, const char *clients)
{
    char cert[128], key[128], file[40];
    cr_assert(authority_sign(&ours, name, alt_name, days));
    snprintf(file, sizeof file, "%s.pem", name);
    authority_path(&ours, file, cert);
    snprintf(file, sizeof file, "%s.key", name);
    authority_path(&ours, file, key);
    cr_assert(is_ok(redis_server_ask(
        &server,
        "CONFIG SET tls-cert-file %s tls-key-file %s tls-ca-cert-file %s tls-auth-clients %s", cert,
        key, ours.ca_file, clients)));
    cr_assert(is_ok(redis_server_ask(&server, "CONFIG SET port 0")));
    cr_assert(is_ok(redis_server_ask(&server, "CONFIG SET tls-port %d", server.port)));
}

static void setup(void)
{
    if (!child_find("openssl"))
        cr_skip_test("the openssl command is missing; on Debian: apt-get install openssl");
    cr_assert(redis_server_start(&server, NULL));
    cr_assert(authority_create(&ours));
    redis.host = "localhost";
    redis.port = (uint32_t)server.port;
    redis.connections = 2;
    redis.tls = 1;
    redis.tls_ca_file = ours.ca_file;
}

static void teardown(void)
{
    if (link_)
        nc_link_close(link_, 0);
    redis_server_stop(&server);
    authority_destroy(&ours);
}

TestSuite(tls, .init = setup, .fini = teardown);

#define GOOD "good", 2, "DNS:localhost,IP:127.0.0.1"

static void connect_link(void)
{
    const struct nc_link_config config = {.log = &to_test, .breaker_expiries = UINT64_MAX};
    link_ = link_with(&redis, &config);
}

static void expect_up(void) { cr_assert(link_wait_up(link_, 20000), "%s", logged); }

static void expect_refused(const char *why)
{
    connect_link();
    cr_expect(WAIT_UNTIL(was_logged(why), 20000), "not \"%s\" but: %s", why, logged);
    cr_expect_eq(ask(link_, &seen, 100000, "PING", NULL), NEARCACHE_EOFFLINK);
}

/* ---- good ---- */

Test(tls, a_certificate_of_our_authority_for_our_host_is_good)
{
    serve_tls(GOOD, "no");
    connect_link();
    expect_up();
}

Test(tls, an_address_is_verified_as_an_address)
{
    serve_tls(GOOD, "no");
    redis.host = "127.0.0.1";
    connect_link();
    expect_up();
}

Test(tls, a_rediss_url_asks_for_it)
{
    char url[64];
    serve_tls(GOOD, "no");
    snprintf(url, sizeof url, "rediss://localhost:%d/0", server.port);
    redis.url = url;
    redis.host = NULL;
    redis.tls = 0;
    connect_link();
    expect_up();
}

Test(tls, another_name_to_expect_can_be_given)
{
    serve_tls("named", 2, "DNS:redis.example", "no");
    redis.tls_server_name = "redis.example";
    connect_link();
    expect_up();
}

Test(tls, a_folder_of_authorities_is_a_way)
{
    char command[256];
    serve_tls(GOOD, "no");
    snprintf(command, sizeof command, "openssl rehash %s >/dev/null 2>&1", ours.directory);
    const char *const argv[] = {"/bin/sh", "-c", command, NULL};
    cr_assert_eq(child_wait(child_start(argv, -1, -1, -1), 60000), 0);
    redis.tls_ca_file = NULL;
    redis.tls_ca_dir = ours.directory;
    connect_link();
    expect_up();
}

Test(tls, unverified_only_when_asked_for)
{
    serve_tls("named", 2, "DNS:redis.example", "no");
    redis.tls_ca_file = NULL;
    redis.tls_insecure = 1;
    connect_link();
    expect_up();
}

Test(tls, a_client_certificate_is_shown)
{
    char cert[128], key[128];
    serve_tls(GOOD, "yes");
    cr_assert(authority_sign(&ours, "client", "DNS:client", 2));
    redis.tls_cert_file = authority_path(&ours, "client.pem", cert);
    redis.tls_key_file = authority_path(&ours, "client.key", key);
    connect_link();
    expect_up();
}

Test(tls, both_versions_are_spoken)
{
    static const char *const protocols[] = {"TLSv1.2", "TLSv1.3"};
    serve_tls(GOOD, "no");
    for (int i = 0; i < 2; i++) {
        cr_assert(is_ok(redis_server_ask(&server, "CONFIG SET tls-protocols %s", protocols[i])));
        connect_link();
        expect_up();
        nc_link_close(link_, 0);
        link_ = NULL;
    }
}

/* ---- refused ---- */

Test(tls, another_authority_is_refused)
{
    struct authority theirs;
    cr_assert(authority_create(&theirs));
    serve_tls(GOOD, "no");
    redis.tls_ca_file = theirs.ca_file;
    expect_refused("certificate");
    authority_destroy(&theirs);
}

Test(tls, the_systems_authorities_do_not_know_ours)
{
    serve_tls(GOOD, "no");
    redis.tls_ca_file = NULL;
    expect_refused("certificate");
}

Test(tls, a_certificate_for_another_host_is_refused)
{
    serve_tls("named", 2, "DNS:redis.example,IP:192.0.2.1", "no");
    expect_refused("hostname mismatch");
}

Test(tls, a_certificate_for_another_address_is_refused)
{
    serve_tls("named", 2, "DNS:localhost,IP:192.0.2.1", "no");
    redis.host = "127.0.0.1";
    expect_refused("IP address mismatch");
}

Test(tls, an_expired_certificate_is_refused)
{
    serve_tls("old", -1, "DNS:localhost", "no");
    expect_refused("expired");
}

Test(tls, without_the_certificate_that_the_server_wants_there_is_no_link)
{
    serve_tls(GOOD, "yes");
    expect_refused("certificate required");
}

Test(tls, a_version_below_the_least_is_refused)
{
    serve_tls(GOOD, "no");
    cr_assert(is_ok(redis_server_ask(&server, "CONFIG SET tls-protocols TLSv1.2")));
    redis.tls_min_version = 13;
    expect_refused("protocol version");
}

Test(tls, a_server_without_it_is_never_spoken_to_in_plain_text)
{
    redis.password = "hunter2";
    expect_refused("cannot connect");
    char *stats = redis_server_ask(&server, "INFO commandstats");
    cr_expect_null(strstr(stats, "cmdstat_auth"), "%s", stats);
    free(stats);
    cr_expect_not(was_logged("hunter2"));
}

/* ---- settings ---- */

static int make_settings(void)
{
    struct nc_redis_settings *settings = NULL;
    int outcome = nc_redis_settings_create(&settings, &redis, &to_test);
    nc_redis_settings_destroy(settings);
    return outcome;
}

Test(tls, files_that_do_not_fit_are_told_when_it_is_opened)
{
    char path[128];
    cr_expect_eq(make_settings(), 0);
    redis.tls_ca_file = "/no/such/file";
    cr_expect_eq(make_settings(), NEARCACHE_ECONFIG);
    cr_expect(was_logged("tls_ca_file"));
    redis.tls_ca_file = ours.ca_file;
    redis.tls_cert_file = ours.ca_file;
    cr_expect_eq(make_settings(), NEARCACHE_ECONFIG);
    cr_expect(was_logged("belong together"));
    cr_assert(authority_sign(&ours, "other", "DNS:other", 2));
    redis.tls_key_file = authority_path(&ours, "other.key", path);
    cr_expect_eq(make_settings(), NEARCACHE_ECONFIG, "a key of another certificate");
    redis.tls_cert_file = redis.tls_key_file = NULL;
    redis.tls_min_version = 11;
    cr_expect_eq(make_settings(), NEARCACHE_ECONFIG);
    redis.tls_min_version = 0;
    redis.host = NULL;
    redis.unix_path = "/tmp/socket";
    cr_expect_eq(make_settings(), NEARCACHE_ECONFIG, "a unix socket");
}

/* ---- servers that cut or keep silent in the handshake ---- */

enum { CUTS = 40 };

struct cutter {
    int listener;
    _Atomic bool stop;
    _Atomic unsigned met;
};

/* Accepts, takes a few bytes more each time, gives some nonsense back, hangs up. */
static void *cut(void *arg)
{
    struct cutter *cutter = arg;
    char bytes[256];
    for (unsigned n = 0; !atomic_load(&cutter->stop); n++) {
        struct pollfd polled = {cutter->listener, POLLIN, 0};
        if (poll(&polled, 1, 20) <= 0)
            continue;
        int fd = accept(cutter->listener, NULL, NULL);
        if (n % 3 && recv(fd, bytes, n % sizeof bytes, 0) > 0 && n % 3 == 2)
            send(fd, "\x16\x03\x03\x00\x7a\x02", n % 7, MSG_NOSIGNAL);
        close(fd);
        atomic_fetch_add(&cutter->met, 1);
    }
    return NULL;
}

static int listen_here(uint32_t *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(listen(fd, 16), 0);
    getsockname(fd, (struct sockaddr *)&address, &bytes);
    *port = ntohs(address.sin_port);
    return fd;
}

Test(tls, cut_in_the_handshake_it_tries_again_and_nothing_leaks_out)
{
    struct cutter cutter = {.listener = listen_here(&redis.port)};
    pthread_t thread;
    redis.host = "127.0.0.1";
    cr_assert_eq(pthread_create(&thread, NULL, cut, &cutter), 0);
    connect_link();
    for (int i = 0; i < CUTS; i++) {
        unsigned met = atomic_load(&cutter.met);
        cr_expect(WAIT_UNTIL(atomic_load(&cutter.met) > met, 20000));
        cr_expect_eq(ask(link_, &seen, 1000, "PING", NULL), NEARCACHE_EOFFLINK);
        nc_link_close(link_, 0); /* a new one, without the waits between tries */
        connect_link();
    }
    nc_link_close(link_, 0);
    link_ = NULL;
    atomic_store(&cutter.stop, true);
    pthread_join(thread, NULL);
    close(cutter.listener);
}

Test(tls, a_server_that_is_mute_in_the_handshake_does_not_hold_up_the_end)
{
    int listener = listen_here(&redis.port);
    redis.host = "127.0.0.1";
    connect_link();
    struct pollfd polled = {listener, POLLIN, 0};
    cr_assert_eq(poll(&polled, 1, 20000), 1);
    cr_expect_eq(ask(link_, &seen, 1000, "PING", NULL), NEARCACHE_EOFFLINK);
    nc_link_close(link_, 0);
    link_ = NULL;
    close(listener);
}

/* ---- traffic ---- */

static void *send_large(void *arg)
{
    static char value[300000];
    struct seen mine;
    char key[16];
    uintptr_t number = (uintptr_t)arg;
    snprintf(key, sizeof key, "large%u", (unsigned)number);
    for (int i = 0; i < 30; i++) {
        struct nc_call *call = nc_call_create();
        seen_init(&mine);
        nc_command_begin(nc_call_command(call), 3);
        nc_command_arg(nc_call_command(call), "SET", 3);
        nc_command_arg(nc_call_command(call), key, strlen(key));
        nc_command_arg(nc_call_command(call), value, sizeof value - (size_t)i);
        nc_call_expect(call, &mine.sink, NULL, NULL);
        int outcome = nc_link_call(link_, call, NC_CALL_SINGLE, nc_clock_deadline_ns(20000000));
        nc_call_release(call);
        if (outcome != 0 || mine.type != NC_REPLY_STATUS)
            return (void *)"SET";
        outcome = ask(link_, &mine, 20000000, "GET", key, NULL);
        if (outcome != 0 || mine.bytes != sizeof value - (size_t)i)
            return (void *)"GET";
    }
    return NULL;
}

/* A connection that sends for one thread while another reads. */
Test(tls, many_threads_with_large_values_share_it)
{
    pthread_t threads[8];
    serve_tls(GOOD, "no");
    redis.connections = 1;
    connect_link();
    expect_up();
    for (uintptr_t i = 0; i < 8; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, send_large, (void *)i), 0);
    for (int i = 0; i < 8; i++) {
        void *problem;
        pthread_join(threads[i], &problem);
        cr_expect_null(problem, "%s", (const char *)problem);
    }
}

static struct nearcache *open_cache(const char *name, struct nearcache_tier **tier)
{
    struct nearcache_config config = NEARCACHE_CONFIG_INIT;
    struct nearcache_tier_config with = NEARCACHE_TIER_INIT;
    struct nearcache *cache;
    redis.client_name = name;
    config.redis = &redis;
    cr_assert_eq(nearcache_open(&cache, &config), 0);
    with.name = "things";
    with.prefix = "thing:";
    cr_assert_eq(nearcache_tier_open(cache, &with, tier), 0);
    cr_assert_eq(nearcache_wait(cache, 20000000), 0);
    return cache;
}

/* The subscription goes over TLS as well: one cache hears of another's writes. */
Test(tls, two_caches_stay_coherent_over_it)
{
    struct nearcache_tier *writer, *reader;
    struct nearcache_result result;
    serve_tls(GOOD, "no");
    struct nearcache *one = open_cache("one", &writer), *two = open_cache("two", &reader);
    for (int i = 0; i < 50; i++) {
        char value[16];
        int bytes = snprintf(value, sizeof value, "value %d", i);
        cr_assert_eq(nearcache_set(writer, "k", 1, value, (size_t)bytes, NULL), 0);
        cr_assert_eq(nearcache_sync(two, 5000000), 0);
        cr_assert_eq(nearcache_get(reader, "k", 1, NULL, &result), 0);
        cr_expect_eq(result.bytes, (size_t)bytes);
        cr_expect_arr_eq(result.data, value, result.bytes);
        nearcache_release(&result);
    }
    nearcache_close(one, 0);
    nearcache_close(two, 0);
}

static int run_job(void *arg, struct nearcache_job *job)
{
    atomic_fetch_add((_Atomic unsigned *)arg, 1);
    return nearcache_job_return(job, "true", 4);
}

/* Its workers wait on connections of their own. */
Test(tls, a_queue_works_over_it)
{
    struct nearcache_worker_config config = NEARCACHE_WORKER_CONFIG_INIT;
    struct nearcache_queue *queue;
    struct nearcache_worker *worker;
    static _Atomic unsigned done;
    serve_tls(GOOD, "no");
    cr_assert_eq(nearcache_queue_open(&queue, &redis, "q", NULL), 0);
    config.run = run_job;
    config.run_arg = (void *)&done;
    cr_assert_eq(nearcache_worker_open(&worker, queue, &config), 0);
    for (int i = 0; i < 20; i++)
        cr_assert_eq(nearcache_queue_add(queue, "job", "{}", 2, NULL, NULL), 0);
    cr_expect(WAIT_UNTIL(atomic_load(&done) == 20, 20000));
    nearcache_worker_close(worker, 0);
    nearcache_queue_close(queue, 0);
}
