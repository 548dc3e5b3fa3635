/* What the harnesses share: a reader of the fuzzer's bytes, memory of exactly the length asked
 * for, and nets.
 *
 * A harness reads a case from the bytes, calls the library, and expects what fedling.h and
 * NUMERICS.md promise. The reader gives zeros when the bytes are used up, so that any bytes are a
 * case. Sanitisers see what goes past a buffer or is undefined; `expect` sees the rest. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fedling.h"
#include "loops/kernels.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Ends the program, with the condition, where a promise is broken. */
#define expect(condition) ((condition) ? (void)0 : fuzz_fail(#condition, __FILE__, __LINE__))
_Noreturn void fuzz_fail(const char *condition, const char *file, int line);

/* Counts a case that is past what is refused at first sight. How many were is printed at the end,
 * "past: N". */
void count_past(void);

/* ---- The fuzzer's bytes ---- */

typedef struct input {
    const uint8_t *at;
    size_t left;
} input;

uint32_t take_byte(input *in);
uint32_t take_word(input *in); /* 32 bits */

/* 0 to limit - 1, limit <= 65536. */
uint32_t take_below(input *in, uint32_t limit);

/* Bytes of one of a few kinds: zeros, noise, a pattern that repeats, small numbers. */
void fill(input *in, void *bytes, size_t size);

/* ---- Memory ---- */

/* Freed all together when a case is done. */
void *new_memory(size_t size);
void *new_copy(const void *bytes, size_t size);
void free_memory(void);

/* ---- Nets ---- */

/* A list of layers: mostly one where each fits the one before, sometimes with a byte changed. */
fdl_layer *take_layers(input *in, size_t *count);

/* What a layer reads or gives. */
typedef struct shape {
    uint32_t height, width, channels;
} shape;
shape output_shape(const fdl_layer *layer); /* from its fields alone; 0 where no kernel fits */

/* Products of one example; 0 if the layers are refused. */
uint64_t count_products(const fdl_layer *layers, size_t count);

/* A net of layers that were not refused, and any weights; some loss that may not fit them. */
fdl_net take_net(input *in, const fdl_layer *layers, size_t count);

/* Canonical bytes of a net that is not refused. */
size_t packed_size(const fdl_net *net);
uint8_t *pack(const fdl_net *net);
uint32_t checksum(const fdl_net *net);

/* Another net with the same layers and memory of its own. */
fdl_net new_net_like(const fdl_net *net, const uint8_t *packed);

/* count inputs, none of them -128. */
int8_t *take_inputs(input *in, size_t count);
size_t input_values(const fdl_net *net);
size_t outputs_of(const fdl_net *net);

/* ---- Inner loops ---- */

/* The library runs those of table number `index` from here on; 0 is plain C. Returns how many
 * tables this processor has. */
size_t use_table(size_t index);

#endif
