#include "cli/config_file.h"

#include "cli/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_FILE_BYTES 65536

enum kind { TEXT, NUMBER32, YES_NO, BYTES, MS_AS_US, MS };
enum owner { REDIS_ADDRESS, REDIS, CACHE };

struct key {
    const char *name;
    enum owner owner;
    enum kind kind;
    size_t offset;
};

#define IN_REDIS(field) offsetof(struct nearcache_redis, field)
#define IN_CACHE(field) offsetof(struct nearcache_config, field)

static const struct key keys[] = {
    {"redis", REDIS_ADDRESS, TEXT, IN_REDIS(url)},
    {"host", REDIS_ADDRESS, TEXT, IN_REDIS(host)},
    {"port", REDIS_ADDRESS, NUMBER32, IN_REDIS(port)},
    {"database", REDIS_ADDRESS, NUMBER32, IN_REDIS(database)},
    {"unix_path", REDIS_ADDRESS, TEXT, IN_REDIS(unix_path)},
    {"username", REDIS, TEXT, IN_REDIS(username)},
    {"password", REDIS, TEXT, IN_REDIS(password)},
    {"client_name", REDIS, TEXT, IN_REDIS(client_name)},
    {"connections", REDIS, NUMBER32, IN_REDIS(connections)},
    {"spin_us", REDIS, NUMBER32, IN_REDIS(spin_us)},
    {"tls", REDIS, YES_NO, IN_REDIS(tls)},
    {"tls_ca_file", REDIS, TEXT, IN_REDIS(tls_ca_file)},
    {"tls_ca_dir", REDIS, TEXT, IN_REDIS(tls_ca_dir)},
    {"tls_cert_file", REDIS, TEXT, IN_REDIS(tls_cert_file)},
    {"tls_key_file", REDIS, TEXT, IN_REDIS(tls_key_file)},
    {"tls_server_name", REDIS, TEXT, IN_REDIS(tls_server_name)},
    {"tls_insecure", REDIS, YES_NO, IN_REDIS(tls_insecure)},
    {"tls_min_version", REDIS, NUMBER32, IN_REDIS(tls_min_version)},
    {"sentinels", REDIS_ADDRESS, TEXT, IN_REDIS(sentinels)},
    {"sentinel_primary", REDIS, TEXT, IN_REDIS(sentinel_primary)},
    {"sentinel_password", REDIS, TEXT, IN_REDIS(sentinel_password)},
    {"cluster", REDIS, YES_NO, IN_REDIS(cluster)},
    {"cluster_nodes", REDIS_ADDRESS, TEXT, IN_REDIS(cluster_nodes)},
    {"cluster_partitions", REDIS, NUMBER32, IN_REDIS(cluster_partitions)},
    {"namespace", CACHE, TEXT, IN_CACHE(name_space)},
    {"budget_bytes", CACHE, BYTES, IN_CACHE(budget_bytes)},
    {"deadline_ms", CACHE, MS_AS_US, IN_CACHE(deadline_us)},
    {"heartbeat_ms", CACHE, MS, IN_CACHE(heartbeat_ms)},
    {"lease_ms", CACHE, MS, IN_CACHE(lease_ms)},
    {"journal_bytes", CACHE, BYTES, IN_CACHE(journal_bytes)},
    {"journal_entries", CACHE, BYTES, IN_CACHE(journal_entries)},
};

#define KEY_COUNT (sizeof keys / sizeof keys[0])

static char *trimmed(char *text)
{
    size_t bytes;

    text += strspn(text, " \t\r");
    bytes = strlen(text);
    while (bytes && strchr(" \t\r", text[bytes - 1]))
        bytes--;
    text[bytes] = '\0';
    return text;
}

static bool store_number(void *out, enum kind kind, const char *value)
{
    uint64_t number;

    if (!(kind == BYTES ? cli_parse_bytes : cli_parse_number)(value, &number))
        return false;
    if (kind == NUMBER32) {
        *(uint32_t *)out = (uint32_t)number;
        return number <= UINT32_MAX;
    }
    if (kind == MS_AS_US) {
        *(uint64_t *)out = number * 1000;
        return number <= UINT64_MAX / 1000;
    }
    *(uint64_t *)out = number;
    return true;
}

static bool store(const struct key *key, struct cli_config_file *file, char *value)
{
    char *base = key->owner == CACHE ? (char *)file->config : (char *)file->redis;
    void *out = base + key->offset;

    if (key->kind == TEXT) {
        *(const char **)out = value;
        return true;
    }
    if (key->kind == YES_NO) {
        *(uint32_t *)out = strcmp(value, "yes") == 0;
        return strcmp(value, "yes") == 0 || strcmp(value, "no") == 0;
    }
    return store_number(out, key->kind, value);
}

/* NULL: fine; else what is wrong with the line. */
static const char *take_line(struct cli_config_file *file, char *line, bool *given)
{
    char *equals, *name, *value;

    line = trimmed(line);
    if (*line == '\0' || *line == '#')
        return NULL;
    equals = strchr(line, '=');
    if (!equals)
        return "not of the form key = value";
    *equals = '\0';
    name = trimmed(line);
    value = trimmed(equals + 1);
    for (size_t i = 0; i < KEY_COUNT; i++) {
        if (strcmp(keys[i].name, name) != 0)
            continue;
        if (given[i])
            return "the key is given twice";
        given[i] = true;
        if (keys[i].owner == REDIS_ADDRESS)
            file->names_redis = true;
        return store(&keys[i], file, value) ? NULL : "the value does not fit the key";
    }
    return "unknown key";
}

/* The whole file, zero terminated; NULL with errno set. */
static char *read_all(const char *path)
{
    char *text = malloc(MOST_FILE_BYTES + 1);
    FILE *in = text ? fopen(path, "re") : NULL;
    size_t bytes;

    if (!in) {
        free(text);
        return NULL;
    }
    bytes = fread(text, 1, MOST_FILE_BYTES + 1, in);
    if (ferror(in) || bytes > MOST_FILE_BYTES || memchr(text, '\0', bytes)) {
        errno = ferror(in) ? errno : EFBIG;
        fclose(in);
        free(text);
        return NULL;
    }
    fclose(in);
    text[bytes] = '\0';
    return text;
}

bool cli_config_file_read(struct cli_config_file *file, const char *path,
                          char problem[CLI_CONFIG_PROBLEM_BYTES])
{
    bool given[KEY_COUNT] = {false};
    char *line, *next;
    unsigned number = 1;

    file->names_redis = false;
    file->text = read_all(path);
    if (!file->text) {
        snprintf(problem, CLI_CONFIG_PROBLEM_BYTES, "%s: %s", path,
                 errno == EFBIG ? "not a text file of a sensible size" : strerror(errno));
        return false;
    }
    for (line = file->text; line; line = next, number++) {
        const char *wrong;

        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        wrong = take_line(file, line, given);
        if (wrong) {
            /* The line itself may hold a password: only its number is told. */
            snprintf(problem, CLI_CONFIG_PROBLEM_BYTES, "%s, line %u: %s", path, number, wrong);
            free(file->text);
            file->text = NULL;
            return false;
        }
    }
    return true;
}
