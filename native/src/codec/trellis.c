/* The way of least cost through the trellis (Viterbi 1967; Fischer and Wang 1992). */
#include "trellis.h"
#include "../net/net.h"

#if !FDL_WITHOUT_CODEC && !FDL_WITHOUT_TRELLIS

#define STATES     8
#define FARTHEST   350   /* distances beyond cost no more: costs stay within 16 bits */
#define BENT       187   /* from here on they grow by no square */
#define MOST_PLACE 32767 /* of a value in 1/64 of a step */
#define UNREACHED  (1 << 29)

static size_t near_size(const fdl_code_table *table, uint32_t q) {
    return fdl_round_up((table->levels[q] + 2u) * sizeof(uint16_t));
}

size_t fdl_trellis_size(const fdl_code *code) {
    const fdl_code_table *table = fdl_table_of(code);
    return near_size(table, 0) + near_size(table, 1) + FDL_BLOCK;
}

/* Beyond the levels one step further each: the last entry tells where. */
static void list_near(uint16_t *near, const fdl_code_table *table, uint32_t q) {
    uint32_t d = table->step, levels = table->levels[q];
    for (uint32_t k = 0; k <= levels; k++)
        near[k] = (uint16_t)((32u * table->level[q][k] + d) / (2 * d));
}

void fdl_start_trellis(fdl_trellis *trellis, const fdl_code *code, void *memory) {
    uint8_t *free = memory;
    const fdl_code_table *table = fdl_table_of(code);
    trellis->table = table;
    trellis->inverse = (1u << 22) / table->step;
    for (uint32_t q = 0; q < 2; q++) {
        trellis->near[q] = fdl_take(&free, near_size(table, q));
        list_near(trellis->near[q], table, q);
    }
    trellis->way = free;
}

/* |z| in 1/64 of a step. */
static inline int32_t place_of(const fdl_trellis *trellis, uint32_t z) {
    uint64_t a = ((uint64_t)z * trellis->inverse + 0x8000) >> 16;
    return a < MOST_PLACE ? (int32_t)a : MOST_PLACE;
}

/* What a magnitude of a subset costs a value. */
static inline int32_t cost_of(const fdl_trellis *trellis, int32_t a, uint32_t q, int32_t k) {
    int32_t levels = trellis->table->levels[q], known = fdl_min32(k, levels);
    int32_t off = a - trellis->near[q][known] - 64 * (k - known);
    int32_t h = fdl_min32((int32_t)fdl_magnitude(off), FARTHEST);
    return (h * fdl_min32(h, BENT) >> 2) + trellis->table->cost[q][fdl_min32(k, levels + 1)];
}

typedef struct {
    int32_t k, cost;
} choice;

/* The better of the two magnitudes of a parity that are near. */
static inline choice choose(const fdl_trellis *trellis, int32_t a, uint32_t q, int32_t odd) {
    int32_t f = (a + 32 * (int32_t)q) >> 6, upper = odd ? f | 1 : (f + 1) & ~1;
    int32_t lower = fdl_max32(upper - 2, odd);
    choice up = {upper, cost_of(trellis, a, q, upper)};
    choice down = {lower, cost_of(trellis, a, q, lower)};
    return down.cost < up.cost ? down : up;
}

/* Costs of a place: of even and odd magnitudes of both subsets. */
static void cost_all(const fdl_trellis *trellis, int32_t a, int32_t costs[2][2]) {
    for (uint32_t q = 0; q < 2; q++)
        for (int32_t odd = 0; odd < 2; odd++)
            costs[q][odd] = choose(trellis, a, q, odd).cost;
}

/* State t comes from a lower state and from the one 4 above it, by magnitudes of unlike parity. */
static inline uint32_t lower_before(uint32_t t) {
    return (t >> 2) | ((t ^ t >> 2) & 1) << 1;
}

static inline uint32_t odd_from(uint32_t t, uint32_t is_upper) {
    return (t >> 1 & 1) ^ is_upper;
}

/* One place further: costs of all ways, and from where each state is reached. */
static uint8_t advance(int32_t ways[STATES], int32_t costs[2][2]) {
    int32_t next[STATES];
    uint32_t from = 0;
    for (uint32_t t = 0; t < STATES; t++) {
        uint32_t s = lower_before(t), q = s & 1;
        int32_t lower = ways[s] + costs[q][odd_from(t, 0)];
        int32_t upper = ways[s + 4] + costs[q][odd_from(t, 1)];
        from |= (uint32_t)(upper < lower) << t;
        next[t] = fdl_min32(lower, upper);
    }
    for (uint32_t t = 0; t < STATES; t++)
        ways[t] = next[t];
    return (uint8_t)from;
}

static uint32_t cheapest(const int32_t ways[STATES]) {
    uint32_t best = 0;
    for (uint32_t t = 1; t < STATES; t++)
        if (ways[t] < ways[best])
            best = t;
    return best;
}

static uint32_t go_all_ways(const fdl_trellis *trellis, const int32_t *block, size_t length) {
    int32_t ways[STATES] = {0}, costs[2][2];
    for (uint32_t t = 1; t < STATES; t++)
        ways[t] = UNREACHED;
    for (size_t i = 0; i < length; i++) {
        uint32_t z = fdl_magnitude(block[i]);
        cost_all(trellis, place_of(trellis, z), costs);
        trellis->way[i] = advance(ways, costs);
    }
    return cheapest(ways);
}

/* Back from the last state, along the way that was kept. */
void fdl_quantise_trellis(const fdl_trellis *trellis, int32_t *block, size_t length,
                          fdl_sums *sums) {
    uint32_t t = go_all_ways(trellis, block, length);
    while (length-- > 0) {
        uint32_t is_upper = trellis->way[length] >> t & 1;
        uint32_t s = lower_before(t) + 4 * is_upper, q = s & 1;
        uint32_t z = fdl_magnitude(block[length]);
        int32_t k = choose(trellis, place_of(trellis, z), q, (int32_t)odd_from(t, is_upper)).k;
        sums->squares += (uint64_t)z * z;
        sums->products += (int64_t)z * fdl_level(trellis->table, q, (uint32_t)k);
        block[length] = 2 * (block[length] < 0 ? -k : k) + (int32_t)q;
        t = s;
    }
}

#endif
