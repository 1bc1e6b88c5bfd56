/* cli/cmd_check: is everything right with this Redis for the cache? */
#include "cli/check.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* In this order; one that cannot be asked because an earlier one failed says so by itself. */
static void (*const checks[])(struct cli_check *check) = {
    cli_check_connection, cli_check_version, cli_check_role,     cli_check_memory,
    cli_check_rights,     cli_check_ping,    cli_check_link,     cli_check_set_get,
    cli_check_ttl,        cli_check_json,    cli_check_pipeline, cli_check_pubsub,
    cli_check_tracking,   cli_check_latency,
};

static const char *const verdicts[CLI_VERDICTS] = {"OK", "WARN", "FAIL", "SKIP"};

void cli_check_report(struct cli_check *check, const char *name, enum cli_verdict verdict,
                      const char *advice, const char *format, ...)
{
    char detail[512];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(detail, sizeof detail, format, arguments);
    va_end(arguments);
    check->counts[verdict]++;
    if (check->text) {
        printf("%-4s  %-12s  %s\n", verdicts[verdict], name, detail);
        if (advice)
            printf("%22s-> %s\n", "", advice);
        fflush(stdout);
    }
    cli_json_begin_object(&check->json, NULL);
    cli_json_text(&check->json, "name", name);
    cli_json_text(&check->json, "verdict", verdicts[verdict]);
    cli_json_text(&check->json, "detail", detail);
    if (advice)
        cli_json_text(&check->json, "advice", advice);
    cli_json_end_object(&check->json);
}

void cli_check_name(const struct cli_check *check, const char *what, char *name)
{
    snprintf(name, CLI_CHECK_KEY_BYTES, "%s%s", check->name, what);
}

void cli_check_key(const struct cli_check *check, const char *what, char *key)
{
    snprintf(key, CLI_CHECK_KEY_BYTES, "%.255s%s%s", check->prefix, check->name, what);
}

/*
 * Keeps the line that says why a link is down; those that only name its states say nothing new.
 * The threads of the caches call it.
 */
static void note_log(void *arg, enum nearcache_log_level level, const char *line)
{
    struct cli_check *check = arg;

    (void)level;
    pthread_mutex_lock(&check->log_lock);
    if (strstr(line, ": "))
        snprintf(check->log_line, sizeof check->log_line, "%s", line);
    pthread_mutex_unlock(&check->log_lock);
}

/* Deletes what the checks wrote; what cannot be deleted expires within a minute. */
static void clean_up(struct cli_check *check)
{
    static const char *const whats[] = {"value", "ttl", "json", "pubsub", "latency"};
    char name[CLI_CHECK_KEY_BYTES];

    for (size_t i = 0; check->first_tier && i < sizeof whats / sizeof whats[0]; i++) {
        cli_check_name(check, whats[i], name);
        nearcache_delete(check->first_tier, name, strlen(name), NULL);
    }
    nearcache_close(check->first, 0);
    nearcache_close(check->second, 0);
    if (check->raw)
        redisFree(check->raw);
}

static int run_checks(struct cli_check *check)
{
    cli_json_begin_object(&check->json, NULL);
    cli_json_text(&check->json, "redis", check->target.label);
    cli_json_begin_array(&check->json, "checks");
    for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++) {
        if (cli_interrupted())
            break;
        checks[i](check);
        /* Without a server, or one that lets nobody in, nothing else can be asked. */
        if (check->counts[CLI_CHECK_FAIL] && i == 0)
            break;
    }
    clean_up(check);
    cli_json_end_array(&check->json);
    cli_json_number(&check->json, "ok", check->counts[CLI_CHECK_OK]);
    cli_json_number(&check->json, "warn", check->counts[CLI_CHECK_WARN]);
    cli_json_number(&check->json, "fail", check->counts[CLI_CHECK_FAIL]);
    cli_json_number(&check->json, "skip", check->counts[CLI_CHECK_SKIP]);
    cli_json_end_object(&check->json);
    if (check->text)
        printf("\n%u fine, %u warnings, %u wrong, %u skipped\n", check->counts[CLI_CHECK_OK],
               check->counts[CLI_CHECK_WARN], check->counts[CLI_CHECK_FAIL],
               check->counts[CLI_CHECK_SKIP]);
    if (cli_interrupted())
        return CLI_INTERRUPTED;
    if (check->unreachable)
        return CLI_UNREACHABLE;
    return check->counts[CLI_CHECK_FAIL] ? CLI_WRONG : CLI_FINE;
}

static int run(const struct cli_command *command, int argc, char **argv)
{
    struct cli_redis_options redis = {.url = NULL};
    const char *prefix = "nearcache-check:";
    bool json = false;
    const struct cli_option options[] = {
        CLI_REDIS_OPTIONS(&redis),
        {"prefix", CLI_TEXT, "P",
         "of the keys that are written; default nearcache-check:. Give that of a tier where the "
         "user may touch no others",
         &prefix, 0, 0, NULL},
        {"json", CLI_FLAG, NULL, "the report as one JSON object", &json, 0, 0, NULL},
    };
    struct cli_settings settings;
    struct cli_check check = {
        .command = command, .settings = &settings, .log_lock = PTHREAD_MUTEX_INITIALIZER};
    int outcome = cli_options_parse(command, options, sizeof options / sizeof options[0], argc,
                                    argv, 0, 0, NULL);

    if (outcome != CLI_GO_ON)
        return outcome;
    if (strlen(prefix) > 255) {
        cli_error(command, "--prefix is longer than 255 bytes");
        return CLI_USAGE;
    }
    outcome = cli_settings_init(&settings, command, &redis);
    if (outcome == CLI_GO_ON) {
        if (!settings.has_redis)
            cli_settings_default_redis(&settings);
        if (!cli_target_init(&check.target, &settings.redis)) {
            cli_error(command, "the URL of Redis does not parse");
            outcome = CLI_USAGE;
        }
    }
    if (outcome == CLI_GO_ON) {
        settings.config.log = note_log;
        settings.config.log_arg = &check;
        settings.config.log_level = NEARCACHE_LOG_WARNING;
        check.prefix = prefix;
        check.name_space = settings.config.name_space ? settings.config.name_space : "nc";
        check.text = !json;
        snprintf(check.name, sizeof check.name, "check-%ld-%ld-", (long)getpid(), (long)time(NULL));
        cli_json_init(&check.json, json ? stdout : NULL);
        outcome = run_checks(&check);
    }
    cli_target_deinit(&check.target);
    cli_settings_deinit(&settings);
    return outcome;
}

const struct cli_command cli_cmd_check = {
    "check", "", "Check a Redis: connection, rights, values, messages, latency",
    "Writes a few keys that expire within a minute, and deletes them. Exit status 0 when nothing\n"
    "is wrong (warnings apart), 1 when something is, 3 when Redis is not reachable.\n",
    run};
