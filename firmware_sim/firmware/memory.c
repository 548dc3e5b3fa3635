/* The memory of a bare board's program: one static pool, as large as what a small
 * model may use. */
#include "platform.h"
#include "print.h"

#ifndef POOL_BYTES
#define POOL_BYTES 12288
#endif

static _Alignas(8) uint8_t pool[POOL_BYTES];
static size_t taken;

void *platform_new(size_t size) {
    size_t rounded = (size + 7) / 8 * 8;
    if (rounded > sizeof pool - taken) {
        platform_print("out of memory: the pool has ");
        print_decimal(POOL_BYTES);
        platform_print(" bytes\n");
        platform_exit(1);
    }
    void *memory = pool + taken;
    taken += rounded;
    return memory;
}

size_t platform_mark(void) {
    return taken;
}

void platform_release(size_t mark) {
    taken = mark;
}

const void *platform_constant(const void *bytes, size_t size) {
    (void)size;
    return bytes;
}
