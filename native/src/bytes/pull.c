/* The proximal term of FedProx: weights are pulled towards those that a round began with. */
#include "bytes.h"
#include "../net/net.h"

static int64_t pulled(int64_t value, int64_t start, uint32_t pull) {
    return value - (((value - start) * pull + 0x8000) >> 16);
}

int fdl_pull(fdl_net *net, const uint8_t *start, size_t start_len, uint32_t pull_q16) {
    int error = fdl_check_net(net);
    if (error)
        return error;
    if (start == NULL)
        return FDL_E_NULL;
    if (start_len != fdl_packed_size(net->layers, net->layer_count))
        return FDL_E_LENGTH;
    if (pull_q16 < 1 || pull_q16 > 65535)
        return FDL_E_RATE;
    fdl_cursor weights = fdl_first_weight(net);
    for (int16_t *w; (w = fdl_next_weight(&weights)) != NULL; start += 2)
        *w = (int16_t)pulled(*w, fdl_read16(start), pull_q16);
    for (size_t j = 0; j < net->bias_count; j++, start += 4)
        net->biases[j] = (int32_t)pulled(net->biases[j], fdl_read32(start), pull_q16);
    return FDL_OK;
}
