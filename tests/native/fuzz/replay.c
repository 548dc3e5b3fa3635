/* Runs a harness on files, where there is no fuzzer: the corpus under any compiler. */
#include "fuzz.h"

#include <stdio.h>

#define MOST_BYTES 65536

int main(int argc, char **argv) {
    static uint8_t bytes[MOST_BYTES];
    for (int i = 1; i < argc; i++) {
        FILE *file = fopen(argv[i], "rb");
        expect(file != NULL);
        size_t size = fread(bytes, 1, sizeof bytes, file);
        fclose(file);
        LLVMFuzzerTestOneInput(bytes, size);
    }
    printf("replayed %d files\n", argc - 1);
    return 0;
}
