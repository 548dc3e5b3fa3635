/* Computes the golden vectors on the processor that it runs on. Prints which inner loops it runs,
 *
 *     isa NAME
 *
 * then a line for each case:
 *
 *     VALUE EXPECTED INSTRUCTIONS NAME
 *
 * VALUE is the CRC-32 of all that the case gave and EXPECTED what it must be, in hexadecimal;
 * INSTRUCTIONS is the mean of the steps of a whole training, else 0. At the end:
 *
 *     stack BYTES
 *     right CASES of CASES
 *
 * The status is 0 if every value is the expected. */
#include "platform.h"
#include "print.h"
#include "selftest.h"

static run_case *const KINDS[] = {run_steps, run_predictions, run_training, run_normalisation,
                                  run_delta, run_rounding,    run_losses};

static void print_case(const outcome *out, uint32_t expected, const char *name) {
    print_hex(~out->crc);
    platform_print(" ");
    print_hex(expected);
    platform_print(" ");
    print_decimal(out->steps > 0 ? (uint32_t)(out->instructions / out->steps) : 0);
    platform_print(" ");
    platform_print(name);
    platform_print("\n");
}

static int run_next(vectors_reader *in) {
    size_t mark = platform_mark();
    const char *name = vectors_bytes(in, NULL); /* ends with a zero */
    uint32_t expected = (uint32_t)vectors_number(in), kind = (uint32_t)vectors_number(in);
    outcome out = {.crc = ~0u};
    KINDS[kind](in, &out);
    print_case(&out, expected, name);
    platform_release(mark);
    return ~out.crc == expected;
}

static void print_count(const char *before, uint32_t count, const char *after) {
    platform_print(before);
    print_decimal(count);
    platform_print(after);
}

int main(void) {
    vectors_reader in = vectors_open();
    uint32_t right = 0, cases = (uint32_t)vectors_number(&in);
    platform_print("isa ");
    platform_print(fdl_isa());
    platform_print("\n");
    for (uint32_t i = 0; i < cases; i++)
        right += (uint32_t)run_next(&in);
    print_count("stack ", platform_stack_used(), "\n");
    print_count("right ", right, " of ");
    print_count("", cases, "\n");
    return right == cases ? 0 : 1;
}
