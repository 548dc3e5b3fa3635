/* The three functions that a compiler calls for loops and struct copies, word by word: those of
 * newlib go byte by byte where a C library for small chips is asked for, which shows in a step.
 *
 * The empty asm keeps the compiler from taking each loop for a call of the very function. */
#include <stddef.h>
#include <stdint.h>

#define WORD        sizeof(uint32_t)
#define OPAQUE_LOOP __asm volatile("" ::: "memory")

void *memset(void *to, int value, size_t size);
void *memcpy(void *restrict to, const void *restrict from, size_t size);
void *memmove(void *to, const void *from, size_t size);

static int aligned(const void *p) {
    return (uintptr_t)p % WORD == 0;
}

void *memset(void *to, int value, size_t size) {
    uint8_t *byte = to;
    uint32_t four = (uint8_t)value * 0x01010101u;
    for (; size > 0 && !aligned(byte); size--) {
        *byte++ = (uint8_t)value;
        OPAQUE_LOOP;
    }
    uint32_t *word = (uint32_t *)(void *)byte;
    for (; size >= 4 * WORD; size -= 4 * WORD, word += 4) {
        word[0] = four;
        word[1] = four;
        word[2] = four;
        word[3] = four;
        OPAQUE_LOOP;
    }
    for (byte = (uint8_t *)word; size > 0; size--) {
        *byte++ = (uint8_t)value;
        OPAQUE_LOOP;
    }
    return to;
}

void *memcpy(void *restrict to, const void *restrict from, size_t size) {
    uint8_t *byte = to;
    const uint8_t *source = from;
    if (aligned(to) && aligned(from))
        for (; size >= WORD; size -= WORD, byte += WORD, source += WORD) {
            *(uint32_t *)(void *)byte = *(const uint32_t *)(const void *)source;
            OPAQUE_LOOP;
        }
    for (; size > 0; size--) {
        *byte++ = *source++;
        OPAQUE_LOOP;
    }
    return to;
}

void *memmove(void *to, const void *from, size_t size) {
    uint8_t *byte = to;
    const uint8_t *source = from;
    if (byte <= source || byte >= source + size)
        return memcpy(to, from, size);
    while (size > 0) {
        size--;
        byte[size] = source[size];
        OPAQUE_LOOP;
    }
    return to;
}
