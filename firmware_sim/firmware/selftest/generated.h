/* Weights, examples and targets from a seed: golden/README.md, "training.json". */
#ifndef GENERATED_H
#define GENERATED_H

#include "fedling.h"

typedef struct generated {
    const fdl_net *net;
    uint32_t seed;
    uint32_t classes;      /* kinds of examples, each with a pattern under its noise */
    const int32_t *limits; /* of the masters, by layer */
    uint32_t run;          /* so many inputs in a row have the same value in a pattern */
} generated;

/* The canonical bytes that training begins with. */
void generated_weights(const generated *data, uint8_t *packed);

/* Inputs of example number b of the whole training. */
void generated_inputs(const generated *data, uint32_t b, int8_t *x);

/* How many targets an example has, and the bytes of one. */
size_t generated_target_count(const generated *data);
size_t generated_target_size(const generated *data);

void generated_targets(const generated *data, uint32_t b, void *targets);

#endif
