/* What the cases of the self-test have in common. */
#ifndef SELFTEST_H
#define SELFTEST_H

#include "fedling.h"
#include "vectors.h"

/* What a case gave. */
typedef struct outcome {
    uint32_t crc;          /* CRC-32 of all results so far, inverted */
    uint32_t steps;        /* of a generated training */
    uint64_t instructions; /* of these steps */
} outcome;

/* Each reads its case, computes it, and adds all results to the outcome. */
typedef void run_case(vectors_reader *in, outcome *out);
run_case run_steps, run_predictions, run_training, run_normalisation, run_delta, run_rounding,
    run_losses;

/* Ends the program if a call was refused. */
void check(int error);

void add_bytes(outcome *out, const void *bytes, size_t size);
void add_number(outcome *out, uint32_t value);
void add_numbers(outcome *out, const int32_t *values, size_t count);
void add_checksum(outcome *out, const fdl_net *net);

/* How the steps of a case learn: velocities if one of them has momentum; then, for each step, the
 * learning rate, clip, momentum and frozen layers. */
fdl_sgd new_sgd(vectors_reader *in, const fdl_net *net);
void read_rates(vectors_reader *in, fdl_sgd *sgd);

/* A step in an arena of exactly its size; returns its instructions. */
uint32_t do_step(fdl_net *net, const fdl_batch *batch, const fdl_sgd *sgd);

/* Adds the outputs of one example; returns its label. */
uint32_t add_prediction(outcome *out, const fdl_net *net, const int8_t *x, int32_t x_exp);

#endif
