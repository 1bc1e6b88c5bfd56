#include "cli/trace.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define CHUNK_BYTES (1u << 20)

static bool fail(char *problem, const char *path, const char *what)
{
    snprintf(problem, CLI_TRACE_PROBLEM_BYTES, "%.200s: %s", path, what);
    return false;
}

/* The whole file, decompressed if it is gzip. The caller frees *data in every case. */
static bool read_all(const char *path, unsigned char **data, size_t *bytes, char *problem)
{
    gzFile in = gzopen(path, "rbe");
    size_t capacity = 0;
    int got = 0, state = 0;

    *data = NULL;
    *bytes = 0;
    if (!in)
        return fail(problem, path, strerror(errno ? errno : ENOMEM));
    gzbuffer(in, CHUNK_BYTES);
    do {
        if (capacity - *bytes < CHUNK_BYTES) {
            unsigned char *larger = realloc(*data, capacity = 2 * capacity + 2 * CHUNK_BYTES);

            if (!larger) {
                gzclose(in);
                return fail(problem, path, strerror(ENOMEM));
            }
            *data = larger;
        }
        got = gzread(in, *data + *bytes, CHUNK_BYTES);
        *bytes += got > 0 ? (size_t)got : 0;
    } while (got > 0);
    gzerror(in, &state);
    /* An unfinished gzip stream ends quietly but for Z_BUF_ERROR. */
    if (got < 0 || (state != Z_OK && state != Z_STREAM_END)) {
        const char *what = state == Z_ERRNO       ? strerror(errno)
                           : state == Z_BUF_ERROR ? "the file is truncated"
                                                  : "not a sound gzip file";
        gzclose(in);
        return fail(problem, path, what);
    }
    gzclose(in);
    return true;
}

static int compare_ids(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static bool count_unique_by_sorting(struct cli_trace *trace)
{
    uint64_t *sorted = malloc(trace->count * sizeof *sorted);

    if (!sorted)
        return false;
    memcpy(sorted, trace->ids, trace->count * sizeof *sorted);
    qsort(sorted, trace->count, sizeof *sorted, compare_ids);
    for (size_t i = 0; i < trace->count; i++)
        trace->unique += i == 0 || sorted[i] != sorted[i - 1];
    free(sorted);
    return true;
}

/* Ids are dense in the usual traces: a bit each. */
static bool count_unique(struct cli_trace *trace)
{
    uint64_t largest = 0;
    uint8_t *seen;

    for (size_t i = 0; i < trace->count; i++)
        largest = trace->ids[i] > largest ? trace->ids[i] : largest;
    if (largest / 64 > trace->count)
        return count_unique_by_sorting(trace);
    seen = calloc(largest / 8 + 1, 1);
    if (!seen)
        return false;
    for (size_t i = 0; i < trace->count; i++) {
        uint64_t id = trace->ids[i];

        trace->unique += !(seen[id / 8] >> (id % 8) & 1);
        seen[id / 8] |= (uint8_t)(1u << (id % 8));
    }
    free(seen);
    return true;
}

static bool read_ids(struct cli_trace *trace, const char *path, char *problem)
{
    unsigned char *data;
    size_t bytes;

    if (!read_all(path, &data, &bytes, problem)) {
        free(data);
        return false;
    }
    trace->ids = (uint64_t *)(void *)data;
    if (bytes == 0 || bytes % 8)
        return fail(problem, path, "not a sequence of 64-bit key ids");
    trace->count = bytes / 8;
    for (size_t i = 0; i < trace->count; i++)
        trace->ids[i] = le64toh(trace->ids[i]);
    return count_unique(trace) || fail(problem, path, strerror(ENOMEM));
}

static bool read_seconds(struct cli_trace *trace, const char *path, char *problem)
{
    unsigned char *data;
    size_t bytes;

    if (!read_all(path, &data, &bytes, problem)) {
        free(data);
        return false;
    }
    trace->seconds = (uint32_t *)(void *)data;
    if (bytes != trace->count * 4)
        return fail(problem, path, "not one 32-bit time for each request of the trace");
    for (size_t i = 0; i < trace->count; i++) {
        trace->seconds[i] = le32toh(trace->seconds[i]);
        if (i && trace->seconds[i] < trace->seconds[i - 1])
            return fail(problem, path, "the times run backwards");
    }
    return true;
}

bool cli_trace_init(struct cli_trace *trace, const char *path, const char *times_path,
                    char problem[CLI_TRACE_PROBLEM_BYTES])
{
    *trace = (struct cli_trace){.ids = NULL};
    if (read_ids(trace, path, problem) && (!times_path || read_seconds(trace, times_path, problem)))
        return true;
    cli_trace_deinit(trace);
    return false;
}

void cli_trace_deinit(struct cli_trace *trace)
{
    free(trace->ids);
    free(trace->seconds);
    *trace = (struct cli_trace){.ids = NULL};
}
