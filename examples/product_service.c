/*
 * A product search service with the cache embedded: how a whole program uses nearcache.
 *
 *     product_service --port 8080 --redis redis://127.0.0.1:6379/0
 *
 *     GET  /search?q=red+shoes              products for a query
 *     GET  /rank?q=red+shoes&ids=1,2,3      the same ids, best match first (POST: ids in the body)
 *     GET, PUT, DELETE /prompt/ID           documents
 *     GET, PUT, DELETE /session/ID          documents whose expiry slides while they are used
 *     GET  /health  /metrics
 *
 * Every reply that comes from the cache says where it was found (X-Cache: LOCAL, REMOTE, LOADED,
 * STALE). With Redis out of reach the service goes on: reads answer from the copies that are here,
 * searches and rankings are computed, and documents are kept and handed to Redis when it is back.
 *
 * This file: options, start and stop. service/: a file for each thing that the service does.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "service/service.h"

enum { WORKERS_MAX = 64 };

struct options {
    const char *address;
    uint16_t port;
    const char *redis_url; /* NULL: from the environment, else none */
    unsigned threads;
    const char *metrics_socket;
    uint64_t budget_mib;
    uint64_t deadline_ms;
};

static const char usage[] =
    "usage: product_service [--address IP] [--port N] [--redis URL] [--threads N]\n"
    "                       [--budget MIB] [--deadline MS] [--metrics-socket PATH]\n"
    "Without --redis the variables REDIS_URL, REDIS_HOST, ... are used; without those the\n"
    "cache is local-only. --port 0 takes a free port; the line 'listening on' says which.\n";

static void on_log(void *arg, enum nearcache_log_level level, const char *line)
{
    (void)arg;
    (void)level;
    fprintf(stderr, "product_service: %s\n", line);
}

/* A whole number between least and most, or -1. */
static long parse_number(const char *text, long least, long most)
{
    char *end;
    long number;

    errno = 0;
    number = strtol(text, &end, 10);
    if (errno || end == text || *end || number < least || number > most)
        return -1;
    return number;
}

/* Returns 0; 1 when there is nothing more to do (--help); -1: wrong usage. */
static int parse_options(int argc, char **argv, struct options *options)
{
    static const struct option known[] = {{"address", required_argument, NULL, 'a'},
                                          {"port", required_argument, NULL, 'p'},
                                          {"redis", required_argument, NULL, 'r'},
                                          {"threads", required_argument, NULL, 't'},
                                          {"budget", required_argument, NULL, 'b'},
                                          {"deadline", required_argument, NULL, 'd'},
                                          {"metrics-socket", required_argument, NULL, 'm'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    long number = 0;
    int letter;

    while (number >= 0 && (letter = getopt_long(argc, argv, "", known, NULL)) != -1) {
        if (letter == 'a')
            options->address = optarg;
        else if (letter == 'p')
            options->port = (uint16_t)(number = parse_number(optarg, 0, 65535));
        else if (letter == 'r')
            options->redis_url = optarg;
        else if (letter == 't')
            options->threads = (unsigned)(number = parse_number(optarg, 1, WORKERS_MAX));
        else if (letter == 'b')
            options->budget_mib = (uint64_t)(number = parse_number(optarg, 1, 1 << 20));
        else if (letter == 'd')
            options->deadline_ms = (uint64_t)(number = parse_number(optarg, 1, 60000));
        else if (letter == 'm')
            options->metrics_socket = optarg;
        else
            return letter == 'h' ? 1 : -1;
    }
    return number < 0 || optind < argc ? -1 : 0;
}

/* Copies stand in for Redis while it is away, for as long as they are of use. */
static int open_tier(struct service *service, enum nearcache_preset preset, uint64_t max_stale_ms,
                     struct nearcache_tier **tier)
{
    struct nearcache_tier_config config = NEARCACHE_TIER_INIT;
    int outcome = nearcache_tier_preset(preset, &config);

    if (outcome != 0)
        return outcome;
    config.off_link = NEARCACHE_OFF_LINK_STALE;
    config.max_stale_ms = max_stale_ms;
    return nearcache_tier_open(service->cache, &config, tier);
}

static int open_cache(struct service *service, const struct options *options)
{
    const uint64_t hour_ms = 3600 * 1000;
    struct nearcache_redis redis = NEARCACHE_REDIS_INIT;
    struct nearcache_config config = NEARCACHE_CONFIG_INIT;
    int outcome = 0;

    if (options->redis_url)
        redis.url = options->redis_url;
    else
        outcome = nearcache_redis_from_env(&redis);
    if (outcome < 0)
        return outcome;
    redis.client_name = "product_service";
    config.redis = outcome == NEARCACHE_MISS ? NULL : &redis;
    config.budget_bytes = options->budget_mib << 20;
    config.deadline_us = options->deadline_ms * 1000;
    config.metrics_socket = options->metrics_socket;
    config.log = on_log;
    config.log_level = NEARCACHE_LOG_WARNING;
    outcome = nearcache_open(&service->cache, &config);
    if (outcome == 0)
        outcome = open_tier(service, NEARCACHE_PRODUCTS, hour_ms, &service->products);
    if (outcome == 0)
        outcome = open_tier(service, NEARCACHE_PROMPTS, 24 * hour_ms, &service->prompts);
    if (outcome == 0)
        outcome = open_tier(service, NEARCACHE_SESSIONS, hour_ms, &service->sessions);
    if (outcome == 0)
        outcome = open_tier(service, NEARCACHE_EMBEDDINGS, 24 * hour_ms, &service->embeddings);
    return outcome;
}

/* Closes the cache: what an outage left in the journal gets two seconds to reach Redis. */
static int close_cache(struct service *service)
{
    int outcome = nearcache_close(service->cache, 2000000);

    if (outcome == NEARCACHE_EBUSY)
        fprintf(stderr, "product_service: %llu results are still pinned\n",
                (unsigned long long)nearcache_pinned(service->cache));
    return outcome;
}

/* Runs the workers until a signal says stop. Returns 0, or -1 when they could not start. */
static int serve(struct service *service, const struct options *options, const sigset_t *signals)
{
    struct worker workers[WORKERS_MAX];
    uint16_t port = options->port;
    unsigned ready = 0, running = 0;
    int error = 0, signal_number;

    while (ready < options->threads &&
           worker_init(&workers[ready], service, options->address, &port) == 0)
        ready++;
    if (ready < options->threads)
        error = errno;
    while (!error && running < ready && (error = worker_start(&workers[running])) == 0)
        running++;
    if (!error) {
        printf("listening on %s:%u with %u threads, Redis %s\n", options->address, port, running,
               nearcache_link_state(service->cache) == NEARCACHE_LINK_NONE ? "none" : "configured");
        fflush(stdout);
        sigwait(signals, &signal_number);
    } else {
        fprintf(stderr, "product_service: cannot serve %s:%u: %s\n", options->address, port,
                strerror(error));
    }
    if (eventfd_write(service->stop_fd, 1) != 0)
        abort(); /* the counter of an eventfd takes the first write always */
    for (unsigned i = 0; i < running; i++)
        worker_join(&workers[i]);
    for (unsigned i = 0; i < ready; i++)
        worker_deinit(&workers[i]);
    return error ? -1 : 0;
}

/* Two at least: one may wait for Redis while the other answers. */
static unsigned default_threads(void)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);

    return processors < 2 ? 2 : processors > WORKERS_MAX ? WORKERS_MAX : (unsigned)processors;
}

int main(int argc, char **argv)
{
    struct options options = {
        .address = "127.0.0.1", .port = 8080, .budget_mib = 256, .deadline_ms = 50};
    struct service service = {0};
    struct catalog *catalog;
    sigset_t signals;
    int status = EXIT_FAILURE;
    int outcome = parse_options(argc, argv, &options);

    if (outcome != 0) {
        fputs(usage, outcome < 0 ? stderr : stdout);
        return outcome < 0 ? 2 : EXIT_SUCCESS;
    }
    if (options.threads == 0)
        options.threads = default_threads();

    /* Before any thread starts, so that all of them leave the signals to this one. */
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);

    service.stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    service.catalog = catalog = catalog_create();
    if (service.stop_fd < 0 || !catalog) {
        perror("product_service");
        return EXIT_FAILURE;
    }
    outcome = open_cache(&service, &options);
    if (outcome != 0)
        fprintf(stderr, "product_service: %s\n", nearcache_strerror(outcome));
    else if (serve(&service, &options, &signals) == 0)
        status = EXIT_SUCCESS;
    if (close_cache(&service) != 0)
        status = EXIT_FAILURE;
    catalog_destroy(catalog);
    close(service.stop_fd);
    return status;
}
