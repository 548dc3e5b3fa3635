/* A program that tries what platform.h promises: the test says by macros what it shall do. */
#include "platform.h"
#include "print.h"

#define LOOPS 100000u /* two instructions each */

static uint32_t initialised = 0x12345678u; /* in flash at first, copied to the RAM at start-up */
static uint32_t cleared[64];

static void count(void) {
    uint32_t left = LOOPS;
    platform_count_start();
    __asm volatile(".syntax unified\n"
                   "1:\tsubs %0, %0, #1\n"
                   "\tbne 1b"
                   : "+l"(left)
                   :
                   : "cc");
    print_decimal(platform_count_stop());
    platform_print("\n");
}

static void memory(void) {
    uint32_t sum = initialised;
    for (uint32_t i = 0; i < 64; i++)
        sum += cleared[i];
    print_hex(sum);
    platform_print("\n");
}

/* Bytes of stack, at least, in calls that a compiler cannot fold. */
__attribute__((noinline)) static uint32_t deeper(uint32_t bytes) {
    volatile uint8_t local[256];
    local[bytes % sizeof local] = (uint8_t)bytes;
    return bytes <= sizeof local ? local[bytes % sizeof local] : deeper(bytes - 256) + local[0];
}

int main(void) {
    count();
    memory();
    deeper(PROBE_STACK);
    print_decimal(platform_stack_used());
    platform_print("\n");
#ifdef PROBE_FAULT
    __asm__ volatile("udf #0"); /* an instruction that no core has */
#endif
#ifdef PROBE_POOL
    platform_new(PROBE_POOL);
#endif
    return 7;
}
