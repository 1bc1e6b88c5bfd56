/* cli/cmd_stats: what a process that embeds the library publishes on its metrics socket. */
#include "cli/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define MOST_ANSWER_BYTES ((size_t)16 << 20)
#define PATIENCE_S 5

/* ---- the socket ------------------------------------------------------------------------------ */

static int connect_to(const struct cli_command *command, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const struct timeval patience = {.tv_sec = PATIENCE_S};
    int fd;

    if (strlen(path) >= sizeof address.sun_path) {
        cli_error(command, "%s: the path of a socket has at most %zu bytes", path,
                  sizeof address.sun_path - 1);
        return -1;
    }
    memcpy(address.sun_path, path, strlen(path));
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        cli_error(command, "%s", strerror(errno));
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(fd, (struct sockaddr *)&address, sizeof address)) {
        cli_error(command, "%s: %s%s", path, strerror(errno),
                  errno == ECONNREFUSED ? " (the process that made it has ended)" : "");
        close(fd);
        return -1;
    }
    return fd;
}

/* The whole answer, zero terminated; NULL after a complaint. The caller frees it. */
static char *read_answer(const struct cli_command *command, int fd, const char *path)
{
    size_t capacity = 65536, bytes = 0;
    char *text = malloc(capacity), *larger;
    ssize_t got = 1;

    while (text && got > 0 && bytes < MOST_ANSWER_BYTES) {
        if (bytes + 1 == capacity) {
            larger = realloc(text, capacity *= 2);
            if (!larger)
                break;
            text = larger;
        }
        got = recv(fd, text + bytes, capacity - bytes - 1, 0);
        bytes += got > 0 ? (size_t)got : 0;
    }
    if (text && got == 0 && bytes) {
        text[bytes] = '\0';
        return text;
    }
    cli_error(command, "%s: %s", path,
              got == 0                     ? "no answer: is that a nearcache metrics socket?"
              : got < 0 && errno == EAGAIN ? "no answer in time"
              : got < 0                    ? strerror(errno)
                                           : "the answer is too large");
    free(text);
    return NULL;
}

static char *ask(const struct cli_command *command, const char *path, const char *request)
{
    int fd = connect_to(command, path);
    char *text = NULL;

    if (fd < 0)
        return NULL;
    if (send(fd, request, strlen(request), MSG_NOSIGNAL) == (ssize_t)strlen(request))
        text = read_answer(command, fd, path);
    else
        cli_error(command, "%s: %s", path, strerror(errno));
    close(fd);
    if (text && strncmp(text, "error:", 6) == 0) {
        cli_error(command, "%s: %s", path, text);
        free(text);
        return NULL;
    }
    return text;
}

/* ---- text ------------------------------------------------------------------------------------ */

/*
 * Prints the members of a JSON text as lines "a.b  value". The answer comes from another process:
 * anything odd in it is printed as it stands, and nothing is trusted but the final zero.
 */
struct flattener {
    char path[256];
    size_t length[16]; /* of the path, per level */
    unsigned depth;
};

static const char *skip_string(const char *at)
{
    for (at++; *at && *at != '"'; at++)
        if (*at == '\\' && at[1])
            at++;
    return *at ? at + 1 : at;
}

static void push_name(struct flattener *flat, const char *name, size_t bytes)
{
    size_t length = flat->length[flat->depth];

    if (length + 2 >= sizeof flat->path)
        return;
    if (bytes + length + 2 > sizeof flat->path)
        bytes = sizeof flat->path - length - 2;
    if (length)
        flat->path[length++] = '.';
    memcpy(flat->path + length, name, bytes);
    flat->path[length + bytes] = '\0';
}

static const char *print_member(struct flattener *flat, const char *at)
{
    const char *end = *at == '"' ? skip_string(at) : at + strcspn(at, ",}] \t\r\n");

    printf("%-34s %.*s\n", flat->path, (int)(end - at), at);
    return end;
}

static void print_flat(const char *text)
{
    struct flattener flat = {.depth = 0};
    const char *at = text;

    while (*at) {
        if (*at == '"') {
            const char *end = skip_string(at);
            const char *colon = end + strspn(end, " \t\r\n");

            if (*colon != ':') {
                at = print_member(&flat, at);
                continue;
            }
            push_name(&flat, at + 1, (size_t)(end - at) - 2);
            at = colon + 1;
        } else if (*at == '{' || *at == '[') {
            if (flat.depth + 1 < sizeof flat.length / sizeof flat.length[0])
                flat.depth++;
            flat.length[flat.depth] = strlen(flat.path);
            at++;
        } else if (*at == '}' || *at == ']') {
            flat.depth -= flat.depth > 0;
            flat.path[flat.length[flat.depth]] = '\0';
            at++;
        } else if (strchr(", \t\r\n", *at)) {
            at++;
        } else {
            at = print_member(&flat, at);
        }
    }
}

/* ---- commands -------------------------------------------------------------------------------- */

static int require_socket(const struct cli_command *command, const char *path)
{
    if (path)
        return CLI_GO_ON;
    cli_error(command, "--socket PATH is missing: where the process publishes its metrics");
    return CLI_USAGE;
}

static int run_stats(const struct cli_command *command, int argc, char **argv)
{
    const char *path = NULL;
    bool json = false;
    const struct cli_option options[] = {
        {"socket", CLI_TEXT, "PATH", "the metrics socket of the process", &path, 0, 0, NULL},
        {"json", CLI_FLAG, NULL, "the answer as it stands: one JSON object", &json, 0, 0, NULL},
    };
    int outcome = cli_options_parse(command, options, 2, argc, argv, 0, 0, NULL);
    char *text;

    if (outcome == CLI_GO_ON)
        outcome = require_socket(command, path);
    if (outcome != CLI_GO_ON)
        return outcome;
    text = ask(command, path, "stats\n");
    if (!text)
        return CLI_WRONG;
    if (json)
        printf("%s%s", text, text[strlen(text) - 1] == '\n' ? "" : "\n");
    else
        print_flat(text);
    free(text);
    return CLI_FINE;
}

static int run_metrics(const struct cli_command *command, int argc, char **argv)
{
    const char *path = NULL;
    const struct cli_option options[] = {
        {"socket", CLI_TEXT, "PATH", "the metrics socket of the process", &path, 0, 0, NULL},
    };
    int outcome = cli_options_parse(command, options, 1, argc, argv, 0, 0, NULL);
    char *text;

    if (outcome == CLI_GO_ON)
        outcome = require_socket(command, path);
    if (outcome != CLI_GO_ON)
        return outcome;
    text = ask(command, path, "metrics\n");
    if (!text)
        return CLI_WRONG;
    fputs(text, stdout);
    free(text);
    return CLI_FINE;
}

const struct cli_command cli_cmd_stats = {
    "stats", "", "Show the counters of a process that embeds the library",
    "The process publishes them when its configuration names a metrics_socket.\n", run_stats};

const struct cli_command cli_cmd_metrics = {
    "metrics", "", "Print the metrics of a process as Prometheus text",
    "The process publishes them when its configuration names a metrics_socket.\n", run_metrics};
