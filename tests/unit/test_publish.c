#include "api/publish.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static char directory[64];
static char path[96];
static struct nc_log quiet;
static struct nc_publish *publish;
static uint64_t now_ns;
static size_t big_bytes; /* 0: short answers */
static int renders;

static void setup(void)
{
    strcpy(directory, "/tmp/nc-publish-XXXXXX");
    cr_assert(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/socket", directory);
    nc_log_init(&quiet, NULL, NULL, NEARCACHE_LOG_ERROR);
    now_ns = 1000000000;
    cr_assert_eq(nc_publish_open(&publish, path, &quiet), 0);
}

static void teardown(void)
{
    nc_publish_close(publish);
    unlink(path);
    rmdir(directory);
}

TestSuite(publish, .init = setup, .fini = teardown, .timeout = 20);

static int render(void *arg, enum nc_publish_form form, char *text, size_t capacity, size_t *bytes)
{
    const char *answer = form == NC_PUBLISH_JSON ? "{\"hits_local\": 7}\n" : "hits_total 7\n";

    cr_assert_eq(arg, &now_ns);
    renders++;
    *bytes = big_bytes ? big_bytes : strlen(answer);
    if (*bytes >= capacity)
        return NEARCACHE_ETOOBIG;
    if (big_bytes)
        memset(text, 'x', big_bytes);
    else
        memcpy(text, answer, *bytes);
    return 0;
}

static int client_open(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    strcpy(address.sun_path, path);
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0, "%s",
                 strerror(errno));
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

static void client_say(int fd, const char *text)
{
    cr_assert_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* Serves for as long as the publisher has something to do. */
static void serve(void)
{
    struct pollfd ready = {.fd = nc_publish_fd(publish), .events = POLLIN};

    while (poll(&ready, 1, 0) == 1)
        nc_publish_serve(publish, now_ns, render, &now_ns);
}

/* Reads to the end of the stream; -1: cut off by an error. Closes. */
static ssize_t client_finish(int fd, char *text, size_t capacity)
{
    size_t bytes = 0;
    ssize_t got;

    for (;;) {
        serve();
        got = recv(fd, text + bytes, capacity - bytes - 1, 0);
        if (got < 0 && errno == EAGAIN)
            continue;
        if (got <= 0)
            break;
        bytes += (size_t)got;
    }
    text[bytes] = '\0';
    close(fd);
    return got < 0 ? -1 : (ssize_t)bytes;
}

static void expect_answer(const char *request, const char *answer)
{
    char text[256];
    int fd = client_open();

    client_say(fd, request);
    cr_assert(client_finish(fd, text, sizeof text) >= 0);
    cr_assert_str_eq(text, answer);
}

static bool is_dropped(int fd)
{
    char byte;
    ssize_t got = recv(fd, &byte, 1, 0);

    return got == 0 || (got < 0 && errno != EAGAIN);
}

Test(publish, stats_are_json_and_metrics_are_prometheus_text)
{
    expect_answer("stats\n", "{\"hits_local\": 7}\n");
    expect_answer("metrics\n", "hits_total 7\n");
    expect_answer("metrics\r\n", "hits_total 7\n");
}

Test(publish, an_unknown_request_is_answered_with_what_is_known)
{
    expect_answer("shutdown\n", "error: the requests are stats and metrics\n");
    cr_assert_eq(renders, 0);
}

Test(publish, a_request_may_arrive_in_pieces)
{
    char text[64];
    int fd = client_open();

    client_say(fd, "sta");
    serve();
    client_say(fd, "ts\n");
    cr_assert(client_finish(fd, text, sizeof text) > 0);
    cr_assert_str_eq(text, "{\"hits_local\": 7}\n");
}

Test(publish, a_request_without_end_is_dropped)
{
    char text[NC_PUBLISH_REQUEST_BYTES + 1];
    int fd = client_open();

    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    client_say(fd, text);
    serve();
    cr_assert(is_dropped(fd));
    cr_assert_eq(renders, 0);
    close(fd);
}

Test(publish, a_silent_client_is_dropped_when_its_time_is_over)
{
    int fd = client_open();

    serve();
    now_ns += NC_PUBLISH_CLIENT_NS;
    nc_publish_serve(publish, now_ns, render, &now_ns);
    cr_assert_not(is_dropped(fd));
    now_ns += 1;
    nc_publish_serve(publish, now_ns, render, &now_ns);
    cr_assert(is_dropped(fd));
    close(fd);
}

Test(publish, an_answer_larger_than_the_socket_buffer_arrives_whole)
{
    char *text = malloc(3 << 20);
    int fd = client_open();

    big_bytes = 2 << 20;
    client_say(fd, "stats\n");
    cr_assert_eq(client_finish(fd, text, 3 << 20), 2 << 20);
    cr_assert(renders <= 3);
    free(text);
}

Test(publish, a_client_that_does_not_read_blocks_nobody)
{
    int slow = client_open();

    big_bytes = 2 << 20;
    client_say(slow, "stats\n");
    serve();
    serve();
    big_bytes = 0;
    expect_answer("metrics\n", "hits_total 7\n");
    now_ns += NC_PUBLISH_CLIENT_NS + 1;
    nc_publish_serve(publish, now_ns, render, &now_ns);
    close(slow);
}

Test(publish, an_answer_above_the_limit_is_not_given)
{
    char text[64];
    int fd = client_open();

    big_bytes = NC_PUBLISH_MOST_BYTES + 1;
    client_say(fd, "stats\n");
    cr_assert(client_finish(fd, text, sizeof text) <= 0);
}

Test(publish, the_oldest_client_gives_way)
{
    int clients[NC_PUBLISH_CLIENTS];

    for (unsigned i = 0; i < NC_PUBLISH_CLIENTS; i++) {
        clients[i] = client_open();
        now_ns++;
        serve();
    }
    cr_assert_not(is_dropped(clients[0]));
    expect_answer("metrics\n", "hits_total 7\n");
    cr_assert(is_dropped(clients[0]));
    cr_assert_not(is_dropped(clients[1]));
    for (unsigned i = 0; i < NC_PUBLISH_CLIENTS; i++)
        close(clients[i]);
}

Test(publish, a_client_that_left_is_forgotten)
{
    int fd = client_open();

    client_say(fd, "stats\n");
    close(fd);
    serve();
    expect_answer("metrics\n", "hits_total 7\n");
}

Test(publish, the_file_belongs_to_the_owner_alone_and_goes_with_the_publisher)
{
    struct stat status;

    cr_assert_eq(stat(path, &status), 0);
    cr_assert_eq(status.st_mode & 0777, 0600);
    nc_publish_close(publish);
    publish = NULL;
    cr_assert_eq(stat(path, &status), -1);
}

Test(publish, a_socket_in_use_is_left_alone)
{
    struct nc_publish *second;

    cr_assert_eq(nc_publish_open(&second, path, &quiet), NEARCACHE_ECONFIG);
    expect_answer("metrics\n", "hits_total 7\n");
}

Test(publish, a_socket_left_behind_is_replaced)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    nc_publish_close(publish);
    strcpy(address.sun_path, path);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(listen(fd, 1), 0);
    close(fd);
    cr_assert_eq(nc_publish_open(&publish, path, &quiet), 0);
    expect_answer("metrics\n", "hits_total 7\n");
}

Test(publish, a_file_that_is_no_socket_is_left_alone)
{
    struct stat status;
    FILE *file;

    nc_publish_close(publish);
    publish = NULL;
    file = fopen(path, "w");
    fclose(file);
    cr_assert_eq(nc_publish_open(&publish, path, &quiet), NEARCACHE_ECONFIG);
    cr_assert_eq(stat(path, &status), 0);
}

Test(publish, close_leaves_a_socket_that_another_process_made_meanwhile)
{
    struct nc_publish *second;
    struct stat status;

    unlink(path);
    cr_assert_eq(nc_publish_open(&second, path, &quiet), 0);
    nc_publish_close(publish);
    cr_assert_eq(stat(path, &status), 0);
    publish = second;
    expect_answer("metrics\n", "hits_total 7\n");
}

Test(publish, a_path_that_cannot_be_is_refused)
{
    struct nc_publish *second;
    char longest[200];

    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    cr_assert_eq(nc_publish_open(&second, longest, &quiet), NEARCACHE_EINVAL);
    cr_assert_eq(nc_publish_open(&second, "", &quiet), NEARCACHE_EINVAL);
    cr_assert_eq(nc_publish_open(&second, "/nonexistent/socket", &quiet), NEARCACHE_EIO);
}
