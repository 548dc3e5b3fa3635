/* Trains a net once on its first examples: arm EXAMPLES. What trains is compiled in, the kernel
 * (kernel.c) or plain C in float32 (plain_f32.c, with -DPLAIN).
 *
 * Prints the inner loops that the kernel chose, and the checksum of the weights afterwards.
 * model.h and the data are written by bench/arm.py. */
#include "model.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef PLAIN

extern const float inputs[], start[];
extern const uint8_t classes[];

struct shape {
    size_t inputs, positions, step, span, out, relu;
};

extern double train(const struct shape *shapes, size_t count, int loss, float *parameters,
                    const float *x, const uint8_t *y, size_t examples, size_t batch, float lr,
                    float momentum);

static int run(size_t examples) {
    static const struct shape shapes[] = {MODEL_SHAPES};
    static float parameters[PARAMETERS];
    for (size_t i = 0; i < PARAMETERS; i++)
        parameters[i] = start[i];
    return train(shapes, sizeof shapes / sizeof *shapes, 0, parameters, inputs, classes, examples,
                 BATCH_SIZE, (float)RATE_Q24 / (1 << 24), 0) < 0;
}

#else

#include "fedling.h"

extern const int8_t inputs[];
extern const uint8_t start[], classes[];

extern double train_epoch(const int32_t (*fields)[15], size_t layer_count, const uint8_t *packed,
                          const int8_t *x, const uint8_t *y, size_t examples, size_t batch,
                          uint32_t lr_q24, uint32_t *checksum);

static int run(size_t examples) {
    static const int32_t fields[][15] = {MODEL_FIELDS};
    uint32_t checksum = 0;
    double seconds = train_epoch(fields, sizeof fields / sizeof *fields, start, inputs, classes,
                                 examples, BATCH_SIZE, RATE_Q24, &checksum);
    printf("%s %08" PRIx32 "\n", fdl_isa(), checksum);
    return seconds < 0;
}

#endif

int main(int argc, char **argv) {
    return argc == 2 ? run(strtoul(argv[1], NULL, 10)) : 2;
}
