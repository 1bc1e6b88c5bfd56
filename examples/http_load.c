/*
 * A small HTTP client that keeps asking and counts: what the demo and the tests drive the product
 * service with. Any reply of 400 and above, and any connection that breaks, is a failed request.
 *
 *     http_load PORT SECONDS CONNECTIONS REQUEST...
 *
 * A REQUEST is "GET /path" or "PUT /path body"; {1-99} in it stands for numbers that take turns.
 * At the end it prints a line for each second (how many, how long, from where) and the totals.
 * Exit status: 0 none failed, 1 some did, 2 usage.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum {
    SECONDS_MAX = 600,
    CONNECTIONS_MAX = 64,
    REPLY_BYTES_MAX = 1 << 20,
    BUCKETS = 640, /* sixteen to each doubling of a time in ns: 6 % wide */
    TIMEOUT_SECONDS = 5
};
enum source { SOURCE_LOCAL, SOURCE_REMOTE, SOURCE_LOADED, SOURCE_STALE, SOURCE_OTHER, SOURCES };

/* What happened in one second. */
struct tally {
    uint32_t requests;
    uint32_t failed;
    uint32_t sources[SOURCES];
    uint32_t buckets[BUCKETS];
    uint64_t slowest_ns;
};

/* One thread. */
struct client {
    pthread_t thread;
    uint16_t port;
    unsigned seconds;
    uint64_t start_ns;
    char **requests;
    int request_count;
    unsigned turn;
    int fd;
    char *reply;
    struct tally *tallies; /* one a second */
    char first_failure[160];
};

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static unsigned bucket_of(uint64_t ns)
{
    unsigned log2 = 63u - (unsigned)__builtin_clzll(ns | 16);
    unsigned bucket = (log2 - 4) * 16 + (unsigned)((ns >> (log2 - 4)) & 15);

    return bucket < BUCKETS ? bucket : BUCKETS - 1;
}

static double bucket_us(unsigned bucket)
{
    return (double)((uint64_t)(16 + bucket % 16) << (bucket / 16)) / 1000.0;
}

/* ---- one request --------------------------------------------------------------------------- */

static int connect_to(uint16_t port)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct timeval timeout = {TIMEOUT_SECONDS, 0};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd, (struct sockaddr *)&name, sizeof name) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* Copies a REQUEST with its {least-most} replaced by the number whose turn it is. */
static void expand(const char *request, unsigned turn, char *text, size_t capacity)
{
    const char *open = strchr(request, '{');
    unsigned least, most;
    int consumed = 0;

    if (open && sscanf(open, "{%u-%u}%n", &least, &most, &consumed) == 2 && consumed &&
        most >= least)
        snprintf(text, capacity, "%.*s%u%s", (int)(open - request), request,
                 least + turn % (most - least + 1), open + consumed);
    else
        snprintf(text, capacity, "%s", request);
}

/* "PUT /path body" as HTTP. Returns its length. */
static int format_request(const char *request, char *text, size_t capacity)
{
    size_t method = strcspn(request, " ");
    const char *path = request + method + (request[method] == ' ');
    size_t path_bytes = strcspn(path, " ");
    const char *body = path + path_bytes + (path[path_bytes] == ' ');

    return snprintf(text, capacity,
                    "%.*s %.*s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %zu\r\n\r\n%s",
                    (int)method, request, (int)path_bytes, path, strlen(body), body);
}

static const char *header_value(const char *reply, const char *name)
{
    size_t length = strlen(name);

    for (const char *line = strstr(reply, "\r\n"); line; line = strstr(line + 2, "\r\n")) {
        if (strncasecmp(line + 2, name, length) == 0 && line[2 + length] == ':')
            return line + 2 + length + 1 + strspn(line + 2 + length + 1, " ");
    }
    return NULL;
}

/* Reads one reply, zero-terminated after its head. Returns the status code, or -1. */
static int read_reply(struct client *client)
{
    size_t bytes = 0, total = 0;

    while (total == 0 || bytes < total) {
        ssize_t got = recv(client->fd, client->reply + bytes, REPLY_BYTES_MAX - bytes, 0);
        char *end;

        if (got <= 0)
            return -1;
        bytes += (size_t)got;
        client->reply[bytes] = 0;
        end = total == 0 ? strstr(client->reply, "\r\n\r\n") : NULL;
        if (end) {
            const char *length;

            end[2] = 0; /* the head alone is searched from here on */
            length = header_value(client->reply, "Content-Length");
            total = (size_t)(end + 4 - client->reply) + (length ? strtoul(length, NULL, 10) : 0);
            if (total > REPLY_BYTES_MAX)
                return -1;
        }
    }
    return bytes > 12 ? atoi(client->reply + 9) : -1;
}

/* Sends a request and waits for the reply: its status code, or -1 when the connection broke. */
static int exchange(struct client *client, const char *text, size_t bytes)
{
    int code;

    if (client->fd < 0)
        client->fd = connect_to(client->port);
    if (client->fd < 0)
        return -1;
    code = send(client->fd, text, bytes, MSG_NOSIGNAL) == (ssize_t)bytes ? read_reply(client) : -1;
    if (code < 0) {
        close(client->fd);
        client->fd = -1;
    }
    return code;
}

static enum source source_of(const char *reply)
{
    static const char *const names[] = {"LOCAL", "REMOTE", "LOADED", "STALE"};
    const char *value = header_value(reply, "X-Cache");

    for (int i = 0; value && i < SOURCE_OTHER; i++) {
        if (strncmp(value, names[i], strlen(names[i])) == 0)
            return (enum source)i;
    }
    return SOURCE_OTHER;
}

static void run_one(struct client *client)
{
    char request[4096], text[8192];
    uint64_t start_ns, elapsed_ns;
    struct tally *tally;
    int bytes, code;

    expand(client->requests[client->turn % (unsigned)client->request_count],
           client->turn / (unsigned)client->request_count, request, sizeof request);
    client->turn++;
    bytes = format_request(request, text, sizeof text);
    start_ns = now_ns();
    if ((start_ns - client->start_ns) / 1000000000u >= client->seconds)
        return;
    tally = &client->tallies[(start_ns - client->start_ns) / 1000000000u];
    code = exchange(client, text, (size_t)bytes);
    elapsed_ns = now_ns() - start_ns;
    tally->requests++;
    tally->buckets[bucket_of(elapsed_ns)]++;
    if (elapsed_ns > tally->slowest_ns)
        tally->slowest_ns = elapsed_ns;
    if (code >= 0 && code < 400) {
        tally->sources[source_of(client->reply)]++;
        return;
    }
    tally->failed++;
    if (!client->first_failure[0])
        snprintf(client->first_failure, sizeof client->first_failure, "%d for %.120s", code,
                 request);
}

static void *client_main(void *arg)
{
    struct client *client = arg;

    while (now_ns() - client->start_ns < client->seconds * (uint64_t)1000000000)
        run_one(client);
    return NULL;
}

/* ---- the report ---------------------------------------------------------------------------- */

static void add_tally(struct tally *sum, const struct tally *tally)
{
    sum->requests += tally->requests;
    sum->failed += tally->failed;
    for (int i = 0; i < SOURCES; i++)
        sum->sources[i] += tally->sources[i];
    for (int i = 0; i < BUCKETS; i++)
        sum->buckets[i] += tally->buckets[i];
    if (tally->slowest_ns > sum->slowest_ns)
        sum->slowest_ns = tally->slowest_ns;
}

static double quantile_us(const struct tally *tally, double share)
{
    double wanted = share * tally->requests, seen = 0;

    for (unsigned i = 0; i < BUCKETS; i++) {
        seen += tally->buckets[i];
        if (seen >= wanted && seen > 0)
            return bucket_us(i);
    }
    return 0;
}

static void print_tally(const char *label, const struct tally *tally)
{
    printf("%6s %9u %6u %9.0f %9.0f %9.0f %9u %8u %8u %9u %8u\n", label, tally->requests,
           tally->failed, quantile_us(tally, 0.5), quantile_us(tally, 0.99),
           (double)tally->slowest_ns / 1000, tally->sources[SOURCE_LOCAL],
           tally->sources[SOURCE_REMOTE], tally->sources[SOURCE_LOADED],
           tally->sources[SOURCE_STALE], tally->sources[SOURCE_OTHER]);
    fflush(stdout);
}

/* Prints each second, then the totals. Returns how many requests failed. */
static uint32_t report(struct client *clients, int count, unsigned seconds)
{
    struct tally total = {0};

    printf("second  requests failed    p50 us    p99 us    max us     LOCAL   REMOTE   LOADED     "
           "STALE    other\n");
    for (unsigned second = 0; second < seconds; second++) {
        struct tally sum = {0};
        char label[16];

        for (int i = 0; i < count; i++)
            add_tally(&sum, &clients[i].tallies[second]);
        snprintf(label, sizeof label, "%u", second + 1);
        print_tally(label, &sum);
        add_tally(&total, &sum);
    }
    print_tally("total", &total);
    for (int i = 0; i < count; i++) {
        if (clients[i].first_failure[0])
            printf("connection %d failed first with %s\n", i + 1, clients[i].first_failure);
    }
    return total.failed;
}

int main(int argc, char **argv)
{
    long port = argc > 4 ? strtol(argv[1], NULL, 10) : 0;
    long seconds = argc > 4 ? strtol(argv[2], NULL, 10) : 0;
    long connections = argc > 4 ? strtol(argv[3], NULL, 10) : 0;
    struct client clients[CONNECTIONS_MAX] = {0};
    uint64_t start_ns = now_ns();
    uint32_t failed;

    if (port < 1 || port > 65535 || seconds < 1 || seconds > SECONDS_MAX || connections < 1 ||
        connections > CONNECTIONS_MAX) {
        fprintf(stderr, "usage: http_load PORT SECONDS CONNECTIONS REQUEST...\n");
        return 2;
    }
    for (long i = 0; i < connections; i++) {
        struct client *client = &clients[i];

        client->port = (uint16_t)port;
        client->seconds = (unsigned)seconds;
        client->start_ns = start_ns;
        client->requests = argv + 4;
        client->request_count = argc - 4;
        client->turn = (unsigned)i * 7919;
        client->fd = -1;
        client->reply = malloc(REPLY_BYTES_MAX + 1);
        client->tallies = calloc((size_t)seconds, sizeof *client->tallies);
        if (!client->reply || !client->tallies ||
            pthread_create(&client->thread, NULL, client_main, client) != 0) {
            perror("http_load");
            exit(1);
        }
    }
    for (long i = 0; i < connections; i++)
        pthread_join(clients[i].thread, NULL);
    failed = report(clients, (int)connections, (unsigned)seconds);
    for (long i = 0; i < connections; i++) {
        if (clients[i].fd >= 0)
            close(clients[i].fd);
        free(clients[i].reply);
        free(clients[i].tallies);
    }
    return failed != 0;
}
