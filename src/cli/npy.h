/*
 * cli/npy: files of NumPy's format that hold a matrix: versions 1 to 3, elements of 4 or 2 byte
 * floats or 1 byte integers, little-endian, C order.
 *
 *     \x93NUMPY  major  minor  header length (2 or 4 bytes)  header ... \n  rows
 *     {'descr': '<f4', 'fortran_order': False, 'shape': (10000, 512), }
 *
 * Files are untrusted: whatever they hold, the answer is a matrix that fits the file, or a text
 * that says what is wrong.
 */
#ifndef NC_CLI_NPY_H
#define NC_CLI_NPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CLI_NPY_PROBLEM_BYTES 256
#define CLI_NPY_HEADER_BYTES 128 /* of files written here: room for any shape */
#define CLI_NPY_MOST_HEADER_BYTES 65536

enum cli_npy_type { CLI_NPY_F32, CLI_NPY_F16, CLI_NPY_I8 };

struct cli_npy {
    enum cli_npy_type type;
    uint64_t rows;
    uint64_t columns;
    uint64_t data_offset; /* where the first row begins */
    uint64_t row_bytes;
};

size_t cli_npy_element_bytes(enum cli_npy_type type);
/* "f4", "f2", "i1". */
const char *cli_npy_type_name(enum cli_npy_type type);

/*
 * Reads the header from the first `bytes` bytes of a file (at least all of the header, or all of
 * the file) that has `file_bytes` in all, and checks that the rows are there. False: `problem`.
 */
bool cli_npy_parse(struct cli_npy *npy, const void *start, size_t bytes, uint64_t file_bytes,
                   char problem[CLI_NPY_PROBLEM_BYTES]);

/* The same without a look at the rows: row_bytes is not set. */
bool cli_npy_parse_header(struct cli_npy *npy, const void *start, size_t bytes,
                          char problem[CLI_NPY_PROBLEM_BYTES]);

/* Writes a header of version 1 for the type and shape; data_offset and row_bytes are set. */
void cli_npy_format(struct cli_npy *npy, char header[CLI_NPY_HEADER_BYTES]);

/* How many bytes of the beginning cli_npy_parse may need. */
#define CLI_NPY_START_BYTES (CLI_NPY_MOST_HEADER_BYTES + 12)

/* Opens a file and parses it. The descriptor, or -1 with `problem`. */
int cli_npy_open(const char *path, struct cli_npy *npy, char problem[CLI_NPY_PROBLEM_BYTES]);

#endif
