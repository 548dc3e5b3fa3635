/* Weights as canonical bytes: the same on every processor (NUMERICS section 2). */
#include "bytes.h"
#include "../net/net.h"

#include <string.h>

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
    fdl_cursor weights = fdl_first_weight(net);
    for (int16_t *w; (w = fdl_next_weight(&weights)) != NULL; packed += 2)
        *w = fdl_read16(packed);
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
    fdl_cursor weights = fdl_first_weight(net);
    for (const int16_t *w; (w = fdl_next_weight(&weights)) != NULL; packed += 2)
        fdl_write16(packed, *w);
    for (size_t j = 0; j < net->bias_count; j++, packed += 4)
        fdl_write32(packed, net->biases[j]);
    return FDL_OK;
}
