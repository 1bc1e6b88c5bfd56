/*
 * cli/cmd_shell: reads, writes and deletes by lines of text, so that a program can drive a cache.
 *
 *     get KEY                      ->  VAL v | STALE v | STALE NIL | NIL | ERR why
 *     set KEY VALUE TTL_MS         ->  OK | LOCAL | ERR why
 *     del KEY                      ->  OK | LOCAL | ERR why
 *     mget KEY...                  ->  MANY, then what get answers for each, a tab before it
 *     mset TTL_MS KEY VALUE...     ->  MANY, then what set answers for each, a tab before it
 *     stats                        ->  STATS k=v k=v ...
 *
 * One command a line, exactly one line back, flushed. KEY is the full Redis key. The keys of one
 * mget or mset are one batch, so they are of one tier.
 */
#include "cli/options.h"
#include "cli/settings.h"

#include <nearcache/metrics.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_KEYS 64
#define MOST_WORDS (2 + 2 * MOST_KEYS)

/* One thread. */
struct shell {
    struct nearcache *cache;
    struct nearcache_tier *plain;    /* keys without the prefix */
    struct nearcache_tier *prefixed; /* NULL without --prefix */
    const char *prefix;
};

struct shell_options {
    struct cli_redis_options redis;
    const char *prefix;
    const char *metrics_socket;
    uint64_t op_timeout_ms;
    int coherence; /* as in enum nearcache_coherence */
    int off_link;  /* as in enum nearcache_off_link */
    uint64_t max_stale_ms;
    uint64_t journal_bytes;
    uint64_t lease_ms;
    uint64_t heartbeat_ms;
};

/* ---- answers --------------------------------------------------------------------------------- */

/* Without the end of the line. */
static void put_error(int outcome)
{
    printf("ERR %s", outcome == NEARCACHE_EOFFLINK ? "off-link" : nearcache_strerror(outcome));
}

static void put_write(int outcome)
{
    if (outcome == NEARCACHE_OK)
        fputs("OK", stdout);
    else if (outcome == NEARCACHE_LOCAL)
        fputs("LOCAL", stdout);
    else
        put_error(outcome);
}

/* A value with a line break would be two lines. */
static void put_value(const struct nearcache_result *result)
{
    if (result->bytes && memchr(result->data, '\n', result->bytes)) {
        fputs("ERR the value has a line break", stdout);
        return;
    }
    fputs(result->source == NEARCACHE_SOURCE_STALE ? "STALE " : "VAL ", stdout);
    fwrite(result->data, 1, result->bytes, stdout);
}

static void put_read(int outcome, struct nearcache_result *result)
{
    if (outcome == NEARCACHE_OK) {
        put_value(result);
        nearcache_release(result);
    } else if (outcome == NEARCACHE_MISS) {
        fputs(result->source == NEARCACHE_SOURCE_STALE ? "STALE NIL" : "NIL", stdout);
    } else {
        put_error(outcome);
    }
}

static void answer_stats(struct shell *shell)
{
    struct nearcache_metrics m = NEARCACHE_METRICS_INIT;
    int outcome = nearcache_metrics(shell->cache, &m);

    if (outcome) {
        put_error(outcome);
        return;
    }
    printf("STATS link=%s", nearcache_link_name((enum nearcache_link)m.link_state));
#define SHOW(field) printf(" " #field "=%" PRIu64, m.field)
    SHOW(hits_local);
    SHOW(hits_remote);
    SHOW(hits_loaded);
    SHOW(hits_stale);
    SHOW(hits_negative);
    SHOW(misses);
    SHOW(read_errors);
    SHOW(writes);
    SHOW(writes_local);
    SHOW(write_errors);
    SHOW(deletes);
    SHOW(removed_expired);
    SHOW(removed_evicted);
    SHOW(removed_replaced);
    SHOW(removed_invalidated);
    SHOW(removed_cleared);
    SHOW(entries);
    SHOW(bytes_used);
    SHOW(bytes_budget);
    SHOW(bytes_journal);
    SHOW(pinned);
    SHOW(invalidations);
    SHOW(race_discards);
    SHOW(gaps);
    SHOW(repairs);
    SHOW(epochs);
    SHOW(heartbeat_age_ms);
    SHOW(staleness_max_us);
    SHOW(journal_queued);
    SHOW(journal_replayed);
    SHOW(journal_refused);
    SHOW(journal_dropped);
    SHOW(journal_full);
    SHOW(flights);
    SHOW(flight_waits);
    SHOW(redis_commands);
    SHOW(redis_batches);
    SHOW(redis_errors);
    SHOW(redis_timeouts);
    SHOW(redis_connects);
    SHOW(breaker_opens);
    SHOW(breaker_open);
#undef SHOW
}

/* ---- commands -------------------------------------------------------------------------------- */

/* The tier that a key is in, and its name there. */
static struct nearcache_tier *tier_of(const struct shell *shell, const char *key, const char **name)
{
    size_t bytes = shell->prefixed ? strlen(shell->prefix) : 0;

    if (!shell->prefixed || strncmp(key, shell->prefix, bytes) != 0)
        bytes = 0;
    *name = key + bytes;
    return bytes ? shell->prefixed : shell->plain;
}

static void run_get(struct shell *shell, const char *key)
{
    struct nearcache_result result = {.data = NULL};
    const char *name;
    struct nearcache_tier *tier = tier_of(shell, key, &name);

    put_read(nearcache_get(tier, name, strlen(name), NULL, &result), &result);
}

static void run_set(struct shell *shell, const char *key, const char *value, const char *ttl)
{
    struct nearcache_write how = NEARCACHE_WRITE_INIT;
    const char *name;
    struct nearcache_tier *tier = tier_of(shell, key, &name);

    if (!cli_parse_number(ttl, &how.ttl_ms)) {
        fputs("ERR TTL_MS must be a number", stdout);
        return;
    }
    if (how.ttl_ms == 0)
        how.ttl_ms = NEARCACHE_NONE;
    put_write(nearcache_set(tier, name, strlen(name), value, strlen(value), &how));
}

static void run_del(struct shell *shell, const char *key)
{
    const char *name;
    struct nearcache_tier *tier = tier_of(shell, key, &name);

    put_write(nearcache_delete(tier, name, strlen(name), NULL));
}

/* Every step-th word is a key; the one tier that they are all in, or NULL. */
static struct nearcache_tier *tier_of_all(const struct shell *shell, char *const *words,
                                          size_t count, size_t step, struct nearcache_name *names)
{
    struct nearcache_tier *tier = NULL;

    for (size_t i = 0; i < count; i++) {
        const char *name;
        struct nearcache_tier *own = tier_of(shell, words[i * step], &name);
        if (tier && own != tier) {
            fputs("ERR the keys are of two tiers", stdout);
            return NULL;
        }
        tier = own;
        names[i] = (struct nearcache_name){name, strlen(name)};
    }
    return tier;
}

static void run_mget(struct shell *shell, char *const *words, size_t count)
{
    struct nearcache_result results[MOST_KEYS];
    struct nearcache_name names[MOST_KEYS];
    int statuses[MOST_KEYS];
    struct nearcache_tier *tier = tier_of_all(shell, words, count, 1, names);

    if (!tier)
        return;
    memset(results, 0, sizeof results);
    (void)nearcache_get_many(tier, names, count, NULL, results, statuses);
    fputs("MANY", stdout);
    for (size_t i = 0; i < count; i++) {
        putchar('\t');
        put_read(statuses[i], &results[i]);
    }
}

static void run_mset(struct shell *shell, const char *ttl, char *const *words, size_t count)
{
    struct nearcache_write how = NEARCACHE_WRITE_INIT;
    struct nearcache_item items[MOST_KEYS];
    struct nearcache_name names[MOST_KEYS];
    int statuses[MOST_KEYS];
    struct nearcache_tier *tier = tier_of_all(shell, words, count, 2, names);

    if (!tier)
        return;
    if (!cli_parse_number(ttl, &how.ttl_ms)) {
        fputs("ERR TTL_MS must be a number", stdout);
        return;
    }
    if (how.ttl_ms == 0)
        how.ttl_ms = NEARCACHE_NONE;
    for (size_t i = 0; i < count; i++)
        items[i] = (struct nearcache_item){names[i], words[2 * i + 1], strlen(words[2 * i + 1]), 0};
    (void)nearcache_set_many(tier, items, count, &how, statuses);
    fputs("MANY", stdout);
    for (size_t i = 0; i < count; i++) {
        putchar('\t');
        put_write(statuses[i]);
    }
}

static size_t split_words(char *line, char *words[MOST_WORDS])
{
    size_t count = 0;
    char *state = NULL;

    for (char *word = strtok_r(line, " \t\r\n", &state); word;
         word = strtok_r(NULL, " \t\r\n", &state)) {
        if (count == MOST_WORDS)
            return 0;
        words[count++] = word;
    }
    return count;
}

static void run_line(struct shell *shell, char *line)
{
    char *words[MOST_WORDS];
    size_t count = split_words(line, words);

    if (count == 2 && strcmp(words[0], "get") == 0)
        run_get(shell, words[1]);
    else if (count == 4 && strcmp(words[0], "set") == 0)
        run_set(shell, words[1], words[2], words[3]);
    else if (count == 2 && strcmp(words[0], "del") == 0)
        run_del(shell, words[1]);
    else if (count >= 2 && count <= 1 + MOST_KEYS && strcmp(words[0], "mget") == 0)
        run_mget(shell, words + 1, count - 1);
    else if (count >= 4 && count % 2 == 0 && strcmp(words[0], "mset") == 0)
        run_mset(shell, words[1], words + 2, (count - 2) / 2);
    else if (count == 1 && strcmp(words[0], "stats") == 0)
        answer_stats(shell);
    else
        fputs("ERR the commands are: get KEY, set KEY VALUE TTL_MS, del KEY, mget KEY..., "
              "mset TTL_MS KEY VALUE..., stats",
              stdout);
    putchar('\n');
}

static int run_lines(struct shell *shell)
{
    char *line = NULL;
    size_t capacity = 0;
    ssize_t bytes;

    while (!cli_interrupted() && (bytes = getline(&line, &capacity, stdin)) > 0) {
        if (strlen(line) != (size_t)bytes)
            puts("ERR the line has a zero byte");
        else
            run_line(shell, line);
        if (fflush(stdout))
            break;
    }
    free(line);
    return cli_interrupted() ? CLI_INTERRUPTED : CLI_FINE;
}

/* ---- start ----------------------------------------------------------------------------------- */

/* Each set says its TTL, so keys may expire: the tier has one, for reads to ask what is left. */
static void fill_tier(struct nearcache_tier_config *tier, const struct shell_options *options)
{
    *tier = (struct nearcache_tier_config)NEARCACHE_TIER_INIT;
    tier->off_link = (enum nearcache_off_link)options->off_link;
    tier->coherence = (enum nearcache_coherence)options->coherence;
    tier->max_stale_ms = options->max_stale_ms;
}

static int open_tiers(struct shell *shell, const struct shell_options *options)
{
    struct nearcache_tier_config tier;
    int outcome;

    fill_tier(&tier, options);
    tier.name = "default";
    /* Tracking needs a prefix: keys without one are kept coherent by messages. */
    if (tier.coherence == NEARCACHE_COHERENCE_TRACKING)
        tier.coherence = NEARCACHE_COHERENCE_PUBSUB;
    outcome = nearcache_tier_open(shell->cache, &tier, &shell->plain);
    if (outcome || !options->prefix)
        return outcome;
    fill_tier(&tier, options);
    tier.name = "prefixed";
    tier.prefix = shell->prefix = options->prefix;
    return nearcache_tier_open(shell->cache, &tier, &shell->prefixed);
}

/* Zero means none on the command line, and the default in a config. */
static void set_unless_default(uint64_t *field, uint64_t value)
{
    if (value != UINT64_MAX)
        *field = value ? value : NEARCACHE_NONE;
}

static int run_shell(const struct cli_command *command, struct cli_settings *settings,
                     struct shell_options *options)
{
    struct shell shell = {.cache = NULL};
    int outcome;

    set_unless_default(&settings->config.journal_bytes, options->journal_bytes);
    if (options->op_timeout_ms)
        settings->config.deadline_us = options->op_timeout_ms * 1000;
    if (options->lease_ms)
        settings->config.lease_ms = options->lease_ms;
    if (options->heartbeat_ms)
        settings->config.heartbeat_ms = options->heartbeat_ms;
    settings->config.metrics_socket = options->metrics_socket;
    outcome = cli_settings_open(settings, command, &shell.cache);
    if (outcome != CLI_GO_ON)
        return outcome;
    outcome = open_tiers(&shell, options);
    if (outcome) {
        cli_error(command, "cannot open the tier: %s", nearcache_strerror(outcome));
        outcome = CLI_USAGE;
    } else {
        outcome = run_lines(&shell);
    }
    nearcache_close(shell.cache, 0);
    return outcome;
}

static int run(const struct cli_command *command, int argc, char **argv)
{
    static const char *const coherences[] = {"pubsub", "tracking", "none", NULL};
    static const char *const off_links[] = {"miss", "stale", NULL};
    struct shell_options at = {.journal_bytes = UINT64_MAX};
    const struct cli_option options[] = {
        CLI_REDIS_OPTIONS(&at.redis),
        {"prefix", CLI_TEXT, "P", "keys that begin with P are in a tier of their own", &at.prefix,
         0, 0, NULL},
        {"op-timeout", CLI_NUMBER, "MS", "deadline of each command; default 100", &at.op_timeout_ms,
         1, 86400000, NULL},
        {"coherence", CLI_CHOICE, "MODE",
         "pubsub (default), tracking (needs --prefix and serves those keys) or none", &at.coherence,
         0, 0, coherences},
        {"off-link", CLI_CHOICE, "POLICY", "while Redis is away: miss (default) or stale",
         &at.off_link, 0, 0, off_links},
        {"max-stale", CLI_NUMBER, "MS", "oldest STALE answer; default 600000", &at.max_stale_ms, 0,
         0, NULL},
        {"journal", CLI_BYTES, "BYTES", "memory for writes of an outage, 0: none; default 8m",
         &at.journal_bytes, 0, 0, NULL},
        {"lease", CLI_NUMBER, "MS", "how long a proof lasts; default 1000", &at.lease_ms, 1, 0,
         NULL},
        {"heartbeat", CLI_NUMBER, "MS", "default 100", &at.heartbeat_ms, 1, 0, NULL},
        {"metrics-socket", CLI_TEXT, "PATH", "publish metrics there", &at.metrics_socket, 0, 0,
         NULL},
    };
    struct cli_settings settings;
    int outcome = cli_options_parse(command, options, sizeof options / sizeof options[0], argc,
                                    argv, 0, 0, NULL);

    if (outcome != CLI_GO_ON)
        return outcome;
    if (at.coherence == NEARCACHE_COHERENCE_TRACKING && !(at.prefix && *at.prefix)) {
        cli_error(command, "--coherence tracking needs a --prefix");
        return CLI_USAGE;
    }
    if (at.prefix && !*at.prefix)
        at.prefix = NULL;
    outcome = cli_settings_init(&settings, command, &at.redis);
    if (outcome == CLI_GO_ON)
        outcome = run_shell(command, &settings, &at);
    cli_settings_deinit(&settings);
    return outcome;
}

const struct cli_command cli_cmd_shell = {
    "shell", "", "Read, write and delete keys by lines on standard input",
    "Each line gets exactly one line back:\n"
    "  get KEY                    VAL value | STALE value | STALE NIL | NIL | ERR why\n"
    "  set KEY VALUE TTL_MS       OK | LOCAL | ERR why      (TTL_MS 0: no expiry)\n"
    "  del KEY                    OK | LOCAL | ERR why\n"
    "  mget KEY...                MANY, and for each a tab and what get answers\n"
    "  mset TTL_MS KEY VALUE...   MANY, and for each a tab and what set answers\n"
    "  stats                      STATS name=value ...\n"
    "mget and mset are one batch of up to 64 keys of one tier. KEY and VALUE contain no blanks. "
    "Without a Redis the cache is local.\n",
    run};
