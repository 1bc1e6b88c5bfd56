#include "cli/ids.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The whole file; NULL with errno set. */
static char *read_all(const char *path, size_t *bytes)
{
    size_t capacity = 1 << 20, got = 1;
    char *text = malloc(capacity), *larger;
    FILE *in = text ? fopen(path, "re") : NULL;

    *bytes = 0;
    while (in && got) {
        got = fread(text + *bytes, 1, capacity - *bytes, in);
        *bytes += got;
        if (*bytes < capacity)
            continue;
        larger = realloc(text, capacity *= 2);
        if (!larger)
            break;
        text = larger;
    }
    if (!in || got || ferror(in)) {
        if (in)
            fclose(in);
        free(text);
        return NULL;
    }
    fclose(in);
    return text;
}

static bool add_line(struct cli_ids *ids, size_t *capacity, uint64_t begin)
{
    uint64_t *larger;

    if (ids->count + 1 >= *capacity) {
        *capacity = *capacity ? 2 * *capacity : 4096;
        larger = realloc(ids->lines, *capacity * sizeof *ids->lines);
        if (!larger)
            return false;
        ids->lines = larger;
    }
    ids->lines[ids->count++] = begin;
    return true;
}

/* NULL: fine; else what is wrong with the line. */
static const char *judge(const char *line, size_t bytes)
{
    if (bytes == 0)
        return "the line is empty";
    if (bytes > NEARCACHE_MAX_KEY_BYTES)
        return "the line is too long for a key";
    if (memchr(line, '\0', bytes))
        return "the line has a zero byte";
    return NULL;
}

static bool split(struct cli_ids *ids, const char *path, size_t bytes, char *problem)
{
    size_t capacity = 0;
    uint64_t at = 0;

    while (at < bytes) {
        const char *line = ids->text + at;
        const char *end = memchr(line, '\n', bytes - at);
        size_t line_bytes = end ? (size_t)(end - line) : bytes - at;
        const char *wrong = judge(line, line_bytes);

        if (wrong) {
            snprintf(problem, CLI_IDS_PROBLEM_BYTES, "%s, line %" PRIu64 ": %s", path,
                     ids->count + 1, wrong);
            return false;
        }
        if (!add_line(ids, &capacity, at)) {
            snprintf(problem, CLI_IDS_PROBLEM_BYTES, "%s: %s", path, strerror(ENOMEM));
            return false;
        }
        at += line_bytes + 1;
    }
    if (ids->count == 0) {
        snprintf(problem, CLI_IDS_PROBLEM_BYTES, "%s: no ids in the file", path);
        return false;
    }
    ids->lines[ids->count] = at; /* one past the end of the last line, as if it ended with one */
    return true;
}

bool cli_ids_init(struct cli_ids *ids, const char *path, char problem[CLI_IDS_PROBLEM_BYTES])
{
    size_t bytes;

    *ids = (struct cli_ids){.text = NULL};
    if (!path)
        return true;
    ids->text = read_all(path, &bytes);
    if (!ids->text) {
        snprintf(problem, CLI_IDS_PROBLEM_BYTES, "%s: %s", path, strerror(errno));
        return false;
    }
    if (!split(ids, path, bytes, problem)) {
        cli_ids_deinit(ids);
        return false;
    }
    return true;
}

void cli_ids_deinit(struct cli_ids *ids)
{
    free(ids->text);
    free(ids->lines);
    *ids = (struct cli_ids){.text = NULL};
}

void cli_ids_names(const struct cli_ids *ids, uint64_t first, size_t count, char *numbers,
                   struct nearcache_name *names)
{
    for (size_t i = 0; i < count; i++) {
        if (ids->text) {
            names[i].data = ids->text + ids->lines[first + i];
            names[i].bytes = ids->lines[first + i + 1] - ids->lines[first + i] - 1;
        } else {
            char *number = numbers + i * CLI_IDS_NUMBER_BYTES;
            char digits[CLI_IDS_NUMBER_BYTES + 1];

            names[i].bytes = (size_t)sprintf(digits, "%" PRIu64, first + i);
            memcpy(number, digits, names[i].bytes);
            names[i].data = number;
        }
    }
}
