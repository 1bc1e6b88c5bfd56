#include "cli/resume.h"

#include "cli/options.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char first_line[] = "nearcache load 1";

static bool next_line(FILE *in, char **line, size_t *capacity)
{
    ssize_t bytes = getline(line, capacity, in);

    if (bytes <= 0 || (*line)[bytes - 1] != '\n')
        return false;
    (*line)[bytes - 1] = '\0';
    return true;
}

enum cli_resume_result cli_resume_read(const char *path, const char *about, uint64_t *row)
{
    FILE *in = fopen(path, "re");
    char *line = NULL;
    size_t capacity = 0;
    bool fits;

    if (!in)
        return errno == ENOENT ? CLI_RESUME_NONE : CLI_RESUME_FAILED;
    fits = next_line(in, &line, &capacity) && strcmp(line, first_line) == 0 &&
           next_line(in, &line, &capacity) && strcmp(line, about) == 0 &&
           next_line(in, &line, &capacity) && cli_parse_number(line, row);
    free(line);
    fclose(in);
    return fits ? CLI_RESUME_FOUND : CLI_RESUME_OTHER;
}

bool cli_resume_write(const char *path, const char *about, uint64_t row)
{
    char *next = malloc(strlen(path) + 5);
    FILE *out;
    bool fine;

    if (!next)
        return false;
    sprintf(next, "%s.new", path);
    out = fopen(next, "we");
    if (!out) {
        free(next);
        return false;
    }
    fprintf(out, "%s\n%s\n%" PRIu64 "\n", first_line, about, row);
    fine = !ferror(out);
    fine = fclose(out) == 0 && fine;
    fine = fine && rename(next, path) == 0;
    free(next);
    return fine;
}
