/*
 * Any bytes as a .npy file: the answer is a matrix that fits the file exactly, or a text. The
 * length of the whole file is taken to be that of the input, and once more to be endless.
 */
#include "cli/npy.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void check(const uint8_t *data, size_t bytes, uint64_t file_bytes)
{
    char problem[CLI_NPY_PROBLEM_BYTES] = "";
    struct cli_npy npy;

    if (cli_npy_parse(&npy, data, bytes, file_bytes, problem)) {
        if (npy.columns == 0 || npy.row_bytes != npy.columns * cli_npy_element_bytes(npy.type) ||
            npy.data_offset + npy.rows * npy.row_bytes != file_bytes)
            abort();
    } else if (strlen(problem) == 0) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    check(data, bytes, bytes);
    check(data, bytes, UINT64_MAX);
    return 0;
}
