/* The code for a number of bytes, and the sizes of what it needs. */
#include "codec.h"

#if !FDL_WITHOUT_CODEC
/* Values of which this table sends as many bytes. */
static uint32_t affordable(const fdl_code_table *table, size_t count, size_t bytes) {
    size_t body = bytes > FDL_HEADER + 1 ? bytes - FDL_HEADER : 1;
    uint64_t bits = (uint64_t)8 * 4096 * smaller(body, 4 * (size_t)FDL_MAX_CODED);
    uint64_t kept = bits / table->rate;
    return kept == 0 ? 1 : (uint32_t)(kept < count ? kept : count);
}
#endif

int fdl_choose_code(uint8_t quantiser, size_t count, size_t bytes, fdl_code *code) {
    if (code == NULL)
        return FDL_E_NULL;
    int error = fdl_check_code(&(fdl_code){quantiser, 0, 1, {0, 0}}, count);
    if (error)
        return error;
#if FDL_WITHOUT_CODEC
    (void)bytes;
#else
    uint64_t least = UINT64_MAX;
    code->quantiser = quantiser;
    for (uint8_t t = 0; t < FDL_CODE_TABLES; t++) {
        const fdl_code_table *table = &fdl_code_tables[quantiser][t];
        uint32_t kept = affordable(table, count, bytes);
        uint64_t error_of_all = (65536 + (uint64_t)table->error) * count / kept;
        if (error_of_all < least) {
            least = error_of_all;
            code->table = t;
            code->kept = kept;
        }
    }
#endif
    return FDL_OK;
}

size_t fdl_code_places(const fdl_code *code, size_t count) {
#if !FDL_WITHOUT_CODEC
    if (fdl_check_code(code, count) == FDL_OK)
        return fdl_places(code->kept);
#endif
    (void)code;
    (void)count;
    return 0;
}

size_t fdl_encoded_room(const fdl_code *code, size_t count) {
    size_t places = fdl_code_places(code, count);
    return places == 0 ? 0 : FDL_HEADER + places * (FDL_SLOT_BITS + FDL_RAW_BITS) / 8 + 4;
}
