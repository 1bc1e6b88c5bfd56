#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* accept4 */
#endif

#include "api/publish.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define FIRST_ANSWER_BYTES ((size_t)64 << 10)

/* Guarded by its publisher. A free slot has fd -1. */
struct client {
    int fd;
    uint64_t since_ns;
    char request[NC_PUBLISH_REQUEST_BYTES];
    size_t request_bytes;
    char *answer; /* NULL until the request is complete */
    size_t answer_bytes;
    size_t sent_bytes;
};

struct nc_publish {
    uint64_t deaf_ns; /* since when it accepts nobody, for want of descriptors; 0: it does */
    int listen_fd;
    int epoll_fd; /* watches the listener and all clients, so that one descriptor stands for all */
    struct sockaddr_un address;
    dev_t device; /* of the socket's file: close removes only what open made */
    ino_t inode;
    struct client clients[NC_PUBLISH_CLIENTS];
};

/* ---- the socket's file ---------------------------------------------------------------------- */

static int new_socket(void)
{
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* Whether the file is a socket that nobody listens on. */
static bool is_left_behind(const struct sockaddr_un *address)
{
    struct stat status;
    int fd;
    bool refused;

    if (lstat(address->sun_path, &status) || !S_ISSOCK(status.st_mode))
        return false;
    fd = new_socket();
    if (fd < 0)
        return false;
    refused =
        connect(fd, (const struct sockaddr *)address, sizeof *address) && errno == ECONNREFUSED;
    close(fd);
    return refused;
}

static int bind_private(int fd, const struct sockaddr_un *address)
{
    /* On Linux the mode of the unbound socket becomes the mode of the file, without touching the
     * umask of the whole process; the chmod afterwards is for kernels that do otherwise. */
    fchmod(fd, S_IRUSR | S_IWUSR);
    if (bind(fd, (const struct sockaddr *)address, sizeof *address))
        return -1;
    return chmod(address->sun_path, S_IRUSR | S_IWUSR);
}

static int listen_here(struct nc_publish *publish, const struct nc_log *log)
{
    struct stat status;
    const char *path = publish->address.sun_path;

    if (bind_private(publish->listen_fd, &publish->address)) {
        if (errno != EADDRINUSE) {
            nc_log_write(log, NEARCACHE_LOG_ERROR, "metrics socket %s: %s", path, strerror(errno));
            return NEARCACHE_EIO;
        }
        if (!is_left_behind(&publish->address)) {
            nc_log_write(log, NEARCACHE_LOG_ERROR, "metrics socket %s: in use, or not a socket",
                         path);
            return NEARCACHE_ECONFIG;
        }
        unlink(path);
        if (bind_private(publish->listen_fd, &publish->address)) {
            nc_log_write(log, NEARCACHE_LOG_ERROR, "metrics socket %s: %s", path, strerror(errno));
            return NEARCACHE_EIO;
        }
    }
    if (listen(publish->listen_fd, NC_PUBLISH_CLIENTS) || lstat(path, &status)) {
        nc_log_write(log, NEARCACHE_LOG_ERROR, "metrics socket %s: %s", path, strerror(errno));
        unlink(path);
        return NEARCACHE_EIO;
    }
    publish->device = status.st_dev;
    publish->inode = status.st_ino;
    return 0;
}

static void remove_own_file(const struct nc_publish *publish)
{
    struct stat status;

    if (lstat(publish->address.sun_path, &status) == 0 && status.st_dev == publish->device &&
        status.st_ino == publish->inode)
        unlink(publish->address.sun_path);
}

/* ---- open and close ------------------------------------------------------------------------- */

static int watch(const struct nc_publish *publish, int operation, int fd, uint32_t events,
                 void *what)
{
    struct epoll_event event = {.events = events, .data.ptr = what};

    return epoll_ctl(publish->epoll_fd, operation, fd, &event);
}

int nc_publish_open(struct nc_publish **out, const char *path, const struct nc_log *log)
{
    struct nc_publish *publish;
    size_t path_bytes = path ? strlen(path) : 0;
    int outcome = NEARCACHE_EIO;

    if (path_bytes == 0 || path_bytes >= sizeof publish->address.sun_path) {
        nc_log_write(log, NEARCACHE_LOG_ERROR, "metrics socket: the path must have 1 to %zu bytes",
                     sizeof publish->address.sun_path - 1);
        return NEARCACHE_EINVAL;
    }
    publish = calloc(1, sizeof *publish);
    if (!publish)
        return NEARCACHE_ENOMEM;
    for (size_t i = 0; i < NC_PUBLISH_CLIENTS; i++)
        publish->clients[i].fd = -1;
    publish->address.sun_family = AF_UNIX;
    memcpy(publish->address.sun_path, path, path_bytes);

    publish->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (publish->epoll_fd < 0)
        goto fail_memory;
    publish->listen_fd = new_socket();
    if (publish->listen_fd < 0)
        goto fail_epoll;
    outcome = listen_here(publish, log);
    if (outcome)
        goto fail_socket;
    if (watch(publish, EPOLL_CTL_ADD, publish->listen_fd, EPOLLIN, NULL)) {
        outcome = NEARCACHE_EIO;
        goto fail_file;
    }
    *out = publish;
    return 0;

fail_file:
    remove_own_file(publish);
fail_socket:
    close(publish->listen_fd);
fail_epoll:
    close(publish->epoll_fd);
fail_memory:
    free(publish);
    return outcome;
}

int nc_publish_fd(const struct nc_publish *publish) { return publish->epoll_fd; }

static void drop(struct client *client)
{
    if (client->fd < 0)
        return;
    close(client->fd); /* leaves the epoll set by itself */
    free(client->answer);
    memset(client, 0, sizeof *client);
    client->fd = -1;
}

void nc_publish_close(struct nc_publish *publish)
{
    if (!publish)
        return;
    for (size_t i = 0; i < NC_PUBLISH_CLIENTS; i++)
        drop(&publish->clients[i]);
    remove_own_file(publish);
    close(publish->listen_fd);
    close(publish->epoll_fd);
    free(publish);
}

/* ---- serving -------------------------------------------------------------------------------- */

static struct client *free_slot(struct nc_publish *publish)
{
    struct client *oldest = &publish->clients[0];

    for (size_t i = 0; i < NC_PUBLISH_CLIENTS; i++) {
        struct client *client = &publish->clients[i];

        if (client->fd < 0)
            return client;
        if (client->since_ns < oldest->since_ns)
            oldest = client;
    }
    drop(oldest);
    return oldest;
}

static void accept_pending(struct nc_publish *publish, uint64_t now_ns)
{
    /* Bounded, so that a flood of connections cannot keep the thread here. */
    for (unsigned i = 0; i < NC_PUBLISH_CLIENTS; i++) {
        int fd = accept4(publish->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        struct client *client;

        if (fd < 0) {
            /* Without a descriptor for him who waits, he would wake this thread for ever. */
            if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED &&
                watch(publish, EPOLL_CTL_MOD, publish->listen_fd, 0, NULL) == 0)
                publish->deaf_ns = now_ns;
            return;
        }
        client = free_slot(publish);
        client->fd = fd;
        client->since_ns = now_ns;
        if (watch(publish, EPOLL_CTL_ADD, fd, EPOLLIN, client))
            drop(client);
    }
}

/* Renders into memory of the client's; false: no memory, or nothing to say. */
static bool render_answer(struct client *client, enum nc_publish_form form,
                          nc_publish_render_fn render, void *arg)
{
    size_t capacity = FIRST_ANSWER_BYTES;

    while (capacity <= NC_PUBLISH_MOST_BYTES) {
        char *text = malloc(capacity);
        size_t bytes = 0;
        int outcome;

        if (!text)
            return false;
        outcome = render(arg, form, text, capacity, &bytes);
        if (outcome == 0 && bytes <= capacity) {
            client->answer = text;
            client->answer_bytes = bytes;
            return true;
        }
        free(text);
        if (outcome != NEARCACHE_ETOOBIG)
            return false;
        capacity = bytes >= capacity ? bytes + bytes / 8 + 1 : 2 * capacity;
    }
    return false;
}

static bool answer_text(struct client *client, const char *text)
{
    client->answer = strdup(text);
    client->answer_bytes = strlen(text);
    return client->answer != NULL;
}

/* A complete line stands in client->request, without its end. */
static bool answer_request(struct client *client, nc_publish_render_fn render, void *arg)
{
    if (strcmp(client->request, "stats") == 0)
        return render_answer(client, NC_PUBLISH_JSON, render, arg);
    if (strcmp(client->request, "metrics") == 0)
        return render_answer(client, NC_PUBLISH_PROMETHEUS, render, arg);
    return answer_text(client, "error: the requests are stats and metrics\n");
}

/* True once the request is complete and answered in memory; drops the client if it misbehaves. */
static bool read_request(struct client *client, nc_publish_render_fn render, void *arg)
{
    ssize_t got = recv(client->fd, client->request + client->request_bytes,
                       sizeof client->request - client->request_bytes, 0);
    char *end;

    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (got <= 0) {
        drop(client);
        return false;
    }
    client->request_bytes += (size_t)got;
    end = memchr(client->request, '\n', client->request_bytes);
    if (!end) {
        if (client->request_bytes == sizeof client->request)
            drop(client);
        return false;
    }
    if (end > client->request && end[-1] == '\r')
        end--;
    *end = '\0';
    if (!answer_request(client, render, arg)) {
        drop(client);
        return false;
    }
    return true;
}

static void send_answer(struct nc_publish *publish, struct client *client)
{
    while (client->sent_bytes < client->answer_bytes) {
        ssize_t sent = send(client->fd, client->answer + client->sent_bytes,
                            client->answer_bytes - client->sent_bytes, MSG_NOSIGNAL);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno == EAGAIN) {
            if (watch(publish, EPOLL_CTL_MOD, client->fd, EPOLLOUT, client))
                drop(client);
            return;
        }
        if (sent < 0)
            break;
        client->sent_bytes += (size_t)sent;
    }
    drop(client);
}

static void drop_overdue(struct nc_publish *publish, uint64_t now_ns)
{
    for (size_t i = 0; i < NC_PUBLISH_CLIENTS; i++) {
        struct client *client = &publish->clients[i];

        if (client->fd >= 0 && now_ns - client->since_ns > NC_PUBLISH_CLIENT_NS)
            drop(client);
    }
}

void nc_publish_serve(struct nc_publish *publish, uint64_t now_ns, nc_publish_render_fn render,
                      void *arg)
{
    struct epoll_event events[NC_PUBLISH_CLIENTS + 1];
    bool pending = false;
    int count;

    drop_overdue(publish, now_ns);
    if (publish->deaf_ns && now_ns - publish->deaf_ns > NC_PUBLISH_CLIENT_NS &&
        watch(publish, EPOLL_CTL_MOD, publish->listen_fd, EPOLLIN, NULL) == 0)
        publish->deaf_ns = 0;
    count = epoll_wait(publish->epoll_fd, events, NC_PUBLISH_CLIENTS + 1, 0);
    for (int i = 0; i < count; i++) {
        struct client *client = events[i].data.ptr;

        if (!client) {
            pending = true;
            continue;
        }
        if (!client->answer && !read_request(client, render, arg))
            continue;
        send_answer(publish, client);
    }
    /* Last, because taking a client may reuse a slot that an event above still points to. */
    if (pending)
        accept_pending(publish, now_ns);
}
