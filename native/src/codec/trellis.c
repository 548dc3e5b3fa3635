/* The way of least cost through the trellis (Viterbi 1967; Fischer and Wang 1992). */
#include "trellis.h"
#include "../net/net.h"

#if !FDL_WITHOUT_CODEC && !FDL_WITHOUT_TRELLIS

#define STATES    8
#define UNREACHED (1 << 29)

static size_t entries_size(const fdl_code_table *table, uint32_t q) {
    return fdl_round_up((table->levels[q] + 2u) * sizeof(uint32_t));
}

size_t fdl_trellis_size(const fdl_code *code) {
    const fdl_code_table *table = fdl_table_of(code);
    size_t size = entries_size(table, 0) + entries_size(table, 1) + FDL_BLOCK;
#if FDL_TALL > 1
    size += sizeof(fdl_trellis_costs);
#endif
    return size;
}

/* Where a level stands, in 1/64 of a step, to nearest. */
static int32_t near_level(const fdl_code_table *table, uint32_t q, uint32_t k) {
    uint32_t d = table->step;
    return (int32_t)((32u * table->level[q][k] + d) / (2 * d));
}

static void list_entries(uint32_t *entries, const fdl_code_table *table, uint32_t q) {
    uint32_t levels = table->levels[q];
    for (uint32_t k = 0; k <= levels + 1; k++) {
        uint32_t known = (uint32_t)smaller(k, levels);
        int32_t off = near_level(table, q, known) - 64 * (int32_t)known;
        entries[k] = (uint16_t)off | (uint32_t)table->cost[q][k] << 16;
    }
}

static int32_t cost_of_distance(int32_t distance) {
    int32_t h = fdl_min32(distance, FDL_FARTHEST);
    return h * fdl_min32(h, FDL_BENT) >> 2;
}

#if FDL_TALL > 1
/* The most that a place costs: the nearest of two magnitudes is within a step of where it would
 * stand if all were alike. */
static int32_t most_cost(const fdl_trellis *trellis) {
    int32_t most = 0;
    for (uint32_t q = 0; q < 2; q++)
        for (uint32_t k = 0; k <= trellis->table->levels[q] + 1u; k++) {
            int32_t off = (int16_t)trellis->entries[q][k] + 32 * (int32_t)q;
            int32_t cost = cost_of_distance(64 + (int32_t)fdl_magnitude(off));
            most = fdl_max32(most, cost + (int32_t)(trellis->entries[q][k] >> 16));
        }
    return most;
}
#endif

void fdl_start_trellis(fdl_trellis *trellis, const fdl_code *code, const fdl_kernels *loops,
                       void *memory) {
    uint8_t *free = memory;
    const fdl_code_table *table = fdl_table_of(code);
    trellis->loops = loops;
    trellis->table = table;
    trellis->by.inverse = (1u << 22) / table->step;
    for (uint32_t q = 0; q < 2; q++) {
        trellis->entries[q] = fdl_take(&free, entries_size(table, q));
        list_entries(trellis->entries[q], table, q);
        trellis->by.entries[q] = trellis->entries[q];
        trellis->by.last[q] = table->levels[q] + 1;
    }
    trellis->way = fdl_take(&free, FDL_BLOCK);
#if FDL_TALL > 1
    int fits = loops->paths != NULL && most_cost(trellis) <= FDL_MOST_COST;
    trellis->costs = fits ? (void *)free : NULL;
#endif
}

/* ---- Place by place ---- */

/* |z| in 1/64 of a step. */
static inline int32_t place_of(const fdl_trellis *trellis, uint32_t z) {
    uint64_t a = ((uint64_t)z * trellis->by.inverse + 0x8000) >> 16;
    return a < FDL_MOST_PLACE ? (int32_t)a : FDL_MOST_PLACE;
}

/* What a magnitude of a subset costs a value. */
static inline int32_t cost_of(const fdl_trellis *trellis, int32_t a, uint32_t q, int32_t k) {
    uint32_t entry = trellis->entries[q][fdl_min32(k, trellis->by.last[q])];
    int32_t off = a - 64 * k - (int16_t)entry;
    return cost_of_distance((int32_t)fdl_magnitude(off)) + (int32_t)(entry >> 16);
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
        cost_all(trellis, place_of(trellis, fdl_magnitude(block[i])), costs);
        trellis->way[i] = advance(ways, costs);
    }
    return cheapest(ways);
}

static inline int32_t chosen(const fdl_trellis *trellis, size_t i, int32_t z, uint32_t q,
                             uint32_t odd) {
#if FDL_TALL > 1
    if (trellis->costs != NULL)
        return trellis->costs->k[2 * q + odd][i];
#endif
    (void)i;
    return choose(trellis, place_of(trellis, fdl_magnitude(z)), q, (int32_t)odd).k;
}

/* ---- The whole block ---- */

static uint32_t find_ways(const fdl_trellis *trellis, const int32_t *block, size_t length) {
#if FDL_TALL > 1
    if (trellis->costs != NULL) {
        trellis->loops->costs(&trellis->by, block, length, trellis->costs);
        return trellis->loops->paths(trellis->costs, length, trellis->way);
    }
#endif
    return go_all_ways(trellis, block, length);
}

/* Back from the last state, along the way that was kept. */
void fdl_quantise_trellis(const fdl_trellis *trellis, int32_t *block, size_t length,
                          fdl_sums *sums) {
    const uint8_t *way = trellis->way;
    uint32_t t = find_ways(trellis, block, length);
    int64_t squares = 0, products = 0;
    while (length-- > 0) {
        int32_t z = block[length], sign = z >> 31;
        uint32_t is_upper = way[length] >> t & 1, q = t >> 2;
        int32_t k = chosen(trellis, length, z, q, odd_from(t, is_upper));
        squares += (int64_t)z * z;
        products += (int64_t)((z ^ sign) - sign) * fdl_level(trellis->table, q, (uint32_t)k);
        block[length] = 2 * ((k ^ sign) - sign) + (int32_t)q;
        t = lower_before(t) + 4 * is_upper;
    }
    sums->squares += (uint64_t)squares;
    sums->products += products;
}

#endif
