#include "cli/npy.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const unsigned char magic[6] = {0x93, 'N', 'U', 'M', 'P', 'Y'};

size_t cli_npy_element_bytes(enum cli_npy_type type)
{
    return type == CLI_NPY_F32 ? 4 : type == CLI_NPY_F16 ? 2 : 1;
}

const char *cli_npy_type_name(enum cli_npy_type type)
{
    return type == CLI_NPY_F32 ? "f4" : type == CLI_NPY_F16 ? "f2" : "i1";
}

/* ---- the header's dictionary ----------------------------------------------------------------- */

/* What remains of the header, and where to say what is wrong with it. */
struct scanner {
    const char *at, *end;
    char *problem;
    bool has_type, has_order, has_shape;
};

static bool fail(struct scanner *scan, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static bool fail(struct scanner *scan, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(scan->problem, CLI_NPY_PROBLEM_BYTES, format, arguments);
    va_end(arguments);
    return false;
}

static void skip_blanks(struct scanner *scan)
{
    while (scan->at < scan->end && (*scan->at == ' ' || *scan->at == '\t' || *scan->at == '\n'))
        scan->at++;
}

static bool take(struct scanner *scan, char wanted)
{
    skip_blanks(scan);
    if (scan->at == scan->end || *scan->at != wanted)
        return false;
    scan->at++;
    return true;
}

static bool take_word(struct scanner *scan, const char *word)
{
    size_t bytes = strlen(word);

    skip_blanks(scan);
    if ((size_t)(scan->end - scan->at) < bytes || memcmp(scan->at, word, bytes) != 0)
        return false;
    scan->at += bytes;
    return true;
}

/* A quoted text without escapes, which is all that NumPy writes here. */
static bool take_text(struct scanner *scan, char text[32])
{
    const char *close;
    char quote;

    skip_blanks(scan);
    if (scan->at == scan->end || (*scan->at != '\'' && *scan->at != '"'))
        return fail(scan, "the header is not a dictionary as NumPy writes it");
    quote = *scan->at++;
    close = memchr(scan->at, quote, (size_t)(scan->end - scan->at));
    if (!close || close - scan->at > 31)
        return fail(scan, "the header has a text that does not end");
    memcpy(text, scan->at, (size_t)(close - scan->at));
    text[close - scan->at] = '\0';
    scan->at = close + 1;
    return true;
}

static bool take_count(struct scanner *scan, uint64_t *number)
{
    uint64_t sum = 0;

    skip_blanks(scan);
    if (scan->at == scan->end || !isdigit((unsigned char)*scan->at))
        return fail(scan, "the shape in the header is not a tuple of numbers");
    while (scan->at < scan->end && isdigit((unsigned char)*scan->at)) {
        if (__builtin_mul_overflow(sum, 10, &sum) ||
            __builtin_add_overflow(sum, (uint64_t)(*scan->at - '0'), &sum))
            return fail(scan, "the shape in the header is too large");
        scan->at++;
    }
    take(scan, 'L'); /* Python 2 */
    *number = sum;
    return true;
}

static bool take_shape(struct scanner *scan, struct cli_npy *npy)
{
    uint64_t sizes[2];
    unsigned count = 0;

    if (!take(scan, '('))
        return fail(scan, "the shape in the header is not a tuple");
    while (!take(scan, ')')) {
        if (count == 2)
            return fail(scan, "the array has more than two dimensions: one row a vector is wanted");
        if (!take_count(scan, &sizes[count++]))
            return false;
        if (!take(scan, ',') && (scan->at == scan->end || *scan->at != ')'))
            return fail(scan, "the shape in the header is not a tuple of numbers");
    }
    if (count != 2)
        return fail(scan, "the array has %u dimension%s: a matrix, one row a vector, is wanted",
                    count, count == 1 ? "" : "s");
    npy->rows = sizes[0];
    npy->columns = sizes[1];
    return true;
}

static bool take_type(struct scanner *scan, struct cli_npy *npy)
{
    char text[32];

    skip_blanks(scan);
    if (scan->at < scan->end && *scan->at == '[')
        return fail(scan, "the array is a record array: a plain matrix is wanted");
    if (!take_text(scan, text))
        return false;
    if (strcmp(text, "<f4") == 0)
        npy->type = CLI_NPY_F32;
    else if (strcmp(text, "<f2") == 0)
        npy->type = CLI_NPY_F16;
    else if (strcmp(text, "|i1") == 0 || strcmp(text, "<i1") == 0)
        npy->type = CLI_NPY_I8;
    else if (text[0] == '>')
        return fail(scan, "elements of type %s are big-endian: only little-endian is taken", text);
    else
        return fail(scan, "elements of type %s: only <f4, <f2 and |i1 are taken", text);
    return true;
}

static bool take_order(struct scanner *scan)
{
    if (take_word(scan, "False"))
        return true;
    if (take_word(scan, "True"))
        return fail(scan, "the array is in Fortran order: save it with numpy.ascontiguousarray");
    return fail(scan, "fortran_order in the header is neither True nor False");
}

static bool take_member(struct scanner *scan, struct cli_npy *npy)
{
    char name[32];
    bool *seen;

    if (!take_text(scan, name))
        return false;
    if (!take(scan, ':'))
        return fail(scan, "the header is not a dictionary as NumPy writes it");
    if (strcmp(name, "descr") == 0)
        seen = &scan->has_type;
    else if (strcmp(name, "fortran_order") == 0)
        seen = &scan->has_order;
    else if (strcmp(name, "shape") == 0)
        seen = &scan->has_shape;
    else
        return fail(scan, "the header has a member that NumPy does not write");
    if (*seen)
        return fail(scan, "the header says %s twice", name);
    *seen = true;
    return seen == &scan->has_type    ? take_type(scan, npy)
           : seen == &scan->has_order ? take_order(scan)
                                      : take_shape(scan, npy);
}

static bool parse_dictionary(struct scanner *scan, struct cli_npy *npy)
{
    if (!take(scan, '{'))
        return fail(scan, "the header is not a dictionary");
    while (!take(scan, '}')) {
        if (!take_member(scan, npy))
            return false;
        skip_blanks(scan);
        if (!take(scan, ',') && (scan->at == scan->end || *scan->at != '}'))
            return fail(scan, "the header is not a dictionary as NumPy writes it");
    }
    skip_blanks(scan);
    if (scan->at != scan->end)
        return fail(scan, "the header has something after its dictionary");
    if (!scan->has_type || !scan->has_order || !scan->has_shape)
        return fail(scan, "the header lacks descr, fortran_order or shape");
    return true;
}

/* ---- the file -------------------------------------------------------------------------------- */

static bool check_size(struct cli_npy *npy, uint64_t file_bytes, char *problem)
{
    struct scanner at = {.problem = problem}, *scan = &at;
    uint64_t data_bytes;

    if (npy->columns == 0)
        return fail(scan, "the rows are empty");
    if (__builtin_mul_overflow(npy->columns, cli_npy_element_bytes(npy->type), &npy->row_bytes) ||
        __builtin_mul_overflow(npy->row_bytes, npy->rows, &data_bytes) ||
        data_bytes > UINT64_MAX - npy->data_offset)
        return fail(scan, "the shape in the header is too large");
    if (file_bytes - npy->data_offset < data_bytes)
        return fail(scan,
                    "the file is truncated: %" PRIu64 " of the %" PRIu64
                    " rows that the header promises are there",
                    (file_bytes - npy->data_offset) / npy->row_bytes, npy->rows);
    if (file_bytes - npy->data_offset > data_bytes)
        return fail(scan, "the file is longer than its header says, by %" PRIu64 " bytes",
                    file_bytes - npy->data_offset - data_bytes);
    return true;
}

bool cli_npy_parse_header(struct cli_npy *npy, const void *start, size_t bytes,
                          char problem[CLI_NPY_PROBLEM_BYTES])
{
    const unsigned char *at = start;
    struct scanner scan = {.problem = problem};
    uint64_t header_bytes, header_offset;

    if (bytes < 10 || memcmp(at, magic, sizeof magic) != 0)
        return fail(&scan, "not a .npy file");
    if (at[6] < 1 || at[6] > 3)
        return fail(&scan, "version %u.%u of the format is unknown", at[6], at[7]);
    header_offset = at[6] == 1 ? 10 : 12;
    if (bytes < header_offset)
        return fail(&scan, "the file ends within its header");
    header_bytes = (uint64_t)at[8] | (uint64_t)at[9] << 8;
    if (at[6] != 1)
        header_bytes |= (uint64_t)at[10] << 16 | (uint64_t)at[11] << 24;
    if (header_bytes > CLI_NPY_MOST_HEADER_BYTES)
        return fail(&scan, "the header is unreasonably long (%" PRIu64 " bytes)", header_bytes);
    if (bytes - header_offset < header_bytes)
        return fail(&scan, "the file ends within its header");
    scan.at = (const char *)at + header_offset;
    scan.end = scan.at + header_bytes;
    npy->data_offset = header_offset + header_bytes;
    return parse_dictionary(&scan, npy);
}

bool cli_npy_parse(struct cli_npy *npy, const void *start, size_t bytes, uint64_t file_bytes,
                   char problem[CLI_NPY_PROBLEM_BYTES])
{
    return cli_npy_parse_header(npy, start, bytes, problem) && check_size(npy, file_bytes, problem);
}

void cli_npy_format(struct cli_npy *npy, char header[CLI_NPY_HEADER_BYTES])
{
    char *text = header + 10;
    size_t room = CLI_NPY_HEADER_BYTES - 10;
    int bytes;

    memcpy(header, magic, sizeof magic);
    header[6] = 1;
    header[7] = 0;
    header[8] = (char)(room & 0xff);
    header[9] = (char)(room >> 8);
    bytes = snprintf(
        text, room,
        "{'descr': '%s%s', 'fortran_order': False, 'shape': (%" PRIu64 ", %" PRIu64 "), }",
        npy->type == CLI_NPY_I8 ? "|" : "<", cli_npy_type_name(npy->type), npy->rows, npy->columns);
    memset(text + bytes, ' ', room - (size_t)bytes);
    header[CLI_NPY_HEADER_BYTES - 1] = '\n';
    npy->data_offset = CLI_NPY_HEADER_BYTES;
    npy->row_bytes = npy->columns * cli_npy_element_bytes(npy->type);
}

static ssize_t read_start(int fd, char *start)
{
    size_t bytes = 0;

    while (bytes < CLI_NPY_START_BYTES) {
        ssize_t got = pread(fd, start + bytes, CLI_NPY_START_BYTES - bytes, (off_t)bytes);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        bytes += (size_t)got;
    }
    return (ssize_t)bytes;
}

int cli_npy_open(const char *path, struct cli_npy *npy, char problem[CLI_NPY_PROBLEM_BYTES])
{
    char *start = malloc(CLI_NPY_START_BYTES);
    struct stat status;
    ssize_t bytes;
    int fd = start ? open(path, O_RDONLY | O_CLOEXEC) : -1;

    if (fd < 0 || fstat(fd, &status))
        goto fail_errno;
    if (!S_ISREG(status.st_mode)) {
        snprintf(problem, CLI_NPY_PROBLEM_BYTES, "not a regular file");
        goto fail;
    }
    bytes = read_start(fd, start);
    if (bytes < 0)
        goto fail_errno;
    if (!cli_npy_parse(npy, start, (size_t)bytes, (uint64_t)status.st_size, problem))
        goto fail;
    free(start);
    return fd;

fail_errno:
    snprintf(problem, CLI_NPY_PROBLEM_BYTES, "%s", strerror(errno));
fail:
    if (fd >= 0)
        close(fd);
    free(start);
    return -1;
}
