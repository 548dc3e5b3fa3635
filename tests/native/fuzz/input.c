/* The fuzzer's bytes as numbers, and memory that ends where it should. */
#include "fuzz.h"

#include <stdio.h>

#define MOST_BUFFERS 256

static void *buffers[MOST_BUFFERS];
static size_t buffer_count;

void fuzz_fail(const char *condition, const char *file, int line) {
    fprintf(stderr, "%s:%d: expected: %s\n", file, line, condition);
    abort();
}

static unsigned long past;

static void print_past(void) {
    fprintf(stderr, "past: %lu\n", past);
}

void count_past(void) {
    if (past++ == 0)
        atexit(print_past);
}

uint32_t take_byte(input *in) {
    if (in->left == 0)
        return 0;
    in->left--;
    return *in->at++;
}

uint32_t take_word(input *in) {
    uint32_t word = 0;
    for (int i = 0; i < 4; i++)
        word |= take_byte(in) << (8 * i);
    return word;
}

uint32_t take_below(input *in, uint32_t limit) {
    uint32_t value = take_byte(in);
    if (limit > 256)
        value |= take_byte(in) << 8;
    return value % limit;
}

static void fill_with_noise(uint32_t state, uint8_t *bytes, size_t size) {
    state |= 1;
    for (size_t i = 0; i < size; i++) {
        state ^= state << 13; /* xorshift32, Marsaglia 2003 */
        state ^= state >> 17;
        state ^= state << 5;
        bytes[i] = (uint8_t)(state >> 24);
    }
}

void fill(input *in, void *bytes, size_t size) {
    uint8_t *to = bytes;
    uint32_t way = take_below(in, 4), word = take_word(in);
    if (way == 1)
        fill_with_noise(word, to, size);
    else
        for (size_t i = 0; i < size; i++)
            to[i] = way == 0 ? 0 : (uint8_t)(word >> (8 * (i % 4)));
    if (way == 3) /* int16 near 0, however they are read: low bytes vary, high bytes are 0 or -1 */
        for (size_t i = 1; i < size; i += 2)
            to[i] = to[i - 1] & 0x80 ? 0xff : 0;
}

void *new_memory(size_t size) {
    expect(buffer_count < MOST_BUFFERS);
    void *memory = malloc(size);
    expect(memory != NULL || size == 0);
    if (size > 0)
        memset(memory, 0xa5, size);
    buffers[buffer_count++] = memory;
    return memory;
}

void *new_copy(const void *bytes, size_t size) {
    void *copy = new_memory(size);
    if (size > 0)
        memcpy(copy, bytes, size);
    return copy;
}

void free_memory(void) {
    while (buffer_count > 0)
        free(buffers[--buffer_count]);
}
