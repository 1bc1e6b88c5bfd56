/*
 * Writes vectors to load: a .npy file of float32 rows (what numpy.save makes of a 2-dimensional
 * array) and a text file with one id a line.
 *
 *     make_vectors FILE.npy FILE.ids [rows [dimension]]
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER_BYTES = 128, DIMENSION_MAX = 65536 };

/* Magic, version 1.0, length of the rest, and a Python literal padded with blanks to 128 bytes. */
static int write_header(FILE *out, unsigned long rows, unsigned long dimension)
{
    char header[HEADER_BYTES + 1];
    int length;

    memcpy(header, "\x93NUMPY\x01\x00", 8);
    header[8] = (char)(HEADER_BYTES - 10);
    header[9] = 0;
    length = snprintf(header + 10, sizeof header - 10,
                      "{'descr': '<f4', 'fortran_order': False, 'shape': (%lu, %lu), }", rows,
                      dimension);
    memset(header + 10 + length, ' ', (size_t)(HEADER_BYTES - 10 - length));
    header[HEADER_BYTES - 1] = '\n';
    return fwrite(header, 1, HEADER_BYTES, out) == HEADER_BYTES ? 0 : -1;
}

/* Rows of numbers between -1 and 1, different in each element, the same in each run. */
static int write_rows(FILE *out, unsigned long rows, unsigned long dimension)
{
    float row[DIMENSION_MAX];
    uint64_t state = 1;

    for (unsigned long i = 0; i < rows; i++) {
        for (unsigned long d = 0; d < dimension; d++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            row[d] = (float)(int32_t)(state >> 32) / 2147483648.0f;
        }
        if (fwrite(row, sizeof row[0], dimension, out) != dimension)
            return -1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    unsigned long rows = argc > 3 ? strtoul(argv[3], NULL, 10) : 10000;
    unsigned long dimension = argc > 4 ? strtoul(argv[4], NULL, 10) : 512;
    FILE *vectors, *ids;
    int failed;

    if (argc < 3 || rows == 0 || dimension == 0 || dimension > DIMENSION_MAX) {
        fprintf(stderr, "usage: make_vectors FILE.npy FILE.ids [rows [dimension]]\n");
        return 2;
    }
    vectors = fopen(argv[1], "wb");
    ids = fopen(argv[2], "w");
    if (!vectors || !ids) {
        perror("make_vectors");
        return 1;
    }
    failed =
        write_header(vectors, rows, dimension) != 0 || write_rows(vectors, rows, dimension) != 0;
    for (unsigned long i = 0; i < rows; i++)
        failed |= fprintf(ids, "sku-%06lu\n", i + 1) < 0;
    failed |= fclose(vectors) != 0;
    failed |= fclose(ids) != 0;
    if (failed)
        perror("make_vectors");
    return failed;
}
