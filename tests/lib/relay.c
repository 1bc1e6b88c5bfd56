#include "lib/relay.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

bool relay_put(int to, const char *bytes, size_t count)
{
    return send(to, bytes, count, MSG_NOSIGNAL) == (ssize_t)count;
}

bool relay_pass(int from, int to, size_t most)
{
    char bytes[4096];
    ssize_t n = recv(from, bytes, most < sizeof bytes ? most : sizeof bytes, 0);
    return n > 0 && relay_put(to, bytes, (size_t)n);
}

static int unix_socket(struct sockaddr_un *at, const char *path)
{
    *at = (struct sockaddr_un){.sun_family = AF_UNIX};
    cr_assert_lt(snprintf(at->sun_path, sizeof at->sun_path, "%s", path), (int)sizeof at->sun_path);
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static void take_client(struct relay *relay)
{
    struct sockaddr_un at;
    struct relay_pair *pair = &relay->pairs[relay->count];
    cr_assert_lt(relay->count++, RELAY_PAIRS);
    *pair = (struct relay_pair){.client = accept(relay->listener, NULL, NULL)};
    pair->server = unix_socket(&at, relay->server_path);
    if (connect(pair->server, (struct sockaddr *)&at, sizeof at) != 0)
        shutdown(pair->server, SHUT_RDWR);
}

static bool pass_request(const struct relay *relay, struct relay_pair *pair)
{
    return relay->on_request ? relay->on_request(pair)
                             : relay_pass(pair->client, pair->server, SIZE_MAX);
}

static bool pass_reply(const struct relay *relay, struct relay_pair *pair)
{
    return relay->on_reply ? relay->on_reply(pair)
                           : relay_pass(pair->server, pair->client, SIZE_MAX);
}

static void end_pair(struct relay_pair *pair)
{
    if (pair->client < 0)
        return;
    close(pair->client);
    close(pair->server);
    pair->client = pair->server = -1;
}

static void *run_relay(void *arg)
{
    struct relay *relay = arg;
    while (!atomic_load(&relay->stop)) {
        struct pollfd fds[2 * RELAY_PAIRS + 1] = {{relay->listener, POLLIN, 0}};
        unsigned count = relay->count;
        for (unsigned i = 0; i < count; i++) {
            const struct relay_pair *pair = &relay->pairs[i];
            bool mute = relay->is_mute && relay->is_mute(pair);
            fds[1 + 2 * i] = (struct pollfd){pair->client, POLLIN, 0};
            fds[2 + 2 * i] = (struct pollfd){mute ? -1 : pair->server, POLLIN, 0};
        }
        if (relay->on_tick)
            relay->on_tick();
        if (poll(fds, 1 + 2 * count, RELAY_TICK_MS) <= 0)
            continue;
        for (unsigned i = 0; i < count; i++) {
            struct relay_pair *pair = &relay->pairs[i];
            if ((fds[1 + 2 * i].revents && !pass_request(relay, pair)) ||
                (fds[2 + 2 * i].revents && !pass_reply(relay, pair)))
                end_pair(pair);
        }
        if (fds[0].revents)
            take_client(relay);
    }
    return NULL;
}

void relay_start(struct relay *relay, const struct redis_server *server)
{
    struct sockaddr_un at;
    relay->server_path = server->socket_path;
    relay->count = 0;
    cr_assert_lt(snprintf(relay->path, sizeof relay->path, "%s/relay", server->directory),
                 (int)sizeof relay->path);
    snprintf(relay->url, sizeof relay->url, "unix://%s", relay->path);
    relay->listener = unix_socket(&at, relay->path);
    cr_assert_eq(bind(relay->listener, (struct sockaddr *)&at, sizeof at), 0);
    cr_assert_eq(listen(relay->listener, RELAY_PAIRS), 0);
    atomic_store(&relay->stop, false);
    cr_assert_eq(pthread_create(&relay->thread, NULL, run_relay, relay), 0);
}

void relay_stop(struct relay *relay)
{
    atomic_store(&relay->stop, true);
    pthread_join(relay->thread, NULL);
    for (unsigned i = 0; i < relay->count; i++)
        end_pair(&relay->pairs[i]);
    close(relay->listener);
}
