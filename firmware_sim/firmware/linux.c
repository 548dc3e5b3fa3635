/* The platform of a program that runs on Linux, natively or under qemu-user. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform.h"

#define MOST_PIECES 256

static void *pieces[MOST_PIECES];
static size_t piece_count;

void platform_print(const char *text) {
    fputs(text, stdout);
}

_Noreturn void platform_exit(int status) {
    platform_release(0);
    exit(status);
}

void platform_count_start(void) {}

uint32_t platform_count_stop(void) {
    return 0;
}

uint32_t platform_stack_used(void) {
    return 0;
}

void platform_stack_clear(void) {}

void *platform_new(size_t size) {
    void *memory = piece_count < MOST_PIECES ? malloc(size ? size : 1) : NULL;
    if (memory == NULL) {
        fputs("out of memory\n", stderr);
        platform_exit(1);
    }
    memset(memory, 0xa5, size); /* what a program must not rely on */
    pieces[piece_count++] = memory;
    return memory;
}

size_t platform_mark(void) {
    return piece_count;
}

void platform_release(size_t mark) {
    while (piece_count > mark)
        free(pieces[--piece_count]);
}

const void *platform_constant(const void *bytes, size_t size) {
    return memcpy(platform_new(size), bytes, size);
}
