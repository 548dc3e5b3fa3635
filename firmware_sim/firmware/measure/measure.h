/* The nets that an image measures: constants that planner/measure.py writes. */
#ifndef MEASURE_H
#define MEASURE_H

#include "fedling.h"

typedef struct measured_net {
    const fdl_layer *layers;
    size_t layer_count;
    uint32_t loss;
    const uint8_t *start; /* canonical weights that training begins with */
    size_t start_len;
    uint32_t lr_q24, clip_q16, momentum, frozen;
    uint32_t batch, steps;
    uint32_t classes; /* kinds of examples */
} measured_net;

extern const measured_net measured_nets[];
extern const size_t measured_count;

#endif
