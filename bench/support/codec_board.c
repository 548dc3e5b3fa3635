/* Encodes and decodes values that lie in flash, and prints
 *
 *     ENCODE DECODE ARENA STACK BYTES HASH
 *
 * ENCODE, DECODE: instructions. ARENA, STACK: bytes of scratch memory and of the deepest stack.
 * HASH: of the message and the estimate, FNV-1a, in hexadecimal. code.inc and inputs.bin are written
 * by bench/codec.py. */
#include "fedling.h"
#include "code.inc"
#include "platform.h"
#include "print.h"

extern const int32_t inputs[];

static const fdl_code CODE = {QUANTISER, TABLE, KEPT, {SEED_LOW, SEED_HIGH}};
static int32_t estimate[COUNT];
static uint8_t message[ROOM];

static void check(int error) {
    if (error == FDL_OK)
        return;
    platform_print("error -");
    print_decimal((uint32_t)-error);
    platform_print("\n");
    platform_exit(1);
}

static void print_number(uint32_t number) {
    print_decimal(number);
    platform_print(" ");
}

static uint32_t hash(uint32_t value, const void *bytes, size_t size) {
    const uint8_t *at = bytes;
    for (size_t i = 0; i < size; i++)
        value = (value ^ at[i]) * 16777619u;
    return value;
}

int main(void) {
    size_t arena_len = fdl_code_arena_size(&CODE, COUNT), size = 0;
    void *arena = platform_new(arena_len);
    platform_count_start();
    int error = fdl_encode(&CODE, inputs, COUNT, NULL, 0, arena, arena_len, message, ROOM, &size);
    print_number(platform_count_stop());
    check(error);
    platform_count_start();
    error = fdl_decode(&CODE, message, size, NULL, 0, arena, arena_len, estimate, COUNT);
    print_number(platform_count_stop());
    check(error);
    print_number((uint32_t)arena_len);
    print_number(platform_stack_used());
    print_number((uint32_t)size);
    print_hex(hash(hash(2166136261u, message, size), estimate, sizeof estimate));
    platform_print("\n");
    return 0;
}
