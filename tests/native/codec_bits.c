/* Prints a hash of messages and estimates, a line for each quantiser and table, so that builds for
 * different processors can be compared. */
#include "fedling.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define QUANTISERS 4
#define TABLES     22
#define MOST       9100

static const size_t COUNTS[] = {3, 40, 1000, 2500, MOST};

static int32_t values[MOST], estimate[MOST];
static uint16_t dither[MOST + 16];
static uint64_t state;

static uint32_t draw(void) {
    uint64_t z = (state += 0x9e3779b97f4a7c15u);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    return (uint32_t)(z >> 32);
}

static uint64_t hash(uint64_t value, const void *bytes, size_t size) {
    const uint8_t *at = bytes;
    for (size_t i = 0; i < size; i++)
        value = (value ^ at[i]) * 0x100000001b3u;
    return value;
}

static void *new_memory(size_t size) {
    void *memory = aligned_alloc(64, (size + 63) / 64 * 64);
    if (memory == NULL)
        exit(1);
    return memory;
}

/* Of a message of these values and of what is read from it. */
static uint64_t add_message(uint64_t value, const fdl_code *code, size_t count) {
    size_t arena_len = fdl_code_arena_size(code, count), room = fdl_encoded_room(code, count), len;
    size_t places = code->quantiser == FDL_DITHER ? fdl_code_places(code, count) : 0;
    const uint16_t *drawn = places > 0 ? dither : NULL;
    void *arena = new_memory(arena_len);
    uint8_t *message = new_memory(room);
    if (fdl_encode(code, values, count, drawn, places, arena, arena_len, message, room, &len) ||
        fdl_decode(code, message, len, drawn, places, arena, arena_len, estimate, count))
        exit(2);
    value = hash(hash(value, message, len), estimate, count * sizeof *estimate);
    free(arena);
    free(message);
    return value;
}

/* Many of them small, few large. */
static void draw_values(void) {
    for (size_t i = 0; i < MOST; i++)
        values[i] = (int32_t)(draw() % 4001) - 2000 + ((int32_t)draw() >> (5 + draw() % 27));
    for (size_t i = 0; i < MOST + 16; i++)
        dither[i] = (uint16_t)draw();
}

int main(void) {
    for (uint8_t quantiser = 0; quantiser < QUANTISERS; quantiser++)
        for (uint8_t table = 0; table < TABLES; table++) {
            uint64_t value = 0xcbf29ce484222325u;
            for (size_t i = 0; i < sizeof COUNTS / sizeof *COUNTS; i++) {
                size_t count = COUNTS[i];
                draw_values();
                uint32_t kept = draw() % 2 ? (uint32_t)count : 1 + draw() % (uint32_t)count;
                fdl_code code = {quantiser, table, kept, {draw(), draw()}};
                value = add_message(value, &code, count);
            }
            printf("%d %d %016" PRIx64 "\n", quantiser, table, value);
        }
    return 0;
}
