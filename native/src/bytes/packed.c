/* Weights as canonical bytes: the same on every processor (NUMERICS section 2). */
#include "bytes.h"
#include "../net/net.h"

#include <string.h>

static void read_weight(void *context, int16_t *weight) {
    const uint8_t **packed = context;
    *weight = fdl_read16(*packed);
    *packed += 2;
}

static void write_weight(void *context, int16_t *weight) {
    uint8_t **packed = context;
    fdl_write16(*packed, *weight);
    *packed += 2;
}

int fdl_unpack_weights(fdl_net *net, const uint8_t *packed, size_t packed_len) {
    int error = fdl_check_net(net);
    if (error)
        return error;
    if (packed == NULL)
        return FDL_E_NULL;
    if (packed_len != fdl_packed_size(net->layers, net->layer_count))
        return FDL_E_LENGTH;
    if (FDL_TALL > 1) /* nothing is read that nobody wrote */
        memset(net->weights, 0, net->weight_count * sizeof *net->weights);
    fdl_each_weight(net, read_weight, &packed);
    for (size_t j = 0; j < net->bias_count; j++, packed += 4)
        net->biases[j] = fdl_read32(packed);
    return FDL_OK;
}

int fdl_pack_weights(const fdl_net *net, uint8_t *packed, size_t packed_len) {
    int error = fdl_check_net(net);
    if (error)
        return error;
    if (packed == NULL)
        return FDL_E_NULL;
    if (packed_len != fdl_packed_size(net->layers, net->layer_count))
        return FDL_E_LENGTH;
    fdl_each_weight(net, write_weight, &packed);
    for (size_t j = 0; j < net->bias_count; j++, packed += 4)
        fdl_write32(packed, net->biases[j]);
    return FDL_OK;
}
