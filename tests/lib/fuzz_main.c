/*
 * Runs a fuzzer's function over the files of a corpus: `make check` keeps what the fuzzer once
 * found from coming back. With --enable-fuzzing libFuzzer's own main takes this one's place.
 *
 *     tests/fuzz/npy_fuzzer CORPUS_FOLDER_OR_FILE...
 */
#include <ftw.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static int inputs;

static int run_one(const char *path, const struct stat *info, int kind, struct FTW *position)
{
    size_t bytes = (size_t)info->st_size;
    uint8_t *data;
    FILE *file;

    (void)position;
    if (kind != FTW_F)
        return 0;
    file = fopen(path, "rb");
    data = malloc(bytes ? bytes : 1); /* of its exact size, for AddressSanitizer */
    if (!file || !data || fread(data, 1, bytes, file) != bytes) {
        perror(path);
        exit(1);
    }
    fclose(file);
    printf("%s\n", path);
    fflush(stdout);
    LLVMFuzzerTestOneInput(data, bytes);
    free(data);
    inputs++;
    return 0;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (nftw(argv[i], run_one, 8, FTW_PHYS) != 0) {
            perror(argv[i]);
            return 1;
        }
    printf("%d inputs\n", inputs);
    return inputs > 0 ? 0 : 1;
}
