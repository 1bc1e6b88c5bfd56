#include "cli/raw.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>

struct cli_reply cli_raw_ask(redisContext *context, const char *format, ...)
{
    struct cli_reply answer;
    va_list arguments;

    va_start(arguments, format);
    answer.reply = redisvCommand(context, format, arguments);
    va_end(arguments);
    answer.error = NULL;
    if (!answer.reply)
        answer.error = context->errstr[0] ? context->errstr : "no answer";
    else if (answer.reply->type == REDIS_REPLY_ERROR)
        answer.error = answer.reply->str;
    return answer;
}

void cli_reply_free(struct cli_reply *reply)
{
    if (reply->reply)
        freeReplyObject(reply->reply);
    reply->reply = NULL;
}

/* True: the answer was fine; else `problem` is filled. */
static bool accepted(struct cli_reply answer, const char *doing, char *problem)
{
    bool fine = !answer.error;

    if (!fine)
        snprintf(problem, CLI_RAW_PROBLEM_BYTES, "%s: %.200s", doing, answer.error);
    cli_reply_free(&answer);
    return fine;
}

static bool authenticate(redisContext *context, const struct cli_target *target, char *problem)
{
    if (!target->password)
        return true;
    if (target->username)
        return accepted(cli_raw_ask(context, "AUTH %s %s", target->username, target->password),
                        "AUTH", problem);
    return accepted(cli_raw_ask(context, "AUTH %s", target->password), "AUTH", problem);
}

static enum cli_raw_result prepare(redisContext *context, const struct cli_target *target,
                                   char *problem)
{
    if (!authenticate(context, target, problem) ||
        (target->database &&
         !accepted(cli_raw_ask(context, "SELECT %u", target->database), "SELECT", problem)) ||
        !accepted(cli_raw_ask(context, "PING"), "PING", problem))
        return context->err ? CLI_RAW_UNREACHABLE : CLI_RAW_REFUSED;
    return CLI_RAW_FINE;
}

enum cli_raw_result cli_raw_open(const struct cli_target *target, redisContext **out,
                                 char problem[CLI_RAW_PROBLEM_BYTES])
{
    const struct timeval timeout = {.tv_sec = CLI_RAW_TIMEOUT_S};
    enum cli_raw_result result = CLI_RAW_UNREACHABLE;
    redisContext *context;

    if (target->tls) {
        snprintf(problem, CLI_RAW_PROBLEM_BYTES, "TLS: no plain connection is made");
        return CLI_RAW_TLS;
    }
    context = target->unix_path ? redisConnectUnixWithTimeout(target->unix_path, timeout)
                                : redisConnectWithTimeout(target->host, (int)target->port, timeout);
    if (!context || context->err) {
        snprintf(problem, CLI_RAW_PROBLEM_BYTES, "%s", context ? context->errstr : "no memory");
    } else {
        redisSetTimeout(context, timeout);
        result = prepare(context, target, problem);
    }
    if (result == CLI_RAW_FINE)
        *out = context;
    else if (context)
        redisFree(context);
    return result;
}

bool cli_raw_info(const char *info, const char *name, char *value, size_t capacity)
{
    size_t name_bytes = strlen(name);

    for (const char *line = info; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, name_bytes) == 0 && line[name_bytes] == ':') {
            size_t bytes = strcspn(line + name_bytes + 1, "\r\n");

            if (bytes >= capacity)
                return false;
            memcpy(value, line + name_bytes + 1, bytes);
            value[bytes] = '\0';
            return true;
        }
    }
    return false;
}
