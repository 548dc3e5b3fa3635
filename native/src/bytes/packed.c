/* Weights as canonical bytes: the same on every processor (NUMERICS section 2). */
#include "bytes.h"
#include "fedling.h"

int fdl_unpack_weights(fdl_net *net, const uint8_t *packed, size_t packed_len) {
    int error = fdl_check_net(net);
    if (error)
        return error;
    if (packed == NULL)
        return FDL_E_NULL;
    if (packed_len != fdl_packed_size(net->layers, net->layer_count))
        return FDL_E_LENGTH;
    for (size_t j = 0; j < net->weight_count; j++, packed += 2)
        net->weights[j] = fdl_read16(packed);
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
    for (size_t j = 0; j < net->weight_count; j++, packed += 2)
        fdl_write16(packed, net->weights[j]);
    for (size_t j = 0; j < net->bias_count; j++, packed += 4)
        fdl_write32(packed, net->biases[j]);
    return FDL_OK;
}
